//! Images that a runtime would run: real gzipped layers, one file each.

use std::io::Write;

use bytes::Bytes;
use samebits::closure::{OCI_INDEX, OCI_MANIFEST};
use samebits::digest::Digest;
use samebits::reference::{Image, Repository, Tag};
use samebits::registry::Registries;
use serde_json::{Value, json};

/// Pushes an index of linux/amd64 and linux/arm64, one layer each, and tags it. The same text gives the same image.
pub(crate) async fn push(registries: &Registries, to: &Repository, tag: &str, text: &str) -> Image {
    let children =
        [platform(registries, to, "amd64", text).await, platform(registries, to, "arm64", text).await];
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children });
    let tag: Tag = tag.parse().unwrap();
    let digest =
        registries.push_manifest(to, OCI_INDEX, Bytes::from(index.to_string()), Some(&tag)).await.unwrap();
    Image::new(to.clone(), digest)
}

async fn platform(registries: &Registries, to: &Repository, architecture: &str, text: &str) -> Value {
    let (bytes, diff) = layer("hello.txt", format!("{text} on {architecture}").as_bytes());
    let layer = blob(registries, to, "application/vnd.oci.image.layer.v1.tar+gzip", bytes).await;
    let config = json!({
        "os": "linux", "architecture": architecture,
        "rootfs": { "type": "layers", "diff_ids": [diff] }, "config": {},
    });
    let config =
        blob(registries, to, "application/vnd.oci.image.config.v1+json", config.to_string().into()).await;
    let manifest =
        json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [layer] });
    let manifest = manifest.to_string();
    let size = manifest.len();
    let digest = registries.push_manifest(to, OCI_MANIFEST, manifest.into(), None).await.unwrap();
    let platform = json!({ "os": "linux", "architecture": architecture });
    json!({ "mediaType": OCI_MANIFEST, "digest": digest, "size": size, "platform": platform })
}

async fn blob(registries: &Registries, to: &Repository, media_type: &str, bytes: Vec<u8>) -> Value {
    let size = bytes.len();
    let digest = registries.push_blob(to, Bytes::from(bytes)).await.unwrap();
    json!({ "mediaType": media_type, "digest": digest, "size": size })
}

/// The layer and the digest of what is inside.
fn layer(name: &str, text: &[u8]) -> (Vec<u8>, Digest) {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    tar.append_data(&mut header, name, text).unwrap();
    let tar = tar.into_inner().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&tar).unwrap();
    (gzip.finish().unwrap(), Digest::of(&tar))
}
