//! Rekor v2 (sigstore/rekor-tiles `api/proto`, sigstore/protobuf-specs `rekor/v2`): hashedrekord 0.0.2 and
//! dsse 0.0.2. No promise, no time; the checkpoint is Ed25519's.

use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use samebits::digest::Digest;
use serde_json::{Value, json};

use super::key::{Ed25519, sha256, spki_of_certificate, verifies, verifies_digest};
use super::log::{Refused, Tree, checkpoint};
use super::pae;
use super::rekor_v1::text;

pub struct RekorV2 {
    pub key: Ed25519,
    origin: String,
    tree: Mutex<Tree>,
}

impl RekorV2 {
    pub fn new(origin: &str) -> Self {
        Self { key: Ed25519::generate(), origin: origin.to_owned(), tree: Mutex::new(Tree::new()) }
    }

    /// The log id: the key id of C2SP signed-note, in full length.
    pub fn id(&self) -> [u8; 32] {
        sha256(&[self.origin.as_bytes(), b"\n\x01", &self.key.raw()].concat())
    }

    /// `POST /api/v2/log/entries`: the TransparencyLogEntry.
    pub fn post(&self, request: &Value) -> Result<Value, Refused> {
        self.log(request).map(|(entry, _)| entry)
    }

    /// The entry, and the tree's size and root, for another checkpoint.
    pub fn log(&self, request: &Value) -> Result<(Value, (u64, Digest)), Refused> {
        let (kind, spec) = match (request.get("hashedRekordRequestV002"), request.get("dsseRequestV002")) {
            (Some(asked), None) => ("hashedrekord", hashedrekord(asked)),
            (None, Some(asked)) => ("dsse", dsse(asked)),
            _ => return Err((400, "expected one of hashedRekordRequestV002 and dsseRequestV002".to_owned())),
        };
        let spec = spec.ok_or_else(|| (400, format!("the {kind} is malformed, or its signature wrong")))?;
        let body = json!({ "apiVersion": "0.0.2", "kind": kind, "spec": spec }).to_string();
        let place = self.tree.lock().unwrap().append(body.as_bytes());
        let place = place.ok_or_else(|| (409, "an equivalent entry already exists".to_owned()))?;
        let entry = json!({
            "logIndex": place.index.to_string(),
            "logId": { "keyId": STANDARD.encode(self.id()) },
            "kindVersion": { "kind": kind, "version": "0.0.2" },
            "inclusionProof": place.proof(&self.checkpoint((place.size, place.root))),
            "canonicalizedBody": STANDARD.encode(&body),
        });
        Ok((entry, (place.size, place.root)))
    }

    /// A checkpoint of any head: the right one, where it is this log's.
    pub fn checkpoint(&self, head: (u64, Digest)) -> String {
        checkpoint(&self.origin, head, (&self.origin, &self.id()), |text| self.key.sign(text))
    }

    /// `GET /api/v2/checkpoint`.
    pub fn latest(&self) -> String {
        let head = self.tree.lock().unwrap().head();
        self.checkpoint(head)
    }
}

fn decoded(value: &Value, pointer: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text(value, pointer)).ok()
}

/// A `Verifier` message: a P-256 key or certificate.
fn verifier(verifier: &Value) -> Option<Vec<u8>> {
    if text(verifier, "/keyDetails") != "PKIX_ECDSA_P256_SHA_256" {
        return None;
    }
    match (verifier.get("x509Certificate"), verifier.get("publicKey")) {
        (Some(certificate), None) => spki_of_certificate(&decoded(certificate, "/rawBytes")?),
        (None, Some(key)) => decoded(key, "/rawBytes"),
        _ => None,
    }
}

fn hashedrekord(asked: &Value) -> Option<Value> {
    let digest = decoded(asked, "/digest")?;
    let signature = decoded(asked, "/signature/content")?;
    let by = asked.pointer("/signature/verifier")?;
    if !verifies_digest(&verifier(by)?, &digest, &signature) {
        return None;
    }
    Some(json!({ "hashedRekordV002": {
        "data": { "algorithm": "SHA2_256", "digest": STANDARD.encode(&digest) },
        "signature": { "content": STANDARD.encode(&signature), "verifier": by },
    }}))
}

fn dsse(asked: &Value) -> Option<Value> {
    let payload = decoded(asked, "/envelope/payload")?;
    let signature = decoded(asked, "/envelope/signatures/0/sig")?;
    let by = asked.pointer("/verifiers/0")?;
    if !verifies(&verifier(by)?, &pae(text(asked, "/envelope/payloadType"), &payload), &signature) {
        return None;
    }
    Some(json!({ "dsseV002": {
        "payloadHash": { "algorithm": "SHA2_256", "digest": STANDARD.encode(sha256(&payload)) },
        "signatures": [{ "content": STANDARD.encode(&signature), "verifier": by }],
    }}))
}
