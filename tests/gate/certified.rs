//! Rows about attestations by certificate: there a time is proved, by a log or a timestamp authority.

use std::collections::BTreeMap;

use samebits::collect::trust;
use samebits::digest::Digest;
use samebits::evidence::{Found, Raw, Source};
use samebits::gate::{Code, Decision, Requirement};
use samebits::policy::Draft;
use samebits::verify::bundle;
use samebits::verify::predicate::{CYCLONEDX, TEST_RESULT, VULNS_V0_2};
use serde_json::{Value, json};

use super::sigstore::{Identity, Instance, Kind, oidc};
use super::world::*;

const SHOP: &str = "registry.example/shop";

/// The tester is a job; everybody else has a key.
struct Certified {
    world: World,
    instance: Instance,
    job: Identity,
}

impl Certified {
    /// [`POLICY`] without approvals, with these entries required in production; the clock stands at nine.
    fn new(kind: Kind, entries: &str) -> Self {
        let instance = Instance::new(kind);
        let job = instance.identity(&oidc::github("acme/shop", "test.yml", "refs/heads/main"));
        let required = format!("[environments.production.require]\nattestations = [{entries}]\n");
        let text =
            with(&[(APPROVALS, &required), ("[services.shop]", "[signers.tester]\nTESTER\n[services.shop]")]);
        // The world makes a key for every file; the policy that counts has a certificate there.
        let mut world = World::new(&text.replace("TESTER", "public-key = \"keys/tester.pub\""));
        let tester = format!(
            "issuer = \"{}\"\nidentity = \"{}\"\nroot = \"virtual\"\n[roots.virtual]\ntrusted-root = \"virtual.json\"",
            job.issuer(),
            job.subject(),
        );
        let text = text.replace("TESTER", &tester).replace("@VERIFIER@", &world.log.vkey().to_string());
        let draft = Draft::parse("samebits.toml", &text).unwrap_or_else(|errors| panic!("{errors}"));
        let files: BTreeMap<String, String> = draft
            .key_files()
            .into_iter()
            .map(|file| match file.strip_prefix("keys/").and_then(|file| file.strip_suffix(".pub")) {
                Some(name) => (file.clone(), world.key(name).public().to_pem()),
                None => (file, instance.trusted_root()),
            })
            .collect();
        world.policy = draft.validate(&files).unwrap_or_else(|errors| panic!("{errors}"));
        world.trust = trust(&world.policy);
        world.set_clock("2025-06-01T09:00:00Z");
        Self { world, instance, job }
    }

    /// Signed by the job, logged at this time of the day.
    fn attest(&self, time: &str, kind: &str, predicate: Value, about: Digest) -> Found {
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{ "name": SHOP, "digest": { "sha256": about.hex() } }],
            "predicateType": kind,
            "predicate": predicate,
        });
        let time = format!("2025-06-01T{time}:00Z").parse().unwrap();
        let bytes = self.instance.bundle(statement.to_string().as_bytes(), &self.job, time);
        let attestation = bundle(&bytes, &self.world.trust).unwrap();
        assert_eq!(attestation.author().time(), Some(time));
        let raw = Raw::bundle(bytes.into());
        Found { on: about, source: Source::Referrer, attestation, raw }
    }

    fn ask(&self, image: &Built, found: Found) -> Decision {
        self.world.ask("production", image, &[found])
    }
}

#[track_caller]
fn refused(decision: &Decision, code: Code, piece: &str) {
    says(no(decision, &[code]), Requirement::Attestation, &[piece]);
}

#[test]
fn c11_a_test_is_attested_after_the_deployment_or_it_does_not_count() {
    let entry = "{ type = 'test-result', signer = 'tester', after-deployment = 'staging' }";
    for kind in [Kind::Public, Kind::Stamped] {
        let mut it = Certified::new(kind, entry);
        let image = Built::shop("1");
        it.world.staged(&image);
        it.world.wait(60);
        let test = |time: &str| {
            let passed = json!({ "result": "PASSED", "configuration": [] });
            it.attest(time, TEST_RESULT, passed, image.root)
        };
        for before in ["08:00", "08:59", "09:00"] {
            refused(
                &it.ask(&image, test(before)),
                Code::AttestationMismatch,
                "before the deployment in `staging`",
            );
        }
        yes(&it.ask(&image, test("09:01")));
        yes(&it.ask(&image, test("10:00")));
        // The gate's clock bounds it on the other side.
        refused(&it.ask(&image, test("10:30")), Code::AttestationStale, "which has not come yet");
        // Per platform, after the deployment of that one.
        let amd64 = image.child("linux/amd64");
        let passed = || json!({ "result": "PASSED", "configuration": [] });
        let decision = it.ask(&image, it.attest("09:30", TEST_RESULT, passed(), amd64));
        refused(&decision, Code::NoAttestation, "");
        let both =
            [amd64, image.child("linux/arm64")].map(|child| it.attest("09:30", TEST_RESULT, passed(), child));
        yes(&it.world.ask("production", &image, &both));
    }
}

/// A deployment that is recorded later does not count as earlier because it says so (C6).
#[test]
fn c11_a_deployment_counts_from_when_it_can_have_been() {
    let entry = "{ type = 'test-result', signer = 'tester', after-deployment = 'staging' }";
    let mut it = Certified::new(Kind::Public, entry);
    let (image, other) = (Built::shop("1"), Built::shop("2"));
    // Something else ran at nine; what is recorded behind it says that it began at eight.
    it.world.staged(&other);
    let mut said = it.world.deployment("staging", &image);
    said.began = "2025-06-01T08:00:00Z".parse().unwrap();
    said.ended = said.began;
    it.world.record("staging", &said);
    it.world.wait(61);
    let test = |time: &str| {
        let passed = json!({ "result": "PASSED", "configuration": [] });
        it.attest(time, TEST_RESULT, passed, image.root)
    };
    refused(&it.ask(&image, test("08:30")), Code::AttestationMismatch, "before the deployment in `staging`");
    yes(&it.ask(&image, test("09:30")));
}

#[test]
fn b2_the_earlier_of_what_is_proved_and_what_is_claimed() {
    let mut it = Certified::new(Kind::Public, "{ type = 'cyclonedx', signer = 'tester', max-age = '30m' }");
    let image = Built::shop("1");
    it.world.staged(&image);
    it.world.wait(60);
    let bom = |time: &str, claimed: Option<&str>| {
        let mut bom = json!({ "bomFormat": "CycloneDX", "specVersion": "1.6" });
        if let Some(claimed) = claimed {
            bom["metadata"] = json!({ "timestamp": claimed });
        }
        it.attest(time, CYCLONEDX, bom, image.root)
    };
    // It is ten now.
    yes(&it.ask(&image, bom("09:30", None)));
    refused(&it.ask(&image, bom("09:29", None)), Code::AttestationStale, "longer ago than 30m");
    yes(&it.ask(&image, bom("09:50", Some("2025-06-01T09:45:00Z"))));
    // An old document signed again is old; a young date on an old signature does not make it young.
    refused(
        &it.ask(&image, bom("09:50", Some("2025-05-01T09:45:00Z"))),
        Code::AttestationStale,
        "2025-05-01",
    );
    refused(
        &it.ask(&image, bom("09:00", Some("2025-06-01T09:59:00Z"))),
        Code::AttestationStale,
        "2025-06-01T09:00",
    );
}

#[test]
fn b6_another_job_of_the_same_instance_is_another_signer() {
    let entry = "{ type = 'vulns', signer = 'tester', at-most = { low = 0 } }";
    let mut it = Certified::new(Kind::Public, entry);
    let image = Built::shop("1");
    it.world.staged(&image);
    it.world.wait(60);
    let scan = json!({
        "scanner": { "uri": "pkg:x", "result": [] }, "metadata": { "scanFinishedOn": "2025-06-01T09:00:00Z" },
    });
    yes(&it.ask(&image, it.attest("09:10", VULNS_V0_2, scan.clone(), image.root)));
    it.job = it.instance.identity(&oidc::github("acme/shop", "test.yml", "refs/heads/branch"));
    let found = it.attest("09:10", VULNS_V0_2, scan, image.root);
    refused(&it.ask(&image, found), Code::NoAttestation, "refs/heads/branch");
}
