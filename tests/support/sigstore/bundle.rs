//! Bundles made in process: honest ones, and every odd one that somebody with the right keys could make.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use samebits::digest::Digest;
use serde_json::{Value, json};

use super::ca::Identity;
use super::ct::Ct;
use super::key::{P256, pem_of, sha256};
use super::{Instance, Kind, pae, rekor_v1};

const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// What is signed.
#[derive(Clone, Copy, Debug)]
pub enum Signed<'a> {
    /// An in-toto statement, in a DSSE envelope.
    Statement(&'a [u8]),
    /// What has this digest, as a message signature.
    Message(Digest),
}

/// Where it is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log {
    None,
    /// dsse 0.0.1 or hashedrekord 0.0.1.
    V1,
    /// intoto 0.0.2, of statements only.
    V1Intoto,
    /// hashedrekord 0.0.2, of statements too.
    V2,
    /// dsse 0.0.2, of statements only.
    V2Dsse,
}

/// What the bundle calls itself; 0.1 and 0.2 carry the chain, 0.3 the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V0_1,
    V0_2,
    V0_3,
}

/// The certificate's SCT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sct {
    Good,
    Missing,
    /// Of a log that no root knows.
    AnotherLog,
}

/// Who issued the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fulcio {
    Own,
    /// Another authority of the same names.
    Another,
}

/// What the entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logged {
    This,
    /// A signature of the same signer over something else.
    AnotherSignature,
}

/// Who signed the checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checkpoint {
    Own,
    /// A key that no root knows.
    AnotherKey,
}

/// The log's promise, which only Rekor v1 makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    Own,
    Missing,
    OfAnotherEntry,
}

/// How a bundle is made.
#[derive(Clone, Debug)]
pub struct Recipe {
    pub version: Version,
    pub log: Log,
    pub fulcio: Fulcio,
    pub sct: Sct,
    pub logged: Logged,
    pub checkpoint: Checkpoint,
    pub promise: Promise,
    /// Whether there is a timestamp, and how long after the certificate was issued it says it was.
    pub stamped: Option<SignedDuration>,
    /// Whether it is of another signature.
    pub stamp_of_another: bool,
    /// How long after the certificate was issued the entry was logged.
    pub logged_after: SignedDuration,
}

impl Default for Recipe {
    /// Rekor v1, without a timestamp.
    fn default() -> Self {
        Self {
            version: Version::V0_3,
            log: Log::V1,
            fulcio: Fulcio::Own,
            sct: Sct::Good,
            logged: Logged::This,
            checkpoint: Checkpoint::Own,
            promise: Promise::Own,
            stamped: None,
            stamp_of_another: false,
            logged_after: SignedDuration::ZERO,
        }
    }
}

impl Recipe {
    /// Rekor v2, with a timestamp.
    pub fn v2() -> Self {
        Self { log: Log::V2, stamped: Some(SignedDuration::ZERO), ..Self::default() }
    }

    /// A timestamp and no log.
    pub fn stamped() -> Self {
        Self { log: Log::None, ..Self::v2() }
    }

    /// What the instance's own clients would make.
    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::Public => Self::v2(),
            Kind::Stamped => Self::stamped(),
            Kind::GitHub => Self { sct: Sct::Missing, ..Self::stamped() },
        }
    }
}

/// Another instance, whose keys no root knows; made once.
fn another() -> &'static Instance {
    static ANOTHER: OnceLock<Instance> = OnceLock::new();
    ANOTHER.get_or_init(|| Instance::new(Kind::Public))
}

impl Instance {
    /// A statement, signed at `time` as this instance's clients do.
    pub fn bundle(&self, statement: &[u8], identity: &Identity, time: Timestamp) -> Vec<u8> {
        self.make(Signed::Statement(statement), identity, time, &Recipe::of(self.kind))
    }

    /// A message signature over what has this digest.
    pub fn message_bundle(&self, digest: Digest, identity: &Identity, time: Timestamp) -> Vec<u8> {
        self.make(Signed::Message(digest), identity, time, &Recipe::of(self.kind))
    }

    /// Any bundle; `time` is when the certificate is issued.
    pub fn make(&self, signed: Signed<'_>, identity: &Identity, time: Timestamp, recipe: &Recipe) -> Vec<u8> {
        let time = Timestamp::from_second(time.as_second()).unwrap();
        let key = P256::generate();
        let fulcio = match recipe.fulcio {
            Fulcio::Own => self,
            Fulcio::Another => another(),
        };
        let unknown = Ct::new();
        let ct = match recipe.sct {
            Sct::Good => Some(&fulcio.ct),
            Sct::Missing => None,
            Sct::AnotherLog => Some(&unknown),
        };
        let leaf = fulcio.intermediate.leaf(&key.spki(), identity, time, ct);
        let made = Made::sign(signed, &key, &By::Leaf(&leaf));
        let mut material = match recipe.version {
            Version::V0_3 => json!({ "certificate": raw(&leaf) }),
            Version::V0_1 | Version::V0_2 => {
                let chain = [raw(&leaf), raw(&fulcio.intermediate.certificate)];
                json!({ "x509CertificateChain": { "certificates": chain } })
            }
        };
        self.date(&mut material, &made, (&key, &By::Leaf(&leaf)), time, recipe);
        let media_type = match recipe.version {
            Version::V0_1 => "application/vnd.dev.sigstore.bundle+json;version=0.1",
            Version::V0_2 => "application/vnd.dev.sigstore.bundle+json;version=0.2",
            Version::V0_3 => "application/vnd.dev.sigstore.bundle.v0.3+json",
        };
        let (member, content) = &made.content;
        json!({ "mediaType": media_type, "verificationMaterial": material, *member: content })
            .to_string()
            .into_bytes()
    }

    /// Any bundle v0.3 by a key, dated at `time`; what the recipe says of certificates is not read.
    pub fn make_keyed(&self, signed: Signed<'_>, key: &Key, time: Timestamp, recipe: &Recipe) -> Vec<u8> {
        let time = Timestamp::from_second(time.as_second()).unwrap();
        let made = Made::sign(signed, &key.0, &By::Key);
        let mut material = json!({ "publicKey": { "hint": STANDARD.encode(key.0.id()) } });
        self.date(&mut material, &made, (&key.0, &By::Key), time, recipe);
        let (member, content) = &made.content;
        let media_type = "application/vnd.dev.sigstore.bundle.v0.3+json";
        json!({ "mediaType": media_type, "verificationMaterial": material, *member: content })
            .to_string()
            .into_bytes()
    }

    /// Adds log entry and timestamp.
    fn date(
        &self,
        material: &mut Value,
        made: &Made,
        by: (&P256, &By<'_>),
        time: Timestamp,
        recipe: &Recipe,
    ) {
        if recipe.log != Log::None {
            let of = match recipe.logged {
                Logged::This => made,
                Logged::AnotherSignature => &made.another(by.0, by.1),
            };
            material["tlogEntries"] = json!([self.entry(of, recipe, time + recipe.logged_after)]);
        }
        if let Some(after) = recipe.stamped {
            let signature = if recipe.stamp_of_another { b"another" } else { made.signature.as_slice() };
            let stamp = self.tsa.stamp(signature, time + after);
            let stamps = [json!({ "signedTimestamp": STANDARD.encode(stamp) })];
            material["timestampVerificationData"] = json!({ "rfc3161Timestamps": stamps });
        }
    }

    /// The entry in the log, by way of the request that a client would send.
    fn entry(&self, made: &Made, recipe: &Recipe, time: Timestamp) -> Value {
        let head;
        let mut entry = match recipe.log {
            Log::V1 | Log::V1Intoto | Log::None => {
                let request = if recipe.log == Log::V1Intoto { &made.intoto } else { &made.v1 };
                let entry = self.rekor_v1.post(request, time).unwrap();
                head = entry.head();
                self.promised(&entry, recipe, time)
            }
            Log::V2 | Log::V2Dsse => {
                let request = if recipe.log == Log::V2Dsse { &made.v2_dsse } else { &made.v2 };
                let (entry, at) = self.rekor_v2.log(request).unwrap();
                head = at;
                entry
            }
        };
        if recipe.checkpoint == Checkpoint::AnotherKey {
            let checkpoint = match recipe.log {
                Log::V1 | Log::V1Intoto | Log::None => another().rekor_v1.checkpoint(head),
                Log::V2 | Log::V2Dsse => another().rekor_v2.checkpoint(head),
            };
            entry["inclusionProof"]["checkpoint"]["envelope"] = json!(checkpoint);
        }
        entry
    }

    fn promised(&self, entry: &rekor_v1::Entry, recipe: &Recipe, time: Timestamp) -> Value {
        let mut value = entry.in_bundle();
        match recipe.promise {
            Promise::Own => {}
            Promise::Missing => drop(value.as_object_mut().unwrap().remove("inclusionPromise")),
            Promise::OfAnotherEntry => {
                let key = P256::generate();
                let other = Made::sign(Signed::Message(Digest::of(b"another")), &key, &By::Key);
                let other = self.rekor_v1.post(&other.v1, time).unwrap();
                value["inclusionPromise"] = other.in_bundle()["inclusionPromise"].clone();
            }
        }
        value
    }
}

fn raw(certificate: &[u8]) -> Value {
    json!({ "rawBytes": STANDARD.encode(certificate) })
}

/// Somebody's key, without a certificate.
pub struct Key(P256);

impl Key {
    pub fn generate() -> Self {
        Self(P256::generate())
    }

    /// The public key, PEM.
    pub fn public(&self) -> String {
        pem_of("PUBLIC KEY", &self.0.spki())
    }
}

/// What the signature is checked with.
enum By<'a> {
    Leaf(&'a [u8]),
    Key,
}

/// A signature, as bundle and logs want it.
struct Made {
    signature: Vec<u8>,
    /// The bundle's member.
    content: (&'static str, Value),
    v1: Value,
    intoto: Value,
    v2: Value,
    v2_dsse: Value,
}

impl Made {
    fn sign(signed: Signed<'_>, key: &P256, by: &By<'_>) -> Self {
        let (pem, whose) = match by {
            By::Leaf(leaf) => (pem_of("CERTIFICATE", leaf), json!({ "x509Certificate": raw(leaf) })),
            By::Key => (pem_of("PUBLIC KEY", &key.spki()), json!({ "publicKey": raw(&key.spki()) })),
        };
        let (pem, mut verifier) = (STANDARD.encode(pem), whose);
        verifier["keyDetails"] = json!("PKIX_ECDSA_P256_SHA_256");
        match signed {
            Signed::Statement(payload) => {
                let message = pae(PAYLOAD_TYPE, payload);
                let signature = key.sign(&message);
                let (payload, sig) = (STANDARD.encode(payload), STANDARD.encode(&signature));
                let envelope = json!({
                    "payload": payload, "payloadType": PAYLOAD_TYPE, "signatures": [{ "sig": sig }],
                });
                let twice = json!({
                    "payload": STANDARD.encode(&payload),
                    "payloadType": PAYLOAD_TYPE,
                    "signatures": [{ "publicKey": pem, "sig": STANDARD.encode(&sig) }],
                });
                Self {
                    v1: json!({ "apiVersion": "0.0.1", "kind": "dsse", "spec": { "proposedContent": {
                        "envelope": envelope.to_string(), "verifiers": [pem],
                    }}}),
                    intoto: json!({ "apiVersion": "0.0.2", "kind": "intoto", "spec": { "content": {
                        "envelope": twice,
                    }}}),
                    v2: hashed_v2(&sha256(&message), &signature, &verifier),
                    v2_dsse: json!({ "dsseRequestV002": { "envelope": envelope, "verifiers": [verifier] } }),
                    content: ("dsseEnvelope", envelope),
                    signature,
                }
            }
            Signed::Message(digest) => {
                let signature = key.sign_digest(*digest.as_bytes());
                let encoded = STANDARD.encode(digest.as_bytes());
                let content = json!({
                    "messageDigest": { "algorithm": "SHA2_256", "digest": encoded },
                    "signature": STANDARD.encode(&signature),
                });
                Self {
                    v1: json!({ "apiVersion": "0.0.1", "kind": "hashedrekord", "spec": {
                        "data": { "hash": { "algorithm": "sha256", "value": digest.hex() } },
                        "signature": {
                            "content": STANDARD.encode(&signature), "publicKey": { "content": pem },
                        },
                    }}),
                    intoto: Value::Null,
                    v2: hashed_v2(digest.as_bytes(), &signature, &verifier),
                    v2_dsse: Value::Null,
                    content: ("messageSignature", content),
                    signature,
                }
            }
        }
    }

    /// The same content signed again: an ECDSA signature is never the same twice.
    fn another(&self, key: &P256, by: &By<'_>) -> Self {
        match self.content.0 {
            "dsseEnvelope" => {
                let payload = self.content.1["payload"].as_str().unwrap();
                Self::sign(Signed::Statement(&STANDARD.decode(payload).unwrap()), key, by)
            }
            _ => {
                let digest = self.content.1["messageDigest"]["digest"].as_str().unwrap();
                let digest: [u8; 32] = STANDARD.decode(digest).unwrap().try_into().unwrap();
                Self::sign(Signed::Message(Digest::from_bytes(digest)), key, by)
            }
        }
    }
}

fn hashed_v2(digest: &[u8], signature: &[u8], verifier: &Value) -> Value {
    json!({ "hashedRekordRequestV002": {
        "digest": STANDARD.encode(digest),
        "signature": { "content": STANDARD.encode(signature), "verifier": verifier },
    }})
}
