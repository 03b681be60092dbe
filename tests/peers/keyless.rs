//! Signed by the real cosign with a certificate of the virtual Sigstore, over its HTTP services.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use samebits::reference::Image;
use serde_json::Value;

use super::copier::Copier;
use crate::cosign::{Bench, Format, Version, expected, provenance, requirements};
use crate::sigstore::{Sigstore, oidc};

const WORKFLOW: &str = "https://github.com/acme/shop/.github/workflows/release.yml@refs/heads/main";

/// Which log cosign writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Log {
    RekorV1,
    RekorV2,
}

/// A bench whose build signs with certificates of the instance, from one workflow.
struct Keyless {
    bench: Bench,
    sigstore: Sigstore,
}

impl Keyless {
    fn open() -> Option<Self> {
        let bench = Bench::open(&["cosign", "cosign2", "oras"])?;
        let it = Self { bench, sigstore: Sigstore::start() };
        let yard = &it.bench.yard;
        yard.write("virtual.json", it.sigstore.trusted_root());
        yard.write("stranger.json", Sigstore::start().trusted_root());
        yard.write("signing-v1.json", it.sigstore.signing_config_v1());
        yard.write("signing-v2.json", it.sigstore.signing_config());
        let certified =
            format!("issuer = \"{}\"\nidentity = \"{WORKFLOW}\"\nroot = \"virtual\"\n", oidc::GITHUB);
        yard.edit_policy(|text| {
            // A key and what it needs no time for; a certificate has its own.
            let (before, build) = text.split_once("[signers.build]\n").unwrap();
            let (_, after) = build.split_once("[signers.").unwrap();
            let text = format!("{before}[signers.build]\n{certified}[signers.{after}");
            format!("{text}\n[roots.virtual]\ntrusted-root = \"virtual.json\"\n")
        });
        Some(it)
    }

    /// Runs `cosign sign` and `cosign attest` in a job of this branch.
    fn sign(&self, version: Version, services: &[&str], image: &Image, branch: &str) {
        self.bench.yard.write("predicate.json", provenance("main").to_string());
        let predicate = ["--type=slsaprovenance1", "--predicate=predicate.json"];
        for what in [&["sign"][..], &[&["attest"], &predicate[..]].concat()] {
            // In a file: as a text, cosign takes RS256 alone for a token.
            let token = self.sigstore.token(&oidc::github("acme/shop", "release.yml", branch));
            self.bench.yard.write("token", token);
            let image = image.to_string();
            let rest = ["--identity-token=token", "--allow-insecure-registry", "-y", &image];
            self.bench.cosign(version).run(&[what, services, &rest].concat()).unwrap();
        }
    }

    /// As a bundle, by a signing config that names one log.
    fn sign_bundle(&self, version: Version, log: Log, image: &Image, branch: &str) {
        let config = match log {
            Log::RekorV1 => "--signing-config=signing-v1.json",
            Log::RekorV2 => "--signing-config=signing-v2.json",
        };
        let services = [Format::Bundle.flag(), config, "--trusted-root=virtual.json"];
        self.sign(version, &services, image, branch);
    }

    /// As tags, which cosign 2 alone still writes with a certificate.
    fn sign_tags(&self, image: &Image, branch: &str) {
        let root: Value = serde_json::from_str(&self.sigstore.trusted_root()).unwrap();
        let pem = |tag: &str, at: &str| {
            let bytes = STANDARD.decode(root.pointer(at).unwrap().as_str().unwrap()).unwrap();
            pem::encode(&pem::Pem::new(tag, bytes))
        };
        let certificate =
            |n| pem("CERTIFICATE", &format!("/certificateAuthorities/0/certChain/certificates/{n}/rawBytes"));
        self.bench.yard.write("fulcio.pem", certificate(0) + &certificate(1));
        self.bench.yard.write("rekor.pem", pem("PUBLIC KEY", "/tlogs/0/publicKey/rawBytes"));
        self.bench.yard.write("ct.pem", pem("PUBLIC KEY", "/ctlogs/0/publicKey/rawBytes"));
        let (fulcio, rekor) =
            (format!("--fulcio-url={}", self.sigstore.url), format!("--rekor-url={}", self.sigstore.url));
        self.sign(Version::V2, &[Format::Tags.flag(), &fulcio, &rekor], image, branch);
    }

    /// What cosign says of the workflow's signature on `image`.
    fn cosign_verifies(&self, version: Version, image: &Image, root: &str) -> Result<Vec<u8>, String> {
        let (identity, issuer) = (
            format!("--certificate-identity={WORKFLOW}"),
            format!("--certificate-oidc-issuer={}", oidc::GITHUB),
        );
        let (root, image) = (format!("--trusted-root={root}"), image.to_string());
        let what = ["verify", Format::Bundle.flag(), &identity, &issuer, &root];
        self.bench.cosign(version).run(&[&what[..], &["--allow-insecure-registry", &image]].concat())
    }

    #[track_caller]
    fn finds(&self, image: &Image, signed_by: &str, provenance: &str) {
        let enough = (signed_by, provenance) == ("met", "met");
        let verified = self.bench.verify(image).exits(i32::from(!enough));
        assert_eq!(requirements(&verified), expected(signed_by, provenance), "{image}");
    }
}

const MAIN: &str = "refs/heads/main";
const FEATURE: &str = "refs/heads/feature";

#[test]
fn b6_cosign_signs_keyless_and_samebits_believes_the_one_workflow() {
    let Some(it) = Keyless::open() else { return };
    // What cosign 2.6 writes to a Rekor v2 has a test below.
    let ways = [(Version::V2, Log::RekorV1), (Version::V3, Log::RekorV1), (Version::V3, Log::RekorV2)];
    for (version, log) in ways {
        let image = it.bench.push(&format!("{version:?} {log:?}"));
        it.sign_bundle(version, log, &image, MAIN);
        it.finds(&image, "met", "met");
        // The same workflow from another branch is somebody else.
        let branch = it.bench.push(&format!("a branch {version:?} {log:?}"));
        it.sign_bundle(version, log, &branch, FEATURE);
        it.finds(&branch, "not-signed-by", "no-provenance");
        // What samebits copied, cosign believes of that workflow and under that root.
        it.bench.promote(&branch).exits(1);
        it.bench.promote(&image).exits(0);
        let staged = it.bench.staged(&image);
        it.cosign_verifies(version, &staged, "virtual.json").unwrap();
        it.cosign_verifies(version, &staged, "stranger.json").unwrap_err();
        it.cosign_verifies(version, &branch, "virtual.json").unwrap_err();
    }
    let requests = it.sigstore.requests();
    for service in ["/api/v2/signingCert", "/api/v1/log/entries", "/api/v2/log/entries", "/api/v1/timestamp"]
    {
        assert!(requests.contains(&format!("POST {service}")), "{service} was never asked: {requests:?}");
    }
}

#[test]
fn b6_a_copied_keyless_signature_counts_under_its_own_root_only() {
    let Some(it) = Keyless::open() else { return };
    let image = it.bench.push("one root");
    it.sign_bundle(Version::V3, Log::RekorV2, &image, MAIN);
    let staged = it.bench.staged(&image);
    Copier::Oras.with_referrers(&it.bench.yard.path(""), &image, &staged.repository);
    it.finds(&staged, "met", "met");
    // Another instance, and the same names.
    it.bench.yard.write("virtual.json", it.bench.yard.read("stranger.json"));
    it.finds(&staged, "not-signed-by", "no-provenance");
}

#[test]
fn b6_cosigns_older_tags_by_certificate_are_believed_and_copied() {
    let Some(it) = Keyless::open() else { return };
    let image = it.bench.push("tags");
    it.sign_tags(&image, MAIN);
    it.finds(&image, "met", "met");
    let branch = it.bench.push("tags of a branch");
    it.sign_tags(&branch, FEATURE);
    it.finds(&branch, "not-signed-by", "no-provenance");
    it.bench.promote(&image).exits(0);
    it.finds(&it.bench.staged(&image), "met", "met");
    it.bench.yard.write("virtual.json", it.bench.yard.read("stranger.json"));
    it.finds(&image, "not-signed-by", "no-provenance");
}

/// Rekor v2 has a second kind of entry, `dsse` 0.0.2. The Sigstore crates do not know it; nobody but cosign 2.6 was seen
/// to write it.
#[test]
fn what_cosign_2_writes_to_rekor_2_is_refused_for_its_kind() {
    let Some(it) = Keyless::open() else { return };
    let image = it.bench.push("dsse 0.0.2");
    it.sign_bundle(Version::V2, Log::RekorV2, &image, MAIN);
    it.finds(&image, "not-signed-by", "no-provenance");
}
