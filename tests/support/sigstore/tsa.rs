//! The timestamp authority: RFC 3161 over HTTP, with the attribute of RFC 5816 (ESSCertIDv2).

use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;

use super::ca::{Authority, TIME_STAMPING};
use super::der::{self, Element};
use super::key::{self, sha256};

const TST_INFO: &str = "1.2.840.113549.1.9.16.1.4";
/// sigstore/timestamp-authority's policy.
const POLICY: &str = "1.3.6.1.4.1.57264.2";

/// A root, and the certificate that signs.
pub struct Tsa {
    pub root: Authority,
    pub signer: Authority,
    serial: AtomicU64,
}

/// What a client asks for.
struct Asked {
    imprint: Vec<u8>,
    nonce: Option<Vec<u8>>,
    certificate: bool,
}

impl Tsa {
    pub fn new(name: &str) -> Self {
        let root = Authority::root(&format!("{name} timestamp root"));
        let signer = root.special(&format!("{name} timestamp authority"), TIME_STAMPING);
        Self { root, signer, serial: AtomicU64::new(1) }
    }

    /// The answer to a TimeStampReq; what is wrong with it otherwise.
    pub fn answer(&self, request: &[u8], time: Timestamp) -> Result<Vec<u8>, &'static str> {
        Ok(self.respond(&Asked::read(request)?, time))
    }

    /// A TimeStampResp for a signature, as bundles carry it.
    pub fn stamp(&self, signature: &[u8], time: Timestamp) -> Vec<u8> {
        let imprint = der::sequence(&[key::sha256_algorithm(), der::octets(&sha256(signature))]);
        self.respond(&Asked { imprint, nonce: None, certificate: true }, time)
    }

    fn respond(&self, asked: &Asked, time: Timestamp) -> Vec<u8> {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        // TSTInfo, section 2.4.2
        let mut info = vec![
            der::integer(&[1]),
            der::oid(POLICY),
            asked.imprint.clone(),
            der::integer(&serial.to_be_bytes()),
            der::generalized(time),
        ];
        info.extend(asked.nonce.clone());
        let info = der::sequence(&info);
        let granted = der::sequence(&[der::integer(&[0])]);
        der::sequence(&[granted, self.token(&info, asked.certificate, time)])
    }

    /// ContentInfo of a SignedData (RFC 5652, section 5).
    fn token(&self, info: &[u8], certificate: bool, time: Timestamp) -> Vec<u8> {
        let attribute = |id: &str, value: Vec<u8>| der::sequence(&[der::oid(id), der::set(vec![value])]);
        let certificate_id =
            [der::octets(&sha256(&self.signer.certificate)), self.signer.issuer_serial(&self.root)];
        let certificates = der::sequence(&[der::sequence(&certificate_id)]);
        let attributes = der::set(vec![
            attribute("1.2.840.113549.1.9.3", der::oid(TST_INFO)),
            attribute("1.2.840.113549.1.9.5", der::time(time)),
            attribute("1.2.840.113549.1.9.4", der::octets(&sha256(info))),
            attribute("1.2.840.113549.1.9.16.2.47", der::sequence(&[certificates])),
        ]);
        // Signed as a SET, sent as [0].
        let signature = self.signer.key.sign(&attributes);
        let sent = der::tagged(0, Element::read(&attributes).unwrap().content);
        let signer = der::sequence(&[
            der::integer(&[1]),
            self.signer.issuer_and_serial(&self.root),
            key::sha256_algorithm(),
            sent,
            key::ecdsa(),
            der::octets(&signature),
        ]);
        let mut data = vec![
            der::integer(&[3]),
            der::set(vec![key::sha256_algorithm()]),
            der::sequence(&[der::oid(TST_INFO), der::tagged(0, &der::octets(info))]),
        ];
        if certificate {
            data.push(der::tagged(0, &self.signer.certificate));
        }
        data.push(der::set(vec![signer]));
        der::sequence(&[der::oid("1.2.840.113549.1.7.2"), der::tagged(0, &der::sequence(&data))])
    }
}

impl Asked {
    /// TimeStampReq (section 2.4.1).
    fn read(request: &[u8]) -> Result<Self, &'static str> {
        let parts = Element::read(request).and_then(|request| request.children()).ok_or("not DER")?;
        let [version, imprint, rest @ ..] = parts.as_slice() else { return Err("too short") };
        if version.content != [1] {
            return Err("version is not 1");
        }
        let hash = imprint.children().ok_or("no imprint")?;
        let algorithm = hash.first().and_then(Element::children).ok_or("no algorithm")?;
        if algorithm.first().map(|id| id.whole) != Some(&der::oid("2.16.840.1.101.3.4.2.1"))
            || hash.get(1).is_none_or(|hash| hash.tag != 4 || hash.content.len() != 32)
        {
            return Err("only SHA-256 is stamped");
        }
        let find = |tag| rest.iter().find(|part| part.tag == tag);
        if find(6).is_some_and(|policy| policy.whole != der::oid(POLICY)) {
            return Err("another policy");
        }
        Ok(Self {
            imprint: imprint.whole.to_vec(),
            nonce: find(2).map(|nonce| nonce.whole.to_vec()),
            certificate: find(1).is_some_and(|wanted| wanted.content == [0xff]),
        })
    }
}
