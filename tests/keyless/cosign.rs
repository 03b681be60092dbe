//! The real cosign signs keyless against the virtual services, and believes what is made in process. Skipped,
//! aloud, where it is not installed; in CI (`SAMEBITS_REQUIRE_PEERS=1`) it has to be.

use std::path::Path;
use std::process::{Command, Stdio};

use samebits::digest::Digest;
use samebits::verify::Artifact;
use tempfile::TempDir;

use crate::sigstore::{Instance, Kind, Logged, Recipe, Sct, Signed, Sigstore, oidc};
use crate::{keyless, peer, statement, trust, verified};

const BLOB: &[u8] = b"built once";

/// Runs cosign in `folder` with these variables and no others of the caller's; `Err` is what it complained
/// about.
pub(super) fn cosign(folder: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Result<(), String> {
    #[allow(clippy::disallowed_methods, reason = "where the peers are, and nothing else of the caller's")]
    let path = std::env::var_os("PATH").unwrap_or_default();
    // No world outside of this machine: Go takes no proxy to a loopback address.
    let output = Command::new("cosign")
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("PATH", path)
        .env("HOME", folder)
        .env("HTTP_PROXY", "http://127.0.0.1:1")
        .env("HTTPS_PROXY", "http://127.0.0.1:1")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("cosign {arguments:?}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

/// A folder with the blob, a statement's predicate, and the instance's documents.
pub(super) fn folder(instance: &Instance) -> TempDir {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    write("blob", BLOB);
    write("predicate.json", b"{\"passed\":true}");
    write("root.json", instance.trusted_root().as_bytes());
    write("v1.json", instance.signing_config_v1().as_bytes());
    write("v2.json", instance.signing_config().as_bytes());
    folder
}

#[test]
fn cosign_signs_keyless_and_samebits_believes_it() {
    if !peer::is_installed("cosign") {
        return;
    }
    let sigstore = Sigstore::start();
    let folder = folder(&sigstore);
    let job = oidc::github("acme/shop", "release.yml", "refs/heads/main");
    sigstore.oidc.set_ambient(job.clone());
    let who = keyless(&sigstore.identity(&job));
    std::fs::write(folder.path().join("token"), sigstore.token(&job)).unwrap();
    let token = "--identity-token=token";
    let url = sigstore.ambient_url();
    let ambient = [("ACTIONS_ID_TOKEN_REQUEST_URL", &*url), ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", oidc::BEARER)];
    for config in ["--signing-config=v1.json", "--signing-config=v2.json"] {
        for (variables, token) in [(&[][..], Some(token)), (&ambient[..], None)] {
            let common = ["--trusted-root=root.json", config, "--bundle=bundle.json", "-y"];
            let sign = |verb: &[&str]| {
                let arguments = [verb, &common[..], token.as_slice(), &["blob"]].concat();
                cosign(folder.path(), variables, &arguments).unwrap();
                std::fs::read(folder.path().join("bundle.json")).unwrap()
            };
            let bytes = sign(&["sign-blob"]);
            let signed =
                samebits::verify::artifact(&bytes, Artifact::Bytes(BLOB), &trust(&sigstore)).unwrap();
            assert_eq!(*signed.identity(), who);
            let bytes = sign(&[
                "attest-blob",
                "--predicate=predicate.json",
                "--type=https://acme.example/checked/v1",
            ]);
            let found = verified(&sigstore, &bytes).unwrap();
            assert_eq!(*found.identity(), who);
            assert_eq!(found.subjects()[0].digest, Digest::of(BLOB));
        }
    }
}

#[test]
fn cosign_believes_what_is_made_in_process_and_nothing_odd() {
    if !peer::is_installed("cosign") {
        return;
    }
    let instance = Instance::new(Kind::Public);
    let folder = folder(&instance);
    let who = instance.identity(&oidc::github("acme/shop", "release.yml", "refs/heads/main"));
    let believes = |bytes: &[u8], verb: &[&str]| {
        std::fs::write(folder.path().join("bundle.json"), bytes).unwrap();
        let identity = format!("--certificate-identity={}", who.subject());
        let issuer = format!("--certificate-oidc-issuer={}", who.issuer());
        let common = ["--trusted-root=root.json", "--bundle=bundle.json", &identity, &issuer];
        cosign(folder.path(), &[], &[verb, &common[..]].concat())
    };
    let blob = ["verify-blob", "blob"];
    let checked = "--type=https://acme.example/checked/v1";
    let digest = format!("--digest={}", crate::SUBJECT);
    let attestation = ["verify-blob-attestation", checked, &digest, "--digestAlg=sha256"];
    let make = |signed: Signed<'_>, recipe: &Recipe| instance.make(signed, &who, instance.now(), recipe);
    let (message, statement) = (Signed::Message(Digest::of(BLOB)), statement());
    for recipe in [Recipe::default(), Recipe::v2()] {
        believes(&make(message, &recipe), &blob).unwrap();
        believes(&make(Signed::Statement(&statement), &recipe), &attestation).unwrap();
    }
    for recipe in [
        Recipe { sct: Sct::Missing, ..Recipe::default() },
        Recipe { logged: Logged::AnotherSignature, ..Recipe::v2() },
        Recipe { stamped: None, ..Recipe::v2() },
    ] {
        believes(&make(message, &recipe), &blob).unwrap_err();
    }
}
