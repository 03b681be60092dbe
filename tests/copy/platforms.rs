//! `--platform`: the manifest by its own digest, never another index.

use samebits::reference::Repository;

use super::support::Bench;
use crate::registry::Fake;

#[test]
fn a_platform_is_copied_by_its_own_digest_with_what_refers_to_it() {
    let bench = Bench::new();
    let fake = Fake::start();
    let (from, to) = (format!("{}/shop", fake.host()), format!("{}/edge", fake.host()));
    let pushed = bench.push(&from, "hello");
    let amd64 = pushed.platform("amd64");
    let ran =
        bench.copy(&format!("{from}:1"), &format!("{to}:1"), &["--platform", "linux/amd64/v1"]).exits(0);
    assert_eq!(ran.stdout, format!("{to}@{amd64}\n"), "{}", ran.stderr);
    assert_eq!(bench.tagged(&to, "1"), Some(amd64));
    let edge: Repository = to.parse().unwrap();
    bench.wait(async {
        assert_eq!(bench.bytes(&edge, amd64).await, bench.bytes(&pushed.image.repository, amd64).await);
        for absent in [pushed.image.digest, pushed.platform("arm64")] {
            assert_eq!(bench.bytes(&edge, absent).await, None);
        }
        for (subject, referrer) in &pushed.attached {
            assert_eq!(bench.refers(&edge, *subject, *referrer).await, *subject == amd64);
        }
    });
}

#[test]
fn several_platforms_are_several_images_and_a_tag_names_one() {
    let bench = Bench::new();
    let pushed = bench.push("oci:shop", "hello");
    let both = ["--platform", "linux/arm64", "--platform", "linux/amd64", "--platform", "linux/arm64/v8"];
    let ran = bench.copy("oci:shop:1", "oci:edge", &both).exits(0);
    let (amd64, arm64) = (pushed.platform("amd64"), pushed.platform("arm64"));
    assert_eq!(ran.stdout, format!("oci:edge@{arm64}\noci:edge@{amd64}\n"));

    let refused = bench.copy("oci:shop:1", "oci:tagged:1", &both).exits(2);
    assert!(refused.stderr.contains("2 platforms are as many images"), "{}", refused.stderr);
    assert_eq!(refused.stdout, "");
    assert!(!bench.yard.path("tagged").exists());
}

#[test]
fn a_platform_that_the_image_has_not_is_refused_with_those_it_has() {
    let bench = Bench::new();
    bench.push("oci:shop", "hello");
    for wanted in ["linux/s390x", "linux/arm64/v9", "windows/amd64"] {
        let refused = bench.copy("oci:shop:1", "oci:edge:1", &["--platform", wanted]).exits(2);
        let said = format!("no manifest for {wanted}: it has linux/amd64, linux/arm64");
        assert!(refused.stderr.contains(&said), "{}", refused.stderr);
    }
    bench.copy("oci:shop:1", "oci:edge:1", &["--platform", "Linux"]).exits(2);
    assert!(!bench.yard.path("edge").exists());
}
