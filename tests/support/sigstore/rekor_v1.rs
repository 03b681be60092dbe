//! Rekor v1 (sigstore/rekor `openapi.yaml`, `pkg/types`): hashedrekord 0.0.1, dsse 0.0.1, intoto 0.0.2. It
//! checks the signatures it logs, as the real one does.

use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use samebits::digest::Digest;
use serde_json::{Value, json};

use super::key::{P256, sha256, spki_of_pem, verifies, verifies_digest};
use super::log::{Place, Refused, Tree, checkpoint};
use super::{hex, pae};

/// The tree id, and how many entries earlier shards have: the global index is not the tree's.
const TREE: u64 = 1_193_050_959_916_656_506;
const SHARDS: u64 = 4000;

pub struct RekorV1 {
    pub key: P256,
    host: String,
    tree: Mutex<Tree>,
}

/// An entry in the log.
#[derive(Clone, Debug)]
pub struct Entry {
    kind: &'static str,
    version: &'static str,
    body: String,
    place: Place,
    time: Timestamp,
    id: [u8; 32],
    set: Vec<u8>,
    checkpoint: String,
}

impl RekorV1 {
    pub fn new(host: &str) -> Self {
        Self { key: P256::generate(), host: host.to_owned(), tree: Mutex::new(Tree::new()) }
    }

    /// `POST /api/v1/log/entries`.
    pub fn post(&self, request: &Value, time: Timestamp) -> Result<Entry, Refused> {
        let (kind, version) = (text(request, "/kind"), text(request, "/apiVersion"));
        let (kind, version, body) = match (kind, version) {
            ("hashedrekord", "0.0.1") => ("hashedrekord", "0.0.1", hashedrekord(request)),
            ("dsse", "0.0.1") => ("dsse", "0.0.1", dsse(request)),
            ("intoto", "0.0.2") => ("intoto", "0.0.2", intoto(request)),
            (kind, version) => return Err((400, format!("no entries of kind {kind} {version}"))),
        };
        let body = body.ok_or_else(|| (400, format!("the {kind} is malformed, or its signature wrong")))?;
        let body = json!({ "apiVersion": version, "kind": kind, "spec": body }).to_string();
        self.append(kind, version, body, time)
    }

    fn append(
        &self,
        kind: &'static str,
        version: &'static str,
        body: String,
        time: Timestamp,
    ) -> Result<Entry, Refused> {
        let place = self.tree.lock().unwrap().append(body.as_bytes());
        let place = place.ok_or_else(|| (409, "an equivalent entry already exists".to_owned()))?;
        let id = self.key.id();
        let promise = json!({
            "body": STANDARD.encode(&body),
            "integratedTime": time.as_second(),
            "logID": hex(&id),
            "logIndex": SHARDS + place.index,
        });
        let set = self.key.sign(promise.to_string().as_bytes());
        let checkpoint = self.checkpoint((place.size, place.root));
        Ok(Entry { kind, version, body, place, time, id, set, checkpoint })
    }

    /// A checkpoint of any head: the right one, where it is this log's.
    pub fn checkpoint(&self, head: (u64, Digest)) -> String {
        let origin = format!("{} - {TREE}", self.host);
        checkpoint(&origin, head, (&self.host, &self.key.id()), |text| self.key.sign(text))
    }

    /// `GET /api/v1/log`.
    pub fn info(&self) -> Value {
        let head = self.tree.lock().unwrap().head();
        json!({
            "treeID": TREE.to_string(),
            "treeSize": head.0,
            "rootHash": head.1.hex(),
            "signedTreeHead": self.checkpoint(head),
            "inactiveShards": [],
        })
    }
}

impl Entry {
    /// The tree's size and root, for another checkpoint.
    pub fn head(&self) -> (u64, Digest) {
        (self.place.size, self.place.root)
    }

    /// Tree and leaf; Rekor answers it as the `ETag` too.
    pub fn uuid(&self) -> String {
        format!("{TREE:016x}{}", samebits::tlog::leaf_hash(self.body.as_bytes()).hex())
    }

    /// As Rekor answers.
    pub fn response(&self) -> Value {
        let hashes: Vec<_> = self.place.hashes.iter().map(Digest::hex).collect();
        json!({ self.uuid(): {
            "body": STANDARD.encode(&self.body),
            "integratedTime": self.time.as_second(),
            "logID": hex(&self.id),
            "logIndex": SHARDS + self.place.index,
            "verification": {
                "inclusionProof": {
                    "checkpoint": self.checkpoint,
                    "hashes": hashes,
                    "logIndex": self.place.index,
                    "rootHash": self.place.root.hex(),
                    "treeSize": self.place.size,
                },
                "signedEntryTimestamp": STANDARD.encode(&self.set),
            },
        }})
    }

    /// As bundles carry it.
    pub fn in_bundle(&self) -> Value {
        json!({
            "logIndex": (SHARDS + self.place.index).to_string(),
            "logId": { "keyId": STANDARD.encode(self.id) },
            "kindVersion": { "kind": self.kind, "version": self.version },
            "integratedTime": self.time.as_second().to_string(),
            "inclusionPromise": { "signedEntryTimestamp": STANDARD.encode(&self.set) },
            "inclusionProof": self.place.proof(&self.checkpoint),
            "canonicalizedBody": STANDARD.encode(&self.body),
        })
    }
}

pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn decoded(value: &Value, pointer: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text(value, pointer)).ok()
}

/// The `spec` that is logged, if the request is good.
fn hashedrekord(request: &Value) -> Option<Value> {
    let (hash, pem) =
        (text(request, "/spec/data/hash/value"), decoded(request, "/spec/signature/publicKey/content")?);
    let signature = decoded(request, "/spec/signature/content")?;
    let digest: Digest = format!("sha256:{hash}").parse().ok()?;
    if text(request, "/spec/data/hash/algorithm") != "sha256"
        || !verifies_digest(&spki_of_pem(&pem)?, digest.as_bytes(), &signature)
    {
        return None;
    }
    Some(json!({
        "data": { "hash": { "algorithm": "sha256", "value": hash } },
        "signature": {
            "content": STANDARD.encode(&signature),
            "publicKey": { "content": STANDARD.encode(&pem) },
        },
    }))
}

fn dsse(request: &Value) -> Option<Value> {
    let raw = text(request, "/spec/proposedContent/envelope");
    let envelope: Value = serde_json::from_str(raw).ok()?;
    let pem = decoded(request, "/spec/proposedContent/verifiers/0")?;
    let (payload, signature) = checked(&envelope, &pem)?;
    Some(json!({
        "envelopeHash": { "algorithm": "sha256", "value": hex(&sha256(raw.as_bytes())) },
        "payloadHash": { "algorithm": "sha256", "value": hex(&sha256(&payload)) },
        "signatures": [{ "signature": STANDARD.encode(&signature), "verifier": STANDARD.encode(&pem) }],
    }))
}

/// In the envelope of these, payload and signature are base64 twice.
fn intoto(request: &Value) -> Option<Value> {
    let envelope = request.pointer("/spec/content/envelope")?;
    let pem = decoded(envelope, "/signatures/0/publicKey")?;
    let once = |pointer| String::from_utf8(decoded(envelope, pointer)?).ok();
    let plain = json!({
        "payloadType": envelope["payloadType"],
        "payload": once("/payload")?,
        "signatures": [{ "sig": once("/signatures/0/sig")? }],
    });
    let (payload, _) = checked(&plain, &pem)?;
    Some(json!({ "content": {
        "envelope": {
            "payloadType": envelope["payloadType"],
            "signatures": [{
                "publicKey": envelope["signatures"][0]["publicKey"],
                "sig": envelope["signatures"][0]["sig"],
            }],
        },
        "hash": { "algorithm": "sha256", "value": hex(&sha256(plain.to_string().as_bytes())) },
        "payloadHash": { "algorithm": "sha256", "value": hex(&sha256(&payload)) },
    }}))
}

/// The payload and the one signature of an envelope, if the key in the PEM text made it.
fn checked(envelope: &Value, pem: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let payload = decoded(envelope, "/payload")?;
    let signature = decoded(envelope, "/signatures/0/sig")?;
    let message = pae(text(envelope, "/payloadType"), &payload);
    verifies(&spki_of_pem(pem)?, &message, &signature).then_some((payload, signature))
}
