//! Large images of bytes that nobody has seen before, signed as a build signs.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};

use bytes::Bytes;
use samebits::closure::{OCI_INDEX, OCI_MANIFEST};
use samebits::collect::BUNDLE;
use samebits::digest::Digest;
use samebits::key::PrivateKey;
use samebits::reference::{Image, Repository, Tag};
use samebits::registry::Registries;
use samebits::verify::{COSIGN_SIGN, sign_statement};
use serde_json::{Value, json};

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// How the bytes are spread.
#[derive(Clone, Copy)]
pub(crate) enum Shape {
    /// One manifest with ten layers.
    OnePlatform,
    /// An index of four platforms: three layers each, and a small one that all share.
    FourPlatforms,
}

/// Pushes a signed image whose layers are `size` bytes together.
pub(crate) async fn push(
    registries: &Registries,
    repository: &Repository,
    tag: &Tag,
    key: &PrivateKey,
    shape: Shape,
    size: u64,
) -> anyhow::Result<Image> {
    let digest = match shape {
        Shape::OnePlatform => {
            let layers = layers(registries, repository, 10, size / 10).await?;
            let manifest = manifest(registries, repository, "amd64", layers).await?;
            registries.push_manifest(repository, OCI_MANIFEST, manifest, Some(tag)).await?
        }
        Shape::FourPlatforms => {
            let shared = layers(registries, repository, 1, size / 64).await?;
            let mut manifests = Vec::new();
            for architecture in ["amd64", "arm64", "ppc64le", "s390x"] {
                let own = layers(registries, repository, 3, (size - size / 64) / 12).await?;
                let layers = [shared.clone(), own].concat();
                let manifest = manifest(registries, repository, architecture, layers).await?;
                let size = manifest.len();
                let digest = registries.push_manifest(repository, OCI_MANIFEST, manifest, None).await?;
                let platform = json!({ "os": "linux", "architecture": architecture });
                manifests.push(json!({
                    "mediaType": OCI_MANIFEST, "digest": digest, "size": size, "platform": platform
                }));
            }
            let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests });
            let index = Bytes::from(index.to_string());
            registries.push_manifest(repository, OCI_INDEX, index, Some(tag)).await?
        }
    };
    let image = Image::new(repository.clone(), digest);
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": repository, "digest": { "sha256": digest.hex() } }],
        "predicateType": COSIGN_SIGN,
        "predicate": {},
    });
    let bundle = sign_statement(statement.to_string().as_bytes(), key)?;
    registries.attach(&image, BUNDLE[0], BUNDLE[0], &bundle, &BTreeMap::new()).await?;
    Ok(image)
}

async fn layers(
    registries: &Registries,
    repository: &Repository,
    count: u64,
    size: u64,
) -> anyhow::Result<Vec<Value>> {
    let mut layers = Vec::new();
    for _ in 0..count {
        let layer = random(size as usize);
        let digest = registries.push_blob(repository, layer).await?;
        layers.push(json!({ "mediaType": LAYER, "digest": digest, "size": size }));
    }
    Ok(layers)
}

/// Writes the configuration of a platform and returns its manifest.
async fn manifest(
    registries: &Registries,
    repository: &Repository,
    architecture: &str,
    layers: Vec<Value>,
) -> anyhow::Result<Bytes> {
    // Nobody unpacks these layers.
    let diffs: Vec<Digest> = layers.iter().map(|layer| Digest::of(layer.to_string().as_bytes())).collect();
    let config = json!({
        "architecture": architecture, "os": "linux", "rootfs": { "type": "layers", "diff_ids": diffs }
    });
    let config = config.to_string();
    let size = config.len();
    let digest = registries.push_blob(repository, Bytes::from(config)).await?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": { "mediaType": CONFIG, "digest": digest, "size": size },
        "layers": layers,
    });
    Ok(Bytes::from(manifest.to_string()))
}

/// Bytes no two runs share (xorshift64), so that nothing anywhere has them in a cache. The beginning is gzip's, as
/// the media type says.
fn random(size: usize) -> Bytes {
    let mut state = RandomState::new().hash_one(size) | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    bytes.extend([0x1f, 0x8b, 8, 0, 0, 0, 0, 0]);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(size);
    Bytes::from(bytes)
}
