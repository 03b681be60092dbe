//! What a manifest that may carry evidence holds, and what its bytes prove.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::is_bundle;
use crate::closure::Descriptor;
use crate::digest::{Digest, shorten};
use crate::evidence::Raw;
use crate::json;
use crate::verify::{self, Annotations, Attestation, Rejected, Trust, Verified};

const SIMPLE_SIGNING_LAYER: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const DSSE_LAYER: &str = "application/vnd.dsse.envelope.v1+json";
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
const REKOR_BUNDLE: &str = "dev.sigstore.cosign/bundle";
const TIMESTAMP: &str = "dev.sigstore.cosign/rfc3161timestamp";

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

/// How evidence is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Bundle,
    SimpleSigning,
    Envelope,
}

impl Format {
    fn of(media_type: &str) -> Option<Self> {
        match media_type {
            SIMPLE_SIGNING_LAYER => Some(Self::SimpleSigning),
            DSSE_LAYER => Some(Self::Envelope),
            other => is_bundle(other).then_some(Self::Bundle),
        }
    }
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
}

impl Carrier {
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut value = json::parse(bytes, json::Limits::default()).map_err(|error| error.to_string())?;
        let own = value.get("artifactType").and_then(Value::as_str).filter(|text| !text.is_empty());
        let config = || value.get("config")?.get("mediaType")?.as_str();
        let artifact_type = own.or_else(config).unwrap_or_default().to_owned();
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
            _ => Ok(Self { artifact_type, layers }),
        }
    }

    /// Bytes of all layers, as the manifest says.
    pub(super) fn size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).fold(0, u64::saturating_add)
    }
}

/// Bytes that may be evidence.
pub(super) struct Candidate {
    pub(super) format: Format,
    pub(super) bytes: Bytes,
    /// Of the layer: cosign keeps a legacy signature and its certificate in them.
    pub(super) annotations: BTreeMap<String, String>,
}

impl Candidate {
    /// What has to be kept so that it can be verified again.
    pub(super) fn raw(&self) -> Raw {
        let layer = |media_type| Raw::layer(self.bytes.clone(), media_type, &self.annotations);
        match self.format {
            Format::Bundle => Raw::whole(self.bytes.clone()),
            Format::SimpleSigning => layer(SIMPLE_SIGNING_LAYER),
            Format::Envelope => layer(DSSE_LAYER),
        }
    }

    pub(super) fn verify(&self, on: Digest, trust: &Trust) -> Result<Verified<Attestation>, Rejected> {
        let annotation = |name| self.annotations.get(name).map(String::as_str);
        // An empty one is none: cosign writes an empty certificate beside a key.
        let written = |name| annotation(name).filter(|text| !text.is_empty());
        let annotations = Annotations {
            certificate: written(CERTIFICATE),
            bundle: written(REKOR_BUNDLE),
            timestamp: written(TIMESTAMP),
        };
        let signature = annotation(SIGNATURE).unwrap_or_default();
        match self.format {
            Format::Bundle => verify::attached(&self.bytes, on, trust),
            Format::SimpleSigning => {
                verify::annotated_simple_signing(&self.bytes, signature, &annotations, trust)
            }
            Format::Envelope => verify::annotated_envelope(&self.bytes, &annotations, trust),
        }
    }

    /// Where the log's entry is, as the bytes say. Only of bytes that were verified by certificate, which bound
    /// them to the entry, does it say anything.
    pub(super) fn log_index(&self) -> Option<u64> {
        let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
        match self.format {
            Format::Bundle => log_index(&self.bytes),
            Format::SimpleSigning | Format::Envelope => {
                let bundle: Value = serde_json::from_str(self.annotations.get(REKOR_BUNDLE)?).ok()?;
                number(bundle.pointer("/Payload/logIndex")?)
            }
        }
    }
}

/// [`Candidate::log_index`] of a bundle.
pub(super) fn log_index(bundle: &[u8]) -> Option<u64> {
    let bundle: Value = serde_json::from_slice(bundle).ok()?;
    let index = bundle.pointer("/verificationMaterial/tlogEntries/0/logIndex")?;
    // protobuf's JSON mapping writes a 64-bit number as text.
    index.as_str().map_or_else(|| index.as_u64(), |text| text.parse().ok())
}
