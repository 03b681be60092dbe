//! OCI layouts on disk and skopeo: it reads what we write, we read what it writes, both write into one layout.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

#[path = "support/image.rs"]
mod image;
#[path = "support/peer.rs"]
mod peer;

use std::path::Path;

use samebits::closure::Document;
use samebits::reference::{Image, Reference, Repository};
use samebits::registry::{HttpConfig, Registries};
use serde_json::Value;

fn skopeo(folder: &Path, arguments: &[&str]) -> Vec<u8> {
    peer::skopeo(folder, arguments).unwrap()
}

#[tokio::test]
async fn skopeo_reads_our_layout_and_we_read_skopeos() {
    if !peer::is_installed("skopeo") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let registries = Registries::new(HttpConfig::default(), folder.path().to_owned());
    let ours: Repository = "oci:ours".parse().unwrap();
    let image = image::push(&registries, &ours, "1", "hello").await;
    let (digest, index) = (image.digest, registries.manifest(&image).await.unwrap().unwrap().bytes);
    registries
        .attach(&image, "application/x", "application/x", b"evidence", &Default::default())
        .await
        .unwrap();

    // 1. skopeo reads ours.
    assert_eq!(skopeo(folder.path(), &["inspect", "--raw", "oci:ours:1"]), index);
    let inspected = skopeo(folder.path(), &["inspect", "--override-arch", "arm64", "oci:ours:1"]);
    let inspected: Value = serde_json::from_slice(&inspected).unwrap();
    assert_eq!(inspected["Architecture"], "arm64");
    skopeo(folder.path(), &["copy", "--all", "--preserve-digests", "oci:ours:1", "oci:theirs:2"]);
    // 2. We read theirs: the same image.
    let theirs: Reference = "oci:theirs:2".parse().unwrap();
    let resolved = registries.resolve(&theirs).await.unwrap();
    assert_eq!(resolved.image.digest, digest);
    let closure = registries.closure(&resolved.image).await.unwrap();
    assert_eq!(closure.platforms().count(), 2);
    assert_eq!(registries.has_closure(&resolved.image.repository, &closure).await.unwrap(), []);
    // 3. Both write into one layout.
    let report = registries
        .copy(&closure, &registries.reading(&image.repository).unwrap(), theirs.repository())
        .await
        .unwrap();
    assert_eq!((report.blobs_copied, report.blobs_present, report.referrers), (2, 4, 1));
    let live = "live".parse().unwrap();
    let copied = Image::new(theirs.repository().clone(), digest);
    registries.set_tag(&copied, &live).await.unwrap();
    assert_eq!(skopeo(folder.path(), &["inspect", "--raw", "oci:theirs:live"]), index);
    skopeo(folder.path(), &["copy", "oci:ours:1", "oci:theirs:single"]);
    let single = registries.resolve(&"oci:theirs:single".parse().unwrap()).await.unwrap();
    let closure = registries.closure(&single.image).await.unwrap();
    assert!(!closure.is_index());
    let found = registries.manifest(&single.image).await.unwrap().unwrap();
    assert!(Document::read(&found.bytes, Some(&found.media_type), None).is_ok());
    assert_eq!(registries.tagged(theirs.repository(), &live).await.unwrap(), Some(digest));
    // 4. A folder per image, as `skopeo copy … dir:` to another machine and back.
    skopeo(folder.path(), &["copy", "--all", "--preserve-digests", "oci:theirs:live", "dir:d"]);
}
