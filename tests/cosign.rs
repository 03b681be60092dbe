//! What cosign signs, samebits believes; what samebits copies and publishes, cosign believes. Both are the real
//! programs, over a real registry, offline. Skipped, aloud, where cosign or `docker-registry` is not installed; in CI
//! (`SAMEBITS_REQUIRE_PEERS=1`) they have to be.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

#[path = "support/cli.rs"]
#[allow(dead_code, reason = "no layouts here")]
mod cli;
#[path = "support/cosign.rs"]
#[allow(dead_code, reason = "one version here")]
mod cosign;
#[path = "support/docker_registry.rs"]
#[allow(dead_code, reason = "no login here")]
mod docker_registry;
#[path = "support/image.rs"]
mod image;
#[path = "support/peer.rs"]
#[allow(dead_code, reason = "no skopeo here")]
mod peer;

use cosign::{Bench, Format, PROVENANCE, SUMMARY, Version, expected, provenance, requirements};
use samebits::reference::Image;
use samebits::verify::{COSIGN_SIGN, SIMPLE_SIGNING};

#[test]
fn cosign_signs_samebits_promotes_and_cosign_believes_the_copy() {
    let Some(bench) = Bench::open(&["cosign"]) else { return };
    let cosign = bench.cosign(Version::V3);
    let image = bench.push("hello");
    cosign.sign(&image, "cosign-build", Format::Bundle);
    cosign.attest(&image, "cosign-build", "main", Format::Bundle);

    let verified = bench.verify(&image).exits(0);
    assert_eq!(requirements(&verified), expected("met", "met"));
    let staged = bench.staged(&image);
    cosign.signed(&staged, "build").unwrap_err();
    let promoted = bench.promote(&image).exits(0);
    assert_eq!(promoted.stdout.trim_end(), staged.to_string());
    // The platforms have no fallback tag. That is said, and not that the index had none.
    assert!(
        promoted.stderr.contains("only what fallback tags and cosign's tags list"),
        "{}",
        promoted.stderr
    );
    assert!(promoted.stderr.contains(" 2 referrers; "), "{}", promoted.stderr);

    // 1. What the build said is at the destination, as it said it, and nobody else said it.
    cosign.signed(&staged, "build").unwrap();
    cosign.signed(&staged, "production").unwrap_err();
    assert_eq!(cosign.attested(&staged, "build", COSIGN_SIGN).unwrap().len(), 1);
    assert_eq!(cosign.attested(&staged, "build", PROVENANCE).unwrap(), [provenance("main")]);
    for predicate_type in [COSIGN_SIGN, PROVENANCE] {
        cosign.attested(&staged, "release", predicate_type).unwrap_err();
    }
    // 2. What we decided is on the index and on each platform: a cluster asks for what it runs.
    let closure = bench.yard.runtime.block_on(bench.yard.registries.closure(&staged)).unwrap();
    let platforms: Vec<_> = closure.platforms().map(|(digest, _)| digest).collect();
    assert_eq!(platforms.len(), 2);
    for digest in [vec![image.digest], platforms].concat() {
        let on = Image::new(staged.repository.clone(), digest);
        let summaries = cosign.attested(&on, "release", SUMMARY).unwrap();
        assert_eq!(summaries.len(), 1, "{on}");
        assert_eq!(summaries[0]["verificationResult"], "PASSED", "{on}");
        assert_eq!(summaries[0]["resourceUri"], format!("oci://{}", staged.repository), "{on}");
        for role in ["build", "production"] {
            cosign.attested(&on, role, SUMMARY).unwrap_err();
        }
        // Only where it was let in.
        let source = Image::new(image.repository.clone(), digest);
        cosign.attested(&source, "release", SUMMARY).unwrap_err();
    }
}

#[test]
fn cosigns_older_tags_are_believed_and_copied() {
    let Some(bench) = Bench::open(&["cosign"]) else { return };
    let cosign = bench.cosign(Version::V3);
    let image = bench.push("hello");
    cosign.sign(&image, "cosign-build", Format::Tags);
    cosign.attest(&image, "cosign-build", "main", Format::Tags);

    let verified = bench.verify(&image).exits(0);
    assert_eq!(requirements(&verified), expected("met", "met"));
    bench.promote(&image).exits(0);

    let staged = bench.staged(&image);
    for suffix in ["sig", "att"] {
        let tag = format!("sha256-{}.{suffix}", image.digest.hex());
        let at = |image: &Image| bench.yard.tagged(&image.repository.to_string(), &tag);
        assert!(at(&image).is_some(), "cosign wrote no {tag}");
        assert_eq!(at(&staged), at(&image), "{tag}");
    }
    // Where there is any bundle, as ours, cosign 3 looks at bundles only: it has to be told to look at the tags.
    let tags = "--new-bundle-format=false";
    cosign.read("verify", &[tags], &staged, "build").unwrap();
    cosign.read("verify", &[tags], &staged, "production").unwrap_err();
    let provenance = ["--type", PROVENANCE, tags];
    cosign.read("verify-attestation", &provenance, &staged, "build").unwrap();
    cosign.read("verify-attestation", &provenance, &staged, "production").unwrap_err();
    assert_eq!(cosign.attested(&staged, "release", SUMMARY).unwrap().len(), 1);
}

#[test]
fn what_cosign_signed_with_another_key_stays_where_it_is() {
    let Some(bench) = Bench::open(&["cosign"]) else { return };
    let cosign = bench.cosign(Version::V3);
    cosign.run(&["generate-key-pair", "--output-key-prefix", "stranger"]).unwrap();
    // Nobody, and somebody who may say other things.
    for key in ["stranger", "cosign-production"] {
        for format in [Format::Bundle, Format::Tags] {
            let image = bench.push(&format!("{key} {format:?}"));
            cosign.sign(&image, key, format);
            cosign.attest(&image, key, "main", format);
            let verified = bench.verify(&image).exits(1);
            assert_eq!(
                requirements(&verified),
                expected("not-signed-by", "no-provenance"),
                "{key} {format:?}"
            );
            let refused = bench.promote(&image).exits(1);
            assert_eq!(refused.stdout, "", "{key} {format:?}");
            assert!(refused.stderr.contains("not-signed-by"), "{}", refused.stderr);
            let staged = bench.staged(&image);
            let manifest = format!("/v2/staging/shop/manifests/{}", staged.digest);
            assert_eq!(bench.registry.ask("GET", &manifest), Some(404), "{key} {format:?}");
        }
    }
}

#[test]
fn what_cosign_attested_is_no_signature_and_has_to_be_what_was_asked_for() {
    let Some(bench) = Bench::open(&["cosign"]) else { return };
    let cosign = bench.cosign(Version::V3);
    for format in [Format::Bundle, Format::Tags] {
        // Cosign 3 itself takes any bundle by the key for a signature.
        let image = bench.push(&format!("attested only {format:?}"));
        cosign.attest(&image, "cosign-build", "main", format);
        let verified = bench.verify(&image).exits(1);
        assert_eq!(requirements(&verified), expected("not-signed-by", "met"), "{format:?}");

        let image = bench.push(&format!("from a branch {format:?}"));
        cosign.sign(&image, "cosign-build", format);
        cosign.attest(&image, "cosign-build", "feature", format);
        let verified = bench.verify(&image).exits(1);
        assert_eq!(requirements(&verified), expected("met", "provenance-mismatch"), "{format:?}");
        bench.promote(&image).exits(1);
    }
}

/// From files alone: whatever became of the registry, an auditor has the ledger and a key.
#[test]
fn b5_cosign_verifies_what_the_ledger_kept() {
    let Some(bench) = Bench::open(&["cosign"]) else { return };
    let (cosign, yard) = (bench.cosign(Version::V3), &bench.yard);
    let image = bench.push("hello");
    cosign.sign(&image, "cosign-build", Format::Tags);
    cosign.attest(&image, "cosign-build", "main", Format::Bundle);
    bench.promote(&image).exits(0);
    yard.run(["ledger", "verify"]).exits(0);
    let taken = yard.run(["ledger", "evidence", "1", "--to", "evidence", "-o", "json"]).exits(0).json();
    let file = |member: &str, wanted: &str| {
        let mut files = taken["files"].as_array().unwrap().iter();
        let found = files.find(|file| file[member] == wanted).unwrap();
        format!("evidence/{}", found["file"].as_str().unwrap())
    };
    // 1. The provenance, about the very index.
    let bundle = format!("--bundle={}", file("name", PROVENANCE));
    let attested = |role: &str, about: &str| {
        let key = format!("--key=keys/{role}.pub");
        let kind = ["--type=slsaprovenance1", "--insecure-ignore-tlog=true"];
        cosign.run(&[&["verify-blob-attestation", &key, &bundle], &kind[..], &[about]].concat())
    };
    attested("build", "evidence/index.json").unwrap();
    attested("production", "evidence/index.json").unwrap_err();
    attested("build", "evidence/policy.toml").unwrap_err();
    // 2. The older signature: the payload, and what stood beside it in the layer.
    let layer: serde_json::Value = serde_json::from_str(&yard.read(&file("what", "layer"))).unwrap();
    yard.write("payload.sig", layer["annotations"]["dev.cosignproject.cosign/signature"].as_str().unwrap());
    let payload = file("name", SIMPLE_SIGNING);
    let signed = |role: &str| {
        let key = format!("--key=keys/{role}.pub");
        let older = ["--new-bundle-format=false", "--signature=payload.sig", "--insecure-ignore-tlog=true"];
        cosign.run(&[&["verify-blob", &key], &older[..], &[&payload]].concat())
    };
    signed("build").unwrap();
    signed("production").unwrap_err();
}
