//! The copy inside a promotion: read back before the commit, with the evidence that was relied on; and recorded by it.

use samebits::reference::Image;
use serde_json::Value;

use crate::cli::Yard;
use crate::registry::{Fake, Reply};

/// A service whose repositories are in a registry, with an image that may enter staging.
fn shop() -> (Yard, Fake, Image) {
    let (yard, fake) = (Yard::empty(), Fake::start());
    yard.run(["init", "--service", "shop", "--registry", fake.host()]).exits(0);
    let image = yard.push_to(&format!("{}/shop", fake.host()).parse().unwrap(), "1", "hello");
    yard.attest(&image, "build", samebits::verify::COSIGN_SIGN);
    (yard, fake, image)
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

/// What the gate relied on has to be where the image is: the next environment looks there.
#[test]
fn b5_evidence_that_vanishes_between_the_decision_and_the_copy_stops_the_promotion() {
    let (yard, fake, image) = shop();
    let listing = "/v2/shop/referrers/";
    // Index and two platforms, as the gate looks; then nothing is listed any more.
    fake.on("GET", listing, 3, Reply::Header("x-seen", "by the gate".to_owned()));
    let none = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    fake.on("GET", listing, 3, Reply::Bytes(none.to_vec()));
    let ran = yard.promote(&image.to_string(), "staging").exits(3);
    assert!(ran.stderr.contains("which the decision relies on, is not at"), "{}", ran.stderr);
    assert!(ran.stderr.contains("intent 0 stays open"), "{}", ran.stderr);
    assert_eq!(open_intents(&yard), ["intent"]);
    assert_eq!(fake.tagged("staging/shop", "staging"), None);
    // It is there again: the same command goes on.
    let ran = yard.promote(&image.to_string(), "staging").exits(0);
    assert_eq!(ran.stdout, format!("{}/staging/shop@{}\n", fake.host(), image.digest));
    assert_eq!(open_intents(&yard), ["intent", "commit"]);
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
    let statement = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, payload).unwrap();
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
