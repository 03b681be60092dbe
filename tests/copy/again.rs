//! The same copy again: what is asked for, what is mended, and what only `--check-blobs` finds.

use std::collections::BTreeMap;

use samebits::reference::Repository;
use samebits::registry::RegistryError;
use serde_json::Value;

use super::support::{Bench, NOTE, Pushed};
use crate::registry::{Behaviour, Fake, Reply};

fn copied(bench: &Bench, from: &str, to: &str, more: &[&str]) -> Value {
    let ran = bench.copy(&format!("{from}:1"), &format!("{to}:1"), &[&["-o", "json"], more].concat());
    ran.exits(0).json()["images"][0]["copy"].clone()
}

/// A source and a destination that was copied to.
fn done(api: bool) -> (Bench, Fake, Pushed, [String; 2]) {
    let fake = Fake::with(Behaviour { referrers_api: api, subject_header: api, ..Behaviour::default() });
    let bench = Bench::new();
    let [from, to] = ["shop", "mirror"].map(|path| format!("{}/{path}", fake.host()));
    let pushed = bench.push(&from, "hello");
    copied(&bench, &from, &to, &[]);
    fake.forget_log();
    (bench, fake, pushed, [from, to])
}

#[test]
fn nothing_is_written_and_no_more_is_asked_than_a_manifest_and_a_list_each() {
    // An index and two platforms, three referrers, three under cosign's tags. On both sides the image and those tags are
    // read, and what refers to three of them is listed; at the source for all nine, or all tags once. What a fallback tag
    // lists is asked for, too.
    let (image, tags, lists, all, list_of_tags, tag, probes) = (2 * 3, 2 * 3, 2 * 3, 6, 1, 1, 2);
    for (api, most) in [
        (true, image + tags + lists + all + list_of_tags + tag),
        (false, image + tags + lists + 3 + list_of_tags + tag + probes),
    ] {
        let (bench, fake, pushed, [from, to]) = done(api);
        let again = copied(&bench, &from, &to, &[]);
        assert_eq!(again["manifestsPresent"], 3, "{again:#}");
        assert_eq!(again["referrers"], 6, "{again:#}");
        let asked = fake.log();
        assert!(asked.iter().all(|one| matches!(one.method.as_str(), "GET" | "HEAD")), "{asked:#?}");
        assert!(asked.len() <= most, "{} of {most}: {asked:#?}", asked.len());
        assert_eq!(fake.count("", "/blobs/"), 0, "{asked:#?}");
        bench.is_whole(&pushed, &to);
    }
}

/// A first copy asks once whether there is an API, and once for all tags.
#[test]
fn a_registry_is_asked_once_what_it_can() {
    let (bench, fake, pushed, [from, _]) = done(false);
    let other = format!("{}/other", fake.host());
    copied(&bench, &from, &other, &[]);
    let tags = |what: &str| fake.count("GET", what);
    assert_eq!((tags("/shop/referrers/"), tags("/shop/tags/list")), (1, 1), "{:#?}", fake.log());
    // What is not on the list is not asked for.
    let sure = pushed.closure.platforms().next().unwrap().0;
    assert_eq!(tags(&format!("/shop/manifests/sha256-{}.sig", sure.hex())), 0);
    bench.is_whole(&pushed, &other);
}

#[test]
fn a_registry_that_lists_no_tags_is_asked_for_each() {
    for status in [401, 403, 404, 405, 500] {
        let fake = Fake::start();
        let bench = Bench::new();
        let [from, to] = ["shop", "mirror"].map(|path| format!("{}/{path}", fake.host()));
        let pushed = bench.push(&from, "hello");
        fake.on("GET", "/tags/list", usize::MAX, crate::registry::Reply::error(status, "DENIED"));
        bench.copy(&format!("{from}:1"), &format!("{to}:1"), &[]).exits(0);
        bench.is_whole(&pushed, &to);
    }
}

#[test]
fn a12_what_the_destination_has_lost_is_brought_again() {
    for api in [true, false] {
        let (bench, fake, pushed, [from, to]) = done(api);
        let mut lost = vec![pushed.image.digest, pushed.platform("arm64")];
        lost.extend(pushed.attached.iter().map(|(_, referrer)| *referrer));
        for digest in lost {
            fake.lose("mirror", &digest.to_string());
            copied(&bench, &from, &to, &[]);
            bench.is_whole(&pushed, &to);
        }
        fake.untag("mirror", &format!("sha256-{}.sig", pushed.image.digest.hex()));
        copied(&bench, &from, &to, &[]);
        bench.is_whole(&pushed, &to);
    }
}

#[test]
fn a12_a_blob_that_is_gone_below_its_manifest_is_found_by_check_blobs() {
    let (bench, fake, pushed, [from, to]) = done(true);
    let blob = pushed.closure.blobs()[0].digest.to_string();
    fake.lose("mirror", &blob);
    copied(&bench, &from, &to, &[]);
    assert_eq!(fake.blob("mirror", &blob), None, "believed, as its help says");
    let mended = copied(&bench, &from, &to, &["--check-blobs"]);
    assert_eq!(mended["blobsMounted"].as_u64().unwrap() + mended["blobsCopied"].as_u64().unwrap(), {
        // In one registry a mount is the question too.
        u64::try_from(pushed.closure.blobs().len() + blobs_of_referrers(&bench, &pushed)).unwrap()
    });
    bench.is_whole(&pushed, &to);
}

fn blobs_of_referrers(bench: &Bench, pushed: &Pushed) -> usize {
    use std::collections::BTreeSet;
    let mut blobs = BTreeSet::new();
    let legacy =
        ["sig", "att", "sbom"].map(|suffix| format!("sha256-{}.{suffix}", pushed.image.digest.hex()));
    let legacy = legacy.iter().filter_map(|tag| bench.tagged(&pushed.image.repository.to_string(), tag));
    for digest in pushed.attached.iter().map(|(_, referrer)| *referrer).chain(legacy) {
        let bytes = bench.wait(bench.bytes(&pushed.image.repository, digest)).unwrap();
        let manifest: Value = serde_json::from_slice(&bytes).unwrap();
        let layers = manifest["layers"].as_array().unwrap().iter();
        blobs.extend(layers.chain([&manifest["config"]]).map(|blob| blob["digest"].to_string()));
    }
    blobs.len()
}

/// What was attached since comes along, and nothing else moves.
#[test]
fn a_new_referrer_is_all_that_is_brought() {
    for api in [true, false] {
        let (bench, fake, mut pushed, [from, to]) = done(api);
        let (_, first) = pushed.attached[0];
        for (subject, text) in [(pushed.image.digest, "new"), (first, "new below")] {
            let referrer = bench.wait(bench.attach(&from.parse().unwrap(), subject, text));
            pushed.attached.push((subject, referrer));
        }
        fake.forget_log();
        let again = copied(&bench, &from, &to, &[]);
        assert_eq!((&again["referrers"], &again["manifestsPresent"]), (&8.into(), &3.into()));
        let index = usize::from(!api);
        assert_eq!(fake.count("PUT", "/mirror/manifests/"), 2 + 2 * index, "{:#?}", fake.log());
        bench.is_whole(&pushed, &to);
    }
}

/// olareg forgets one of two referrers of the same subject that come at once.
#[test]
fn b11_a_referrer_that_the_registry_took_and_forgot_is_written_again() {
    let bench = Bench::new();
    let fake = Fake::start();
    let [from, to] = ["shop", "mirror"].map(|path| format!("{}/{path}", fake.host()));
    let pushed = bench.push(&from, "hello");
    let (subject, referrer) = pushed.attached[0];
    let taken = vec![("oci-subject", subject.to_string())];
    let taken = Reply::Instead { status: 201, headers: taken, body: vec![] };
    fake.on("PUT", &format!("/mirror/manifests/{referrer}"), 1, taken);
    bench.copy(&format!("{from}:1"), &format!("{to}:1"), &[]).exits(0);
    bench.is_whole(&pushed, &to);
    assert_eq!(fake.count("PUT", &format!("/mirror/manifests/{referrer}")), 2);
}

/// What is attached is looked for, too: others attach at the same time.
#[test]
fn b11_what_was_attached_taken_and_forgotten_is_attached_again_or_it_is_said() {
    let bench = Bench::new();
    let fake = Fake::start();
    let shop: Repository = format!("{}/shop", fake.host()).parse().unwrap();
    let image = bench.push(&shop.to_string(), "hello").image;
    let taken = Reply::Instead {
        status: 201,
        headers: vec![("oci-subject", image.digest.to_string())],
        body: vec![],
    };
    let attach = |text: &'static str| {
        let none = BTreeMap::new();
        bench.wait(bench.registries().attach(&image, NOTE, NOTE, text.as_bytes(), &none))
    };
    let path = "/v2/shop/manifests/sha256:";
    // 1. Forgotten once.
    fake.on("PUT", path, 1, taken.clone());
    fake.forget_log();
    let note = attach("note").unwrap();
    assert!(fake.manifest("shop", &note.to_string()).is_some());
    assert_eq!((fake.count("PUT", path), fake.count("GET", "/shop/referrers/")), (2, 2));
    // 2. Always.
    fake.on("PUT", path, usize::MAX, taken);
    let error = attach("another").unwrap_err();
    assert!(matches!(&error, RegistryError::NotListed { .. }), "{error}");
    assert!(error.is_transient() && error.hint().is_some());
}
