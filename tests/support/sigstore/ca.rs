//! Certificates: a root, what it issues, and the leaf of an identity as Fulcio issues it
//! (sigstore/fulcio `docs/certificate-specification.md`).

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::ct::Ct;
use super::key::{self, P256, sha256};
use super::{STARTED, der};

const CODE_SIGNING: &str = "1.3.6.1.5.5.7.3.3";
pub const TIME_STAMPING: &str = "1.3.6.1.5.5.7.3.8";
/// `keyCertSign` and `cRLSign`, `digitalSignature` (RFC 5280, section 4.2.1.3).
const MAY_ISSUE: [u8; 4] = [3, 2, 1, 6];
const MAY_SIGN: [u8; 4] = [3, 2, 7, 0x80];

/// How long a signing certificate lives.
pub const LIFE: SignedDuration = SignedDuration::from_mins(10);

/// An alternative name of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    Uri(String),
    Email(String),
}

/// Who a certificate says it is of: every field may be changed to something Fulcio would not issue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Honest: one.
    pub names: Vec<Name>,
    /// The numbers behind `1.3.6.1.4.1.57264.1`; up to 6 bare text, from 7 on a DER UTF8String.
    pub extensions: BTreeMap<u32, String>,
}

/// A certificate with its key.
pub struct Authority {
    pub key: P256,
    pub certificate: Vec<u8>,
    name: Vec<u8>,
    serial: Vec<u8>,
}

impl Authority {
    /// A self-signed root.
    pub fn root(common: &str) -> Self {
        let key = P256::generate();
        let name = der::name(common);
        let extensions = [basic(None), extension("2.5.29.15", true, &MAY_ISSUE), subject_key(&key.spki())];
        Self::issued(key, name.clone(), None, &extensions)
    }

    /// An intermediate that issues signing certificates.
    pub fn intermediate(&self, common: &str) -> Self {
        let key = P256::generate();
        let extensions = [
            basic(Some(0)),
            extension("2.5.29.15", true, &MAY_ISSUE),
            usage(CODE_SIGNING, false),
            subject_key(&key.spki()),
            authority_key(&self.key.spki()),
        ];
        Self::issued(key, der::name(common), Some(self), &extensions)
    }

    /// A certificate that may do one thing, for as long as its issuer.
    pub fn special(&self, common: &str, purpose: &str) -> Self {
        let key = P256::generate();
        let extensions = [
            extension("2.5.29.15", true, &MAY_SIGN),
            usage(purpose, true),
            subject_key(&key.spki()),
            authority_key(&self.key.spki()),
        ];
        Self::issued(key, der::name(common), Some(self), &extensions)
    }

    fn issued(key: P256, name: Vec<u8>, by: Option<&Self>, extensions: &[Vec<u8>]) -> Self {
        let ends: Timestamp = "2049-12-31T23:59:59Z".parse().unwrap();
        let serial = serial();
        let tbs = tbs(&Body {
            serial: &serial,
            issuer: by.map_or(&name, |by| &by.name),
            from: STARTED.parse().unwrap(),
            until: ends,
            subject: &name,
            spki: &key.spki(),
            extensions,
        });
        let certificate = signed(&tbs, by.map_or(&key, |by| &by.key));
        Self { key, certificate, name, serial }
    }

    /// A signing certificate that is valid from `time`; `ct` is whose SCT it shall have.
    pub fn leaf(&self, spki: &[u8], identity: &Identity, time: Timestamp, ct: Option<&Ct>) -> Vec<u8> {
        let serial = serial();
        let mut extensions = vec![
            extension("2.5.29.15", true, &MAY_SIGN),
            usage(CODE_SIGNING, false),
            subject_key(spki),
            authority_key(&self.key.spki()),
        ];
        if !identity.names.is_empty() {
            let names: Vec<_> = identity.names.iter().map(Name::general).collect();
            extensions.push(extension("2.5.29.17", true, &der::sequence(&names)));
        }
        for (number, text) in &identity.extensions {
            let value = if *number < 7 { text.as_bytes().to_vec() } else { der::utf8(text) };
            extensions.push(extension(&format!("1.3.6.1.4.1.57264.1.{number}"), false, &value));
        }
        let body = |extensions: &[Vec<u8>]| {
            tbs(&Body {
                serial: &serial,
                issuer: &self.name,
                from: time,
                until: time + LIFE,
                // Fulcio's leaves have no subject, which is why the alternative name is critical.
                subject: &der::sequence(&[]),
                spki,
                extensions,
            })
        };
        if let Some(ct) = ct {
            let list = ct.list(&sha256(&self.key.spki()), &body(&extensions), time);
            extensions.push(extension("1.3.6.1.4.1.11129.2.4.2", false, &der::octets(&list)));
        }
        signed(&body(&extensions), &self.key)
    }

    /// IssuerAndSerialNumber of this certificate, where `by` issued it (RFC 5652, section 10.2.4).
    pub fn issuer_and_serial(&self, by: &Self) -> Vec<u8> {
        der::sequence(&[by.name.clone(), der::integer(&self.serial)])
    }

    /// The same as IssuerSerial (RFC 5035, section 5).
    pub fn issuer_serial(&self, by: &Self) -> Vec<u8> {
        let directory = der::sequence(&[der::tagged(4, &by.name)]);
        der::sequence(&[directory, der::integer(&self.serial)])
    }
}

impl Name {
    fn general(&self) -> Vec<u8> {
        match self {
            Self::Email(text) => der::tlv(0x81, text.as_bytes()),
            Self::Uri(text) => der::tlv(0x86, text.as_bytes()),
        }
    }
}

struct Body<'a> {
    serial: &'a [u8],
    issuer: &'a [u8],
    from: Timestamp,
    until: Timestamp,
    subject: &'a [u8],
    spki: &'a [u8],
    extensions: &'a [Vec<u8>],
}

/// TBSCertificate (RFC 5280, section 4.1).
fn tbs(body: &Body<'_>) -> Vec<u8> {
    der::sequence(&[
        der::tagged(0, &der::integer(&[2])),
        der::integer(body.serial),
        key::ecdsa(),
        body.issuer.to_vec(),
        der::sequence(&[der::time(body.from), der::time(body.until)]),
        body.subject.to_vec(),
        body.spki.to_vec(),
        der::tagged(3, &der::sequence(body.extensions)),
    ])
}

fn signed(tbs: &[u8], by: &P256) -> Vec<u8> {
    der::sequence(&[tbs.to_vec(), key::ecdsa(), der::bits(&by.sign(tbs))])
}

fn serial() -> Vec<u8> {
    let mut serial = [0; 16];
    aws_lc_rs::rand::fill(&mut serial).unwrap();
    serial[0] |= 1;
    serial.to_vec()
}

fn extension(id: &str, critical: bool, value: &[u8]) -> Vec<u8> {
    match critical {
        true => der::sequence(&[der::oid(id), der::yes(), der::octets(value)]),
        false => der::sequence(&[der::oid(id), der::octets(value)]),
    }
}

fn basic(path: Option<u8>) -> Vec<u8> {
    let mut parts = vec![der::yes()];
    parts.extend(path.map(|path| der::integer(&[path])));
    extension("2.5.29.19", true, &der::sequence(&parts))
}

fn usage(purpose: &str, critical: bool) -> Vec<u8> {
    extension("2.5.29.37", critical, &der::sequence(&[der::oid(purpose)]))
}

fn subject_key(spki: &[u8]) -> Vec<u8> {
    extension("2.5.29.14", false, &der::octets(&sha256(spki)[..20]))
}

fn authority_key(spki: &[u8]) -> Vec<u8> {
    extension("2.5.29.35", false, &der::sequence(&[der::tlv(0x80, &sha256(spki)[..20])]))
}
