//! Rows of ATTACKS.md as a copy meets them: what is the same image, and what only looks like it.

use bytes::Bytes;
use samebits::closure::{OCI_INDEX, OCI_MANIFEST};
use samebits::digest::Digest;
use samebits::reference::{Image, Repository};
use serde_json::{Value, json};

use super::support::Bench;
use crate::registry::{Behaviour, Fake, Login};

/// Pushes an index, tagged.
fn index(bench: &Bench, to: &str, tag: &str, index: &Value) -> Digest {
    let (to, bytes): (Repository, _) = (to.parse().unwrap(), Bytes::from(index.to_string()));
    let tag = tag.parse().unwrap();
    bench.wait(bench.registries().push_manifest(&to, OCI_INDEX, bytes, Some(&tag))).unwrap()
}

/// The index of what was pushed, to be changed.
fn read(bench: &Bench, image: &Image) -> Value {
    serde_json::from_slice(&bench.wait(bench.bytes(&image.repository, image.digest)).unwrap()).unwrap()
}

/// A platform that two indexes share does not bring what only the other one has.
#[test]
fn a4_an_index_brings_its_own_platforms_and_no_others() {
    let (bench, fake) = (Bench::new(), Fake::start());
    let [from, to] = ["shop", "mirror"].map(|path| format!("{}/{path}", fake.host()));
    let first = bench.push(&from, "first");
    let (shared, other) = (first.platform("amd64"), first.platform("arm64"));
    let mut only = read(&bench, &first.image);
    only["manifests"].as_array_mut().unwrap().retain(|child| child["digest"] == shared.to_string());
    let second = index(&bench, &from, "2", &only);
    let ran = bench.copy(&format!("{from}:2"), &format!("{to}:2"), &[]).exits(0);
    assert_eq!(ran.stdout, format!("{to}@{second}\n"));
    let mirror: Repository = to.parse().unwrap();
    assert!(bench.wait(bench.bytes(&mirror, shared)).is_some());
    for absent in [other, first.image.digest] {
        assert_eq!(bench.wait(bench.bytes(&mirror, absent)), None);
    }
    // And the other one, then, brings what is missing of it.
    bench.copy(&format!("{from}:1"), &format!("{to}:1"), &[]).exits(0);
    bench.is_whole(&first, &to);
    assert_eq!(bench.tagged(&to, "2"), Some(second));
}

/// What BuildKit lists beside the platforms comes along; and is no platform that could be asked for.
#[test]
fn a5_attestation_manifests_come_along_and_are_no_platform() {
    let (bench, fake) = (Bench::new(), Fake::start());
    let [from, to] = ["shop", "mirror"].map(|path| format!("{}/{path}", fake.host()));
    let pushed = bench.push(&from, "hello");
    let shop: Repository = from.parse().unwrap();
    let statement = bench.wait(async {
        let layer = bench.blob(&shop, "application/vnd.in-toto+json", b"{\"predicate\":{}}").await;
        let config = "application/vnd.oci.image.config.v1+json";
        bench.manifest(&shop, config, &[layer], None, None).await
    });
    let mut listed = read(&bench, &pushed.image);
    let size = bench.wait(bench.bytes(&shop, statement)).unwrap().len();
    listed["manifests"].as_array_mut().unwrap().push(json!({
        "mediaType": OCI_MANIFEST, "digest": statement, "size": size,
        "platform": { "os": "unknown", "architecture": "unknown" },
        "annotations": {
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": pushed.platform("amd64"),
        },
    }));
    let root = index(&bench, &from, "2", &listed);
    let ran = bench.copy(&format!("{from}:2"), &format!("{to}:2"), &[]).exits(0);
    assert_eq!(ran.stdout, format!("{to}@{root}\n"));
    let mirror: Repository = to.parse().unwrap();
    assert_eq!(bench.wait(bench.bytes(&mirror, statement)), bench.wait(bench.bytes(&shop, statement)));
    let refused = bench.copy(&format!("{from}:2"), &to, &["--platform", "unknown/unknown"]).exits(2);
    assert!(refused.stderr.contains("no manifest for unknown/unknown"), "{}", refused.stderr);
}

/// The same layers under another manifest are another image: nothing is converted, normalised or taken for the same.
#[test]
fn a7_a_manifest_that_was_written_anew_is_another_image() {
    let (bench, fake) = (Bench::new(), Fake::start());
    let [from, to] = ["shop", "mirror"].map(|path| format!("{}/{path}", fake.host()));
    let pushed = bench.push(&from, "hello");
    bench.copy(&format!("{from}:1"), &format!("{to}:1"), &[]).exits(0);
    let mut annotated = read(&bench, &pushed.image);
    annotated["annotations"] = json!({ "org.example.mirror": "yes" });
    let other = index(&bench, &from, "2", &annotated);
    assert_ne!(other, pushed.image.digest);
    let expected = format!("{to}:2@{}", pushed.image.digest);
    let refused = bench.copy(&format!("{from}:2"), &expected, &[]).exits(3);
    assert!(refused.stderr.contains(&other.to_string()), "{}", refused.stderr);
    assert_eq!(bench.tagged(&to, "2"), None);
    // By its own name it is copied as it is, byte for byte, spaces and order of members too.
    let spelled = Bytes::from(serde_json::to_vec_pretty(&annotated).unwrap());
    let shop: Repository = from.parse().unwrap();
    let tag = "3".parse().unwrap();
    bench.wait(bench.registries().push_manifest(&shop, OCI_INDEX, spelled.clone(), Some(&tag))).unwrap();
    bench.copy(&format!("{from}:3"), &format!("{to}:3"), &[]).exits(0);
    let there = bench.wait(bench.bytes(&to.parse().unwrap(), Digest::of(&spelled)));
    assert_eq!(there, Some(spelled));
}

/// A rebuild under the same tag is something else, and said to be; the same bytes under another tag are the same.
#[test]
fn a8_a10_a_rebuild_is_another_image_and_another_tag_is_not() {
    let (bench, fake) = (Bench::new(), Fake::start());
    let [from, to] = ["shop", "mirror"].map(|path| format!("{}/{path}", fake.host()));
    let first = bench.push(&from, "first").image.digest;
    bench.copy(&format!("{from}:1"), &format!("{to}:1"), &[]).exits(0);
    let rebuilt = bench.push(&from, "rebuilt").image.digest;
    let refused = bench.copy(&format!("{from}:1@{first}"), &format!("{to}:1"), &[]).exits(3);
    assert!(refused.stderr.contains(&rebuilt.to_string()), "{}", refused.stderr);
    assert_eq!(bench.tagged(&to, "1"), Some(first));
    // By digest the first is still there, and another tag makes nothing new of it.
    fake.forget_log();
    bench.copy(&format!("{from}@{first}"), &format!("{to}:stable"), &[]).exits(0);
    assert_eq!(bench.tagged(&to, "stable"), Some(first));
    assert_eq!((fake.count("PUT", ""), fake.count("POST", "")), (1, 0), "the tag: {:#?}", fake.log());
}

/// A login that a registry turns down is in no message, and goes nowhere else.
#[test]
fn f8_a_copy_that_is_not_let_in_shows_no_login() {
    let (bench, here) = (Bench::new(), Fake::start());
    let there = Fake::with(Behaviour { login: Login::Basic, ..Behaviour::default() });
    let (from, to) = (format!("{}/shop", here.host()), format!("{}/mirror", there.host()));
    bench.push(&from, "hello");
    let secret = "c29tZWJvZHk6aHVudGVyMg==";
    std::fs::create_dir(bench.yard.path("login")).unwrap();
    bench
        .yard
        .write("login/config.json", json!({ "auths": { there.host(): { "auth": secret } } }).to_string());
    let mut command = bench.yard.command(["copy", &format!("{from}:1"), &format!("{to}:1"), "-v"]);
    let ran = crate::cli::ran(command.env("DOCKER_CONFIG", bench.yard.path("login"))).exits(3);
    assert!(
        ran.stderr.contains(&format!("destination {to}")) && ran.stderr.contains("401"),
        "{}",
        ran.stderr
    );
    for hidden in [secret, "hunter2", "somebody"] {
        assert!(!ran.stderr.contains(hidden) && !ran.stdout.contains(hidden), "{}", ran.stderr);
    }
    assert!(there.log().iter().any(|one| one.authorization.is_some()), "it was tried there");
    assert!(here.log().iter().all(|one| one.authorization.is_none()), "and nowhere else");
}
