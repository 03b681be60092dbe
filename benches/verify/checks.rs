//! The signatures of a keyless bundle: keys, messages and signatures as bare bytes.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ED25519,
    UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use samebits::digest::Digest;
use serde_json::{Value, json};
use x509_cert::Certificate;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{Decode as _, Encode as _};

const PRECERTIFICATE_SCTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11129.2.4.2");
const ECDSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");

/// One signature.
pub(crate) struct Check {
    pub(crate) what: &'static str,
    algorithm: &'static dyn VerificationAlgorithm,
    key: Vec<u8>,
    message: Vec<u8>,
    signature: Vec<u8>,
}

impl Check {
    /// By a key in a SubjectPublicKeyInfo; `long` where the hash is SHA-384.
    fn new(what: &'static str, spki: &[u8], long: bool, message: Vec<u8>, signature: Vec<u8>) -> Self {
        // The key's bits: P-256, P-384 or Ed25519 by their number.
        let key = Element::read(spki).children()[1].value[1..].to_vec();
        let algorithm: &'static dyn VerificationAlgorithm = match (key.len(), long) {
            (65, false) => &ECDSA_P256_SHA256_ASN1,
            (65, true) => &ECDSA_P256_SHA384_ASN1,
            (97, false) => &ECDSA_P384_SHA256_ASN1,
            (97, true) => &ECDSA_P384_SHA384_ASN1,
            (32, _) => &ED25519,
            (other, _) => panic!("{what}: a key of {other} bytes"),
        };
        Self { what, algorithm, key, message, signature }
    }

    fn is_right(&self) -> bool {
        UnparsedPublicKey::new(self.algorithm, &self.key).verify(&self.message, &self.signature).is_ok()
    }

    pub(crate) fn verify(&self) {
        assert!(self.is_right(), "{} is wrong", self.what);
    }
}

/// Every signature that a verification of this bundle under this root rests on.
pub(crate) fn of(bundle: &Value, root: &Value) -> Vec<Check> {
    let material = &bundle["verificationMaterial"];
    let entry = &material["tlogEntries"][0];
    let leaf = certificate(&material["certificate"]);
    let chain = chain(&leaf, &root["certificateAuthorities"]);
    let mut checks = vec![signed("certificate", &leaf, &chain[0]), sct(&leaf, &chain[0], &root["ctlogs"])];
    let log = log(&root["tlogs"], &base64(&entry["logId"]["keyId"]));
    if let Some(promise) = entry.pointer("/inclusionPromise/signedEntryTimestamp") {
        let whole = |name: &str| entry[name].as_str().unwrap().parse::<u64>().unwrap();
        let id: String = base64(&entry["logId"]["keyId"]).iter().map(|byte| format!("{byte:02x}")).collect();
        // Canonical JSON: members by name, no spaces.
        let message = json!({
            "body": entry["canonicalizedBody"],
            "integratedTime": whole("integratedTime"),
            "logID": id,
            "logIndex": whole("logIndex"),
        });
        checks.push(Check::new("promise", &log, false, message.to_string().into_bytes(), base64(promise)));
    }
    checks.push(checkpoint(&entry["inclusionProof"]["checkpoint"]["envelope"], &log));
    let envelope = &bundle["dsseEnvelope"];
    let payload = base64(&envelope["payload"]);
    let head = format!("DSSEv1 28 application/vnd.in-toto+json {} ", payload.len());
    let signature = base64(&envelope["signatures"][0]["sig"]);
    checks.push(Check::new(
        "envelope",
        &spki(&leaf),
        false,
        [head.into_bytes(), payload].concat(),
        signature,
    ));
    for stamp in material["timestampVerificationData"]["rfc3161Timestamps"].as_array().into_iter().flatten() {
        checks.extend(timestamp(&base64(&stamp["signedTimestamp"]), &root["timestampAuthorities"]));
    }
    checks.iter().for_each(Check::verify);
    checks
}

/// The certificate's issuer, and its, as the authority has them.
fn chain(leaf: &Certificate, authorities: &Value) -> Vec<Certificate> {
    let chains = authorities.as_array().unwrap().iter().map(certificates);
    let is_issuer = |chain: &Vec<Certificate>| {
        chain[0].tbs_certificate.subject == leaf.tbs_certificate.issuer
            && signed("certificate", leaf, &chain[0]).is_right()
    };
    { chains }.find(is_issuer).unwrap()
}

fn certificates(authority: &Value) -> Vec<Certificate> {
    authority["certChain"]["certificates"].as_array().unwrap().iter().map(certificate).collect()
}

fn certificate(value: &Value) -> Certificate {
    Certificate::from_der(&base64(&value["rawBytes"])).unwrap()
}

fn spki(certificate: &Certificate) -> Vec<u8> {
    certificate.tbs_certificate.subject_public_key_info.to_der().unwrap()
}

fn signed(what: &'static str, certificate: &Certificate, issuer: &Certificate) -> Check {
    let long = certificate.signature_algorithm.oid == ECDSA_SHA384;
    let message = certificate.tbs_certificate.to_der().unwrap();
    Check::new(what, &spki(issuer), long, message, certificate.signature.raw_bytes().to_vec())
}

/// RFC 6962, section 3.2: the log's signature over the certificate without this extension.
fn sct(leaf: &Certificate, issuer: &Certificate, logs: &Value) -> Check {
    let mut tbs = leaf.tbs_certificate.clone();
    let extensions = tbs.extensions.as_mut().unwrap();
    let at = extensions.iter().position(|one| one.extn_id == PRECERTIFICATE_SCTS).unwrap();
    let list = extensions.remove(at);
    let list = Element::read(list.extn_value.as_bytes()).value.to_vec();
    // Two lengths, version, log, time, extensions, algorithms, signature.
    let (id, time, rest) = (&list[5..37], &list[37..45], &list[45..]);
    let length = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
    let (more, rest) = rest.split_at(2 + length);
    let tbs = tbs.to_der().unwrap();
    let size = u32::try_from(tbs.len()).unwrap().to_be_bytes();
    let key = Digest::of(&spki(issuer));
    let message = [&[0, 0], time, &[0, 1], key.as_bytes(), &size[1..], &tbs, more].concat();
    Check::new("certificate's timestamp", &log(logs, id), false, message, rest[4..].to_vec())
}

/// The key of the log with this id.
fn log(logs: &Value, id: &[u8]) -> Vec<u8> {
    let log = logs.as_array().unwrap().iter().find(|log| base64(&log["logId"]["keyId"]) == id).unwrap();
    base64(&log["publicKey"]["rawBytes"])
}

/// C2SP signed-note: the log's own line comes first.
fn checkpoint(envelope: &Value, log: &[u8]) -> Check {
    let (text, signatures) = envelope.as_str().unwrap().split_once("\n\n").unwrap();
    let line = signatures.lines().next().unwrap().rsplit(' ').next().unwrap();
    let signature = STANDARD.decode(line).unwrap()[4..].to_vec();
    Check::new("checkpoint", log, false, format!("{text}\n").into_bytes(), signature)
}

/// RFC 3161 and RFC 5652: the token by its authority, which the root has the chain of.
fn timestamp(token: &[u8], authorities: &Value) -> Vec<Check> {
    // TimeStampResp { status, ContentInfo { type, [0] SignedData { …, signerInfos { SignerInfo } } } }
    let response = Element::read(token);
    let signed_data = response.children()[1].children()[1].children()[0];
    let signer = signed_data.children().last().unwrap().children()[0];
    let parts = signer.children();
    let attributes = parts.iter().position(|part| part.tag == 0xa0).unwrap();
    // Signed as the SET it is, not under its tag here.
    let message = [&[0x31], &parts[attributes].whole[1..]].concat();
    let signature = parts[attributes + 2].value;
    let long = parts[attributes - 1].value.windows(9).any(|oid| oid == SHA384);
    let by = |chain: &[Certificate]| {
        Check::new("timestamp", &spki(&chain[0]), long, message.clone(), signature.to_vec())
    };
    let mut chains = authorities.as_array().unwrap().iter().map(certificates);
    let chain = chains.find(|chain| by(chain).is_right()).unwrap();
    vec![by(&chain), signed("timestamp's certificate", &chain[0], &chain[1])]
}

/// `2.16.840.1.101.3.4.2.2`
const SHA384: [u8; 9] = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02];

pub(crate) fn base64(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().unwrap()).unwrap()
}

/// One DER value.
#[derive(Clone, Copy)]
struct Element<'a> {
    tag: u8,
    whole: &'a [u8],
    value: &'a [u8],
}

impl<'a> Element<'a> {
    fn read(der: &'a [u8]) -> Self {
        let (header, length) = match der[1] {
            short @ 0..0x80 => (2, usize::from(short)),
            long => {
                let header = 2 + usize::from(long & 0x7f);
                (header, der[2..header].iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
            }
        };
        Self { tag: der[0], whole: &der[..header + length], value: &der[header..header + length] }
    }

    fn children(self) -> Vec<Self> {
        let mut rest = self.value;
        let mut children = Vec::new();
        while !rest.is_empty() {
            let child = Self::read(rest);
            rest = &rest[child.whole.len()..];
            children.push(child);
        }
        children
    }
}
