//! The bytes behind the digests: what has to be kept so that a decision can be looked at again when the registry no
//! longer has its evidence (`ATTACKS.md` B5).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde_json::json;

use crate::digest::Digest;

/// The media type of [`Raw::descriptor`] (OCI image-spec v1.1, descriptor.md): the name that a record gives it.
pub const DESCRIPTOR: &str = "application/vnd.oci.descriptor.v1+json";

/// Whose annotations a layer's signature lies in.
const COSIGN: [&str; 2] = ["dev.cosignproject.cosign/", "dev.sigstore.cosign/"];

/// What an attestation can be verified from again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw {
    bytes: Bytes,
    layer: Option<Bytes>,
}

impl Raw {
    /// A bundle, which holds everything itself.
    pub fn whole(bytes: Bytes) -> Self {
        Self { bytes, layer: None }
    }

    /// The content of a layer, whose signature, certificate and log entry may lie in the layer's annotations.
    pub fn layer(bytes: Bytes, media_type: &str, annotations: &BTreeMap<String, String>) -> Self {
        let ours = |name: &str| COSIGN.iter().any(|prefix| name.starts_with(prefix));
        // cosign leaves empty what does not apply.
        let annotations: BTreeMap<&String, &String> =
            annotations.iter().filter(|(name, text)| ours(name) && !text.is_empty()).collect();
        let layer = (!annotations.is_empty()).then(|| {
            // The keys of a JSON object are sorted here, so that the same layer has one spelling.
            let descriptor = json!({
                "annotations": annotations,
                "digest": Digest::of(&bytes),
                "mediaType": media_type,
                "size": bytes.len(),
            });
            Bytes::from(descriptor.to_string())
        });
        Self { bytes, layer }
    }

    /// The bundle, envelope or payload, as it was found.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The OCI descriptor of the layer that carried it, with cosign's annotations and no others: of a format that
    /// keeps a part of the proof there. Canonical JSON (sorted keys, no white space).
    pub fn descriptor(&self) -> Option<&Bytes> {
        self.layer.as_ref()
    }
}

/// Bytes to be kept with a record, each under its digest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept(Vec<Bytes>);

impl Kept {
    /// Keeps `bytes` too.
    pub fn keep(&mut self, bytes: &Bytes) {
        self.0.push(bytes.clone());
    }

    /// Each once, with the digest that is computed here.
    pub fn by_digest(&self) -> impl Iterator<Item = (Digest, &Bytes)> {
        let mut seen = BTreeSet::new();
        self.0.iter().map(|bytes| (Digest::of(bytes), bytes)).filter(move |(digest, _)| seen.insert(*digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_spelled_in_one_way_with_cosigns_annotations_alone() {
        let annotations = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
        };
        let signed = [("dev.cosignproject.cosign/signature", "eA=="), ("dev.sigstore.cosign/bundle", "")];
        let noisy = [&signed[..], &[("org.example.secret", "x")]].concat();
        let payload = Bytes::from_static(b"{}");
        let layer = Raw::layer(payload.clone(), "text/x", &annotations(&noisy));
        assert_eq!(
            layer.descriptor().unwrap(),
            &format!(
                r#"{{"annotations":{{"dev.cosignproject.cosign/signature":"eA=="}},"digest":"{}","mediaType":"text/x","size":2}}"#,
                Digest::of(b"{}")
            )
        );
        assert_eq!(layer, Raw::layer(payload.clone(), "text/x", &annotations(&signed)));
        // An envelope by a key has everything in itself.
        let bare = Raw::layer(payload.clone(), "text/x", &annotations(&signed[1..]));
        assert_eq!(bare, Raw::whole(payload));
    }

    #[test]
    fn the_same_bytes_are_kept_once() {
        let mut kept = Kept::default();
        for text in ["a", "b", "a"] {
            kept.keep(&Bytes::from_static(text.as_bytes()));
        }
        let digests: Vec<_> = kept.by_digest().map(|(digest, _)| digest).collect();
        assert_eq!(digests, [Digest::of(b"a"), Digest::of(b"b")]);
    }
}
