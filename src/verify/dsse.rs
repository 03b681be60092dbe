//! DSSE v1 envelopes (secure-systems-lab/dsse, `protocol.md` and `envelope.md`, version 1.0).

use super::keyless::legacy::{self, Annotations, Content};
use super::read::{Object, Reader};
use super::statement;
use super::trust::Signed;
use super::{Artifact, Attestation, Claim, Part, Reason, Rejected, Trust, Verified};
use crate::digest::{Digest, shorten};

pub(super) const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

const READ: Reader = Reader(Part::Envelope);

/// An envelope as it was read: nothing in it is proved.
pub(super) struct Envelope {
    payload: Vec<u8>,
    signature: Vec<u8>,
    keyid: Option<String>,
}

/// Verifies a bare DSSE envelope that carries an in-toto statement, by a key: a layer of a legacy `.att` image.
///
/// The `keyid` names the key to try first, as a bundle's hint does. Nothing says when it was signed.
///
/// # Errors
/// [`Rejected`] with the first thing that is wrong.
pub fn envelope(bytes: &[u8], trust: &Trust) -> Result<Verified<Attestation>, Rejected> {
    annotated_envelope(bytes, &Annotations::default(), trust)
}

/// Verifies a layer of a legacy `.att` image: the envelope, and the annotations that speak of a certificate, a log entry
/// or a timestamp.
///
/// # Errors
/// [`Rejected`] with the first thing that is wrong.
pub fn annotated_envelope(
    bytes: &[u8],
    annotations: &Annotations<'_>,
    trust: &Trust,
) -> Result<Verified<Attestation>, Rejected> {
    let evidence = Digest::of(bytes);
    let mut claim = Claim::default();
    READ.document(bytes)
        .and_then(|object| {
            let envelope = Envelope::read(&object)?;
            if let Some(certificate) = annotations.certificate {
                let said = envelope.statement(&mut claim)?;
                let content = Content::Envelope { envelope: &object, about: statement::about(&said)? };
                let proof = legacy::verify(&content, certificate, annotations, trust.roots())?;
                return Ok(Verified::by_certificate(said, proof, evidence));
            }
            claim.hint = envelope.keyid.as_deref().map(shorten);
            let verified = verified(&envelope, envelope.keyid.as_deref(), trust, evidence, &mut claim)?;
            let content = Content::Envelope { envelope: &object, about: statement::about(&verified)? };
            let by = legacy::vouched(&content, annotations, verified.identity(), trust);
            Ok(verified.vouched(by))
        })
        .map_err(|reason| Rejected { evidence, reason, claim: Box::new(claim) })
}

/// Signature first, statement second.
pub(super) fn verified(
    envelope: &Envelope,
    hint: Option<&str>,
    trust: &Trust,
    evidence: Digest,
    claim: &mut Claim,
) -> Result<Verified<Attestation>, Reason> {
    // Unverified until the last line has passed.
    let statement = envelope.statement(claim);
    let message = pae(PAYLOAD_TYPE, &envelope.payload);
    let message = Artifact::Bytes(&message);
    let signed = Signed { message, signature: &envelope.signature, hint, evidence };
    trust.verify(&signed, || statement)
}

impl Envelope {
    /// Payload, signature and `keyid`, **unverified**.
    pub(super) fn into_parts(self) -> (Vec<u8>, Vec<u8>, Option<String>) {
        (self.payload, self.signature, self.keyid)
    }

    /// What the payload says, **unverified**; the claim keeps it for the explanation.
    pub(super) fn statement(&self, claim: &mut Claim) -> Result<Attestation, Reason> {
        let statement = statement::read(&self.payload)?;
        claim.predicate_type = Some(shorten(statement.predicate_type()));
        claim.subjects = statement.subjects().iter().map(|subject| subject.digest).collect();
        Ok(statement)
    }

    pub(super) fn read(envelope: &Object) -> Result<Self, Reason> {
        READ.only(envelope, "$", &["payload", "payloadType", "signatures"])?;
        let payload_type = READ.text(envelope, "payloadType")?;
        // The type is inside what is signed; there is one type we sign and read.
        if payload_type != PAYLOAD_TYPE {
            return Err(Reason::PayloadType { found: shorten(payload_type) });
        }
        let payload = READ.base64(envelope, "payload")?;
        // Sigstore bundle specification: exactly one signature, so that "signed by" has one answer.
        let [signature] = READ.array(envelope, "signatures")? else {
            let found = READ.array(envelope, "signatures")?.len();
            return Err(Reason::SignatureCount { found });
        };
        let signature = signature.as_object().ok_or_else(|| READ.wrong("signatures/0", "an object"))?;
        READ.only(signature, "signatures/0", &["sig", "keyid"])?;
        let keyid = READ.optional_text(signature, "signatures/0/keyid")?.map(str::to_owned);
        Ok(Self { payload, signature: READ.base64(signature, "signatures/0/sig")?, keyid })
    }
}

/// DSSE v1 pre-authentication encoding: `"DSSEv1" SP LEN(type) SP type SP LEN(body) SP body`.
pub(super) fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut message = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    message.extend_from_slice(payload);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoding_is_the_specifications_example() {
        assert_eq!(
            pae("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    #[test]
    fn b9_type_and_payload_cannot_trade_bytes() {
        assert_ne!(pae("a", b" 1 b"), pae("a 4", b"b"));
        assert_ne!(pae("", b"x"), pae("x", b""));
    }
}
