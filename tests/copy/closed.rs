//! What is refused: nothing on stdout, no tag at the destination, and a word about which side it was.

use super::support::Bench;
use crate::cli::Yard;
use crate::registry::{Fake, Reply};

#[test]
fn e12_what_is_typed_wrong_is_exit_2_and_nothing_is_asked_for() {
    let bench = Bench::new();
    let fake = Fake::start();
    let host = fake.host();
    for (from, to) in [
        ("", "oci:to"),
        ("oci:from:1", ""),
        ("shop:1", "oci:to"),
        (&format!("{host}/shop"), "oci:to"),
        (&format!("{host}/shop:1"), "to"),
        (&format!("{host}/shop:1"), "oci:to:"),
    ] {
        let ran = bench.copy(from, to, &[]).exits(2);
        assert_eq!(ran.stdout, "", "{from} {to}");
    }
    assert_eq!(fake.count("", ""), 0);
}

#[test]
fn a1_a_tag_that_means_something_else_than_was_typed_is_refused() {
    let bench = Bench::new();
    let old = bench.push("oci:shop", "old").image.digest;
    let new = bench.push("oci:shop", "new").image.digest;
    let refused = bench.copy(&format!("oci:shop:1@{old}"), "oci:to:1", &[]).exits(3);
    assert!(refused.stderr.contains(&format!("means {new}: nothing was copied")), "{}", refused.stderr);
    // The same said of the destination.
    let refused = bench.copy("oci:shop:1", &format!("oci:to:1@{old}"), &[]).exits(3);
    assert!(refused.stderr.contains(&format!("is {new}: nothing was copied")), "{}", refused.stderr);
    assert!(!bench.yard.path("to").exists());
    bench.copy(&format!("oci:shop:1@{new}"), &format!("oci:to:1@{new}"), &[]).exits(0);
    assert_eq!(bench.tagged("oci:to", "1"), Some(new));
}

/// A source that lost something, or has other bytes than their name, is named; the tag is not set.
#[test]
fn a2_a12_a_source_that_is_not_whole_gives_nothing_a_tag() {
    let bench = Bench::new();
    let pushed = bench.push("oci:hello", "hello");
    let child = pushed.platform("amd64");
    let blob = pushed.closure.manifest(child).unwrap().blobs[1].digest;
    let (_, referrer) = pushed.attached[0];
    let note = bench.wait(bench.bytes(&pushed.image.repository, referrer)).unwrap();
    let note: serde_json::Value = serde_json::from_slice(&note).unwrap();
    let note = note["layers"][0]["digest"].as_str().unwrap().to_owned();
    for lost in [blob.to_string(), note.clone()] {
        for reply in [Reply::error(404, "BLOB_UNKNOWN"), Reply::Bytes(b"other bytes".to_vec())] {
            let (fake, there) = (Fake::start(), Fake::start());
            let from = format!("{}/shop", fake.host());
            bench.push(&from, "hello");
            fake.on("GET", &format!("/blobs/{lost}"), usize::MAX, reply);
            let to = format!("{}/to", there.host());
            let refused = bench.copy(&format!("{from}:1"), &format!("{to}:1"), &[]).exits(3);
            assert_eq!(refused.stdout, "");
            assert!(refused.stderr.contains(&format!("source {from}")), "{}", refused.stderr);
            assert!(refused.stderr.contains(&lost), "{}", refused.stderr);
            assert_eq!(bench.tagged(&to, "1"), None);
        }
    }
    for lost in [child, pushed.image.digest] {
        let (fake, there) = (Fake::start(), Fake::start());
        let from = format!("{}/shop", fake.host());
        bench.push(&from, "hello");
        fake.on("GET", &format!("/manifests/{lost}"), usize::MAX, Reply::Bytes(b"{}".to_vec()));
        let to = format!("{}/to", there.host());
        let named = format!("{from}@{}", pushed.image.digest);
        let refused = bench.copy(&named, &format!("{to}:1"), &[]).exits(3);
        assert!(refused.stderr.contains(&format!("source {from}")), "{}", refused.stderr);
        assert!(refused.stderr.contains(&lost.to_string()), "{}", refused.stderr);
        assert_eq!(there.count("PUT", ""), 0);
    }
}

/// The one place where a copy could be taken for a promotion.
#[test]
fn the_tag_of_an_environment_is_not_set_by_a_copy() {
    let yard = Yard::new();
    let image = yard.build("1", "never approved");
    let run = |to: &str| yard.run(["copy", "oci:registry/shop:1", to]);
    let refused = run("oci:registry/staging/shop:staging").exits(2);
    assert!(refused.stderr.contains("`samebits promote` alone"), "{}", refused.stderr);
    assert_eq!(refused.stdout, "");
    assert!(!yard.path("registry/staging").exists());
    // Elsewhere there it is said to mean nothing, and it does.
    let done = run("oci:registry/staging/shop:mine").exits(0);
    assert!(done.stderr.contains("has not been promoted"), "{}", done.stderr);
    assert_eq!(yard.tagged("oci:registry/staging/shop", "staging"), None);
    let asked = format!("oci:registry/staging/shop@{}", image.digest);
    yard.run(["check", &asked, "--to", "production"]).exits(1);
    // The ledger was not even opened.
    assert_eq!(yard.records().len(), 0);
}
