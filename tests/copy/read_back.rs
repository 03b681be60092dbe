//! The destination says yes to every write, and then has something else: an error that names side and digest, and no tag.

use samebits::closure::DOCKER_LIST;
use samebits::reference::Image;

use super::support::Bench;
use crate::registry::{Behaviour, Fake, Reply};

/// A listing of nothing.
const NONE: &[u8] =
    br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

#[test]
fn a2_a12_what_does_not_come_back_from_the_destination_was_not_copied() {
    let bench = Bench::new();
    let pushed = bench.push("oci:shop", "hello");
    for digest in [pushed.image.digest, pushed.platform("arm64")] {
        for (reply, said) in [
            (Reply::error(404, "MANIFEST_UNKNOWN"), "incomplete"),
            (Reply::Bytes(b"{}".to_vec()), "the bytes are"),
            (Reply::Header("docker-content-digest", format!("sha256:{}", "0".repeat(64))), "calls the bytes"),
            (Reply::Header("content-type", DOCKER_LIST.to_owned()), "the destination says"),
        ] {
            let fake = Fake::start();
            let to = format!("{}/to", fake.host());
            // Before anything is written, the root is looked for.
            let before = usize::from(digest == pushed.image.digest);
            fake.on("GET", &format!("/manifests/{digest}"), before, Reply::error(404, "MANIFEST_UNKNOWN"));
            fake.on("GET", &format!("/manifests/{digest}"), usize::MAX, reply);
            let ran = bench.copy("oci:shop:1", &format!("{to}:1"), &[]).exits(3);
            assert_eq!(ran.stdout, "");
            for part in [&format!("destination {to}"), &digest.to_string(), said] {
                assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
            }
            assert_eq!(fake.tagged("to", "1"), None);
        }
    }
}

#[test]
fn b11_a_registry_that_acknowledges_referrers_and_lists_none_is_found_out() {
    let bench = Bench::new();
    let pushed = bench.push("oci:shop", "hello");
    // It says `OCI-Subject`, so that nobody writes the fallback tag; and it has no referrers API.
    let fake = Fake::with(Behaviour { referrers_api: false, ..Behaviour::default() });
    let to = format!("{}/to", fake.host());
    let ran = bench.copy("oci:shop:1", &format!("{to}:1"), &[]).exits(3);
    assert!(ran.stderr.contains(&format!("destination {to}")), "{}", ran.stderr);
    assert!(ran.stderr.contains("is not listed as referring to"), "{}", ran.stderr);
    assert!(pushed.attached.iter().any(|(_, digest)| ran.stderr.contains(&digest.to_string())));
    assert_eq!(fake.tagged("to", "1"), None);
    // Whoever wants no referrers there says so.
    bench.copy("oci:shop:1", &format!("{to}:1"), &["--no-referrers"]).exits(0);
}

/// Where `OCI-Subject` is missing the fallback tag is written; but readers ask the API, where there is one.
#[test]
fn b11_a_fallback_tag_is_no_listing_where_readers_ask_an_api_that_lists_none() {
    let bench = Bench::new();
    bench.push("oci:shop", "hello");
    let fake = Fake::with(Behaviour { subject_header: false, ..Behaviour::default() });
    let to = format!("{}/to", fake.host());
    fake.on("GET", "/referrers/", usize::MAX, Reply::Bytes(NONE.to_vec()));
    let ran = bench.copy("oci:shop:1", &format!("{to}:1"), &[]).exits(3);
    assert!(ran.stderr.contains("is not listed as referring to"), "{}", ran.stderr);
    assert_eq!(fake.tagged("to", "1"), None);
    assert!(fake.count("PUT", "/manifests/sha256-") > 0);
}

/// Some registries show what they took a little later.
#[test]
fn f5_what_comes_back_late_comes_back() {
    let bench = Bench::new();
    let pushed = bench.push("oci:shop", "hello");
    let fake = Fake::start();
    let to = format!("{}/to", fake.host());
    let root = pushed.image.digest;
    // Before it is written, and once after.
    fake.on("GET", &format!("/manifests/{root}"), 2, Reply::error(404, "MANIFEST_UNKNOWN"));
    fake.on("GET", &format!("/referrers/{root}"), 1, Reply::Bytes(NONE.to_vec()));
    bench.copy("oci:shop:1", &format!("{to}:1"), &[]).exits(0);
    bench.is_whole(&pushed, &to);
}

#[test]
fn a2_a_blob_that_lies_in_a_layout_with_other_bytes_is_written_again() {
    let bench = Bench::new();
    let pushed = bench.push("oci:shop", "hello");
    bench.copy("oci:shop:1", "oci:to:1", &[]).exits(0);
    let blob = pushed.closure.blobs()[0].digest;
    let file = format!("to/blobs/sha256/{}", blob.hex());
    let mut bytes = std::fs::read(bench.yard.path(&file)).unwrap();
    bytes[0] ^= 1;
    bench.yard.write(&file, &bytes);
    let again = bench.copy("oci:shop:1", "oci:to:1", &["-o", "json"]).exits(0).json();
    assert_eq!(again["images"][0]["copy"]["blobsCopied"], 1, "{again:#}");
    bench.is_whole(&pushed, "oci:to");
}

/// A tag of cosign's that was told to be set, and was not, or means something else.
#[test]
fn a12_a_tag_of_cosigns_that_does_not_come_back_was_not_copied() {
    let bench = Bench::new();
    let pushed = bench.push("oci:shop", "hello");
    let tag = format!("sha256-{}.att", pushed.image.digest.hex());
    let fake = Fake::start();
    let to = format!("{}/to", fake.host());
    fake.on("PUT", &format!("/manifests/{tag}"), usize::MAX, Reply::status(201));
    let ran = bench.copy("oci:shop:1", &format!("{to}:1"), &[]).exits(3);
    for said in [&format!("destination {to}"), &tag, "means nothing after it was set", "hint: "] {
        assert!(ran.stderr.contains(said), "{said}: {}", ran.stderr);
    }
    assert_eq!(fake.tagged("to", "1"), None);
}

/// What lies there under another media type is not the image, whatever its bytes are.
#[test]
fn a7_a_manifest_that_is_called_otherwise_there_is_written_again() {
    let bench = Bench::new();
    let pushed = bench.push("oci:shop", "hello");
    let fake = Fake::start();
    let to = format!("{}/to", fake.host());
    bench.copy("oci:shop:1", &format!("{to}:1"), &[]).exits(0);
    for manifest in pushed.closure.manifests() {
        fake.seed_manifest("to", DOCKER_LIST, &manifest.bytes);
        bench.copy("oci:shop:1", &format!("{to}:1"), &[]).exits(0);
        let there = Image::new(to.parse().unwrap(), manifest.digest);
        let found = bench.wait(bench.registries().manifest(&there)).unwrap().unwrap();
        assert_eq!(found.media_type, manifest.media_type);
    }
}

/// Whoever looks while it is copied sees no manifest without what it lists, no referrer without its image, and the tag last.
#[test]
fn nothing_is_written_before_what_it_stands_on() {
    let bench = Bench::new();
    let pushed = bench.push("oci:shop", "hello");
    let fake = Fake::start();
    // It takes the image late: what does not wait for it comes first.
    fake.on("PUT", &format!("/manifests/{}", pushed.image.digest), 2, Reply::status(503));
    bench.copy("oci:shop:1", &format!("{}/to:1", fake.host()), &[]).exits(0);
    let written: Vec<String> = fake
        .log()
        .into_iter()
        .filter(|one| one.method == "PUT" && one.status == 201 && one.path.contains("/manifests/"))
        .map(|one| one.path.rsplit('/').next().unwrap().to_owned())
        .collect();
    let at = |name: &str| {
        written.iter().position(|it| it == name).unwrap_or_else(|| panic!("{name}: {written:?}"))
    };
    let root = at(&pushed.image.digest.to_string());
    for manifest in pushed.closure.manifests() {
        assert!(at(&manifest.digest.to_string()) <= root, "{written:?}");
    }
    for (subject, referrer) in &pushed.attached {
        let referrer = at(&referrer.to_string());
        assert!(referrer > root && referrer > at(&subject.to_string()), "{written:?}");
    }
    for suffix in ["sig", "att", "sbom"] {
        assert!(at(&format!("sha256-{}.{suffix}", pushed.image.digest.hex())) > root, "{written:?}");
    }
    assert_eq!(at("1"), written.len() - 1);
}

/// A blob that somebody takes out of a layout while the others come is missed, and named.
#[test]
fn a12_a_blob_that_vanishes_from_a_layout_while_it_is_written_is_missed() {
    let (bench, fake) = (Bench::new(), Fake::start());
    let from = format!("{}/shop", fake.host());
    let pushed = bench.push(&from, "hello");
    let [one, other] =
        ["amd64", "arm64"].map(|of| pushed.closure.manifest(pushed.platform(of)).unwrap().blobs[1].digest);
    let file = bench.yard.path(&format!("to/blobs/sha256/{}", one.hex()));
    let path = format!("/blobs/{other}");
    // The other is asked for until the one is there; which is then no more.
    let mut taken = false;
    fake.watch(Box::new(move |method, asked, _| {
        if method != "GET" || !asked.ends_with(&path) || taken {
            return None;
        }
        taken = std::fs::remove_file(&file).is_ok();
        (!taken).then(|| Reply::status(503))
    }));
    let ran = bench.copy(&format!("{from}:1"), "oci:to:1", &["--no-referrers"]).exits(3);
    for said in ["destination oci:to", &one.to_string(), "incomplete", "hint: run again"] {
        assert!(ran.stderr.contains(said), "{said}: {}", ran.stderr);
    }
    assert_eq!(bench.tagged("oci:to", "1"), None);
    bench.copy(&format!("{from}:1"), "oci:to:1", &["--no-referrers"]).exits(0);
}
