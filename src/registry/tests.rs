//! The whole API over layouts on disk.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::closure::{OCI_INDEX, OCI_MANIFEST, Role};

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

struct World {
    folder: TempDir,
    registries: Registries,
}

fn repository(name: &str) -> Repository {
    Repository::layout(name).unwrap()
}

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let registries = Registries::new(HttpConfig::default(), folder.path().to_owned());
        Self { folder, registries }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn blob(&self, name: &str, digest: Digest) -> PathBuf {
        self.path(name).join("blobs/sha256").join(digest.hex())
    }

    fn index(&self, name: &str) -> Vec<Value> {
        let value: Value =
            serde_json::from_slice(&fs::read(self.path(name).join("index.json")).unwrap()).unwrap();
        value["manifests"].as_array().unwrap().clone()
    }

    async fn blob_of(&self, to: &Repository, media_type: &str, bytes: &[u8]) -> Value {
        let digest = self.registries.push_blob(to, Bytes::copy_from_slice(bytes)).await.unwrap();
        json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
    }

    async fn platform(&self, to: &Repository, architecture: &str, salt: &str) -> Value {
        let config = json!({
            "os": "linux", "architecture": architecture, "rootfs": { "type": "layers", "diff_ids": [] },
            "config": { "Labels": { "salt": salt } },
        });
        let config = self.blob_of(to, CONFIG, config.to_string().as_bytes()).await;
        let shared = self.blob_of(to, LAYER, b"a layer of both platforms").await;
        // Larger than several chunks.
        let layer = self.blob_of(to, LAYER, salt.repeat(1_000_000 / salt.len()).as_bytes()).await;
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [shared, layer]
        });
        let manifest = manifest.to_string();
        let digest =
            self.registries.push_manifest(to, OCI_MANIFEST, manifest.clone().into(), None).await.unwrap();
        json!({
            "mediaType": OCI_MANIFEST, "digest": digest, "size": manifest.len(),
            "platform": { "os": "linux", "architecture": architecture },
        })
    }

    /// An index of two platforms, tagged `1`.
    async fn image(&self, name: &str, salt: &str) -> Image {
        let to = repository(name);
        let amd64 = self.platform(&to, "amd64", &format!("{salt}-amd64")).await;
        let arm64 = self.platform(&to, "arm64", &format!("{salt}-arm64")).await;
        let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [amd64, arm64] });
        let index = Bytes::from(index.to_string());
        let digest = self.registries.push_manifest(&to, OCI_INDEX, index, Some(&tag("1"))).await.unwrap();
        Image::new(to, digest)
    }

    async fn copy(&self, image: &Image, to: &str) -> Result<CopyReport, CopyError> {
        let closure = self.registries.closure(image).await.unwrap();
        self.registries
            .copy(&closure, &self.registries.reading(&image.repository).unwrap(), &repository(to))
            .await
    }
}

fn change_one_byte(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn the_futures_can_be_spawned() {
    fn send<T: Send>(_: T) {}
    let world = World::new();
    let image = Image::new(repository("a"), Digest::of(b""));
    let reference = Reference::Pinned(image.clone());
    send(world.registries.resolve(&reference));
    send(world.registries.closure(&image));
    send(world.registries.legacy(&image, Suffix::Sig));
    send(world.registries.set_tag(&image, &tag("1")));
    send(world.image("a", "b"));
    send(world.copy(&image, "b"));
}

#[tokio::test]
async fn a_copy_has_everything_and_a_second_one_sends_nothing() {
    let world = World::new();
    let image = world.image("staging", "x").await;
    let closure = world.registries.closure(&image).await.unwrap();
    let report = world.copy(&image, "production").await.unwrap();
    assert_eq!((report.manifests, report.blobs_copied, report.blobs_present), (3, 5, 0));
    assert!(report.bytes_copied > 1_900_000);
    assert_eq!(world.registries.has_closure(&repository("production"), &closure).await.unwrap(), []);
    let again = world.copy(&image, "production").await.unwrap();
    assert_eq!((again.blobs_copied, again.blobs_present, again.bytes_copied), (0, 5, 0));

    // By digest only: no tag until it is set.
    let production = repository("production");
    assert_eq!(world.registries.tagged(&production, &tag("1")).await.unwrap(), None);
    let copied = Image::new(production.clone(), image.digest);
    world.registries.set_tag(&copied, &tag("live")).await.unwrap();
    assert_eq!(world.registries.tagged(&production, &tag("live")).await.unwrap(), Some(image.digest));
    // The index alone is listed; its manifests are reached through it.
    assert_eq!(world.index("production").len(), 1);
}

#[tokio::test]
async fn a1_a_tag_that_moves_later_changes_nothing_that_was_resolved() {
    let world = World::new();
    let first = world.image("staging", "first").await;
    let reference: Reference = "oci:staging:1".parse().unwrap();
    let resolved = world.registries.resolve(&reference).await.unwrap();
    assert_eq!(resolved.image, first);
    let second = world.image("staging", "second").await;
    assert_ne!(first, second);
    assert_eq!(world.registries.closure(&resolved.image).await.unwrap().root(), first.digest);
    // Asked again, the move shows; and the bytes that lost the tag are still listed.
    assert_eq!(world.registries.tagged(&first.repository, &tag("1")).await.unwrap(), Some(second.digest));
    assert_eq!(world.index("staging").len(), 2);
    // What the person expected is handed on, never believed.
    let expected: Reference = format!("oci:staging:1@{}", first.digest).parse().unwrap();
    let resolved = world.registries.resolve(&expected).await.unwrap();
    assert_eq!((resolved.image.digest, resolved.expected), (second.digest, Some(first.digest)));
}

#[tokio::test]
async fn absence_is_an_answer_and_a_missing_layout_an_error() {
    let world = World::new();
    let reference: Reference = "oci:nowhere:1".parse().unwrap();
    let error = world.registries.resolve(&reference).await.unwrap_err();
    assert!(matches!(error, RegistryError::LayoutAbsent { .. }), "{error}");
    assert!(error.to_string().contains("nowhere"));
    assert_eq!(world.registries.tagged(&repository("nowhere"), &tag("1")).await.unwrap(), None);

    let image = world.image("staging", "x").await;
    for absent in ["oci:staging:2".to_owned(), format!("oci:staging@{}", Digest::of(b"other"))] {
        let error = world.registries.resolve(&absent.parse().unwrap()).await.unwrap_err();
        assert!(matches!(&error, RegistryError::NoSuchImage { wanted } if *wanted == absent), "{error}");
    }
    assert_eq!(world.registries.referrers(&image).await.unwrap(), Referrers::Listed(vec![]));
    assert_eq!(world.registries.legacy(&image, Suffix::Sig).await.unwrap(), None);
}

#[tokio::test]
async fn a2_a_changed_manifest_is_refused() {
    let world = World::new();
    let image = world.image("staging", "x").await;
    change_one_byte(&world.blob("staging", image.digest));
    let error = world.registries.resolve(&"oci:staging:1".parse().unwrap()).await.unwrap_err();
    assert!(matches!(error, RegistryError::LayoutDigest { .. }), "{error}");
}

#[tokio::test]
async fn a2_a_changed_blob_is_refused_and_no_manifest_appears() {
    let world = World::new();
    let image = world.image("staging", "x").await;
    let closure = world.registries.closure(&image).await.unwrap();
    for blob in closure.blobs() {
        let to = format!("to-{}", blob.digest.short());
        let path = world.blob("staging", blob.digest);
        let good = fs::read(&path).unwrap();
        for fault in ["changed", "short", "long", "absent"] {
            match fault {
                "changed" => change_one_byte(&path),
                "short" => fs::write(&path, &good[1..]).unwrap(),
                "long" => fs::write(&path, [&good[..], b"x"].concat()).unwrap(),
                _ => fs::remove_file(&path).unwrap(),
            }
            let error = world
                .registries
                .copy(&closure, &world.registries.reading(&image.repository).unwrap(), &repository(&to))
                .await
                .unwrap_err();
            assert_eq!(error.side, Side::Source, "{fault}: {error:?}");
            for manifest in closure.manifests() {
                assert!(!world.blob(&to, manifest.digest).exists(), "{fault}");
            }
            assert!(!world.blob(&to, blob.digest).exists(), "{fault}");
            fs::write(&path, &good).unwrap();
        }
        // Mended, the same copy goes on from what is there.
        let report = world.copy(&image, &to).await.unwrap();
        assert_eq!(report.blobs_copied + report.blobs_present, 5);
        let left: Vec<_> = fs::read_dir(world.path(&to).join("blobs/sha256")).unwrap().collect();
        assert_eq!(left.len(), 5 + 3, "temporary files are left");
    }
}

#[tokio::test]
async fn a_half_written_destination_is_finished() {
    let world = World::new();
    let image = world.image("staging", "x").await;
    let closure = world.registries.closure(&image).await.unwrap();
    world.copy(&image, "production").await.unwrap();
    let (blob, manifest) = (closure.blobs()[0].digest, closure.manifests().next().unwrap().digest);
    // Half a blob, a manifest of zeros, the root gone, an abandoned temporary file.
    let bytes = fs::read(world.blob("production", blob)).unwrap();
    fs::write(world.blob("production", blob), &bytes[..bytes.len() / 2]).unwrap();
    fs::write(world.blob("production", manifest), vec![0; 700]).unwrap();
    fs::remove_file(world.blob("production", image.digest)).unwrap();
    fs::write(world.path("production/blobs/sha256/.samebits.1.0"), b"x").unwrap();

    let mut missing = world.registries.has_closure(&repository("production"), &closure).await.unwrap();
    missing.sort();
    let mut expected = vec![blob, manifest, image.digest];
    expected.sort();
    assert_eq!(missing, expected);
    let report = world.copy(&image, "production").await.unwrap();
    assert_eq!((report.blobs_copied, report.blobs_present), (1, 4));
    assert_eq!(world.registries.has_closure(&repository("production"), &closure).await.unwrap(), []);
    let copied = Image::new(repository("production"), image.digest);
    world.registries.closure(&copied).await.unwrap();
}

#[tokio::test]
async fn a12_a_lost_child_or_blob_is_found_missing() {
    let world = World::new();
    let image = world.image("staging", "x").await;
    let closure = world.registries.closure(&image).await.unwrap();
    let child = closure.platforms().next().unwrap().0;
    let blob = closure.manifest(child).unwrap().blobs[2].digest;
    for lost in [blob, child] {
        fs::remove_file(world.blob("staging", lost)).unwrap();
        let missing = world.registries.has_closure(&image.repository, &closure).await.unwrap();
        assert!(missing.contains(&lost));
    }
    let error = world.registries.closure(&image).await.unwrap_err();
    assert!(
        matches!(&error, RegistryError::Image { source, .. }
            if matches!(**source, ClosureError::Incomplete { first, .. } if first == child)),
        "{error:?}"
    );
}

#[tokio::test]
async fn a6_and_a9_a_hostile_index_is_an_error_that_names_it() {
    let world = World::new();
    let to = repository("staging");
    let image = world.image("staging", "x").await;
    let mut index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
        { "mediaType": OCI_MANIFEST, "digest": format!("sha512:{}", "0".repeat(128)), "size": 1 }
    ]});
    let sha512 = Bytes::from(index.to_string());
    let error = world.registries.push_manifest(&to, OCI_INDEX, sha512, None).await.unwrap_err();
    assert!(matches!(error, RegistryError::Image { .. }), "{error}");

    let mut digest = image.digest;
    let mut size = fs::metadata(world.blob("staging", digest)).unwrap().len();
    for _ in 0..4 {
        index["manifests"] = json!([{ "mediaType": OCI_INDEX, "digest": digest, "size": size }]);
        let bytes = Bytes::from(index.to_string());
        size = bytes.len() as u64;
        digest = world.registries.push_manifest(&to, OCI_INDEX, bytes, None).await.unwrap();
    }
    let error = world.registries.closure(&Image::new(to, digest)).await.unwrap_err();
    assert!(
        matches!(&error, RegistryError::Image { source, .. } if matches!(**source, ClosureError::TooDeep { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn referrers_of_the_index_of_a_child_and_of_a_referrer_are_copied() {
    let world = World::new();
    let image = world.image("staging", "x").await;
    let closure = world.registries.closure(&image).await.unwrap();
    let annotations = BTreeMap::from([("dev.sigstore.bundle.content".into(), "dsse-envelope".into())]);
    let attach = async |subject: Digest, bytes: &[u8]| {
        let subject = Image::new(image.repository.clone(), subject);
        world.registries.attach(&subject, BUNDLE, BUNDLE, bytes, &annotations).await.unwrap()
    };
    let on_index = attach(image.digest, b"bundle 1").await;
    assert_eq!(attach(image.digest, b"bundle 1").await, on_index, "not the same twice");
    let child = closure.platforms().next().unwrap().0;
    let on_child = attach(child, b"bundle 2").await;
    let on_referrer = attach(on_index, b"bundle 3").await;
    // What cosign 2 wrote, which has no subject.
    let config = world.blob_of(&image.repository, CONFIG, b"{}").await;
    let layer =
        world.blob_of(&image.repository, "application/vnd.dev.cosign.simplesigning.v1+json", b"{1}").await;
    let legacy =
        json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [layer] });
    let name = tag(&format!("sha256-{}.sig", image.digest.hex()));
    let legacy = Bytes::from(legacy.to_string());
    world.registries.push_manifest(&image.repository, OCI_MANIFEST, legacy, Some(&name)).await.unwrap();

    let report = world.copy(&image, "production").await.unwrap();
    assert_eq!(report.referrers, 4);
    assert!(!report.referrers_unsupported && report.referrers_dangling.is_empty());
    let production = repository("production");
    for (subject, referrer) in [(image.digest, on_index), (child, on_child), (on_index, on_referrer)] {
        let subject = Image::new(production.clone(), subject);
        let Referrers::Listed(listed) = world.registries.referrers(&subject).await.unwrap() else {
            panic!("unsupported")
        };
        assert_eq!(listed.iter().map(|one| one.digest).collect::<Vec<_>>(), [referrer]);
        assert_eq!(listed[0].artifact_type.as_deref(), Some(BUNDLE));
        assert_eq!(listed[0].annotations, annotations);
        let found =
            world.registries.manifest(&Image::new(production.clone(), referrer)).await.unwrap().unwrap();
        let document = Document::read(&found.bytes, None, None).unwrap();
        let layer = document.blobs()[1].digest;
        let bytes = world.registries.blob_bytes(&production, layer, 100).await.unwrap().unwrap();
        assert!(bytes.starts_with(b"bundle"));
        assert!(world.registries.blob_bytes(&production, layer, 3).await.is_err(), "longer than the limit");
    }
    let copied = Image::new(production.clone(), image.digest);
    assert!(world.registries.legacy(&copied, Suffix::Sig).await.unwrap().is_some());
    assert_eq!(world.copy(&image, "production").await.unwrap().blobs_copied, 0);

    // Other evidence under cosign's tag is not overwritten.
    let layer = world.blob_of(&production, LAYER, b"somebody else's").await;
    let config = world.blob_of(&production, CONFIG, b"{}").await;
    let other = json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [layer] });
    let other = Bytes::from(other.to_string());
    world.registries.push_manifest(&production, OCI_MANIFEST, other, Some(&name)).await.unwrap();
    assert_eq!(world.copy(&image, "production").await.unwrap().legacy_kept, [name]);
}

/// Whoever may write to the source gets nothing that runs past the gate as an attachment of what it decided on.
#[tokio::test]
async fn b1_what_is_attached_and_could_run_is_left_behind() {
    let world = World::new();
    let image = world.image("staging", "x").await;
    let evil = world.image("staging", "evil").await;
    let evil_child = world.registries.closure(&evil).await.unwrap().platforms().next().unwrap().0;
    let staging = &image.repository;
    // 1. Under cosign's tags: an image, an index.
    for (digest, suffix) in [(evil_child, "sig"), (evil.digest, "att")] {
        let name = tag(&format!("sha256-{}.{suffix}", image.digest.hex()));
        world.registries.set_tag(&Image::new(staging.clone(), digest), &name).await.unwrap();
    }
    // 2. As referrers: an image, one as old Docker versions take it for one, an index.
    let subject = json!({ "mediaType": OCI_INDEX, "digest": image.digest, "size": 1 });
    let layer = world.blob_of(staging, LAYER, b"evil").await;
    let mut attached = vec![evil_child, evil.digest];
    for config in [CONFIG, "application/octet-stream"] {
        let config = world.blob_of(staging, config, br#"{"os":"linux","architecture":"amd64"}"#).await;
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [layer], "subject": subject
        });
        let manifest = Bytes::from(manifest.to_string());
        attached.push(world.registries.push_manifest(staging, OCI_MANIFEST, manifest, None).await.unwrap());
    }
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [], "subject": subject });
    let index = Bytes::from(index.to_string());
    attached.push(world.registries.push_manifest(staging, OCI_INDEX, index, None).await.unwrap());

    let mut report = world.copy(&image, "production").await.unwrap();
    let production = repository("production");
    for digest in &attached {
        let there = world.registries.manifest(&Image::new(production.clone(), *digest)).await.unwrap();
        assert!(there.is_none(), "{digest} came along");
    }
    let production = Image::new(production, image.digest);
    assert_eq!(world.registries.legacy(&production, Suffix::Sig).await.unwrap(), None);
    report.referrers_runnable.sort();
    attached.sort();
    assert_eq!((report.referrers, report.referrers_runnable), (0, attached));
}

/// cosign's signatures stand in annotations: the same layer with another signature is other evidence, and both are kept.
/// A signature is a signature by its media type: the same bytes and annotations as something else do not stand for it.
#[tokio::test]
async fn d11_a_layer_of_another_type_is_not_the_same_signature() {
    const SIGNATURE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
    let world = World::new();
    let image = world.image("staging", "x").await;
    world.copy(&image, "production").await.unwrap();
    let name = tag(&format!("sha256-{}.sig", image.digest.hex()));
    let push = async |to: &Repository, layers: &[(&str, &[u8])]| {
        let config = world.blob_of(to, CONFIG, b"{}").await;
        let mut written = Vec::new();
        for (media_type, payload) in layers {
            let mut layer = world.blob_of(to, media_type, payload).await;
            layer["annotations"] = json!({ "dev.cosignproject.cosign/signature": "said" });
            written.push(layer);
        }
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": written });
        let manifest = Bytes::from(manifest.to_string());
        world.registries.push_manifest(to, OCI_MANIFEST, manifest, Some(&name)).await.unwrap()
    };
    let production = repository("production");
    push(&production, &[(SIGNATURE, b"{1}")]).await;
    push(&image.repository, &[("application/octet-stream", b"{1}"), (SIGNATURE, b"{2}")]).await;
    let _report = world.copy(&image, "production").await.unwrap();
    let there = Image::new(production, image.digest);
    let (_, found) = world.registries.legacy(&there, Suffix::Sig).await.unwrap().unwrap();
    let found: Value = serde_json::from_slice(&found.bytes).unwrap();
    let theirs = json!(Digest::of(b"{1}"));
    let is_theirs = |layer: &Value| layer["digest"] == theirs && layer["mediaType"] == SIGNATURE;
    assert!(found["layers"].as_array().unwrap().iter().any(is_theirs), "{found:#}");
}

#[tokio::test]
async fn d11_a_signature_at_the_destination_is_never_lost_to_another() {
    let world = World::new();
    let image = world.image("staging", "x").await;
    world.copy(&image, "production").await.unwrap();
    let name = tag(&format!("sha256-{}.sig", image.digest.hex()));
    let push = async |to: &Repository, signature: &str, payloads: &[&[u8]]| {
        let config = world.blob_of(to, CONFIG, b"{}").await;
        let mut layers = Vec::new();
        for payload in payloads {
            let mut layer =
                world.blob_of(to, "application/vnd.dev.cosign.simplesigning.v1+json", payload).await;
            layer["annotations"] = json!({ "dev.cosignproject.cosign/signature": signature });
            layers.push(layer);
        }
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers });
        let manifest = Bytes::from(manifest.to_string());
        world.registries.push_manifest(to, OCI_MANIFEST, manifest, Some(&name)).await.unwrap()
    };
    let production = repository("production");
    let tagged = async || world.registries.tagged(&production, &name).await.unwrap();
    let signatures = async || {
        let (_, found) = world
            .registries
            .legacy(&Image::new(production.clone(), image.digest), Suffix::Sig)
            .await
            .unwrap()
            .unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&found.bytes).unwrap();
        let said = |layer: &serde_json::Value| {
            layer["annotations"]["dev.cosignproject.cosign/signature"].as_str().unwrap().to_owned()
        };
        manifest["layers"].as_array().unwrap().iter().map(said).collect::<Vec<_>>()
    };
    // 1. Theirs first, ours behind; what both have, once.
    push(&production, "good", &[b"{1}"]).await;
    push(&image.repository, "other", &[b"{1}", b"{2}"]).await;
    let report = world.copy(&image, "production").await.unwrap();
    assert_eq!((&report.legacy_merged, &report.legacy_kept), (&vec![name.clone()], &Vec::new()));
    assert_eq!(signatures().await, ["good", "other", "other"]);
    // 2. Again: all of ours is there, nothing is written.
    let both = tagged().await;
    let report = world.copy(&image, "production").await.unwrap();
    assert_eq!((report.legacy_kept, tagged().await), (Vec::new(), both));
    // 3. What has all of it, and more, takes the tag, byte for byte.
    push(&production, "good", &[b"{1}"]).await;
    let more = push(&image.repository, "good", &[b"{1}", b"{2}"]).await;
    let report = world.copy(&image, "production").await.unwrap();
    assert_eq!((report.legacy_merged, report.legacy_kept), (Vec::new(), Vec::new()));
    assert_eq!(tagged().await, Some(more));
    // 4. More than anybody reads is not made: the tag stays.
    let many: Vec<String> = (0..255).map(|number| number.to_string()).collect();
    let many: Vec<&[u8]> = many.iter().map(String::as_bytes).collect();
    let full = push(&production, "theirs", &many).await;
    assert_eq!(world.copy(&image, "production").await.unwrap().legacy_kept, std::slice::from_ref(&name));
    assert_eq!(tagged().await, Some(full));
}

/// Whoever may write an image must not make evidence vanish by listing it as a platform.
#[tokio::test]
async fn b5_a_referrer_that_a_later_index_lists_as_its_child_is_still_found() {
    let world = World::new();
    let image = world.image("staging", "x").await;
    let annotations = BTreeMap::new();
    let referrer = world.registries.attach(&image, BUNDLE, BUNDLE, b"bundle", &annotations).await.unwrap();
    let there = Image::new(image.repository.clone(), referrer);
    let size = world.registries.manifest(&there).await.unwrap().unwrap().bytes.len();
    let child = json!({ "mediaType": OCI_MANIFEST, "digest": referrer, "size": size });
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child] });
    for (index, name) in [(&index, None), (&index, Some(tag("later")))] {
        let bytes = Bytes::from(index.to_string());
        world.registries.push_manifest(&image.repository, OCI_INDEX, bytes, name.as_ref()).await.unwrap();
        let Referrers::Listed(listed) = world.registries.referrers(&image).await.unwrap() else {
            panic!("unsupported")
        };
        assert_eq!(listed.iter().map(|one| one.digest).collect::<Vec<_>>(), [referrer]);
    }
}

/// Where a folder is there, it is one, whatever its name.
#[tokio::test]
async fn a_folder_whose_name_ends_in_tar_is_a_folder() {
    let world = World::new();
    fs::create_dir(world.path("x.tar")).unwrap();
    let image = world.image("x.tar", "x").await;
    assert!(world.path("x.tar/index.json").is_file());
    world.registries.set_tag(&image, &tag("2")).await.unwrap();
    assert_eq!(world.registries.tagged(&image.repository, &tag("2")).await.unwrap(), Some(image.digest));
    // Where nothing is, it would be an archive, to which nothing is added.
    let error = world.registries.push_blob(&repository("y.tar"), Bytes::from_static(b"x")).await.unwrap_err();
    assert!(matches!(error, RegistryError::LayoutWritten { .. }), "{error}");
}

#[tokio::test]
async fn a_referrer_of_something_that_is_not_there_is_an_error() {
    let world = World::new();
    let image = world.image("staging", "x").await;
    let other = Image::new(image.repository, Digest::of(b"other"));
    let error = world.registries.attach(&other, BUNDLE, BUNDLE, b"x", &BTreeMap::new()).await.unwrap_err();
    assert!(matches!(error, RegistryError::NoSuchImage { .. }));
}

#[tokio::test]
async fn malformed_layout_files_are_errors_that_name_the_file() {
    let cases = [
        ("oci-layout", "{}", "oci-layout"),
        ("oci-layout", r#"{"imageLayoutVersion":"2.0.0"}"#, "2.0.0"),
        ("oci-layout", "{", "oci-layout"),
        ("index.json", "[]", "index.json"),
        ("index.json", r#"{"manifests":[],"manifests":[]}"#, "index.json"),
        ("index.json", r#"{"schemaVersion":2,"manifests":[{"digest":"sha256:abc"}]}"#, "index.json"),
        ("index.json", r#"{"schemaVersion":2,"manifests":7}"#, "index.json"),
        ("index.json", "", "index.json"),
    ];
    for (file, text, named) in cases {
        let world = World::new();
        let image = world.image("staging", "x").await;
        fs::write(world.path("staging").join(file), text).unwrap();
        let error = world.registries.resolve(&"oci:staging:1".parse().unwrap()).await.unwrap_err();
        assert!(error.to_string().contains(named), "{text}: {error}");
        assert!(world.registries.set_tag(&image, &tag("2")).await.is_err(), "{text}");
    }
    // A tag that means two things, and a folder that is something else.
    let world = World::new();
    let image = world.image("staging", "x").await;
    let path = world.path("staging").join("index.json");
    let mut index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let mut second = index["manifests"][0].clone();
    second["digest"] =
        world.registries.closure(&image).await.unwrap().platforms().next().unwrap().0.to_string().into();
    index["manifests"].as_array_mut().unwrap().push(second);
    fs::write(&path, index.to_string()).unwrap();
    let error = world.registries.resolve(&"oci:staging:1".parse().unwrap()).await.unwrap_err();
    assert!(matches!(error, RegistryError::LayoutMalformed { .. }), "{error}");

    fs::create_dir(world.path("home")).unwrap();
    fs::write(world.path("home/letter.txt"), "dear").unwrap();
    let error = world.registries.push_blob(&repository("home"), Bytes::from_static(b"x")).await.unwrap_err();
    assert!(matches!(error, RegistryError::LayoutOccupied { .. }), "{error}");
}

#[tokio::test]
async fn unknown_members_of_index_json_survive_and_writers_do_not_lose_each_other() {
    let world = World::new();
    let image = world.image("staging", "x").await;
    let path = world.path("staging").join("index.json");
    let mut index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    index["annotations"] = json!({ "who": "somebody" });
    index["manifests"][0]["annotations"]["also"] = "this".into();
    fs::write(&path, index.to_string()).unwrap();
    let tags: Vec<Tag> = (0..20).map(|number| tag(&format!("t{number}"))).collect();
    // Each with its own handle, as separate processes have.
    let sets = tags.iter().map(async |tag| {
        let registries = Registries::new(HttpConfig::default(), world.folder.path().to_owned());
        registries.set_tag(&image, tag).await
    });
    let _: Vec<()> = stream::iter(sets).buffer_unordered(20).try_collect().await.unwrap();
    for tag in &tags {
        assert_eq!(world.registries.tagged(&image.repository, tag).await.unwrap(), Some(image.digest));
    }
    let index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(index["annotations"]["who"], "somebody");
    assert_eq!(index["manifests"][0]["annotations"]["also"], "this");
}

#[tokio::test]
async fn a3_the_roles_of_a_copied_image_are_the_same() {
    let world = World::new();
    let image = world.image("staging", "x").await;
    world.copy(&image, "production").await.unwrap();
    let copied = Image::new(repository("production"), image.digest);
    let (one, two) =
        (world.registries.closure(&image).await.unwrap(), world.registries.closure(&copied).await.unwrap());
    let bytes = |closure: &Closure| -> Vec<(Digest, Bytes, Role)> {
        closure.manifests().map(|one| (one.digest, one.bytes.clone(), one.role.clone())).collect()
    };
    assert_eq!(bytes(&one), bytes(&two));
    // The child alone is another image.
    let child = Image::new(image.repository, one.platforms().next().unwrap().0);
    assert!(!world.registries.closure(&child).await.unwrap().is_index());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn arbitrary_files_of_a_layout_never_panic(marker: Option<Vec<u8>>, index: Vec<u8>, entry in entry()) {
        let world = World::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        fs::create_dir(world.path("a")).unwrap();
        let marker = marker.unwrap_or(br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec());
        fs::write(world.path("a/oci-layout"), marker).unwrap();
        for index in [index, json!({ "manifests": [entry] }).to_string().into_bytes()] {
            fs::write(world.path("a/index.json"), index).unwrap();
            runtime.block_on(async {
                let image = Image::new(repository("a"), Digest::of(b""));
                let _ = world.registries.resolve(&"oci:a:1".parse().unwrap()).await;
                let _ = world.registries.closure(&image).await;
                let _ = world.registries.referrers(&image).await;
                let manifest = json!({ "schemaVersion": 2, "manifests": [] }).to_string().into();
                let _ = world.registries.push_manifest(&repository("a"), OCI_INDEX, manifest, Some(&tag("1"))).await;
            });
        }
    }
}

/// Something that is nearly an entry of `index.json`.
fn entry() -> impl proptest::strategy::Strategy<Value = Value> {
    use proptest::prelude::*;
    let digest = Digest::of(br#"{"manifests":[],"schemaVersion":2}"#).to_string();
    let any = prop_oneof![
        Just(Value::Null),
        Just(json!([])),
        Just(json!({})),
        Just(json!(7)),
        Just(json!("1")),
        Just(json!({ "org.opencontainers.image.ref.name": "1" })),
        Just(json!({ "org.opencontainers.image.ref.name": [] })),
        Just(json!(OCI_INDEX)),
        Just(json!(digest)),
    ];
    let fields = ["mediaType", "digest", "size", "annotations"];
    prop_oneof![
        any.clone(),
        prop::collection::vec(any, 4).prop_map(move |values| {
            Value::Object(fields.iter().map(ToString::to_string).zip(values).collect())
        })
    ]
}
