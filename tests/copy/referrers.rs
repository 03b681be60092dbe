//! Everything arrives, in all directions; and what may not come along stays.

use samebits::reference::Repository;

use super::support::Bench;
use crate::registry::{Behaviour, Fake, INDEX, Login, MANIFEST};
use serde_json::json;

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

#[test]
fn an_image_goes_from_anywhere_to_anywhere_with_all_that_refers_to_it() {
    let bench = Bench::new();
    let (here, there) = (
        Fake::start(),
        Fake::with(Behaviour { referrers_api: false, subject_header: false, ..Behaviour::default() }),
    );
    let (here, there) = (here.host(), there.host());
    let pushed = bench.push(&format!("{here}/shop"), "hello");
    let digest = pushed.image.digest;
    let journey = [
        format!("{here}/shop"),
        format!("{there}/mirror/shop"),
        "oci:backup".to_owned(),
        "oci:second".to_owned(),
        format!("{here}/restored"),
        format!("{here}/restored/again"),
    ];
    for (from, to) in journey.iter().zip(&journey[1..]) {
        let ran = bench.copy(&format!("{from}:1"), &format!("{to}:1"), &[]).exits(0);
        assert_eq!(ran.stdout, format!("{to}@{digest}\n"), "{}", ran.stderr);
        assert!(ran.stderr.contains("nothing was decided"), "{}", ran.stderr);
        bench.is_whole(&pushed, to);
        assert_eq!(bench.tagged(to, "1"), Some(digest));
    }
    // Again: nothing is sent, the answer is the same.
    let again =
        bench.copy(&format!("{here}/shop@{digest}"), &format!("{there}/mirror/shop"), &["-o", "json"]);
    let again = again.exits(0).json();
    assert_eq!(again["images"][0]["copy"]["bytesCopied"], 0, "{again:#}");
    assert_eq!(again["images"][0]["image"], format!("{there}/mirror/shop@{digest}"));
    assert_eq!((&again["tag"], &again["withReferrers"]), (&serde_json::Value::Null, &true.into()));
}

#[test]
fn without_referrers_only_the_image_arrives() {
    let bench = Bench::new();
    let pushed = bench.push("oci:shop", "hello");
    let ran = bench.copy("oci:shop:1", "oci:bare:1", &["--no-referrers"]).exits(0);
    assert!(ran.stderr.contains("0 referrers"), "{}", ran.stderr);
    let bare: Repository = "oci:bare".parse().unwrap();
    bench.wait(async {
        bench.has_image(&pushed, &bare).await;
        for (subject, referrer) in &pushed.attached {
            assert!(!bench.refers(&bare, *subject, *referrer).await);
            assert_eq!(bench.bytes(&bare, *referrer).await, None);
        }
    });
}

/// Whoever may attach something to the source gets nothing that runs to the destination.
#[test]
fn b1_a_referrer_that_could_be_run_stays_behind_and_is_named() {
    let bench = Bench::new();
    let fake = Fake::start();
    let (from, to) = (format!("{}/shop", fake.host()), format!("{}/mirror", fake.host()));
    let pushed = bench.push(&from, "hello");
    let shop: Repository = from.parse().unwrap();
    let evil = bench.wait(async {
        let layer = bench.blob(&shop, LAYER, b"evil").await;
        let config = "application/vnd.oci.image.config.v1+json";
        bench.manifest(&shop, config, &[layer], Some(pushed.image.digest), None).await
    });
    let ran = bench.copy(&format!("{from}:1"), &to, &["-o", "json"]).exits(0).json();
    let notes = ran["notes"].as_array().unwrap();
    assert!(notes.iter().any(|note| note.as_str().unwrap().contains(&evil.to_string())), "{ran:#}");
    assert_eq!(bench.wait(bench.bytes(&to.parse().unwrap(), evil)), None);
    bench.is_whole(&pushed, &to);
}

/// Whoever may attach something to the source cannot stop a copy of the image with what is no manifest.
#[test]
fn b9_a_referrer_that_is_no_manifest_stays_behind_and_is_named() {
    let bench = Bench::new();
    let fake = Fake::start();
    let (from, to) = (format!("{}/shop", fake.host()), format!("{}/mirror", fake.host()));
    let pushed = bench.push(&from, "hello");
    let subject = json!({ "mediaType": INDEX, "digest": pushed.image.digest, "size": 1 });
    let odd = [
        json!({ "schemaVersion": 1, "mediaType": MANIFEST, "layers": [], "subject": subject }),
        json!({ "schemaVersion": 2, "mediaType": MANIFEST, "layers": "none", "subject": subject }),
        json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [], "layers": [], "subject": subject }),
    ];
    let mut odd: Vec<String> = odd
        .iter()
        .map(|manifest| fake.seed_manifest("shop", MANIFEST, manifest.to_string().as_bytes()))
        .collect();
    // Under one of cosign's tags, too.
    let tagged = fake.seed_manifest("shop", MANIFEST, b"[]");
    let platform = pushed.platform("arm64");
    fake.tag("shop", &format!("sha256-{}.sbom", platform.hex()), &tagged);
    odd.push(tagged);
    odd.sort();
    let ran = bench.copy(&format!("{from}:1"), &format!("{to}:1"), &["-o", "json"]).exits(0).json();
    let named = ran["images"][0]["copy"]["referrersMalformed"].as_array().unwrap().clone();
    let mut named: Vec<_> = named.iter().map(|one| one.as_str().unwrap().to_owned()).collect();
    named.sort();
    assert_eq!(named, odd, "{ran:#}");
    for digest in &odd {
        let said = |note: &serde_json::Value| note.as_str().unwrap().contains(digest.as_str());
        assert!(ran["notes"].as_array().unwrap().iter().any(said), "{digest}: {ran:#}");
        assert_eq!(fake.manifest("mirror", digest), None);
    }
    bench.is_whole(&pushed, &to);
}

/// Where the registry lists no referrers itself, what lies at one depth is listed at once; no blob is sent twice.
#[test]
fn referrers_of_one_subject_are_listed_together() {
    let bench = Bench::new();
    let here = Fake::start();
    let there = Fake::with(Behaviour { referrers_api: false, subject_header: false, ..Behaviour::default() });
    let (from, to) = (format!("{}/shop", here.host()), format!("{}/mirror", there.host()));
    let mut pushed = bench.push(&from, "hello");
    let (shop, root): (Repository, _) = (from.parse().unwrap(), pushed.image.digest);
    for number in 0..10_u8 {
        let referrer = bench.wait(async {
            let layer = bench.blob(&shop, "application/vnd.example.note", &[number]).await;
            bench.manifest(&shop, "application/vnd.oci.empty.v1+json", &[layer], Some(root), None).await
        });
        pushed.attached.push((root, referrer));
    }
    bench.copy(&format!("{from}:1"), &to, &[]).exits(0);
    bench.is_whole(&pushed, &to);
    // The fallback tag, and cosign's three, which begin alike.
    assert_eq!(there.count("PUT", &format!("/v2/mirror/manifests/sha256-{}", root.hex())), 1 + 3);
    let empty = samebits::digest::Digest::of(b"{}");
    assert_eq!([there.count("HEAD", &empty.hex()), there.count("PUT", &empty.hex())], [1, 1]);
}

#[test]
fn between_repositories_of_one_registry_that_wants_tokens_blobs_are_mounted() {
    let bench = Bench::new();
    let fake = Fake::start();
    let (from, to) = (format!("{}/shop", fake.host()), format!("{}/mirror", fake.host()));
    bench.push(&from, "hello");
    fake.behave(|behaviour| behaviour.login = Login::bearer());
    let refused = bench.copy(&format!("{from}:1"), &format!("{to}:1"), &[]).exits(3);
    assert_eq!(refused.stdout, "");
    assert!(refused.stderr.contains(&format!("source {from}")), "{}", refused.stderr);
    std::fs::create_dir(bench.yard.path(".docker")).unwrap();
    bench.yard.write(".docker/config.json", crate::registry::login_file(fake.host()));
    let done = bench.copy(&format!("{from}:1"), &format!("{to}:1"), &["-o", "json"]).exits(0).json();
    assert_eq!(done["images"][0]["copy"]["bytesCopied"], 0, "{done:#}");
}

/// Where the registry lists referrers and does not say so in its answers (`OCI-Subject`), they are listed both ways.
#[test]
fn b12_a_registry_that_lists_referrers_and_does_not_say_so_gets_them_all() {
    let bench = Bench::new();
    let here = Fake::start();
    let there = Fake::with(Behaviour { subject_header: false, ..Behaviour::default() });
    let (from, to) = (format!("{}/shop", here.host()), format!("{}/mirror", there.host()));
    let pushed = bench.push(&from, "hello");
    bench.copy(&format!("{from}:1"), &format!("{to}:1"), &[]).exits(0);
    bench.is_whole(&pushed, &to);
    // Whoever asks by the tag alone finds them too.
    there.behave(|behaviour| behaviour.referrers_api = false);
    let asked = Bench::new();
    for (subject, referrer) in &pushed.attached {
        assert!(asked.wait(asked.refers(&to.parse().unwrap(), *subject, *referrer)));
    }
}

/// What is listed and is not there, or refers to something else, is not brought; the first is named.
#[test]
fn b11_what_a_listing_says_wrongly_is_not_brought() {
    let bench = Bench::new();
    let here = Fake::with(Behaviour { referrers_api: false, subject_header: false, ..Behaviour::default() });
    let there = Fake::start();
    let (from, to) = (format!("{}/shop", here.host()), format!("{}/mirror", there.host()));
    let pushed = bench.push(&from, "hello");
    let (shop, root) = (from.parse::<Repository>().unwrap(), pushed.image.digest);
    let other = pushed.platform("arm64");
    let elsewhere = bench.wait(bench.attach(&shop, other, "of arm64"));
    here.untag("shop", &format!("sha256-{}", other.hex()));
    let gone = samebits::digest::Digest::of(b"gone");
    let tag = format!("sha256-{}", root.hex());
    let mut listing: serde_json::Value =
        serde_json::from_slice(&here.manifest("shop", &here.tagged("shop", &tag).unwrap()).unwrap()).unwrap();
    for digest in [elsewhere, gone] {
        let entry = json!({ "mediaType": MANIFEST, "digest": digest, "size": 1 });
        listing["manifests"].as_array_mut().unwrap().push(entry);
    }
    here.tag("shop", &tag, &here.seed_manifest("shop", INDEX, listing.to_string().as_bytes()));
    let ran = bench.copy(&format!("{from}:1"), &format!("{to}:1"), &["-o", "json"]).exits(0).json();
    let said = format!("the source lists {gone} as a referrer, and does not have it");
    assert!(ran["notes"].to_string().contains(&said), "{ran:#}");
    assert_eq!(there.manifest("mirror", &elsewhere.to_string()), None);
    bench.is_whole(&pushed, &to);
}

/// Nothing is left behind in silence: what is too deep, or too much, is an error that says what to do.
#[test]
fn b10_referrers_of_referrers_without_end_are_an_error_and_no_shorter_copy() {
    let (bench, here, there) = (Bench::new(), Fake::start(), Fake::start());
    let (from, to) = (format!("{}/shop", here.host()), format!("{}/mirror", there.host()));
    let mut pushed = bench.push(&from, "hello");
    let shop: Repository = from.parse().unwrap();
    // The index, its referrer, and that one's: two more are four steps.
    for text in ["third", "fourth"] {
        let last = pushed.attached.last().unwrap().1;
        pushed.attached.push((last, bench.wait(bench.attach(&shop, last, text))));
    }
    bench.copy(&format!("{from}:1"), &format!("{to}:1"), &[]).exits(0);
    bench.is_whole(&pushed, &to);
    bench.wait(bench.attach(&shop, pushed.attached.last().unwrap().1, "fifth"));
    let ran = bench.copy(&format!("{from}:1"), &format!("{to}:2"), &[]).exits(3);
    for said in [&format!("source {from}"), "referrers", "hint: delete what nobody needs"] {
        assert!(ran.stderr.contains(said), "{said}: {}", ran.stderr);
    }
    assert_eq!((ran.stdout.as_str(), there.tagged("mirror", "2")), ("", None));
    bench.copy(&format!("{from}:1"), &format!("{to}:2"), &["--no-referrers"]).exits(0);
}

/// A registry that makes no repositories by itself says which one is missing; so do we, and what to do.
#[test]
fn a_repository_that_has_to_be_made_first_is_named() {
    let (bench, there) = (Bench::new(), Fake::start());
    bench.push("oci:shop", "hello");
    there.on("POST", "/blobs/uploads/", usize::MAX, crate::registry::Reply::error(404, "NAME_UNKNOWN"));
    let to = format!("{}/mirror", there.host());
    let ran = bench.copy("oci:shop:1", &format!("{to}:1"), &[]).exits(3);
    let hint = format!("hint: {} has no mirror, or the login may not see it: create it there", there.host());
    assert!(
        ran.stderr.contains(&format!("destination {to}")) && ran.stderr.contains(&hint),
        "{}",
        ran.stderr
    );
}
