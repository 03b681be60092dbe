//! `reconcile` through the binary: says what it would do, does it when told to, and exits 1 while anything is left.

use samebits::reference::Image;
use samebits::registry::{HttpConfig, Registries};
use serde_json::json;

use crate::cli::{Ran, Yard, at, valid};

const ENTRY: &str = "oci:registry/staging/shop";

/// Points the tag of staging at an image, past the ledger.
fn retag(yard: &Yard, image: &Image) {
    let registries = Registries::new(HttpConfig::default(), yard.path(""));
    let there = Image::new(ENTRY.parse().unwrap(), image.digest);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(registries.set_tag(&there, &"staging".parse().unwrap())).unwrap();
}

fn reconcile(yard: &Yard, args: &[&str]) -> Ran {
    yard.run(["reconcile", "-q"].into_iter().chain(args.iter().copied()))
}

#[test]
fn d6_reconcile_says_what_it_would_do_and_does_it_when_told_to() {
    let yard = Yard::new();
    let (first, second) = (yard.build("1", "first"), yard.build("2", "second"));
    for image in ["oci:registry/shop:1", "oci:registry/shop:2"] {
        yard.promote(image, "staging").exits(0);
    }
    let clean = reconcile(&yard, &[]).exits(0);
    assert!(clean.stdout.contains("registries and ledger say the same"), "{}", clean.stdout);
    retag(&yard, &first);
    // Dry: nothing is changed, no key is asked for, and it is no success.
    let dry = reconcile(&yard, &["--in", "staging"]).exits(1);
    let expected = format!(
        "the tag `staging` means {}; the ledger says {}",
        first.digest.short(),
        second.digest.short()
    );
    for piece in ["to do", &expected[..], "samebits reconcile --in staging --yes --key FILE"] {
        assert!(dry.stdout.contains(piece), "{piece} in\n{}", dry.stdout);
    }
    assert_eq!(yard.tagged(ENTRY, "staging"), Some(first.digest));
    let json = reconcile(&yard, &["-o", "json"]).exits(1).json();
    valid(&json);
    assert_eq!((&json["left"][0]["what"], &json["left"][0]["outcome"]), (&json!("tag"), &json!("to-do")));
    reconcile(&yard, &["--in", "production"]).exits(0);
    reconcile(&yard, &["--in", "prod"]).exits(2);
    // Done, by a key, and then there is nothing to do.
    reconcile(&yard, &["--yes"]).exits(2);
    let done = reconcile(&yard, &["--yes", "--key", "keys/release.key"]).exits(0);
    assert!(done.stdout.contains("done") && done.stdout.contains("reconciled"), "{}", done.stdout);
    assert_eq!(yard.tagged(ENTRY, "staging"), Some(second.digest));
    let json = reconcile(&yard, &["-o", "json"]).exits(0).json();
    assert_eq!(json["left"], json!([]));
    yard.run(["deployed", &at("staging", &second), "--in", "staging", "--key", "keys/staging.key"]).exits(0);
}

/// What a run left open is listed, and not touched before its time.
#[test]
fn d6_reconcile_leaves_a_promotion_that_may_be_under_way() {
    let yard = Yard::new();
    yard.build("1", "first");
    yard.write("registry/staging", "in the way");
    yard.promote("oci:registry/shop:1", "staging").exits(3);
    std::fs::remove_file(yard.path("registry/staging")).unwrap();
    for args in [&[][..], &["--yes", "--abort", "--key", "keys/release.key"]] {
        let ran = reconcile(&yard, args).exits(0);
        assert!(ran.stdout.contains("under way") && ran.stdout.contains("intent 0 for"), "{}", ran.stdout);
    }
    yard.promote("oci:registry/shop:1", "staging").exits(0);
}

/// Neither registry nor ledger can be guessed.
#[test]
fn d7_what_cannot_be_read_is_not_reconciled() {
    let yard = Yard::new();
    yard.build("1", "first");
    yard.promote("oci:registry/shop:1", "staging").exits(0);
    let index = yard.read("registry/staging/shop/index.json");
    yard.write("registry/staging/shop/index.json", "{");
    reconcile(&yard, &[]).exits(3);
    yard.write("registry/staging/shop/index.json", index);
    reconcile(&yard, &[]).exits(0);
    std::fs::rename(yard.path(".samebits/ledger.db"), yard.path("elsewhere")).unwrap();
    reconcile(&yard, &[]).exits(3);
}
