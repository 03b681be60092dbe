//! Rows about attestations other than signatures and provenance. The data of each attack lies in `tests/vectors/`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use samebits::digest::Digest;
use samebits::evidence::Found;
use samebits::gate::{Code, Decision, Finding, Outcome, Requirement};
use samebits::record::Status;
use samebits::verify::predicate::{CYCLONEDX, SPDX, SVR, TEST_RESULT, VSA, VULNS_V0_2};
use serde_json::{Value, json};

use super::world::*;

const SHOP: &str = "registry.example/shop";
const VEX: &str = "https://openvex.dev/ns/v0.2.0";
const LICENCES: &str = "https://acme.example/licences/v1";

/// [`POLICY`] without approvals, with signers for every party, and these entries required in production.
fn policy(entries: &str) -> String {
    let signers = ["tester", "scanner", "security", "verifier"]
        .map(|name| format!("[signers.{name}]\npublic-key = \"keys/{name}.pub\"\ntime = \"not-required\"\n"));
    let services = "[services.shop]";
    with(&[
        (APPROVALS, &format!("[environments.production.require]\n{entries}\n")),
        (services, &format!("{}{services}", signers.concat())),
    ])
}

/// One entry.
fn one(entry: &str) -> String {
    policy(&format!("attestations = [{entry}]"))
}

fn vector(folder: &str, file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(folder).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A predicate of a folder, with the image's digests filled in.
fn predicate(folder: &str, file: &str, image: &Built) -> Value {
    let text = vector(folder, file).replace("@INDEX@", &image.root.hex());
    serde_json::from_str(&text).unwrap()
}

/// An image that ran in staging long enough, in a world with this policy.
fn soaked(policy: &str) -> (World, Built) {
    let mut world = World::new(policy);
    let image = Built::shop("1");
    world.staged(&image);
    world.wait(60);
    (world, image)
}

fn attest(world: &World, who: &str, kind: &str, predicate: Value, digest: Digest) -> Found {
    world.attest(who, kind, predicate, &[(SHOP, digest)])
}

/// What is required of attestations, in the order of the policy.
fn standing(decision: &Decision) -> Vec<Option<Code>> {
    let findings = decision.verdict().findings.iter();
    findings.filter(|found| found.requirement == Requirement::Attestation).map(Finding::code).collect()
}

/// It is a no for this one reason, and says why.
#[track_caller]
fn refused(decision: &Decision, code: Code, pieces: &[&str]) {
    says(no(decision, &[code]), Requirement::Attestation, pieces);
}

#[test]
fn b4_each_piece_of_evidence_deleted_is_a_no() {
    const FOLDER: &str = "b4-evidence-deleted";
    let (world, image) = soaked(&policy(&vector(FOLDER, "policy.toml")));
    let each = [
        ("tester", TEST_RESULT, "test-result.json"),
        ("build", SPDX, "spdx.json"),
        ("build", "https://cyclonedx.org/bom/v1.6", "cyclonedx.json"),
        ("scanner", VULNS_V0_2, "vulns.json"),
        ("verifier", VSA, "vsa.json"),
        ("verifier", SVR, "svr.json"),
        ("build", LICENCES, "licences.json"),
    ];
    let all: Vec<Found> = each
        .iter()
        .map(|(who, kind, file)| attest(&world, who, kind, predicate(FOLDER, file, &image), image.root))
        .collect();
    let decision = world.ask("production", &image, &all);
    assert_eq!(yes(&decision).evidence().len(), all.len() + 1, "and the deployment");
    for gone in 0..all.len() {
        let mut less = all.clone();
        less.remove(gone);
        let decision = world.ask("production", &image, &less);
        no(&decision, &[Code::NoAttestation]);
        let expected: Vec<_> = (0..all.len()).map(|at| (at == gone).then_some(Code::NoAttestation)).collect();
        assert_eq!(standing(&decision), expected);
        let finding = decision.verdict().findings.iter().find(|finding| finding.code().is_some()).unwrap();
        assert_eq!(finding.found, "none");
        assert!(finding.fix[0].contains("cosign attest --type"), "{:?}", finding.fix);
    }
    no(&world.ask("production", &image, &[]), &[Code::NoAttestation]);
}

#[test]
fn b1_another_image_and_another_service() {
    let (world, image) = soaked(&one("{ type = 'cyclonedx', signer = 'build' }"));
    let bom = || json!({ "bomFormat": "CycloneDX", "specVersion": "1.6" });
    let other = attest(&world, "build", CYCLONEDX, bom(), Built::shop("2").root);
    refused(&world.ask("production", &image, &[other]), Code::NoAttestation, &["is about another image"]);
    let foreign = world.attest("build", CYCLONEDX, bom(), &[("registry.example/api", image.root)]);
    let decision = world.ask("production", &image, &[foreign]);
    refused(&decision, Code::NoAttestation, &["which is not a repository of the service"]);
    let nameless = world.attest("build", CYCLONEDX, bom(), &[("", image.root)]);
    refused(&world.ask("production", &image, &[nameless]), Code::NoAttestation, &["names no repository"]);
    // A4: each platform has its own, and one is not enough.
    let on = |platform: &str| attest(&world, "build", CYCLONEDX, bom(), image.child(platform));
    let amd64 = on("linux/amd64");
    let decision = world.ask("production", &image, std::slice::from_ref(&amd64));
    refused(&decision, Code::NoAttestation, &["not for linux/arm64"]);
    yes(&world.ask("production", &image, &[amd64, on("linux/arm64")]));
}

#[test]
fn b15_a_bill_of_materials_by_the_wrong_party_or_of_another_kind() {
    let (world, image) = soaked(&one("{ type = 'spdx', signer = 'build' }"));
    let spdx = || predicate("b4-evidence-deleted", "spdx.json", &image);
    yes(&world.ask("production", &image, &[attest(&world, "build", SPDX, spdx(), image.root)]));
    for who in ["scanner", "release", "staging", "verifier"] {
        let decision = world.ask("production", &image, &[attest(&world, who, SPDX, spdx(), image.root)]);
        refused(&decision, Code::NoAttestation, &["there is a spdx by", who]);
    }
    let says_other = attest(&world, "build", "https://spdx.dev/Document/v2.2", spdx(), image.root);
    let decision = world.ask("production", &image, &[says_other]);
    refused(&decision, Code::AttestationMismatch, &["`/spdxVersion` is `SPDX-2.3`: expected version 2.2"]);
    let bom = json!({ "bomFormat": "CycloneDX", "specVersion": "1.6" });
    let decision = world.ask("production", &image, &[attest(&world, "build", SPDX, bom, image.root)]);
    refused(&decision, Code::AttestationMismatch, &["`/SPDXID` is missing"]);
}

#[test]
fn b15_vex_by_anybody_but_its_signer_clears_nothing() {
    const FOLDER: &str = "b15-vex-by-the-wrong-party";
    let rule = |more: &str| {
        one(&format!("{{ type = 'vulns', signer = 'scanner', at-most = {{ high = 0 }}{more} }}"))
    };
    let (world, image) = soaked(&rule(", vex = 'security'"));
    let scan = |world: &World, who: &str, digest| {
        attest(world, who, VULNS_V0_2, predicate(FOLDER, "scan.json", &image), digest)
    };
    let vex = |world: &World, who: &str, file: &str, digest| {
        attest(world, who, VEX, predicate(FOLDER, file, &image), digest)
    };
    let ask = |world: &World, attestations: &[Found]| world.ask("production", &image, attestations);
    let critical = "1 finding(s) high or worse, at most 0 may be: CVE-2030-0001";
    // The scan alone; the scan by somebody else, clean as VEX makes it.
    refused(&ask(&world, &[scan(&world, "scanner", image.root)]), Code::AttestationMismatch, &[critical]);
    let by_security = [scan(&world, "security", image.root), vex(&world, "security", "vex.json", image.root)];
    refused(&ask(&world, &by_security), Code::NoAttestation, &["there is a vulns by `security`"]);
    // Cleared by the security team, and by nobody else: not by the scanner itself, not by the build.
    let cleared = [scan(&world, "scanner", image.root), vex(&world, "security", "vex.json", image.root)];
    yes(&ask(&world, &cleared));
    for who in ["scanner", "build", "release", "staging"] {
        let pair = [scan(&world, "scanner", image.root), vex(&world, who, "vex.json", image.root)];
        refused(&ask(&world, &pair), Code::AttestationMismatch, &[critical]);
    }
    // About another image, or with other products: not about this one.
    let other = Built::shop("2");
    let pair = [scan(&world, "scanner", image.root), vex(&world, "security", "vex.json", other.root)];
    refused(&ask(&world, &pair), Code::AttestationMismatch, &[critical]);
    let elsewhere = attest(&world, "security", VEX, predicate(FOLDER, "vex.json", &other), image.root);
    let pair = [scan(&world, "scanner", image.root), elsewhere];
    refused(&ask(&world, &pair), Code::AttestationMismatch, &[critical]);
    // A newer statement in the same document, or no justification.
    for file in ["vex-affected.json", "vex-prose.json"] {
        let pair = [scan(&world, "scanner", image.root), vex(&world, "security", file, image.root)];
        refused(&ask(&world, &pair), Code::AttestationMismatch, &[critical]);
    }
    // What is said of the index holds for its platforms; what is said of one platform for that one only.
    let scans = [
        scan(&world, "scanner", image.child("linux/amd64")),
        scan(&world, "scanner", image.child("linux/arm64")),
    ];
    let on = |digest| vec![scans[0].clone(), scans[1].clone(), vex(&world, "security", "vex.json", digest)];
    yes(&ask(&world, &on(image.root)));
    refused(
        &ask(&world, &on(image.child("linux/amd64"))),
        Code::AttestationMismatch,
        &[critical, "not for linux/arm64"],
    );
    // Older than the rule lets it be; from the future; where nobody's VEX counts.
    let (strict, _) = soaked(&rule(", vex = 'security', vex-max-age = '1h'"));
    let pair =
        |world: &World| [scan(world, "scanner", image.root), vex(world, "security", "vex.json", image.root)];
    refused(&strict.ask("production", &image, &pair(&strict)), Code::AttestationMismatch, &[critical]);
    let (nobody, _) = soaked(&rule(""));
    refused(&nobody.ask("production", &image, &pair(&nobody)), Code::AttestationMismatch, &[critical]);
    let mut early = World::new(&rule(", vex = 'security'"));
    early.set_clock("2030-03-01T06:30:00Z");
    early.staged(&image);
    early.wait(60);
    let mut old = predicate(FOLDER, "scan.json", &image);
    old["metadata"]["scanFinishedOn"] = json!("2030-03-01T06:00:00Z");
    let pair = [
        attest(&early, "scanner", VULNS_V0_2, old, image.root),
        vex(&early, "security", "vex.json", image.root),
    ];
    refused(&early.ask("production", &image, &pair), Code::AttestationMismatch, &[critical]);
}

/// What a yes relied on is on record, VEX too: the audit reads it again, and a file of it goes where the image goes.
#[test]
fn b5_vex_that_a_yes_relied_on_is_listed() {
    const FOLDER: &str = "b15-vex-by-the-wrong-party";
    let rule = "{ type = 'vulns', signer = 'scanner', at-most = { high = 0 }, vex = 'security' }";
    let (world, image) = soaked(&one(rule));
    let platforms = ["linux/amd64", "linux/arm64"].map(|platform| image.child(platform));
    let scan = |digest| attest(&world, "scanner", VULNS_V0_2, predicate(FOLDER, "scan.json", &image), digest);
    let vex = |who: &str| attest(&world, who, VEX, predicate(FOLDER, "vex.json", &image), image.root);
    let (by_security, by_build) = (vex("security"), vex("build"));
    for scans in [vec![scan(image.root)], platforms.iter().map(|digest| scan(*digest)).collect()] {
        let all: Vec<Found> = scans.iter().chain([&by_security, &by_build]).cloned().collect();
        let decision = world.ask("production", &image, &all);
        let finding = finding(yes(&decision), Requirement::Attestation);
        let listed: Vec<Digest> = finding.carried.iter().map(|carried| carried.resource.digest.0).collect();
        let mut expected: Vec<Digest> =
            scans.iter().chain([&by_security]).map(|found| found.attestation.evidence()).collect();
        assert_eq!(listed.iter().collect::<BTreeSet<_>>(), expected.iter().collect::<BTreeSet<_>>());
        assert_eq!(listed.len(), expected.len(), "each once");
        let Outcome::Met(evidence) = &finding.outcome else { panic!("{finding:?}") };
        let kept: BTreeSet<Digest> = decision.verdict().kept.by_digest().map(|(digest, _)| digest).collect();
        assert!(kept.is_superset(&expected.iter().copied().collect()), "its bytes are kept");
        assert!(!kept.contains(&by_build.attestation.evidence()));
        expected.retain(|digest| !evidence.iter().any(|resource| resource.digest.0 == *digest));
        assert_eq!(expected, [], "the record names it");
    }
    // What clears nothing was not relied on.
    let mut clean = predicate(FOLDER, "scan.json", &image);
    clean["scanner"]["result"] = json!([]);
    let clean = attest(&world, "scanner", VULNS_V0_2, clean, image.root);
    let decision = world.ask("production", &image, &[clean, by_security]);
    assert_eq!(finding(yes(&decision), Requirement::Attestation).carried.len(), 1);
}

#[test]
fn limits_count_the_worse_too_and_what_cannot_be_read() {
    let scan = |scores: &[(&str, &str)]| {
        let result = scores.iter().enumerate().map(|(number, (method, score))| {
            json!({ "id": format!("CVE-{number}"), "severity": [{ "method": method, "score": score }] })
        });
        json!({
            "scanner": { "uri": "pkg:x", "result": result.collect::<Vec<_>>() },
            "metadata": { "scanStartedOn": "2030-03-01T08:00:00Z", "scanFinishedOn": "2030-03-01T08:00:00Z" },
        })
    };
    type Scores = &'static [(&'static str, &'static str)];
    let rows: [(&str, Scores, &str); 8] = [
        ("high = 0", &[("nvd", "medium")], ""),
        ("high = 0", &[("nvd", "critical")], "1 finding(s) high or worse"),
        (
            "critical = 0, high = 1",
            &[("nvd", "high"), ("cvss", "7.0")],
            "2 finding(s) high or worse, at most 1",
        ),
        ("critical = 0", &[("vendor", "urgent")], "1 finding(s) critical or worse"),
        ("critical = 0, unknown = 1", &[("vendor", "urgent")], ""),
        ("critical = 0, unknown = 0", &[("vendor", "urgent")], "1 finding(s) of unknown severity"),
        ("unknown = 0", &[("nvd", "critical")], ""),
        ("low = 0", &[("cvss_v3", "0.0")], ""),
    ];
    for (limits, scores, expected) in rows {
        let (world, image) =
            soaked(&one(&format!("{{ type = 'vulns', signer = 'scanner', at-most = {{ {limits} }} }}")));
        let found = attest(&world, "scanner", VULNS_V0_2, scan(scores), image.root);
        let decision = world.ask("production", &image, &[found]);
        match expected.is_empty() {
            true => _ = yes(&decision),
            false => refused(&decision, Code::AttestationMismatch, &[expected]),
        }
    }
}

#[test]
fn b2_old_evidence_shown_again() {
    const FOLDER: &str = "b2-old-evidence-again";
    let scan = "type = 'vulns', signer = 'scanner', at-most = { low = 0 }";
    // 25 hours old when it is asked, an hour after the morning.
    let (world, image) = soaked(&one(&format!("{{ {scan}, max-age = '24h' }}")));
    let found = |world: &World, file: &str| {
        attest(world, "scanner", VULNS_V0_2, predicate(FOLDER, file, &image), image.root)
    };
    let decision = world.ask("production", &image, &[found(&world, "scan.json")]);
    refused(&decision, Code::AttestationStale, &["it was made at 2030-02-28T09:00:00Z: longer ago than 1d"]);
    // A day that has not come is no way around it, with or without an age.
    let decision = world.ask("production", &image, &[found(&world, "future.json")]);
    refused(&decision, Code::AttestationStale, &["which has not come yet"]);
    let (world, _) = soaked(&one(&format!("{{ {scan} }}")));
    yes(&world.ask("production", &image, &[found(&world, "scan.json")]));
    let decision = world.ask("production", &image, &[found(&world, "future.json")]);
    refused(&decision, Code::AttestationStale, &["which has not come yet"]);
    // Exactly as old as it may be, then a minute more.
    let (world, _) = soaked(&one(&format!("{{ {scan}, max-age = '25h' }}")));
    yes(&world.ask("production", &image, &[found(&world, "scan.json")]));
    world.wait(1);
    no(&world.ask("production", &image, &[found(&world, "scan.json")]), &[Code::AttestationStale]);
    // Nothing shows its age: it has none that would do.
    let bom = |world: &World| {
        attest(world, "build", CYCLONEDX, predicate(FOLDER, "cyclonedx.json", &image), image.root)
    };
    let (world, _) = soaked(&one("{ type = 'cyclonedx', signer = 'build', max-age = '3650d' }"));
    let decision = world.ask("production", &image, &[bom(&world)]);
    refused(&decision, Code::AttestationStale, &["a key proves no time, and it states none"]);
    let (world, _) = soaked(&one("{ type = 'cyclonedx', signer = 'build' }"));
    yes(&world.ask("production", &image, &[bom(&world)]));
}

#[test]
fn b3_a_verdict_counts_by_its_verifier_signer_and_resource() {
    const FOLDER: &str = "b3-our-own-verdict";
    let rule = "{ type = 'vsa', signer = 'verifier', verifier = 'https://verifier.example', \
                resource-uri = 'registry.example/{service}', levels = ['SLSA_BUILD_LEVEL_3'], \
                policy = 'https://verifier.example/policy' }";
    let (world, image) = soaked(&one(rule));
    let ask = |who: &str, file: &str| {
        world.ask(
            "production",
            &image,
            &[attest(&world, who, VSA, predicate(FOLDER, file, &image), image.root)],
        )
    };
    yes(&ask("verifier", "vsa.json"));
    // Ours, by the promoter who publishes it and by the verifier himself.
    refused(&ask("release", "our-own.json"), Code::NoAttestation, &["there is a vsa by `release`"]);
    refused(
        &ask("verifier", "our-own.json"),
        Code::AttestationMismatch,
        &["the verifier is https://samebits.dev/gate"],
    );
    // The right words by somebody else who is known.
    refused(&ask("release", "vsa.json"), Code::NoAttestation, &["there is a vsa by `release`"]);
    for (file, expected) in [
        ("other-resource.json", "it is about registry.example/api"),
        ("failed.json", "it says FAILED"),
        ("lower.json", "it verified SLSA_BUILD_LEVEL_2, not SLSA_BUILD_LEVEL_3"),
    ] {
        refused(&ask("verifier", file), Code::AttestationMismatch, &[expected]);
    }
    let mut policy = predicate(FOLDER, "vsa.json", &image);
    policy["policy"]["uri"] = json!("https://verifier.example/lax");
    let found = attest(&world, "verifier", VSA, policy, image.root);
    refused(
        &world.ask("production", &image, &[found]),
        Code::AttestationMismatch,
        &["by the policy https://verifier.example/lax"],
    );
    // SVR: the same pair.
    let (world, image) = soaked(&one(
        "{ type = 'svr', signer = 'verifier', verifier = 'https://v.example', properties = ['A', 'B'] }",
    ));
    let svr = |verifier: &str, properties: &[&str]| json!({ "verifier": { "id": verifier }, "timeCreated": "2030-03-01T08:00:00Z", "properties": properties });
    let ask = |who: &str, said: Value| {
        world.ask("production", &image, &[attest(&world, who, SVR, said, image.root)])
    };
    yes(&ask("verifier", svr("https://v.example", &["B", "C", "A"])));
    refused(&ask("release", svr("https://v.example", &["A", "B"])), Code::NoAttestation, &["by `release`"]);
    refused(
        &ask("verifier", svr("https://w.example", &["A", "B"])),
        Code::AttestationMismatch,
        &["verifier is https://w.example"],
    );
    refused(
        &ask("verifier", svr("https://v.example", &["A"])),
        Code::AttestationMismatch,
        &["B is not among the properties"],
    );
}

const AFTER: &str = "{ type = 'test-result', signer = 'tester', after-deployment = 'staging' }";

#[test]
fn c11_tests_that_are_not_shown_to_come_after_the_deployment() {
    const FOLDER: &str = "c11-tests-before-the-deployment";
    let mut world = World::new(&one(AFTER));
    let (image, other) = (Built::shop("1"), Built::shop("2"));
    let deployed = world.staged(&image);
    let elsewhere = world.staged(&other);
    world.staged(&image);
    world.wait(60);
    let records = history(&world, &image);
    let digest = |index: u64| {
        records.iter().find(|record| record.position().index == index).unwrap().resource().digest.0.hex()
    };
    let ask = |file: &str, named: &str, who: &str| {
        let text = vector(FOLDER, file).replace("@RECORD@", named);
        let found = attest(&world, who, TEST_RESULT, serde_json::from_str(&text).unwrap(), image.root);
        world.ask("production", &image, &[found])
    };
    let named = digest(deployed.index);
    yes(&ask("after.json", &named, "tester"));
    refused(&ask("after.json", &named, "staging"), Code::NoAttestation, &["by `staging`"]);
    // By a key, nothing else shows it: not the claim to have passed, not another image's record, not any digest.
    let nothing = "nothing shows that it was made after the deployment in `staging`: a key proves no time";
    refused(&ask("passed.json", "", "tester"), Code::AttestationMismatch, &[nothing]);
    refused(&ask("after.json", &digest(elsewhere.index), "tester"), Code::AttestationMismatch, &[nothing]);
    refused(&ask("after.json", &image.root.hex(), "tester"), Code::AttestationMismatch, &[nothing]);
    // Red tests of the right deployment.
    for (file, expected) in [
        ("failed.json", "it says FAILED"),
        ("warned.json", "it says WARNED"),
        ("failed-test.json", "1 test(s) failed, the first is load"),
    ] {
        refused(&ask(file, &named, "tester"), Code::AttestationMismatch, &[expected]);
    }
    // A green run beside a red one is green: what takes it back is not another attestation.
    let text = |file: &str| serde_json::from_str(&vector(FOLDER, file).replace("@RECORD@", &named)).unwrap();
    let both = ["failed.json", "after.json"]
        .map(|file| attest(&world, "tester", TEST_RESULT, text(file), image.root));
    yes(&world.ask("production", &image, &both));
}

#[test]
fn c11_the_deployment_has_to_be_one() {
    const FOLDER: &str = "c11-tests-before-the-deployment";
    let image = Built::shop("1");
    let ask = |world: &World, digest: Digest| {
        let text = vector(FOLDER, "after.json").replace("@RECORD@", &digest.hex());
        let found = attest(world, "tester", TEST_RESULT, serde_json::from_str(&text).unwrap(), image.root);
        world.ask("production", &image, &[found])
    };
    let named = |world: &World, index: u64| {
        let records = history(world, &image);
        records.iter().find(|record| record.position().index == index).unwrap().resource().digest.0
    };
    // Never deployed.
    let world = World::new(&one(AFTER));
    let decision = ask(&world, Digest::of(b""));
    let verdict = no(&decision, &[Code::AttestationMismatch, Code::NeverDeployed]);
    says(verdict, Requirement::Attestation, &["`staging` has no deployment of linux/amd64"]);
    // Said by somebody who may not say it; failed; only asserted where a collector is wanted.
    let mut world = World::new(&one(AFTER));
    let said = world.deployment("staging", &image);
    let forged = world.record("release", &said);
    let failed = world.record("staging", &said.clone().status(Status::Failed));
    let asserted = world.record("staging", &said.asserted());
    for position in [forged, failed, asserted] {
        let digest = named(&world, position.index);
        let decision = ask(&world, digest);
        assert_eq!(standing(&decision), [Some(Code::AttestationMismatch)], "record {}", position.index);
    }
    // Of one platform only.
    let said = world.deployment("staging", &image).runtime(image.child("linux/amd64"), None);
    let position = world.record("staging", &said);
    let digest = named(&world, position.index);
    let decision = ask(&world, digest);
    let finding = finding(decision.verdict(), Requirement::Attestation);
    assert!(finding.nearest[0].contains("no deployment of linux/arm64"), "{:?}", finding.nearest);
}

#[test]
fn tests_and_configurations_by_name() {
    let rule =
        "{ type = 'test-result', signer = 'tester', tests = ['smoke', 'load'], configuration = ['ci.yml'] }";
    let (world, image) = soaked(&one(rule));
    let ask = |passed: &[&str], configuration: Value| {
        let said = json!({ "result": "PASSED", "configuration": configuration, "passedTests": passed });
        world.ask("production", &image, &[attest(&world, "tester", TEST_RESULT, said, image.root)])
    };
    let ci = json!([{ "name": "other.yml" }, { "name": "ci.yml" }]);
    yes(&ask(&["load", "smoke", "more"], ci.clone()));
    refused(&ask(&["smoke"], ci), Code::AttestationMismatch, &["load is not among the tests that passed"]);
    let decision = ask(&["load", "smoke"], json!([{ "uri": "ci.yml" }]));
    refused(&decision, Code::AttestationMismatch, &["it was not run with the configuration ci.yml"]);
}

#[test]
fn any_other_predicate_by_fields_and_expressions() {
    let rule = |content: &str| one(&format!("{{ type = '{LICENCES}', signer = 'build', {content} }}"));
    let ask = |content: &str, kind: &str, said: Value| {
        let (world, image) = soaked(&rule(content));
        world.ask("production", &image, &[attest(&world, "build", kind, said, image.root)])
    };
    let good = || json!({ "ok": true, "count": 3, "who": { "name": "ana" }, "list": [1, 2] });
    for content in [
        "present = true",
        "fields = { '/ok' = true, '/count' = 3, '/who/name' = 'ana', '/list/1' = 2 }",
        "cel = 'predicate.count == 3 && predicate.ok'",
        "cel = '''signer == 'build' && service == 'shop' && environment == 'production' '''",
        "cel = '''subject.all(s, s.name == 'registry.example/' + service)'''",
        "fields = { '/ok' = true }, cel = 'size(predicate.list) == 2'",
    ] {
        yes(&ask(content, LICENCES, good()));
    }
    for (content, expected) in [
        ("fields = { '/ok' = false }", "`/ok` is true, not false"),
        ("fields = { '/ok' = 'true' }", "`/ok` is true, not `true`"),
        ("fields = { '/missing' = 'x' }", "`/missing` is absent"),
        ("fields = { '/ok' = true, '/count' = 4 }", "`/count` is 3, not 4"),
        ("cel = 'predicate.count > 3'", "is false"),
        ("cel = 'predicate.count'", "is neither true nor false"),
        ("cel = 'predicate.missing'", "cannot be evaluated"),
        ("cel = 'predicate.missing != 1'", "cannot be evaluated"),
        ("fields = { '/ok' = true }, cel = 'false'", "is false"),
    ] {
        refused(&ask(content, LICENCES, good()), Code::AttestationMismatch, &[expected]);
    }
    // The type is compared exactly, and a statement without a predicate says nothing.
    refused(
        &ask("present = true", "https://acme.example/licences/v10", good()),
        Code::NoAttestation,
        &["none"],
    );
    // Fields and expressions hold for the known types too, beside their own rules.
    let (world, image) = soaked(&one(
        "{ type = 'cyclonedx', signer = 'build', fields = { '/specVersion' = '1.6' }, cel = 'predicate.components.size() > 0' }",
    ));
    let bom = json!({ "bomFormat": "CycloneDX", "specVersion": "1.6", "components": [] });
    let found = attest(&world, "build", CYCLONEDX, bom, image.root);
    refused(&world.ask("production", &image, &[found]), Code::AttestationMismatch, &["is false"]);
}

/// Foreign text in a finding cannot steer a terminal.
#[test]
fn d8_what_a_predicate_says_is_told_in_harmless_letters() {
    let (world, image) =
        soaked(&one(&format!("{{ type = '{LICENCES}', signer = 'build', fields = {{ '/a' = 'x' }} }}")));
    let said = json!({ "a": "\u{1b}[2J::error::\r\n" });
    let decision = world.ask("production", &image, &[attest(&world, "build", LICENCES, said, image.root)]);
    let finding = finding(decision.verdict(), Requirement::Attestation);
    assert!(
        finding.nearest.iter().all(|line| line.chars().all(|c| !c.is_control())),
        "{:?}",
        finding.nearest
    );
}

#[test]
fn a_rule_that_warns_until_a_day() {
    let (world, image) = soaked(&one("{ type = 'spdx', signer = 'build', warn-until = 2030-03-01 }"));
    let decision = world.ask("production", &image, &[]);
    let finding = finding(yes(&decision), Requirement::Attestation);
    assert!(matches!(finding.outcome, Outcome::Warned(Code::NoAttestation, _)));
    world.wait(24 * 60);
    no(&world.ask("production", &image, &[]), &[Code::NoAttestation]);
}

/// The records of the shop, as the gate sees them.
fn history(world: &World, image: &Built) -> Vec<samebits::record::Record> {
    let question = world.question(image);
    let target = question.target("production");
    question.evidence(&target, &[]).history
}
