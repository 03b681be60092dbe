//! A large image of bytes that nobody has seen before, with what a build says of it.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};

use anyhow::{bail, ensure};
use bytes::Bytes;
use samebits::closure::{OCI_INDEX, OCI_MANIFEST};
use samebits::collect::BUNDLE;
use samebits::digest::Digest;
use samebits::key::{Algorithm, PrivateKey};
use samebits::reference::{Image, Repository, Tag};
use samebits::registry::{Attachment, Referrers, Registries};
use samebits::verify::{COSIGN_SIGN, sign_statement};
use serde_json::{Value, json};

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const PLATFORMS: [&str; 4] = ["amd64", "arm64", "ppc64le", "s390x"];

/// What a build says of every platform, and twice of the index, where two more reports are.
const OF_EACH: [&str; 3] = [COSIGN_SIGN, "https://slsa.dev/provenance/v1", "https://spdx.dev/Document"];
const OF_THE_INDEX: [&str; 2] = ["https://cyclonedx.org/bom", "https://in-toto.io/attestation/vulns/v0.1"];

/// A bill of materials.
const REPORT: usize = 64 << 10;

/// What was pushed.
pub(crate) struct Pushed {
    pub(crate) root: Image,
    /// The index and its platforms.
    pub(crate) subjects: Vec<Digest>,
    /// What refers to them.
    pub(crate) attached: Vec<Digest>,
}

/// Pushes an index of four platforms: two layers that all share and two of each alone, ten together, of `size` bytes.
pub(crate) async fn push(
    registries: &Registries,
    repository: &Repository,
    tag: &Tag,
    size: u64,
) -> anyhow::Result<Image> {
    let shared = layers(registries, repository, 2, size / 10).await?;
    let mut manifests = Vec::new();
    for architecture in PLATFORMS {
        let own = layers(registries, repository, 2, size / 10).await?;
        let manifest = manifest(registries, repository, architecture, [shared.clone(), own].concat()).await?;
        let size = manifest.len();
        let digest = registries.push_manifest(repository, OCI_MANIFEST, manifest, None).await?;
        let platform = json!({ "os": "linux", "architecture": architecture });
        manifests
            .push(json!({ "mediaType": OCI_MANIFEST, "digest": digest, "size": size, "platform": platform }));
    }
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests });
    let index = Bytes::from(index.to_string());
    let root = registries.push_manifest(repository, OCI_INDEX, index, Some(tag)).await?;
    Ok(Image::new(repository.clone(), root))
}

/// Pushes one manifest with one layer.
pub(crate) async fn push_small(
    registries: &Registries,
    repository: &Repository,
    tag: &Tag,
    size: u64,
) -> anyhow::Result<Image> {
    let layers = layers(registries, repository, 1, size).await?;
    let manifest = manifest(registries, repository, PLATFORMS[0], layers).await?;
    let root = registries.push_manifest(repository, OCI_MANIFEST, manifest, Some(tag)).await?;
    Ok(Image::new(repository.clone(), root))
}

/// Attaches twenty referrers to what [`push`] pushed: eight to the index and three to each platform.
pub(crate) async fn attach(registries: &Registries, root: Image) -> anyhow::Result<Pushed> {
    let repository = &root.repository;
    let attachments = attachments(registries, &root).await?;
    for attachment in &attachments {
        // One at a time: olareg 0.1.2 loses referrers that are pushed at once.
        registries.attach_all((repository, None), std::slice::from_ref(attachment)).await?;
    }
    let closure = registries.closure(&root).await?;
    let subjects: Vec<Digest> = closure.manifests().map(|manifest| manifest.digest).collect();
    let mut attached = Vec::new();
    for subject in &subjects {
        match registries.referrers(&Image::new(repository.clone(), *subject)).await? {
            Referrers::Listed(listed) => attached.extend(listed.iter().map(|referrer| referrer.digest)),
            Referrers::Unsupported => bail!("{repository} lists no referrers"),
        }
    }
    ensure!(attached.len() == attachments.len(), "{} of {} attached", attached.len(), attachments.len());
    Ok(Pushed { root, subjects, attached })
}

async fn attachments(registries: &Registries, root: &Image) -> anyhow::Result<Vec<Attachment>> {
    let key = PrivateKey::generate(Algorithm::EcdsaP256)?;
    let closure = registries.closure(root).await?;
    let mut attachments = Vec::new();
    for manifest in closure.manifests() {
        let types: Vec<&str> = match manifest.digest == root.digest {
            true => OF_EACH.into_iter().chain(OF_EACH).chain(OF_THE_INDEX).collect(),
            false => OF_EACH.to_vec(),
        };
        for (number, predicate_type) in types.into_iter().enumerate() {
            let statement = statement(root, manifest.digest, predicate_type, number);
            let bundle = sign_statement(statement.to_string().as_bytes(), &key)?;
            attachments.push(Attachment {
                subject: manifest.into(),
                artifact_type: BUNDLE[0].to_owned(),
                layer_media_type: BUNDLE[0].to_owned(),
                bytes: Bytes::from(bundle),
                annotations: BTreeMap::new(),
            });
        }
    }
    Ok(attachments)
}

fn statement(root: &Image, subject: Digest, predicate_type: &str, number: usize) -> Value {
    let predicate = match predicate_type {
        COSIGN_SIGN => json!({ "number": number }),
        _ => json!({ "number": number, "report": "a package and its licence. ".repeat(REPORT / 27) }),
    };
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": root.repository, "digest": { "sha256": subject.hex() } }],
        "predicateType": predicate_type,
        "predicate": predicate,
    })
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
