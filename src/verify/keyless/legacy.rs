//! What cosign before version 3 left beside a signature in annotations, as a bundle v0.1.
//!
//! The annotations are unsigned; all that counts of them is verified like any bundle's: certificate against the
//! root, promise (SET) against the log, and the logged entry against this very signature (CVE-2022-36056). The chain
//! (`dev.sigstore.cosign/chain`) is not read: the authorities are the root's.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Candidate, Proof, Reason, Root, Version, Vouched};
use crate::digest::{Digest, shorten};
use crate::verify::read::{Object, Reader};
use crate::verify::{Artifact, Identity, Part, Trust, bundle};

const READ: Reader = Reader(Part::Annotation);
const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle+json;version=0.1";

/// The annotations of a layer in a `.sig` or `.att` image that say who signed, and when.
#[derive(Clone, Copy, Debug, Default)]
pub struct Annotations<'a> {
    /// `dev.sigstore.cosign/certificate`: the signing certificate, PEM. None beside the signature of a key.
    pub certificate: Option<&'a str>,
    /// `dev.sigstore.cosign/bundle`: the log's promise, JSON.
    pub bundle: Option<&'a str>,
    /// `dev.sigstore.cosign/rfc3161timestamp`: a timestamp, JSON.
    pub timestamp: Option<&'a str>,
}

/// What was signed.
pub(in crate::verify) enum Content<'a> {
    /// A payload and its signature.
    Message { payload: &'a [u8], signature: &'a [u8] },
    /// A DSSE envelope about something with this digest.
    Envelope { envelope: &'a Object, about: Digest },
}

/// Converts and verifies what was signed with a certificate.
pub(in crate::verify) fn verify(
    content: &Content<'_>,
    certificate: &str,
    annotations: &Annotations<'_>,
    roots: &[Root],
) -> Result<Proof, Reason> {
    let certificate = pem::parse(certificate)
        .ok()
        .filter(|pem| pem.tag() == "CERTIFICATE")
        .ok_or_else(|| READ.wrong(CERTIFICATE, "one PEM certificate"))?;
    let certificate = json!({ "rawBytes": STANDARD.encode(certificate.contents()) });
    let signer = ("x509CertificateChain", json!({ "certificates": [certificate] }));
    with_candidate(content, signer, annotations, |candidate| super::verify(candidate, roots))
}

/// What says when the holder of a key signed.
pub(in crate::verify) fn vouched(
    content: &Content<'_>,
    annotations: &Annotations<'_>,
    identity: &Identity,
    trust: &Trust,
) -> Result<Vouched, Reason> {
    let key = trust.key(identity).ok_or(Reason::Undated)?;
    if annotations.bundle.is_none() && annotations.timestamp.is_none() {
        return Err(Reason::Undated);
    }
    let signer = ("publicKey", json!({ "hint": key.hint() }));
    with_candidate(content, signer, annotations, |candidate| super::vouched(candidate, key, trust.roots()))
}

fn with_candidate<T>(
    content: &Content<'_>,
    signer: (&str, Value),
    annotations: &Annotations<'_>,
    verify: impl FnOnce(&Candidate<'_>) -> Result<T, Reason>,
) -> Result<T, Reason> {
    let bundle = convert(content, signer, annotations)?;
    let artifact = match content {
        Content::Message { payload, .. } => Artifact::Bytes(payload),
        Content::Envelope { about, .. } => Artifact::Digest(*about),
    };
    verify(&Candidate { object: &bundle, version: Version::Converted, artifact })
}

fn convert(
    content: &Content<'_>,
    (signer, who): (&str, Value),
    annotations: &Annotations<'_>,
) -> Result<Object, Reason> {
    let mut material = json!({ "tlogEntries": [] });
    material[signer] = who;
    // A promise is what v0.1 has; v0.3 knows timestamps without one, beside a key.
    let media_type = match (annotations.bundle, signer) {
        (None, "publicKey") => bundle::MEDIA_TYPE,
        (Some(_) | None, _) => MEDIA_TYPE,
    };
    if let Some(promise) = annotations.bundle {
        material["tlogEntries"] = json!([entry(promise)?]);
    }
    if let Some(timestamp) = annotations.timestamp {
        let timestamp = READ.document(timestamp.as_bytes())?;
        let token = READ.text(&timestamp, "rfc3161timestamp/SignedRFC3161Timestamp")?;
        material["timestampVerificationData"] =
            json!({ "rfc3161Timestamps": [{ "signedTimestamp": token }] });
    }
    let mut bundle = Object::new();
    bundle.insert("mediaType".to_owned(), media_type.into());
    bundle.insert("verificationMaterial".to_owned(), material);
    let (member, value) = match content {
        Content::Message { payload, signature } => {
            let digest = STANDARD.encode(Digest::of(payload).as_bytes());
            let message = json!({
                "messageDigest": { "algorithm": "SHA2_256", "digest": digest },
                "signature": STANDARD.encode(signature),
            });
            ("messageSignature", message)
        }
        Content::Envelope { envelope, .. } => ("dsseEnvelope", Value::Object((*envelope).clone())),
    };
    bundle.insert(member.to_owned(), value);
    Ok(bundle)
}

/// Rekor v1's promise as cosign writes it: `{"SignedEntryTimestamp", "Payload": {body, integratedTime, logIndex,
/// logID}}` (sigstore/cosign `pkg/cosign/bundle/rekor.go`).
fn entry(promise: &str) -> Result<Value, Reason> {
    let promise = READ.document(promise.as_bytes())?;
    READ.only(&promise, "bundle", &["SignedEntryTimestamp", "Payload"])?;
    let payload = READ.object(&promise, "bundle/Payload")?;
    READ.only(payload, "bundle/Payload", &["body", "integratedTime", "logIndex", "logID"])?;
    let number = |path: &'static str, name: &str| {
        let number = payload.get(name).and_then(Value::as_u64);
        number.map(|number| number.to_string()).ok_or_else(|| READ.wrong(path, "a whole number"))
    };
    let body_text = READ.text(payload, "bundle/Payload/body")?;
    let body = READ.document(&READ.base64(payload, "bundle/Payload/body")?)?;
    let (kind, version) = (READ.text(&body, "body/kind")?, READ.text(&body, "body/apiVersion")?);
    let log = READ.text(payload, "bundle/Payload/logID")?;
    let log = Digest::from_hex(log).map_err(|_| Reason::UnknownLog { found: shorten(log) })?;
    Ok(json!({
        "logIndex": number("bundle/Payload/logIndex", "logIndex")?,
        "logId": { "keyId": STANDARD.encode(log.as_bytes()) },
        "kindVersion": { "kind": kind, "version": version },
        "integratedTime": number("bundle/Payload/integratedTime", "integratedTime")?,
        "inclusionPromise": { "signedEntryTimestamp": READ.text(&promise, "bundle/SignedEntryTimestamp")? },
        "canonicalizedBody": body_text,
    }))
}
