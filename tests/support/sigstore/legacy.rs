//! What cosign before version 3 wrote beside a keyless signature: the layer of a `.sig` or `.att` image and
//! its annotations (sigstore/cosign `specs/SIGNATURE_SPEC.md`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use samebits::digest::Digest;
use serde_json::{Value, json};

use super::ca::Identity;
use super::key::pem_of;
use super::{Instance, Recipe, Signed, Version, hex};

/// A layer.
pub struct Layer {
    /// Its blob: a simple signing payload, or a DSSE envelope.
    pub bytes: Vec<u8>,
    /// `dev.cosignproject.cosign/signature`: base64, and empty beside an envelope.
    pub signature: String,
    /// `dev.sigstore.cosign/certificate`, PEM.
    pub certificate: String,
    /// `dev.sigstore.cosign/chain`, PEM.
    pub chain: String,
    /// `dev.sigstore.cosign/bundle`: the log's promise.
    pub promise: Option<String>,
    /// `dev.sigstore.cosign/rfc3161timestamp`.
    pub timestamp: Option<String>,
}

impl Instance {
    /// The simple signing payload of an image.
    pub fn payload(repository: &str, manifest: Digest) -> Vec<u8> {
        json!({
            "critical": {
                "identity": { "docker-reference": repository },
                "image": { "docker-manifest-digest": manifest.to_string() },
                "type": "cosign container image signature",
            },
            "optional": null,
        })
        .to_string()
        .into_bytes()
    }

    /// The layer of a `.sig` image.
    pub fn sig_layer(&self, payload: &[u8], identity: &Identity, time: Timestamp, recipe: &Recipe) -> Layer {
        let bundle = self.chained(Signed::Message(Digest::of(payload)), identity, time, recipe);
        let signature = bundle["messageSignature"]["signature"].as_str().unwrap().to_owned();
        Layer::of(&bundle, payload.to_vec(), signature)
    }

    /// The layer of an `.att` image.
    pub fn att_layer(
        &self,
        statement: &[u8],
        identity: &Identity,
        time: Timestamp,
        recipe: &Recipe,
    ) -> Layer {
        let bundle = self.chained(Signed::Statement(statement), identity, time, recipe);
        let envelope = bundle["dsseEnvelope"].to_string().into_bytes();
        Layer::of(&bundle, envelope, String::new())
    }

    fn chained(&self, signed: Signed<'_>, identity: &Identity, time: Timestamp, recipe: &Recipe) -> Value {
        let recipe = Recipe { version: Version::V0_2, ..recipe.clone() };
        serde_json::from_slice(&self.make(signed, identity, time, &recipe)).unwrap()
    }
}

impl Layer {
    fn of(bundle: &Value, bytes: Vec<u8>, signature: String) -> Self {
        let material = &bundle["verificationMaterial"];
        let raw = |value: &Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
        let certificates = material["x509CertificateChain"]["certificates"].as_array().unwrap();
        let pems: Vec<_> =
            certificates.iter().map(|one| pem_of("CERTIFICATE", &raw(&one["rawBytes"]))).collect();
        let number = |value: &Value| value.as_str().unwrap().parse::<u64>().unwrap();
        let promise = material.pointer("/tlogEntries/0").map(|entry| {
            json!({
                "SignedEntryTimestamp": entry["inclusionPromise"]["signedEntryTimestamp"],
                "Payload": {
                    "body": entry["canonicalizedBody"],
                    "integratedTime": number(&entry["integratedTime"]),
                    "logIndex": number(&entry["logIndex"]),
                    "logID": hex(&raw(&entry["logId"]["keyId"])),
                },
            })
            .to_string()
        });
        let stamp = material.pointer("/timestampVerificationData/rfc3161Timestamps/0/signedTimestamp");
        let timestamp = stamp.map(|stamp| json!({ "SignedRFC3161Timestamp": stamp }).to_string());
        Self { bytes, signature, certificate: pems[0].clone(), chain: pems[1..].concat(), promise, timestamp }
    }

    /// The annotations of its descriptor.
    pub fn annotations(&self) -> Value {
        let mut all = json!({
            "dev.cosignproject.cosign/signature": self.signature,
            "dev.sigstore.cosign/certificate": self.certificate,
            "dev.sigstore.cosign/chain": self.chain,
        });
        if let Some(promise) = &self.promise {
            all["dev.sigstore.cosign/bundle"] = json!(promise);
        }
        if let Some(timestamp) = &self.timestamp {
            all["dev.sigstore.cosign/rfc3161timestamp"] = json!(timestamp);
        }
        all
    }
}
