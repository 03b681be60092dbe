//! The copy inside a promotion: read back before the commit, with the evidence that was relied on; and recorded by it.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use samebits::reference::Image;
use samebits::verify::COSIGN_SIGN;
use serde_json::{Value, json};

use crate::cli::Yard;
use crate::registry::{Behaviour, Fake, MANIFEST, Reply};

const IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// A service whose repositories are in a registry, with an image that may enter staging.
fn shop() -> (Yard, Fake, Image) {
    let (yard, fake, image) = unsigned(Behaviour::default());
    yard.attest(&image, "build", COSIGN_SIGN);
    (yard, fake, image)
}

/// The same, and nothing is attached.
fn unsigned(behaviour: Behaviour) -> (Yard, Fake, Image) {
    let (yard, fake) = (Yard::empty(), Fake::with(behaviour));
    yard.run(["init", "--service", "shop", "--registry", fake.host()]).exits(0);
    let image = yard.push_to(&format!("{}/shop", fake.host()).parse().unwrap(), "1", "hello");
    (yard, fake, image)
}

fn seed(fake: &Fake, media_type: &str, bytes: &[u8]) -> Value {
    fake.seed_blob("staging/shop", bytes);
    json!({ "mediaType": media_type, "digest": fake.seed_blob("shop", bytes), "size": bytes.len() })
}

/// cosign's older signature of an image: the payload in a layer, the signature beside it.
fn simple_signing(fake: &Fake, image: &Image, sign: impl FnOnce(&[u8]) -> String) -> Vec<u8> {
    let payload = json!({
        "critical": {
            "identity": { "docker-reference": image.repository },
            "image": { "docker-manifest-digest": image.digest },
            "type": "cosign container image signature",
        },
        "optional": null,
    });
    let payload = payload.to_string().into_bytes();
    let mut layer = seed(fake, "application/vnd.dev.cosign.simplesigning.v1+json", &payload);
    layer["annotations"] = json!({ "dev.cosignproject.cosign/signature": sign(&payload) });
    let config = seed(fake, IMAGE_CONFIG, b"{}");
    json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] })
        .to_string()
        .into_bytes()
}

fn open_intents(yard: &Yard) -> Vec<String> {
    yard.records().iter().map(|record| record["outcome"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a12_a_promotion_whose_bytes_do_not_come_back_is_not_committed() {
    let (yard, fake, image) = shop();
    let path = format!("/staging/shop/manifests/{}", image.digest);
    fake.on("GET", &path, usize::MAX, Reply::Bytes(b"{}".to_vec()));
    let ran = yard.promote(&image.to_string(), "staging").exits(3);
    assert_eq!(ran.stdout, "");
    let destination = format!("destination {}/staging/shop", fake.host());
    for said in [&destination, &image.digest.to_string(), "stays open"] {
        assert!(ran.stderr.contains(said), "{said}: {}", ran.stderr);
    }
    assert_eq!(open_intents(&yard), ["intent"]);
    assert_eq!(fake.tagged("staging/shop", "staging"), None);
}

/// Whether the same was promoted before is looked up while the evidence is read: a yes needs the answer, a no does not.
#[test]
fn f5_a_destination_that_does_not_answer_stands_in_the_way_of_a_yes_and_of_no_no() {
    let (yard, fake, image) = shop();
    yard.promote(&image.to_string(), "staging").exits(0);
    fake.on("GET", "/v2/staging/shop/", 1, Reply::error(403, "DENIED"));
    let ran = yard.promote(&image.to_string(), "staging").exits(3);
    assert!(ran.stderr.contains(&format!("{}/staging/shop", fake.host())), "{}", ran.stderr);
    let none = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    fake.on("GET", "/v2/shop/referrers/", usize::MAX, Reply::Bytes(none.to_vec()));
    fake.on("GET", "/v2/staging/shop/", usize::MAX, Reply::error(403, "DENIED"));
    let ran = yard.promote(&image.to_string(), "staging").exits(1);
    assert!(ran.stderr.contains("not-signed-by"), "{}", ran.stderr);
    assert_eq!(open_intents(&yard), ["intent", "commit", "refused"]);
}

/// What was decided upon is what comes along, whatever the source lists, or keeps, a moment later.
#[test]
fn b5_evidence_that_vanishes_between_the_decision_and_the_copy_comes_along() {
    let (yard, fake, image) = shop();
    let evidence = referrers(&yard, &image);
    assert_eq!(evidence.len(), 1);
    // Index and two platforms, as the gate looks; then nothing is listed any more.
    let listing = "/v2/shop/referrers/";
    let none = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    fake.on("GET", listing, 3, Reply::Header("x-seen", "by the gate".to_owned()));
    fake.on("GET", listing, usize::MAX, Reply::Bytes(none.to_vec()));
    let ran = yard.promote(&image.to_string(), "staging").exits(0);
    assert_eq!(ran.stdout, format!("{}/staging/shop@{}\n", fake.host(), image.digest));
    let there = Image::new(format!("{}/staging/shop", fake.host()).parse().unwrap(), image.digest);
    let there = referrers(&yard, &there);
    assert!(evidence.iter().all(|one| there.contains(one)), "{evidence:?} {there:?}");
    assert_eq!(open_intents(&yard), ["intent", "commit"]);
}

fn referrers(yard: &Yard, image: &Image) -> Vec<samebits::digest::Digest> {
    match yard.runtime.block_on(yard.registries.referrers(image)).unwrap() {
        samebits::registry::Referrers::Listed(listed) => listed.iter().map(|one| one.digest).collect(),
        other => panic!("{other:?}"),
    }
}

/// Where nothing was attached, something is, to find out whether anything can be: nothing that anybody signed.
#[test]
fn d1_nothing_that_is_signed_lies_on_an_image_before_its_commit() {
    let (yard, fake, image) = unsigned(Behaviour::default());
    let honest =
        simple_signing(&fake, &image, |payload| STANDARD.encode(yard.key("build").sign(payload).unwrap()));
    let tag = format!("sha256-{}.sig", image.digest.hex());
    fake.tag("shop", &tag, &fake.seed_manifest("shop", MANIFEST, &honest));
    // It ends before the commit: what was copied under the tag cannot be read back.
    let there = format!("/staging/shop/manifests/{tag}");
    fake.on("GET", &there, 2, Reply::error(404, "MANIFEST_UNKNOWN"));
    fake.on("GET", &there, usize::MAX, Reply::error(500, "UNKNOWN"));
    yard.promote(&image.to_string(), "staging").exits(3);
    assert_eq!(open_intents(&yard), ["intent"]);
    for manifest in fake.manifests("staging/shop") {
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        let Some(kind) = manifest["artifactType"].as_str() else { continue };
        assert_eq!(kind, "application/vnd.samebits.probe.v0.1+json", "{manifest:#}");
        assert_eq!(manifest["layers"][0]["size"], 2, "{manifest:#}");
    }
}

/// Tags are looked at where there is no yes without them, and where a yes only warns of what they might hold.
#[test]
fn b5_what_is_only_warned_of_is_looked_for_under_tags_too() {
    let (yard, fake, image) = shop();
    let asked = || {
        fake.forget_log();
        yard.run(["check", &image.to_string(), "--to", "staging"]).exits(0);
        fake.count("GET", &format!("/v2/shop/manifests/sha256-{}.att", image.digest.hex()))
    };
    assert_eq!(asked(), 0);
    let warns =
        "signed-by = \"build\"\napprovals = { count = 1, from = [\"release\"], warn-until = 2999-01-01 }\n";
    yard.edit_policy(|text| text.replacen("signed-by = \"build\"\n", warns, 1));
    assert_eq!(asked(), 1);
}

/// Verified again: the bytes that the destination hands out are those that the next environment will look at.
#[test]
fn b5_evidence_that_the_destination_hands_out_otherwise_is_not_committed() {
    let none = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    for (method, path, reply, said) in [
        ("GET", "blobs", Reply::Bytes(b"{}".to_vec()), "could not be verified there"),
        ("GET", "blobs", Reply::error(404, "BLOB_UNKNOWN"), "could not be verified there"),
        (
            "GET",
            "manifests",
            Reply::error(404, "MANIFEST_UNKNOWN"),
            "which the decision relies on, is not at",
        ),
        ("GET", "manifests", Reply::error(500, "UNKNOWN"), "could not be verified there"),
        // Listed once, as the copy reads back.
        ("GET", "referrers", Reply::Bytes(none.to_vec()), "is not listed as referring to"),
    ] {
        let (yard, fake, image) = shop();
        let referrer = referrers(&yard, &image)[0];
        let of = Image::new(image.repository.clone(), referrer);
        let manifest = yard.runtime.block_on(yard.registries.manifest(&of)).unwrap().unwrap();
        let manifest: Value = serde_json::from_slice(&manifest.bytes).unwrap();
        let digest = match path {
            "blobs" => manifest["layers"][0]["digest"].as_str().unwrap().to_owned(),
            "manifests" => referrer.to_string(),
            _ => image.digest.to_string(),
        };
        fake.on(method, &format!("/staging/shop/{path}/{digest}"), usize::MAX, reply);
        let ran = yard.promote(&image.to_string(), "staging").exits(3);
        for said in [said, &format!("{}/staging/shop", fake.host()), "intent 0", "run the same command again"]
        {
            assert!(ran.stderr.contains(said), "{path}, {said}: {}", ran.stderr);
        }
        // What lies there and is no evidence stays so: nobody waits for the intent.
        let hopeless = ran.stderr.contains("its layer is not there");
        let expected: &[&str] = if hopeless { &["intent", "abort"] } else { &["intent"] };
        assert_eq!(
            (ran.stdout.as_str(), open_intents(&yard).as_slice()),
            ("", &expected.iter().map(ToString::to_string).collect::<Vec<_>>()[..])
        );
        assert_eq!(fake.tagged("staging/shop", "staging"), None);
    }
}

/// Whoever can push beside the source puts something under cosign's tag that nobody can read: no promotion that does not
/// need it stops at it.
#[test]
fn b5_junk_under_a_tag_does_not_stand_in_the_way_of_the_honest() {
    let (yard, fake, image) = shop();
    let layer = seed(&fake, "application/vnd.dsse.envelope.v1+json", b"{}");
    let junk = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": seed(&fake, IMAGE_CONFIG, b"{}"),
        "layers": vec![layer; 257],
    });
    let junk = fake.seed_manifest("shop", MANIFEST, junk.to_string().as_bytes());
    fake.tag("shop", &format!("sha256-{}.att", image.digest.hex()), &junk);
    yard.promote(&image.to_string(), "staging").exits(0);
    assert_eq!(open_intents(&yard), ["intent", "commit"]);
    // Nor does the same command again, nor the next image.
    yard.promote(&image.to_string(), "staging").exits(0);
}

/// One manifest that a registry does not like is no word about everything that refers to something.
#[test]
fn b12_a_registry_that_refuses_one_referrer_is_not_one_that_refuses_all() {
    for alone in [false, true] {
        let (yard, fake, image) = if alone { unsigned(Behaviour::default()) } else { shop() };
        if alone {
            // Under a tag, so that the odd one is all that refers to anything.
            let sign = |payload: &[u8]| STANDARD.encode(yard.key("build").sign(payload).unwrap());
            let signed = fake.seed_manifest("shop", MANIFEST, &simple_signing(&fake, &image, sign));
            fake.tag("shop", &format!("sha256-{}.sig", image.digest.hex()), &signed);
        }
        let odd = yard.runtime.block_on(yard.registries.attach(
            &image,
            "application/x-odd",
            "text/plain",
            b"odd",
            &std::collections::BTreeMap::new(),
        ));
        let odd = odd.unwrap();
        fake.on(
            "PUT",
            &format!("/staging/shop/manifests/{odd}"),
            usize::MAX,
            Reply::error(400, "MANIFEST_INVALID"),
        );
        let ran = yard.promote(&image.to_string(), "staging").exits(3);
        assert!(ran.stderr.contains(&odd.to_string()), "{}", ran.stderr);
        assert!(!ran.stderr.contains("evidence-store"), "{}", ran.stderr);
        assert_eq!(open_intents(&yard), ["intent"]);
    }
}

/// Whoever can push beside the source attaches the honest bundle once more, spelled otherwise, in something that can run:
/// the copy leaves that behind, so that the gate must not rely on it.
#[test]
fn b5_evidence_in_what_can_run_does_not_stand_in_the_way_of_the_honest() {
    let (yard, fake, image) = shop();
    let listed = yard.runtime.block_on(yard.registries.referrers(&image)).unwrap();
    let samebits::registry::Referrers::Listed(listed) = listed else { panic!("{listed:?}") };
    let honest = listed[0].digest;
    let of = Image::new(image.repository.clone(), honest);
    let manifest = yard.runtime.block_on(yard.registries.manifest(&of)).unwrap().unwrap();
    let manifest: Value = serde_json::from_slice(&manifest.bytes).unwrap();
    let layer = &manifest["layers"][0];
    let digest = layer["digest"].as_str().unwrap().parse().unwrap();
    let bundle = yard.registries.blob_bytes(&image.repository, digest, 1 << 20);
    let bundle: Value = serde_json::from_slice(&yard.runtime.block_on(bundle).unwrap().unwrap()).unwrap();
    let respelled = serde_json::to_vec_pretty(&bundle).unwrap();
    let carrier = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "artifactType": manifest["artifactType"],
        "config": seed(&fake, IMAGE_CONFIG, b"{\"os\":\"linux\",\"architecture\":\"amd64\"}"),
        "layers": [
            seed(&fake, layer["mediaType"].as_str().unwrap(), &respelled),
            seed(&fake, "application/vnd.oci.image.layer.v1.tar", b"not decided upon"),
        ],
        "subject": manifest["subject"],
    });
    // It is listed first: the registry lists in the order of the digests.
    let first = (0..).find_map(|number| {
        let mut carrier = carrier.clone();
        carrier["annotations"] = json!({ "number": number.to_string() });
        let bytes = carrier.to_string().into_bytes();
        (samebits::digest::Digest::of(&bytes) < honest).then_some(bytes)
    });
    let carrier = fake.seed_manifest("shop", MANIFEST, &first.unwrap());
    let ran = yard.promote(&image.to_string(), "staging").exits(0);
    assert_eq!(ran.stdout, format!("{}/staging/shop@{}\n", fake.host(), image.digest));
    assert_eq!(open_intents(&yard), ["intent", "commit"]);
    let there =
        Image::new(format!("{}/staging/shop", fake.host()).parse().unwrap(), carrier.parse().unwrap());
    assert_eq!(yard.runtime.block_on(yard.registries.manifest(&there)).unwrap(), None);
}

/// cosign's older signature stands in the annotations of a layer: what was verified is what arrives.
#[test]
fn b5_a_signature_that_is_swapped_between_the_decision_and_the_copy_does_not_arrive() {
    let (yard, fake, image) = unsigned(Behaviour { digest_header: false, ..Behaviour::default() });
    let honest =
        simple_signing(&fake, &image, |payload| STANDARD.encode(yard.key("build").sign(payload).unwrap()));
    let junk = simple_signing(&fake, &image, |_| STANDARD.encode(b"junk"));
    let tag = format!("sha256-{}.sig", image.digest.hex());
    let verified = fake.seed_manifest("shop", MANIFEST, &honest);
    fake.tag("shop", &tag, &verified);
    let path = format!("/v2/shop/manifests/{tag}");
    fake.on("GET", &path, 1, Reply::Header("x-seen", "by the gate".to_owned()));
    fake.on("GET", &path, usize::MAX, Reply::Bytes(junk));
    yard.promote(&image.to_string(), "staging").exits(0);
    assert_eq!(open_intents(&yard), ["intent", "commit"]);
    assert_eq!(fake.tagged("staging/shop", &tag), Some(verified));
}

/// A referrer that is also a child of the index comes along with the image.
#[test]
fn b5_a_signature_that_the_index_lists_comes_along_with_the_image() {
    let (yard, fake, image) = unsigned(Behaviour::default());
    let closure = yard.runtime.block_on(yard.registries.closure(&image)).unwrap();
    let index = closure.manifest(image.digest).unwrap();
    let mut index: Value = serde_json::from_slice(&index.bytes).unwrap();
    let mut children = index["manifests"].as_array().unwrap().clone();
    for child in children.clone() {
        let platform =
            Image::new(image.repository.clone(), child["digest"].as_str().unwrap().parse().unwrap());
        yard.attest(&platform, "build", COSIGN_SIGN);
        let listed = yard.runtime.block_on(yard.registries.referrers(&platform)).unwrap();
        let samebits::registry::Referrers::Listed(listed) = listed else { panic!("{listed:?}") };
        children.push(json!({
            "mediaType": MANIFEST, "digest": listed[0].digest, "size": listed[0].size,
            "platform": { "os": "unknown", "architecture": "unknown" },
            "annotations": {
                "vnd.docker.reference.type": "attestation-manifest",
                "vnd.docker.reference.digest": platform.digest,
            },
        }));
    }
    index["manifests"] = json!(children);
    let root = fake.seed_manifest("shop", crate::registry::INDEX, index.to_string().as_bytes());
    let image = Image::new(image.repository, root.parse().unwrap());
    let ran = yard.promote(&image.to_string(), "staging").exits(0);
    assert_eq!(ran.stdout, format!("{}/staging/shop@{}\n", fake.host(), image.digest));
}

/// DESIGN section 5: there is no record of the copy alone. The commit says what was copied, from where, to where.
#[test]
fn a11_the_commit_is_the_record_of_the_copy() {
    let (yard, fake, image) = shop();
    yard.promote(&image.to_string(), "staging").exits(0);
    yard.run(["ledger", "prove", "1", "--to", "1.tlog-proof", "--with-record"]).exits(0);
    yard.run(["ledger", "verify", "1.tlog-proof"]).exits(0);
    let bundle: Value = serde_json::from_str(&yard.read("1.json")).unwrap();
    let payload = bundle["dsseEnvelope"]["payload"].as_str().unwrap();
    let statement = STANDARD.decode(payload).unwrap();
    let statement: Value = serde_json::from_slice(&statement).unwrap();
    let said = &statement["predicate"];
    assert_eq!(said["phase"], "commit");
    assert_eq!(said["from"]["uri"], format!("{}/shop", fake.host()));
    assert_eq!(said["to"]["uri"], format!("{}/staging/shop", fake.host()));
    // The index first, then every platform.
    let closure = yard.runtime.block_on(yard.registries.closure(&image)).unwrap();
    let mut digests = vec![image.digest.hex()];
    digests.extend(closure.platforms().map(|(digest, _)| digest.hex()));
    let subjects = statement["subject"].as_array().unwrap();
    let subjects: Vec<_> = subjects.iter().map(|one| one["digest"]["sha256"].as_str().unwrap()).collect();
    assert_eq!(subjects, digests);
    // It is written after the bytes were read back there, and names the intent before which nothing had an effect.
    assert_eq!(said["intent"]["index"], 0);
}

/// An image signed by `build` under cosign's older tag, and what lies under that tag in staging before it comes.
fn signed_by_tag(there: impl FnOnce(&Yard, &Fake, &Image) -> Vec<u8>) -> (Yard, Fake, Image, String) {
    let (yard, fake, image) = unsigned(Behaviour::default());
    let signed =
        simple_signing(&fake, &image, |payload| STANDARD.encode(yard.key("build").sign(payload).unwrap()));
    let tag = format!("sha256-{}.sig", image.digest.hex());
    fake.tag("shop", &tag, &fake.seed_manifest("shop", MANIFEST, &signed));
    let theirs = there(&yard, &fake, &image);
    fake.tag("staging/shop", &tag, &fake.seed_manifest("staging/shop", MANIFEST, &theirs));
    (yard, fake, image, tag)
}

fn of_release(yard: &Yard, fake: &Fake, image: &Image) -> Vec<u8> {
    simple_signing(fake, image, |payload| STANDARD.encode(yard.key("release").sign(payload).unwrap()))
}

fn layers(fake: &Fake, tag: &str) -> Vec<Value> {
    let digest = fake.tagged("staging/shop", tag).unwrap();
    let manifest: Value = serde_json::from_slice(&fake.manifest("staging/shop", &digest).unwrap()).unwrap();
    manifest["layers"].as_array().unwrap().clone()
}

#[test]
fn d11_a_signature_comes_along_behind_the_one_that_is_there() {
    let (yard, fake, image, tag) = signed_by_tag(of_release);
    let theirs = layers(&fake, &tag);
    let ran = yard.promote(&image.to_string(), "staging").exits(0);
    assert!(ran.stderr.contains("all of it is kept"), "{}", ran.stderr);
    let both = layers(&fake, &tag);
    assert_eq!((both.len(), &both[..1]), (2, &theirs[..]));
    // It is looked at again when whoever read the tag before our write has had the time to write his.
    let of_tag = |one: &crate::registry::Logged| one.path == format!("/v2/staging/shop/manifests/{tag}");
    let asked: Vec<_> = fake.log().into_iter().filter(of_tag).collect();
    let write = asked.iter().position(|one| one.method == "PUT").unwrap();
    let [read, write, back] = [write - 1, write, write + 1].map(|at| &asked[at]);
    let took = write.time.1 - read.time.0;
    assert!(back.time.0 - write.time.1 > took.min(Duration::from_millis(900)), "{asked:#?}");
    // The next environment finds both.
    let staged = format!("{}/staging/shop@{}", fake.host(), image.digest);
    yard.run(["deployed", &staged, "--in", "staging", "--key", "keys/staging.key"]).exits(0);
    yard.promote(&staged, "production").exits(0);
    let there = fake.tagged("production/shop", &tag);
    assert_eq!(there, fake.tagged("staging/shop", &tag), "byte for byte where the tag was not there");
}

/// A signature of cosign 2 stands in the annotations of its layer: its payload, put beside the image as if it were a bundle,
/// would be something that nobody signed.
#[test]
fn b5_of_evidence_in_another_repository_only_what_is_whole_goes_where_the_image_went() {
    let (yard, fake, image) = unsigned(Behaviour::default());
    let signed =
        simple_signing(&fake, &image, |payload| STANDARD.encode(yard.key("build").sign(payload).unwrap()));
    let parsed: Value = serde_json::from_slice(&signed).unwrap();
    let blobs = [&parsed["config"], &parsed["layers"][0]].map(|it| it["digest"].as_str().unwrap().to_owned());
    for digest in &blobs {
        fake.seed_blob("sigs/shop", &fake.blob("shop", digest).unwrap());
    }
    let manifest = fake.seed_manifest("sigs/shop", MANIFEST, &signed);
    fake.tag("sigs/shop", &format!("sha256-{}.sig", image.digest.hex()), &manifest);
    let sigs = format!("registry:{}/sigs/shop", fake.host());
    let image = image.to_string();
    let command = ["promote", &image, "--to", "staging", "--key", "keys/release.key"];
    yard.run(command).exits(1);
    yard.run([&command[..], &["--evidence", &sigs]].concat()).exits(0);
    for manifest in fake.manifests("staging/shop") {
        let manifest = String::from_utf8(manifest.to_vec()).unwrap();
        assert!(!manifest.contains(&blobs[1]), "{manifest}");
    }
}

/// What the tag holds there is nothing that cosign wrote: the signature has no place, and nothing is promoted without it.
#[test]
fn b5_a_signature_whose_tag_holds_something_else_there_is_not_left_behind() {
    let odd = |_: &Yard, fake: &Fake, _: &Image| {
        let layer = seed(fake, "application/vnd.example", b"odd");
        let config = seed(fake, IMAGE_CONFIG, b"{}");
        json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] })
            .to_string()
            .into_bytes()
    };
    let (yard, fake, image, tag) = signed_by_tag(odd);
    let before = fake.tagged("staging/shop", &tag);
    let ran = yard.promote(&image.to_string(), "staging").exits(3);
    assert_eq!(ran.stdout, "");
    assert!(ran.stderr.contains("which the decision relies on, is not at"), "{}", ran.stderr);
    assert!(ran.stderr.contains(&format!("`{tag}` in {}/staging/shop holds", fake.host())), "{}", ran.stderr);
    assert_eq!(open_intents(&yard), ["intent"]);
    assert_eq!((fake.tagged("staging/shop", &tag), fake.tagged("staging/shop", "staging")), (before, None));
    // A copy decides nothing: it says what stayed behind.
    let to = format!("{}/staging/shop", fake.host());
    let ran = yard.run(["copy", &image.to_string(), &to]).exits(0);
    assert!(ran.stderr.contains(&format!("the tag `{tag}` holds something else")), "{}", ran.stderr);
    // The way out, and the same command goes on.
    fake.untag("staging/shop", &tag);
    yard.promote(&image.to_string(), "staging").exits(0);
    assert_eq!(open_intents(&yard), ["intent", "commit"]);
}

/// Nothing compares and swaps: what another writer takes away is written again, a few times.
#[test]
fn d11_a_merged_tag_that_another_writer_takes_is_written_again() {
    for (lost, code) in [(1, 0), (usize::MAX, 3)] {
        let (yard, fake, image, tag) = signed_by_tag(of_release);
        let path = format!("/v2/staging/shop/manifests/{tag}");
        fake.on("PUT", &path, lost, Reply::status(201));
        let ran = yard.promote(&image.to_string(), "staging").exits(code);
        assert_eq!(layers(&fake, &tag).len(), if code == 0 { 2 } else { 1 });
        let wrote = fake.count("PUT", &path);
        assert!((2..=8).contains(&wrote), "{wrote}");
        if code == 3 {
            assert!(ran.stderr.contains(&tag) && ran.stderr.contains("means"), "{}", ran.stderr);
            assert_eq!(open_intents(&yard), ["intent"]);
        }
    }
}

/// Another writer had his turn after the tag was looked for, while contents were sent.
#[test]
fn d11_a_tag_that_another_writer_set_meanwhile_is_not_written_over() {
    let (yard, fake, image, tag) = signed_by_tag(of_release);
    let theirs = layers(&fake, &tag);
    let path = format!("/v2/staging/shop/manifests/{tag}");
    fake.on("GET", &path, 1, Reply::error(404, "MANIFEST_UNKNOWN"));
    yard.promote(&image.to_string(), "staging").exits(0);
    let both = layers(&fake, &tag);
    assert_eq!((both.len(), &both[..1]), (2, &theirs[..]));
}

/// Another writer has his turn right after ours: who puts his behind ours is no trouble, and who writes over it is put together
/// with it.
#[test]
fn d11_a_tag_that_another_writer_takes_at_once_holds_both_in_the_end() {
    for appends in [true, false] {
        let (yard, fake, image, tag) = signed_by_tag(of_release);
        let theirs = fake.tagged("staging/shop", &tag).unwrap();
        let mut rival: Value =
            serde_json::from_slice(&fake.manifest("staging/shop", &theirs).unwrap()).unwrap();
        fake.untag("staging/shop", &tag);
        if appends {
            let ours = fake.manifest("shop", &fake.tagged("shop", &tag).unwrap()).unwrap();
            let ours: Value = serde_json::from_slice(&ours).unwrap();
            rival["layers"].as_array_mut().unwrap().insert(0, ours["layers"][0].clone());
        }
        let rival = fake.seed_manifest("staging/shop", MANIFEST, rival.to_string().as_bytes());
        // We wait twice as long as three answers take, before ours is looked at again.
        fake.behave(|behaviour| behaviour.latency = Duration::from_millis(60));
        let wrote = || fake.tagged("staging/shop", &tag).is_some();
        let ran = std::thread::scope(|scope| {
            scope.spawn(|| {
                (0..10_000)
                    .take_while(|_| !wrote())
                    .for_each(|_| std::thread::sleep(Duration::from_millis(2)));
                fake.tag("staging/shop", &tag, &rival);
            });
            yard.promote(&image.to_string(), "staging")
        });
        ran.exits(0);
        assert_eq!(layers(&fake, &tag).len(), 2, "{appends}");
        assert_eq!(fake.tagged("staging/shop", &tag) == Some(rival), appends);
        assert!(fake.count("PUT", &format!("/v2/staging/shop/manifests/{tag}")) <= 2);
    }
}
