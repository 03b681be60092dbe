//! Rows about signatures and provenance.

use samebits::digest::Digest;
use samebits::evidence::Raw;
use samebits::gate::{Code, Requirement};
use samebits::record::Summary;
use samebits::verify::provenance::level::Level;
use samebits::verify::{COSIGN_SIGN, SIMPLE_SIGNING, bundle, provenance, simple_signing};
use serde_json::{Value, json};

use super::world::*;

const SHOP: &str = "registry.example/shop";
const PIECE: &str = "source = \"https://git.example/acme/{service}\"";

#[test]
fn b4_absent_evidence_is_a_no_for_each_piece_of_it() {
    let world = World::new(POLICY);
    let image = Built::shop("1");
    let attestations = world.built(&image);
    yes(&world.ask("staging", &image, &attestations));
    no(&world.ask("staging", &image, &attestations[1..]), &[Code::NotSignedBy]);
    no(&world.ask("staging", &image, &attestations[..1]), &[Code::NoProvenance]);
    no(&world.ask("staging", &image, &[]), &[Code::NotSignedBy, Code::NoProvenance]);
}

#[test]
fn b7_a_key_that_has_to_be_dated_and_is_not() {
    let world = World::new(&with(&[("time = \"not-required\"\n", "")]));
    let image = Built::shop("1");
    let decision = world.ask("staging", &image, &world.built(&image));
    let verdict = no(&decision, &[Code::NotSignedBy, Code::NoProvenance]);
    let says_so = ["by the key of `build`", "without a log entry or timestamp", "time = \"not-required\""];
    says(verdict, Requirement::SignedBy, &says_so);
    says(verdict, Requirement::Provenance, &says_so);
    // Of another key there is nothing of the kind to say.
    let other = world.attest("production", COSIGN_SIGN, json!({}), &[(SHOP, image.root)]);
    let decision = world.ask("staging", &image, &[other]);
    let verdict = no(&decision, &[Code::NotSignedBy, Code::NoProvenance]);
    let nearest = &finding(verdict, Requirement::SignedBy).nearest;
    assert!(!nearest.concat().contains("without a log entry"), "{nearest:?}");
}

#[test]
fn c1_whoever_signs_records_is_dated_by_the_ledger() {
    // Neither deployers nor promoters nor approvers say `time`, and their records count.
    assert_eq!(POLICY.matches("time = ").count(), 1);
    let mut world = World::new(POLICY);
    let image = Built::shop("1");
    world.staged(&image);
    world.approve("ana", &world.approval("ana", &image));
    world.wait(61);
    yes(&world.ask("production", &image, &[]));
}

#[test]
fn b1_the_right_key_over_another_image() {
    let world = World::new(POLICY);
    let (image, other) = (Built::shop("1"), Built::shop("2"));
    let decision = world.ask("staging", &image, &world.built(&other));
    let verdict = no(&decision, &[Code::NotSignedBy, Code::NoProvenance]);
    let other = other.root.to_string();
    says(verdict, Requirement::SignedBy, &["is about another image", &other]);
}

#[test]
fn b1_the_right_key_over_the_bytes_of_another_service() {
    let world = World::new(POLICY);
    let image = Built::shop("1");
    let about = [("registry.example/api", image.root)];
    let foreign = [
        world.attest("build", COSIGN_SIGN, json!({}), &about),
        world.attest("build", provenance::V1, slsa(SOURCE), &about),
    ];
    let decision = world.ask("staging", &image, &foreign);
    let verdict = no(&decision, &[Code::NotSignedBy, Code::NoProvenance]);
    says(verdict, Requirement::SignedBy, &["registry.example/api, which is not a repository of the service"]);
    // One that names both was made for both.
    let about = [("registry.example/api", image.root), (SHOP, image.root)];
    let both = [
        world.attest("build", COSIGN_SIGN, json!({}), &about),
        world.attest("build", provenance::V1, slsa(SOURCE), &about),
    ];
    yes(&world.ask("staging", &image, &both));
}

#[test]
fn b1_one_subject_of_the_service_does_not_lend_its_name_to_another() {
    let world = World::new(POLICY);
    let image = Built::shop("1");
    let (amd64, arm64) = (image.child("linux/amd64"), image.child("linux/arm64"));
    // A release of two services in one statement: only the shop's subject counts for the shop.
    let sign = |about: &[(&str, Digest)]| {
        vec![
            world.attest("build", COSIGN_SIGN, json!({}), about),
            world.attest("build", provenance::V1, slsa(SOURCE), about),
        ]
    };
    let mixed = sign(&[("registry.example/api", image.root), (SHOP, amd64)]);
    let decision = world.ask("staging", &image, &mixed);
    let arm = arm64.to_string();
    says(no(&decision, &[Code::NotSignedBy, Code::NoProvenance]), Requirement::SignedBy, &[&arm]);
    yes(&world.ask("staging", &image, &sign(&[(SHOP, arm64), (SHOP, amd64)])));
    // A nameless subject beside a foreign one is not the service's either.
    no(
        &world.ask("staging", &image, &sign(&[("", image.root), ("registry.example/api", amd64)])),
        &[Code::NotSignedBy, Code::NoProvenance],
    );
}

/// cosign 3 signs without a name. One build key for all services then says nothing about the service.
#[test]
fn b1_a_nameless_signature_counts_only_where_something_ties_it_to_the_service() {
    let image = Built::shop("1");
    let nameless = |world: &World| {
        let about = [("", image.root)];
        vec![
            world.attest("build", COSIGN_SIGN, json!({}), &about),
            world.attest("build", provenance::V1, slsa(SOURCE), &about),
        ]
    };
    // Required provenance from a source that is the service's alone: a tie.
    let world = World::new(POLICY);
    yes(&world.ask("staging", &image, &nameless(&world)));
    // From one source for all services: no tie; the image of `api` would pass as the shop's.
    let world = World::new(&with(&[(PIECE, "source = \"https://git.example/acme/shop\"")]));
    let decision = world.ask("staging", &image, &nameless(&world));
    let verdict = no(&decision, &[Code::NotSignedBy, Code::NoProvenance]);
    says(verdict, Requirement::SignedBy, &["names no repository", "{service}"]);
    yes(&world.ask("staging", &image, &world.built(&image)));
    // No provenance asked for: no tie.
    let text = with(&[(PIECE, PIECE)]);
    let (before, rest) = text.split_once("[environments.staging.require.provenance]").unwrap();
    let (_, after) = rest.split_once("[environments.production]").unwrap();
    let world = World::new(&format!("{before}[environments.production]{after}"));
    no(&world.ask("staging", &image, &nameless(&world)), &[Code::NotSignedBy]);
    yes(&world.ask("staging", &image, &world.built(&image)));
    // The only service there is: a tie.
    let world = World::new(&with(&[("[services.api]\nrepository = \"registry.example/api\"\n", "")]));
    yes(&world.ask("staging", &image, &nameless(&world)));
}

#[test]
fn b1_provenance_that_only_warns_ties_nothing() {
    let warn = "ref = \"refs/heads/main\"\nwarn-until = 2031-01-01";
    let world = World::new(&with(&[("ref = \"refs/heads/main\"", warn)]));
    // The bytes of `api`, signed without a name by the key both share, with the provenance of `api`.
    let image = Built::shop("1");
    let foreign = [
        world.attest("build", COSIGN_SIGN, json!({}), &[("", image.root)]),
        world.attest("build", provenance::V1, slsa("https://git.example/acme/api"), &[("", image.root)]),
    ];
    no(&world.ask("staging", &image, &foreign), &[Code::NotSignedBy]);
    // With the service's name, the missing provenance is a warning.
    let signed = world.attest("build", COSIGN_SIGN, json!({}), &[(SHOP, image.root)]);
    yes(&world.ask("staging", &image, &[signed]));
}

#[test]
fn b6_another_signer_however_well_known() {
    let world = World::new(POLICY);
    let image = Built::shop("1");
    for who in ["release", "staging", "ana"] {
        let about = [(SHOP, image.root)];
        let attestations = [
            world.attest(who, COSIGN_SIGN, json!({}), &about),
            world.attest(who, provenance::V1, slsa(SOURCE), &about),
        ];
        let decision = world.ask("staging", &image, &attestations);
        let verdict = no(&decision, &[Code::NotSignedBy, Code::NoProvenance]);
        says(verdict, Requirement::SignedBy, &["there is a signature by"]);
    }
}

#[test]
fn b15_provenance_by_the_wrong_signer_or_saying_something_else() {
    let world = World::new(POLICY);
    let image = Built::shop("1");
    let about = [(SHOP, image.root)];
    let signed = world.attest("build", COSIGN_SIGN, json!({}), &about);
    let by = |who: &str, predicate: Value| world.attest(who, provenance::V1, predicate, &about);
    no(&world.ask("staging", &image, &[signed.clone(), by("release", slsa(SOURCE))]), &[Code::NoProvenance]);

    let mut builder = slsa(SOURCE);
    builder["runDetails"]["builder"]["id"] = json!("https://ci.example/builder2");
    let mut branch = slsa(SOURCE);
    branch["buildDefinition"]["externalParameters"]["workflow"]["ref"] = json!("refs/heads/mainx");
    branch["buildDefinition"]["resolvedDependencies"][0]["uri"] =
        json!(format!("git+{SOURCE}@refs/heads/mainx"));
    let rows = [
        (slsa("https://git.example/acme/shop-fork"), "source is"),
        (slsa("https://git.example/acme/api"), "source is"),
        (builder, "builder is https://ci.example/builder2"),
        (branch, "ref is refs/heads/mainx"),
        (json!({}), "provenance by `build`"),
    ];
    for (predicate, expected) in rows {
        let decision = world.ask("staging", &image, &[signed.clone(), by("build", predicate)]);
        says(no(&decision, &[Code::ProvenanceMismatch]), Requirement::Provenance, &[expected]);
    }
    // A good one beside a bad one is good: evidence is positive.
    let beside = [signed, by("build", slsa("https://git.example/x/y")), by("build", slsa(SOURCE))];
    yes(&world.ask("staging", &image, &beside));
}

#[test]
fn a4_attestations_on_platforms_cover_the_image_only_together() {
    let world = World::new(POLICY);
    let image = Built::shop("1");
    let on = |platform: &str| {
        let about = [(SHOP, image.child(platform))];
        vec![
            world.attest("build", COSIGN_SIGN, json!({}), &about),
            world.attest("build", provenance::V1, slsa(SOURCE), &about),
        ]
    };
    let (amd64, arm64) = (on("linux/amd64"), on("linux/arm64"));
    let decision = world.ask("staging", &image, &amd64);
    let verdict = no(&decision, &[Code::NotSignedBy, Code::NoProvenance]);
    says(verdict, Requirement::SignedBy, &["not for linux/arm64"]);
    yes(&world.ask("staging", &image, &[amd64.clone(), arm64].concat()));
    // The root of another index with the same child covers that child at most.
    let other = Built::index(&[("linux/amd64", "1"), ("linux/arm64", "2")]);
    let on_root = [("registry.example/shop", other.root)];
    let foreign = world.attest("build", COSIGN_SIGN, json!({}), &on_root);
    no(&world.ask("staging", &image, &[foreign]), &[Code::NotSignedBy, Code::NoProvenance]);
}

/// What a runtime would choose in the place of a listed platform counts, listed or not.
#[test]
fn a4_an_unlisted_variant_or_a_second_manifest_of_a_platform_is_not_carried_along() {
    let image = Built::index(&[("linux/amd64", "1"), ("linux/arm/v6", "1"), ("linux/arm/v7", "evil")]);
    let twice = Built::index(&[("linux/amd64", "1"), ("linux/arm/v6", "1"), ("linux/amd64", "evil")]);
    let foreign = Built::index(&[("linux/amd64", "1"), ("linux/arm/v6", "1"), ("linux/s390x", "evil")]);
    let mut world = World::new(&with(&[("\"linux/arm64\"]", "\"linux/arm/v6\"]")]));
    let good = Built::index(&[("linux/amd64", "1"), ("linux/arm/v6", "1")]);
    let about = [(SHOP, good.child("linux/amd64")), (SHOP, good.child("linux/arm/v6"))];
    let attestations = [
        world.attest("build", COSIGN_SIGN, json!({}), &about),
        world.attest("build", provenance::V1, slsa(SOURCE), &about),
    ];
    yes(&world.ask("staging", &good, &attestations));
    no(&world.ask("staging", &foreign, &attestations), &[Code::NotSignedBy, Code::NoProvenance]);
    no(&world.ask("staging", &image, &attestations), &[Code::NotSignedBy, Code::NoProvenance]);
    no(&world.ask("staging", &twice, &attestations), &[Code::NotSignedBy, Code::NoProvenance]);
    // The same of the past.
    world.staged(&good);
    let approved: Vec<_> = [&image, &twice, &foreign].map(|built| world.approval("ana", built)).into();
    for approval in &approved {
        world.approve("ana", approval);
    }
    world.wait(60);
    no(&world.ask("production", &image, &[]), &[Code::PlatformUnproven]);
    no(&world.ask("production", &twice, &[]), &[Code::PlatformUnproven]);
    no(&world.ask("production", &foreign, &[]), &[Code::PlatformUnproven]);
    // What the policy does not list need not have run by itself; it has to be in an image that did.
    world.staged(&foreign);
    world.wait(60);
    yes(&world.ask("production", &foreign, &[]));
}

#[test]
fn simple_signing_is_a_signature_and_a_plain_attestation_is_none() {
    use base64::Engine as _;
    let world = World::new(POLICY);
    let image = Built::shop("1");
    let about = [(SHOP, image.root)];
    let provenance = world.attest("build", provenance::V1, slsa(SOURCE), &about);
    let legacy = |name: &str, digest: Digest| {
        let payload = json!({ "critical": {
            "identity": { "docker-reference": name },
            "image": { "docker-manifest-digest": digest },
            "type": "cosign container image signature",
        }, "optional": null })
        .to_string();
        let signature = world.key("build").sign(payload.as_bytes()).unwrap();
        let signature = base64::engine::general_purpose::STANDARD.encode(signature);
        let attestation = simple_signing(payload.as_bytes(), &signature, &world.trust).unwrap();
        assert_eq!(attestation.predicate_type(), SIMPLE_SIGNING);
        samebits::evidence::Found {
            on: image.root,
            source: samebits::evidence::Source::SignatureTag,
            attestation,
            raw: Raw::bundle(payload.into()),
        }
    };
    yes(&world.ask("staging", &image, &[provenance.clone(), legacy(SHOP, image.root)]));
    let decision =
        world.ask("staging", &image, &[provenance.clone(), legacy("registry.example/api", image.root)]);
    no(&decision, &[Code::NotSignedBy]);
    let decision = world.ask("staging", &image, &[provenance.clone(), legacy(SHOP, Digest::of(b"other"))]);
    no(&decision, &[Code::NotSignedBy]);
    // Something else that the build signed about the image is not its signature.
    let sbom = world.attest("build", "https://spdx.dev/Document", json!({}), &about);
    no(&world.ask("staging", &image, &[provenance, sbom]), &[Code::NotSignedBy]);
}

#[test]
fn provenance_that_warns_until_a_day() {
    let warn = "ref = \"refs/heads/main\"\nwarn-until = 2030-03-01";
    let world = World::new(&with(&[("ref = \"refs/heads/main\"", warn)]));
    let image = Built::shop("1");
    let signed = world.attest("build", COSIGN_SIGN, json!({}), &[(SHOP, image.root)]);
    yes(&world.ask("staging", &image, std::slice::from_ref(&signed)));
    // It warns about provenance only.
    no(&world.ask("staging", &image, &[]), &[Code::NotSignedBy]);
    world.wait(24 * 60);
    no(&world.ask("staging", &image, &[signed]), &[Code::NoProvenance]);
}

/// The rule of the sample with more lines, and the provenance that one builder of it writes.
fn asked_more(more: &str) -> World {
    World::new(&with(&[("ref = \"refs/heads/main\"", &format!("ref = \"refs/heads/main\"\n{more}"))]))
}

fn detailed() -> Value {
    let mut predicate = slsa(SOURCE);
    predicate["buildDefinition"]["externalParameters"]["workflow"]["path"] =
        json!(".github/workflows/shop.yml");
    predicate["buildDefinition"]["externalParameters"]["inputs"] =
        json!({ "debug": false, "jobs": 2, "a/b": "for shop", "list": ["x"] });
    predicate
}

/// Every key of the rule: met by what says it, refused by what says something else or nothing.
#[test]
fn b15_every_field_that_the_rule_names_is_compared_exactly() {
    let image = Built::shop("1");
    let full = "a".repeat(40);
    let rows = [
        (format!("commit = \"{full}\""), format!("commit = \"{}\"", "b".repeat(40)), "commit is aaaa"),
        (
            "workflow = \".github/workflows/{service}.yml\"".to_owned(),
            "workflow = \".github/workflows/other.yml\"".to_owned(),
            "workflow is .github/workflows/shop.yml",
        ),
        (
            "build-type = \"https://actions.github.io/buildtypes/workflow/v1\"".to_owned(),
            "build-type = \"https://actions.github.io/buildtypes/workflow/v1/\"".to_owned(),
            "build type is https://actions.github.io/buildtypes/workflow/v1",
        ),
        (
            "parameters = { \"/inputs/debug\" = false, \"/inputs/jobs\" = 2, \"/inputs/a~1b\" = \"for {service}\" }"
                .to_owned(),
            "parameters = { \"/inputs/debug\" = false, \"/inputs/jobs\" = 3 }".to_owned(),
            "parameter /inputs/jobs is 2",
        ),
        ("parameters = { \"/inputs/list/0\" = \"x\" }".to_owned(), "parameters = { \"/inputs/list\" = \"x\" }".to_owned(), "parameter /inputs/list is"),
        // The type counts, and what is absent is nothing.
        ("level = 1".to_owned(), "parameters = { \"/inputs/debug\" = \"false\" }".to_owned(), "parameter /inputs/debug is false"),
        ("level = 1".to_owned(), "parameters = { \"/inputs/jobs\" = \"2\" }".to_owned(), "parameter /inputs/jobs is 2"),
        ("level = 1".to_owned(), "parameters = { \"/inputs/gone\" = false }".to_owned(), "parameter /inputs/gone is absent"),
        // A key does not show which platform holds it.
        ("level = 1".to_owned(), "level = 2".to_owned(), "SLSA Build level is 1, not more: a key signed it"),
        ("level = 1".to_owned(), "level = 3".to_owned(), "SLSA Build level is 1, not more: a key signed it"),
    ];
    for (good, bad, expected) in rows {
        let attest = |world: &World| {
            let about = [(SHOP, image.root)];
            [
                world.attest("build", COSIGN_SIGN, json!({}), &about),
                world.attest("build", provenance::V1, detailed(), &about),
            ]
        };
        let world = asked_more(&good);
        yes(&world.ask("staging", &image, &attest(&world)));
        let world = asked_more(&bad);
        let decision = world.ask("staging", &image, &attest(&world));
        says(no(&decision, &[Code::ProvenanceMismatch]), Requirement::Provenance, &[expected]);
    }
}

#[test]
fn b15_what_the_rule_names_and_the_provenance_leaves_out_is_a_no() {
    let image = Built::shop("1");
    let mut silent = slsa(SOURCE);
    silent["buildDefinition"]["resolvedDependencies"] = json!([]);
    silent["buildDefinition"]["externalParameters"]["workflow"].as_object_mut().unwrap().remove("ref");
    let commit = format!("commit = \"{}\"", "a".repeat(40));
    for (more, expected) in [
        (commit.as_str(), "commit is absent"),
        ("workflow = \".github/workflows/shop.yml\"", "workflow is absent"),
        ("parameters = { \"/inputs/debug\" = false }", "parameter /inputs/debug is absent"),
    ] {
        let world = asked_more(more);
        let about = [(SHOP, image.root)];
        let attestations = [
            world.attest("build", COSIGN_SIGN, json!({}), &about),
            world.attest("build", provenance::V1, silent.clone(), &about),
        ];
        let decision = world.ask("staging", &image, &attestations);
        let verdict = no(&decision, &[Code::ProvenanceMismatch]);
        says(verdict, Requirement::Provenance, &[expected, "ref is absent"]);
        assert_eq!(verdict.level(), None);
    }
}

/// Tekton: whoever may start a run chooses the pipeline, which may build anything from the right source.
#[test]
fn b15_instructions_from_another_repository_count_only_where_the_rule_names_them() {
    let image = Built::shop("1");
    let mut tekton = slsa(SOURCE);
    tekton["buildDefinition"] = json!({
        "buildType": "https://tekton.dev/chains/v2/slsa",
        "externalParameters": { "buildConfigSource": {
            "repository": "git+https://git.example/evil/pipelines", "ref": "sha1:00", "path": "image.yaml",
        } },
        "resolvedDependencies": [{
            "name": "inputs/result", "uri": format!("git+{SOURCE}@refs/heads/main"), "digest": { "sha1": "a".repeat(40) },
        }],
    });
    let ask = |more: &str| {
        let world = asked_more(more);
        let about = [(SHOP, image.root)];
        let attestations = [
            world.attest("build", COSIGN_SIGN, json!({}), &about),
            world.attest("build", provenance::V1, tekton.clone(), &about),
        ];
        world.ask("staging", &image, &attestations)
    };
    let decision = ask("");
    let verdict = no(&decision, &[Code::ProvenanceMismatch]);
    says(verdict, Requirement::Provenance, &["git.example/evil/pipelines", "name them with `workflow`"]);
    let other = "workflow = \"https://git.example/acme/pipelines/image.yaml\"";
    no(&ask(other), &[Code::ProvenanceMismatch]);
    no(&ask("workflow = \"image.yaml\""), &[Code::ProvenanceMismatch]);
    yes(&ask("workflow = \"https://git.example/evil/pipelines/image.yaml\""));
}

/// The level is the table's, whatever the provenance says of itself.
#[test]
fn b15_a_level_is_claimed_as_far_as_the_signer_justifies_it_and_no_further() {
    let world = World::new(POLICY);
    let image = Built::shop("1");
    let about = [(SHOP, image.root)];
    let mut boastful = slsa(SOURCE);
    boastful["runDetails"]["metadata"] = json!({ "slsaLevel": 3, "verifiedLevels": ["SLSA_BUILD_LEVEL_3"] });
    let attestations = [
        world.attest("build", COSIGN_SIGN, json!({}), &about),
        world.attest("build", provenance::V1, boastful, &about),
    ];
    let decision = world.ask("staging", &image, &attestations);
    let verdict = yes(&decision);
    let found = &finding(verdict, Requirement::Provenance).found;
    assert!(found.contains("SLSA Build level 1: a key signed it"), "{found}");
    assert_eq!(verdict.level(), Some(Level::L1));
    // None where the environment asks for no provenance, and none where it is not met.
    let decision = world.ask("staging", &image, &attestations[..1]);
    assert_eq!(no(&decision, &[Code::NoProvenance]).level(), None);
}

/// `{service}` in the builder: one rule for every service that builds in its own repository.
#[test]
fn b15_a_builder_of_each_service_is_not_the_builder_of_another() {
    let rule = "builder = \"https://ci.example/builder\"";
    let world = World::new(&with(&[(rule, "builder = \"https://git.example/acme/{service}/build.yml\"")]));
    let image = Built::shop("1");
    let ask = |builder: &str| {
        let mut predicate = slsa(SOURCE);
        predicate["runDetails"]["builder"]["id"] = json!(builder);
        let about = [(SHOP, image.root)];
        let attestations = [
            world.attest("build", COSIGN_SIGN, json!({}), &about),
            world.attest("build", provenance::V1, predicate, &about),
        ];
        world.ask("staging", &image, &attestations)
    };
    yes(&ask("https://git.example/acme/shop/build.yml"));
    no(&ask("https://git.example/acme/api/build.yml"), &[Code::ProvenanceMismatch]);
    no(&ask("https://git.example/acme/{service}/build.yml"), &[Code::ProvenanceMismatch]);
}

/// The summary for other tools names the level that this decision found justified, and none where none was asked for.
#[test]
fn the_summary_claims_the_level_of_the_decision_and_no_other() {
    let world = World::new(POLICY);
    let image = Built::shop("1");
    let decision = world.ask("staging", &image, &world.built(&image));
    let verdict = yes(&decision);
    let summary = |level| Summary {
        subjects: verdict.subjects(),
        environment: &verdict.environment,
        policy: &verdict.policy,
        evidence: &[],
        level,
        verified_on: verdict.decided_on,
    };
    let publish = |level| {
        let bytes = summary(level).sign(world.key("release")).unwrap();
        bundle(&bytes, &world.trust).unwrap()
    };
    let levels = |level| publish(level).predicate()["verifiedLevels"].clone();
    assert_eq!(levels(verdict.level()), json!(["SLSA_BUILD_LEVEL_1", "SAMEBITS_STAGING"]));
    assert_eq!(levels(Some(Level::L3)), json!(["SLSA_BUILD_LEVEL_3", "SAMEBITS_STAGING"]));
    assert_eq!(levels(None), json!(["SAMEBITS_STAGING"]));
    // One that claims another level is not the one to publish.
    let release = world.identity("release");
    assert!(summary(None).is_published_as(&publish(None), &release));
    assert!(!summary(Some(Level::L1)).is_published_as(&publish(None), &release));
    assert!(!summary(Some(Level::L1)).is_published_as(&publish(Some(Level::L3)), &release));
}
