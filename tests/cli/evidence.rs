//! Evidence wherever it lies, as `verify` shows it and as a promotion takes it along.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use samebits::collect::BUNDLE;
use samebits::key::{Algorithm, PrivateKey};
use samebits::reference::{Image, Repository};
use samebits::verify::{COSIGN_SIGN, sign_statement};
use serde_json::json;
use snapbox::{Data, assert_data_eq, file};

use crate::cli::{Yard, at, redact};

const IMAGE: &str = "oci:registry/shop:1";
const SPDX: &str = "application/spdx+json";

/// A bundle of `key` about `image`, which nobody has attached.
fn bundle(image: &Image, key: &PrivateKey, predicate_type: &str) -> String {
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": image.repository, "digest": { "sha256": image.digest.hex() } }],
        "predicateType": predicate_type,
        "predicate": {},
    });
    String::from_utf8(sign_statement(statement.to_string().as_bytes(), key).unwrap()).unwrap()
}

fn attach(yard: &Yard, on: &Image, artifact_type: &str, bytes: &[u8]) -> Image {
    let none = BTreeMap::new();
    let attached = yard.registries.attach(on, artifact_type, artifact_type, bytes, &none);
    Image::new(on.repository.clone(), yard.runtime.block_on(attached).unwrap())
}

#[track_caller]
fn same(seen: &str, image: &Image, snapshot: Data) {
    assert_data_eq!(Data::text(redact(seen, &[("IMAGE", image.digest)])).raw(), snapshot.raw());
}

#[test]
fn verify_shows_everything_on_the_index_its_platforms_and_what_is_attached_to_them() {
    let yard = Yard::new();
    let image = yard.build("1", "first");
    let closure = yard.runtime.block_on(yard.registries.closure(&image)).unwrap();
    let (arm64, _) = closure.platforms().last().unwrap();
    let arm64 = Image::new(image.repository.clone(), arm64);
    // 1. Provenance by somebody the policy knows, and by nobody.
    yard.attest(&arm64, "production", "https://slsa.dev/provenance/v1");
    let nobody = PrivateKey::generate(Algorithm::Ed25519).unwrap();
    attach(&yard, &image, BUNDLE[0], bundle(&image, &nobody, "https://slsa.dev/provenance/v1").as_bytes());
    // 2. A bill of materials, and a signature on it; a signature of another image.
    let sbom = attach(&yard, &image, SPDX, b"{\"spdxVersion\":\"SPDX-2.3\"}");
    yard.attest(&sbom, "build", COSIGN_SIGN);
    let other = yard.push("2", "second");
    attach(&yard, &image, BUNDLE[0], bundle(&other, &yard.key("build"), COSIGN_SIGN).as_bytes());
    // 3. Something that says it is a bundle, and something nobody knows.
    attach(&yard, &image, BUNDLE[0], b"{}");
    attach(&yard, &image, "application/x-\u{1b}[2Junknown", b"?");
    let ran = yard.run(["verify", IMAGE]).exits(0);
    // The key is another one every time.
    let seen = ran.stdout.replace(&nobody.public().hint(), "HINT");
    same(&seen, &image, file!["verify-tree.txt"]);
    let json = yard.run(["verify", IMAGE, "-o", "json"]).exits(0).json();
    let items = |manifest: usize| json["manifests"][manifest]["items"].as_array().unwrap().clone();
    assert_eq!((items(0).len(), items(1).len(), items(2).len()), (6, 0, 1));
    let meets: Vec<_> = items(0).iter().filter(|item| item["meets"] != json!([])).cloned().collect();
    assert_eq!(meets.len(), 1);
    assert_eq!(meets[0]["meets"][0], "signed-by (a signature by `build`)");
    let nested = items(0).iter().find(|item| item["mediaType"] == SPDX).unwrap()["beneath"].clone();
    assert_eq!((&nested[0]["status"], &nested[0]["meets"]), (&json!("accepted"), &json!([])));
    let status = |status: &str| items(0).iter().filter(|item| item["status"] == status).count();
    assert_eq!((status("accepted"), status("rejected"), status("not-evidence")), (1, 3, 2));
    // No refusal without its code and its reason.
    for item in items(0).iter().filter(|item| item["status"] == "rejected") {
        let said = |member: &str| item[member].as_str().is_some_and(|text| !text.is_empty());
        assert!(said("code") && said("reason"), "{item:#}");
    }
}

#[test]
fn what_lies_on_one_platform_is_said_to_lie_there_and_is_not_enough_for_the_others() {
    let yard = Yard::new();
    let image = yard.push("1", "first");
    let closure = yard.runtime.block_on(yard.registries.closure(&image)).unwrap();
    let platforms: Vec<Image> =
        closure.platforms().map(|(digest, _)| Image::new(image.repository.clone(), digest)).collect();
    yard.attest(&platforms[0], "build", COSIGN_SIGN);
    let no = yard.run(["check", IMAGE, "--to", "staging"]).exits(1);
    let missing = format!("not for linux/arm64 ({})", platforms[1].digest);
    assert!(no.stdout.contains(&missing), "{}", no.stdout);
    yard.attest(&platforms[1], "build", COSIGN_SIGN);
    let yes = yard.run(["check", IMAGE, "--to", "staging", "-o", "json"]).exits(0).json();
    let requirements = yes["requirements"].as_array().unwrap();
    let signed = requirements.iter().find(|stands| stands["requirement"] == "signed-by").unwrap();
    let found = format!(
        "on linux/amd64 ({}; referrer) and linux/arm64 ({}; referrer)",
        platforms[0].digest, platforms[1].digest
    );
    assert_eq!(signed["found"], found);
    let relied: Vec<_> = signed["evidence"].as_array().unwrap().iter().map(|one| one["on"].clone()).collect();
    assert_eq!(relied, [json!(platforms[0].digest), json!(platforms[1].digest)]);
    assert_eq!(signed["evidence"][0]["source"], "referrer");
    let verify = yard.run(["verify", IMAGE]).exits(0);
    assert_eq!(verify.stdout.matches("meets  signed-by").count(), 2, "{}", verify.stdout);
}

#[test]
fn b12_evidence_from_a_file_counts_and_goes_where_the_image_goes() {
    let yard = Yard::new();
    // Production wants the build's signature too, and will not be given the file.
    let image = yard.push("1", "first");
    let promote = ["promote", IMAGE, "--to", "staging", "--key", "keys/release.key"];
    let no = yard.run(promote).exits(1);
    assert!(no.stderr.contains("not-signed-by"), "{}", no.stderr);
    let bundle = bundle(&image, &yard.key("build"), COSIGN_SIGN);
    yard.write("evidence.jsonl", format!("{bundle}\n"));
    let from_file = || promote.into_iter().chain(["--evidence", "evidence.jsonl"]);
    let check = ["check", IMAGE, "--to", "staging", "--evidence", "evidence.jsonl"];
    let yes = yard.run(check).exits(0);
    assert!(yes.stdout.contains(&format!("on the index {} (file)", image.digest)), "{}", yes.stdout);
    let verify = yard.run(["verify", IMAGE, "--evidence", "evidence.jsonl"]).exits(0);
    assert!(verify.stdout.contains("file evidence.jsonl, line 1"), "{}", verify.stdout);
    yard.run(from_file()).exits(0);
    // Twice is once.
    yard.run(from_file()).exits(0);
    yard.deployed_in_staging(&image).exits(0);
    let there = at("staging", &image);
    let verify = yard.run(["verify", &there, "-o", "json"]).exits(0).json();
    let items = verify["manifests"][0]["items"].as_array().unwrap();
    let signatures: Vec<_> = items.iter().filter(|item| item["predicateType"] == COSIGN_SIGN).collect();
    assert_eq!(signatures.len(), 1, "{verify:#}");
    assert_eq!(signatures[0]["digest"], json!(samebits::digest::Digest::of(bundle.as_bytes())));
    let yes = yard.run(["check", &there, "--to", "production"]).exits(0);
    assert!(yes.stdout.contains("(referrer)"), "{}", yes.stdout);
}

/// The same bytes in another repository, where somebody has signed them.
fn elsewhere(yard: &Yard, image: &Image, key: &PrivateKey) -> Image {
    yard.run(["copy", IMAGE, "oci:sigs:1"]).exits(0);
    let there = Image::new("oci:sigs".parse().unwrap(), image.digest);
    attach(yard, &there, BUNDLE[0], bundle(image, key, COSIGN_SIGN).as_bytes());
    there
}

#[test]
fn b12_evidence_in_a_repository_that_is_named_counts_and_goes_where_the_image_goes() {
    let yard = Yard::new();
    let image = yard.push("1", "first");
    elsewhere(&yard, &image, &yard.key("build"));
    let there_before = std::fs::read(yard.path("sigs/index.json")).unwrap();
    let promote = ["promote", IMAGE, "--to", "staging", "--key", "keys/release.key"];
    let no = yard.run(promote).exits(1);
    assert!(no.stderr.contains("not-signed-by"), "{}", no.stderr);
    let named = ["--evidence", "oci:sigs"];
    let check = yard.run([&["check", IMAGE, "--to", "staging"], &named[..]].concat()).exits(0);
    assert!(check.stdout.contains(&format!("on the index {} (given)", image.digest)), "{}", check.stdout);
    let verify = yard.run([&["verify", IMAGE], &named[..]].concat()).exits(0);
    assert!(verify.stdout.contains("oci:sigs, referrer sha256:"), "{}", verify.stdout);
    assert!(verify.stdout.contains("meets  signed-by"), "{}", verify.stdout);
    // Twice is once, however often the place is named.
    for _ in 0..2 {
        yard.run([&promote, &named[..], &named].concat()).exits(0);
    }
    yard.deployed_in_staging(&image).exits(0);
    // The next environment is not told where it was, and nothing was written there.
    let there = at("staging", &image);
    let verify = yard.run(["verify", &there, "-o", "json"]).exits(0).json();
    let items = verify["manifests"][0]["items"].as_array().unwrap();
    assert_eq!(items.iter().filter(|item| item["predicateType"] == COSIGN_SIGN).count(), 1, "{verify:#}");
    let yes = yard.run(["check", &there, "--to", "production"]).exits(0);
    assert!(yes.stdout.contains("(referrer)"), "{}", yes.stdout);
    assert_eq!(std::fs::read(yard.path("sigs/index.json")).unwrap(), there_before);
}

#[test]
fn b1_and_b6_what_lies_in_a_repository_that_is_named_is_believed_no_more_than_anything() {
    let yard = Yard::new();
    let image = yard.push("1", "first");
    let nobody = PrivateKey::generate(Algorithm::Ed25519).unwrap();
    let there = elsewhere(&yard, &image, &nobody);
    let other = yard.push("2", "second");
    attach(&yard, &there, BUNDLE[0], bundle(&other, &yard.key("build"), COSIGN_SIGN).as_bytes());
    let check = |place: &str| yard.run(["check", IMAGE, "--to", "staging", "--evidence", place]);
    let no = check("oci:sigs").exits(1);
    assert!(no.stdout.contains("not-signed-by"), "{}", no.stdout);
    // A place without anything about the image is said; one that is not there, or cannot be read, is no empty one.
    yard.run(["copy", "oci:registry/shop:2", "oci:others:2"]).exits(0);
    let no = check("oci:others").exits(1);
    assert!(no.stdout.contains("nothing that refers to the image lies in oci:others"), "{}", no.stdout);
    let trouble = check("oci:nowhere").exits(3);
    assert!(trouble.stderr.contains("oci:nowhere"), "{}", trouble.stderr);
    yard.write("sigs/index.json", "[]");
    assert!(check("oci:sigs").exits(3).stderr.contains("oci:sigs"));
    // Nothing is guessed.
    for (wrong, said) in [
        ("oci:sigs:1", "repository"),
        ("registry:oci:sigs", "oci:FOLDER"),
        ("registry:sigs", "registry"),
        ("127.0.0.1:1/sigs", "registry:HOST/PATH"),
    ] {
        let usage = check(wrong).exits(2);
        assert!(usage.stderr.contains(said), "{wrong}: {}", usage.stderr);
    }
}

#[test]
fn b1_and_b9_a_file_about_another_image_counts_for_nothing_and_one_without_a_bundle_is_an_error() {
    let yard = Yard::new();
    let image = yard.push("1", "first");
    let other = yard.push("2", "second");
    yard.write("other.json", bundle(&other, &yard.key("build"), COSIGN_SIGN));
    let check = |file| ["check", IMAGE, "--to", "staging", "--evidence", file];
    let no = yard.run(check("other.json")).exits(1);
    assert!(no.stdout.contains(&other.digest.to_string()), "{}", no.stdout);
    let verify = yard.run(["verify", IMAGE, "--evidence", "other.json"]).exits(1);
    assert!(verify.stdout.contains("rejected, artifact-mismatch"), "{}", verify.stdout);
    let good = bundle(&image, &yard.key("build"), COSIGN_SIGN);
    yard.run(check("nowhere.json")).exits(2);
    for (name, text) in
        [("cut.json", &good[..100]), ("bad.jsonl", &format!("{good}\nx\n")), ("empty.jsonl", "")]
    {
        yard.write(name, text);
        for verb in ["check", "verify"] {
            let trouble = yard.run([verb, IMAGE, "--to", "staging", "--evidence", name]).exits(3);
            assert!(trouble.stderr.contains(name), "{}", trouble.stderr);
            assert_eq!(trouble.stdout, "");
        }
    }
    let trouble = yard.run(check("bad.jsonl")).exits(3);
    assert!(trouble.stderr.contains("bad.jsonl, line 2"), "{}", trouble.stderr);
    assert_eq!(yard.records().len(), 0);
}

/// A signature over the bytes of a manifest, without a statement.
fn message(yard: &Yard, image: &Image, key: &PrivateKey) -> String {
    let manifest = yard.runtime.block_on(yard.registries.manifest(image)).unwrap().unwrap();
    let base64 = |bytes: &[u8]| STANDARD.encode(bytes);
    json!({
        "mediaType": BUNDLE[0],
        "verificationMaterial": { "publicKey": { "hint": key.public().hint() } },
        "messageSignature": {
            "messageDigest": { "algorithm": "SHA2_256", "digest": base64(image.digest.as_bytes()) },
            "signature": base64(&key.sign(&manifest.bytes).unwrap()),
        },
    })
    .to_string()
}

#[test]
fn a_message_signature_from_a_file_is_tried_against_every_manifest() {
    let yard = Yard::new();
    let image = yard.push("1", "first");
    let closure = yard.runtime.block_on(yard.registries.closure(&image)).unwrap();
    let (arm64, _) = closure.platforms().last().unwrap();
    let arm64 = Image::new(image.repository.clone(), arm64);
    let other = yard.push("2", "second");
    // A key that signs digests: bundles from a file come without the bytes.
    let key = PrivateKey::generate(Algorithm::EcdsaP256).unwrap();
    yard.write("keys/build.pub", key.public().to_pem());
    let lines = [&arm64, &image, &other].map(|image| message(&yard, image, &key));
    yard.write("evidence.jsonl", lines.join("\n"));
    let ran = yard.run(["verify", IMAGE, "--evidence", "evidence.jsonl"]).exits(0);
    same(&ran.stdout, &image, file!["verify-message.txt"]);
    yard.write("other.jsonl", format!("{}\n{}", lines[0], lines[2]));
    let ran = yard.run(["verify", IMAGE, "--evidence", "other.jsonl"]).exits(1);
    assert!(ran.stdout.contains("not for linux/amd64"), "{}", ran.stdout);
}

/// `verify` reads no ledger: what only the ledger tells is no yes there, and is said to be looked at elsewhere.
#[test]
fn c11_verify_says_that_it_does_not_look_for_the_deployment() {
    let yard = Yard::new();
    yard.edit_policy(|text| {
        let rule = "{ type = \"test-result\", signer = \"build\", after-deployment = \"staging\" }";
        format!("{text}attestations = [{rule}]\n")
    });
    let image = yard.build("1", "first");
    yard.promote(IMAGE, "staging").exits(0);
    yard.deployed_in_staging(&image).exits(0);
    let there = at("staging", &image);
    let staging: Repository = "oci:registry/staging/shop".parse().unwrap();
    let ask = |verb: &str, code: i32| yard.run([verb, &there, "--to", "production"]).exits(code).stdout;
    let test = |result: &str, configuration: serde_json::Value| {
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{ "name": image.repository, "digest": { "sha256": image.digest.hex() } }],
            "predicateType": "https://in-toto.io/attestation/test-result/v0.1",
            "predicate": { "result": result, "configuration": configuration },
        });
        let bundle = sign_statement(statement.to_string().as_bytes(), &yard.key("build")).unwrap();
        attach(&yard, &Image::new(staging.clone(), image.digest), BUNDLE[0], &bundle);
    };
    // Nothing there, or a failed one: that is what is said.
    assert!(!ask("verify", 1).contains("not looked at here"));
    test("FAILED", json!([{ "name": "ci.yml" }]));
    let seen = ask("verify", 1);
    assert!(seen.contains("it says FAILED") && !seen.contains("found       not looked at here"), "{seen}");
    // A good one is no yes either, and who looks is named.
    test("PASSED", json!([{ "name": "ci.yml" }]));
    let seen = ask("verify", 1);
    assert!(seen.contains("not looked at here: `samebits check` does, it reads the ledger"), "{seen}");
    assert!(seen.contains(&format!("samebits check {there} --to production")), "{seen}");
    let seen = ask("check", 1);
    assert!(seen.contains("nothing shows that it was made after the deployment in `staging`"), "{seen}");
}

/// A key proves no time: what it signs names the record of the deployment, by the digest that `deployed` gives.
#[test]
fn c11_a_test_result_by_a_key_names_the_record_that_deployed_gave() {
    let yard = Yard::new();
    yard.edit_policy(|text| {
        let rule = "{ type = \"test-result\", signer = \"build\", after-deployment = \"staging\" }";
        format!("{text}attestations = [{rule}]\n")
    });
    let image = yard.build("1", "first");
    yard.promote(IMAGE, "staging").exits(0);
    let there = at("staging", &image);
    let args = ["deployed", &there, "--in", "staging", "--key", "keys/staging.key", "-o", "json"];
    let deployed = yard.run(args).exits(0).json();
    // The same wherever it is shown, and when it was recorded before.
    let index = usize::try_from(deployed["record"]["index"].as_u64().unwrap()).unwrap();
    let records = yard.records();
    assert_eq!(deployed["digest"], records[index]["digest"]);
    assert_eq!(deployed["digest"], yard.run(args).exits(0).json()["digest"]);
    let shown = yard.run(["show", &image.digest.to_string(), "-o", "json"]).exits(0).json();
    assert_eq!(deployed["digest"], shown["records"][index]["digest"]);
    let staging: Repository = "oci:registry/staging/shop".parse().unwrap();
    let named = |digest: &serde_json::Value| {
        let hex = digest.as_str().unwrap().strip_prefix("sha256:").unwrap();
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{ "name": image.repository, "digest": { "sha256": image.digest.hex() } }],
            "predicateType": "https://in-toto.io/attestation/test-result/v0.1",
            "predicate": {
                "result": "PASSED",
                "configuration": [{ "name": "deployment", "digest": { "sha256": hex } }],
            },
        });
        let bundle = sign_statement(statement.to_string().as_bytes(), &yard.key("build")).unwrap();
        attach(&yard, &Image::new(staging.clone(), image.digest), BUNDLE[0], &bundle);
        yard.run(["check", &there, "--to", "production"])
    };
    // Neither another record, nor the leaf of the right one, nor the image.
    for other in [&records[0]["digest"], &deployed["record"]["leafHash"], &json!(image.digest.to_string())] {
        let seen = named(other).exits(1).stdout;
        assert!(seen.contains("does not name the deployment's record by its digest"), "{seen}");
    }
    named(&deployed["digest"]).exits(0);
}

#[test]
fn where_nothing_is_required_the_tree_is_shown_and_nothing_is_judged() {
    let yard = Yard::new();
    let image = yard.build("1", "first");
    // An entry environment that requires nothing is no policy.
    yard.edit_policy(|text| {
        let (before, after) = text.rsplit_once("signed-by = \"build\"\n").unwrap();
        format!("{before}{after}")
    });
    let ran = yard.run(["verify", IMAGE, "--to", "production"]).exits(2);
    same(&format!("{}── stdout\n{}", ran.stderr, ran.stdout), &image, file!["verify-nothing.txt"]);
    let json = yard.run(["verify", IMAGE, "--to", "production", "-o", "json"]).exits(2).json();
    assert_eq!(json["decision"], "nothing-required");
    assert_eq!(json["manifests"][0]["items"][0]["status"], "accepted");
}
