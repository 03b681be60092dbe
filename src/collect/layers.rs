//! What a manifest that may carry evidence holds.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::closure::{Descriptor, Document};
use crate::digest::{Digest, shorten};
use crate::evidence::{DSSE_LAYER, Format, SIMPLE_SIGNING_LAYER, is_bundle};
use crate::json;

/// How many layers one evidence manifest may have.
const LAYERS: usize = 256;

/// Artifact types that say nothing of what a manifest carries: an empty configuration (GHCR lists every referrer
/// under it), that of an image (cosign's tags, older `oras`), and what `oras` writes where nobody named a type.
const SILENT: [&str; 7] = [
    "",
    "application/vnd.oci.empty.v1+json",
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.unknown.config.v1+json",
    "application/vnd.unknown.artifact.v1",
];

/// Under which cosign attaches its older formats as referrers (`--registry-referrers-mode=oci-1-1`).
const OLDER: [&str; 4] = [
    "application/vnd.dev.cosign.artifact.sig.v1+json",
    "application/vnd.dev.cosign.artifact.att.v1+json",
    SIMPLE_SIGNING_LAYER,
    DSSE_LAYER,
];

/// Whether a referrer has to be looked at: it names another artifact type, or it may carry evidence.
pub(super) fn may_carry(descriptor: &Descriptor) -> bool {
    let artifact_type = descriptor.artifact_type.as_deref().unwrap_or_default();
    SILENT.contains(&artifact_type) || OLDER.contains(&artifact_type) || is_bundle(artifact_type)
}

/// One layer (of the deprecated artifact manifest: one blob).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Layer {
    pub(super) media_type: String,
    pub(super) digest: Digest,
    #[serde(default)]
    pub(super) size: u64,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
}

impl Layer {
    /// `None` for what is no evidence.
    pub(super) fn format(&self) -> Option<Format> {
        Format::of(&self.media_type)
    }
}

/// A manifest that something was found under.
pub(super) struct Carrier {
    /// Its own artifact type, else the media type of its configuration.
    pub(super) artifact_type: String,
    pub(super) layers: Vec<Layer>,
    /// What it says it refers to.
    subject: Option<String>,
    /// Why no copy takes it along, whatever it is listed on.
    stays: Option<String>,
}

impl Carrier {
    /// `media_type` is what the registry calls it.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn read(bytes: &[u8], media_type: &str) -> Result<Self, String> {
        let mut value = json::parse(bytes, json::Limits::default()).map_err(|error| error.to_string())?;
        let own = value.get("artifactType").and_then(Value::as_str).filter(|text| !text.is_empty());
        let config = || value.get("config")?.get("mediaType")?.as_str();
        let artifact_type = own.or_else(config).unwrap_or_default().to_owned();
        let subject = value.pointer("/subject/digest").and_then(Value::as_str).map(str::to_owned);
        let stays = match Document::read(bytes, Some(media_type), None) {
            Ok(document) => document.can_run().then(|| "it can run".to_owned()),
            Err(error) => Some(format!("no manifest that a copy takes along: {error}")),
        };
        let mut layers = Vec::new();
        // `blobs`: application/vnd.oci.artifact.manifest.v1+json, which never left its release candidate.
        for list in ["layers", "blobs"] {
            let Some(found) = value.get_mut(list).map(Value::take) else { continue };
            let found: Vec<Layer> =
                serde_json::from_value(found).map_err(|error| shorten(&error.to_string()))?;
            layers.extend(found);
        }
        match layers.len() {
            count if count > LAYERS => Err(format!("it has {count} layers, more than {LAYERS}")),
            _ => Ok(Self { artifact_type, layers, subject, stays }),
        }
    }

    /// Why a copy of the image would leave it behind, in words: evidence that does not come along is none. `listed_on` is
    /// what it is listed on; none for what lies under a tag.
    pub(super) fn left_behind(&self, listed_on: Option<Digest>) -> Option<String> {
        if self.stays.is_some() {
            return self.stays.clone();
        }
        let on = listed_on?.to_string();
        match self.subject.as_deref() {
            Some(subject) if subject == on => None,
            Some(subject) => Some(format!("it refers to {}", shorten(subject))),
            None => Some("it refers to nothing".to_owned()),
        }
    }

    /// Bytes of all layers, as the manifest says.
    pub(super) fn size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).fold(0, u64::saturating_add)
    }
}
