//! Evidence as it was found, before and after anybody looked into it: in a registry, on disk, or kept in a ledger.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::digest::Digest;
use crate::json;
use crate::verify::{self, Annotations, Attestation, Rejected, Trust, Verified};

/// The media type of [`Raw::descriptor`] (OCI image-spec v1.1, descriptor.md): the name that a record gives it.
pub const DESCRIPTOR: &str = "application/vnd.oci.descriptor.v1+json";

/// Whose annotations a layer's signature lies in.
const COSIGN: [&str; 2] = ["dev.cosignproject.cosign/", "dev.sigstore.cosign/"];

/// The media type of a cosign simple signing payload.
pub const SIMPLE_SIGNING_LAYER: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The media type of a DSSE envelope.
pub const DSSE_LAYER: &str = "application/vnd.dsse.envelope.v1+json";

const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
const REKOR_BUNDLE: &str = "dev.sigstore.cosign/bundle";
const TIMESTAMP: &str = "dev.sigstore.cosign/rfc3161timestamp";

/// Whether a media type is a bundle's, of whatever version: one that nobody can read yet is rejected, not overlooked.
pub fn is_bundle(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.dev.sigstore.bundle")
}

/// How evidence is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A Sigstore bundle: everything is in it.
    Bundle,
    /// A cosign simple signing payload; the signature lies in the annotations of its layer.
    SimpleSigning,
    /// A DSSE envelope; a certificate lies in the annotations of its layer.
    Envelope,
}

impl Format {
    /// The format of a layer by its media type; `None` for what is no evidence.
    pub fn of(media_type: &str) -> Option<Self> {
        match media_type {
            SIMPLE_SIGNING_LAYER => Some(Self::SimpleSigning),
            DSSE_LAYER => Some(Self::Envelope),
            other => is_bundle(other).then_some(Self::Bundle),
        }
    }
}

/// What an attestation is verified from, and can be verified from again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw {
    format: Format,
    bytes: Bytes,
    /// cosign's, and those that are not empty: it leaves empty what does not apply.
    annotations: BTreeMap<String, String>,
    descriptor: Option<Bytes>,
}

/// What is kept of a layer's descriptor.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeptLayer {
    annotations: BTreeMap<String, String>,
    digest: Digest,
    media_type: String,
}

/// cosign's annotations, and those that are not empty.
fn cosigns(annotations: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let ours = |name: &str| COSIGN.iter().any(|prefix| name.starts_with(prefix));
    let ours = annotations.iter().filter(|(name, text)| ours(name) && !text.is_empty());
    ours.map(|(name, text)| (name.clone(), text.clone())).collect()
}

impl Raw {
    /// A bundle, which holds everything itself.
    pub fn bundle(bytes: Bytes) -> Self {
        Self { format: Format::Bundle, bytes, annotations: BTreeMap::new(), descriptor: None }
    }

    /// The content of a layer, whose signature, certificate and log entry may lie in the layer's annotations.
    pub fn layer(format: Format, bytes: Bytes, annotations: &BTreeMap<String, String>) -> Self {
        match format {
            Format::Bundle => Self::bundle(bytes),
            Format::SimpleSigning | Format::Envelope => {
                let descriptor = Self::described(format, Digest::of(&bytes), bytes.len() as u64, annotations);
                Self { format, bytes, annotations: cosigns(annotations), descriptor }
            }
        }
    }

    /// [`Raw::descriptor`] of a layer, by what its manifest says of it.
    pub fn described(
        format: Format,
        digest: Digest,
        size: u64,
        annotations: &BTreeMap<String, String>,
    ) -> Option<Bytes> {
        let media_type = match format {
            Format::Bundle => return None,
            Format::SimpleSigning => SIMPLE_SIGNING_LAYER,
            Format::Envelope => DSSE_LAYER,
        };
        let annotations = cosigns(annotations);
        (!annotations.is_empty()).then(|| {
            // The keys of a JSON object are sorted here, so that the same layer has one spelling.
            let descriptor = json!({
                "annotations": annotations,
                "digest": digest,
                "mediaType": media_type,
                "size": size,
            });
            Bytes::from(descriptor.to_string())
        })
    }

    /// What was kept of it: its bytes, and the descriptor of the layer that carried it, where one was kept. `None`
    /// where the descriptor is that of other bytes, or where the bytes alone are neither a bundle nor an envelope.
    pub fn kept(bytes: Bytes, descriptor: Option<&[u8]>) -> Option<Self> {
        let Some(descriptor) = descriptor else {
            let value = json::parse(&bytes, json::Limits::default()).ok()?;
            let media_type = value.get("mediaType").and_then(Value::as_str);
            return match (media_type, value.get("payloadType")) {
                (Some(media_type), _) if is_bundle(media_type) => Some(Self::bundle(bytes)),
                (_, Some(_)) => Some(Self::layer(Format::Envelope, bytes, &BTreeMap::new())),
                (_, None) => None,
            };
        };
        let layer: KeptLayer = serde_json::from_slice(descriptor).ok()?;
        let format = Format::of(&layer.media_type)?;
        (layer.digest == Digest::of(&bytes)).then(|| Self::layer(format, bytes, &layer.annotations))
    }

    /// Whether everything is in its bytes.
    pub fn is_whole(&self) -> bool {
        match self.format {
            Format::Bundle => true,
            Format::SimpleSigning | Format::Envelope => false,
        }
    }

    /// The bundle, envelope or payload, as it was found.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The OCI descriptor of the layer that carried it, with cosign's annotations and no others: of a format that
    /// keeps a part of the proof there. Canonical JSON (sorted keys, no white space).
    pub fn descriptor(&self) -> Option<&Bytes> {
        self.descriptor.as_ref()
    }

    /// What it proves, as evidence found on the manifest `on`.
    ///
    /// # Errors
    /// [`Rejected`]: why it proves nothing.
    pub fn verify(&self, on: Digest, trust: &Trust) -> Result<Verified<Attestation>, Rejected> {
        let annotation = |name| self.annotations.get(name).map(String::as_str);
        let annotations = Annotations {
            certificate: annotation(CERTIFICATE),
            bundle: annotation(REKOR_BUNDLE),
            timestamp: annotation(TIMESTAMP),
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
    pub fn log_index(&self) -> Option<u64> {
        let at = |bytes: &[u8], pointer: &str| {
            let bundle: Value = serde_json::from_slice(bytes).ok()?;
            let index = bundle.pointer(pointer)?;
            // protobuf's JSON mapping writes a 64-bit number as text.
            index.as_str().map_or_else(|| index.as_u64(), |text| text.parse().ok())
        };
        match self.format {
            Format::Bundle => at(&self.bytes, "/verificationMaterial/tlogEntries/0/logIndex"),
            Format::SimpleSigning | Format::Envelope => {
                at(self.annotations.get(REKOR_BUNDLE)?.as_bytes(), "/Payload/logIndex")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotations(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn a_layer_is_spelled_in_one_way_with_cosigns_annotations_alone() {
        let signed = [(SIGNATURE, "eA=="), (REKOR_BUNDLE, "")];
        let noisy = [&signed[..], &[("org.example.secret", "x")]].concat();
        let payload = Bytes::from_static(b"{}");
        let layer = Raw::layer(Format::SimpleSigning, payload.clone(), &annotations(&noisy));
        assert_eq!(
            layer.descriptor().unwrap(),
            &format!(
                r#"{{"annotations":{{"dev.cosignproject.cosign/signature":"eA=="}},"digest":"{}","mediaType":"{SIMPLE_SIGNING_LAYER}","size":2}}"#,
                Digest::of(b"{}")
            )
        );
        assert_eq!(layer, Raw::layer(Format::SimpleSigning, payload.clone(), &annotations(&signed)));
        // An envelope by a key has everything in itself.
        let bare = Raw::layer(Format::Envelope, payload, &annotations(&signed[1..]));
        assert_eq!(bare.descriptor(), None);
    }

    #[test]
    fn b5_what_was_kept_is_what_was_found_or_nothing() {
        let envelope = Bytes::from_static(br#"{"payloadType":"x"}"#);
        let bundle = Bytes::from_static(br#"{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}"#);
        let payload = Bytes::from_static(br#"{"critical":{}}"#);
        let signed = annotations(&[(SIGNATURE, "eA==")]);
        for raw in [
            Raw::bundle(bundle.clone()),
            Raw::layer(Format::Envelope, envelope.clone(), &BTreeMap::new()),
            Raw::layer(Format::Envelope, envelope.clone(), &signed),
            Raw::layer(Format::SimpleSigning, payload.clone(), &signed),
        ] {
            let descriptor = raw.descriptor().map(|bytes| &bytes[..]);
            assert_eq!(Raw::kept(raw.bytes().clone(), descriptor), Some(raw.clone()));
        }
        // A payload without its layer has no signature; a layer is that of its own bytes, and of a known kind.
        assert_eq!(Raw::kept(payload.clone(), None), None);
        let of_envelope = Raw::layer(Format::Envelope, envelope, &signed);
        let descriptor = of_envelope.descriptor().unwrap();
        assert_eq!(Raw::kept(payload.clone(), Some(descriptor)), None);
        let other = String::from_utf8(descriptor.to_vec()).unwrap().replace(DSSE_LAYER, "text/x");
        assert_eq!(Raw::kept(of_envelope.bytes().clone(), Some(other.as_bytes())), None);
        assert_eq!(Raw::kept(payload, Some(b"{")), None);
    }
}
