//! The certificate transparency log (RFC 6962): it promises, and keeps nothing, as verifiers only read its
//! promise.

use jiff::Timestamp;

use super::key::P256;

/// A log's key.
pub struct Ct {
    pub key: P256,
}

impl Ct {
    pub fn new() -> Self {
        Self { key: P256::generate() }
    }

    /// A SignedCertificateTimestampList of one SCT over a precertificate (RFC 6962, sections 3.2 and 3.3).
    /// `tbs` is the TBSCertificate without the list.
    pub fn list(&self, issuer_key_hash: &[u8; 32], tbs: &[u8], time: Timestamp) -> Vec<u8> {
        let time = time.as_millisecond().to_be_bytes();
        let length = &(tbs.len() as u32).to_be_bytes()[1..];
        // v1, certificate_timestamp, time, precert_entry, PreCert, no extensions
        let signed = [&[0, 0], &time[..], &[0, 1], &issuer_key_hash[..], length, tbs, &[0, 0]].concat();
        let signature = self.key.sign(&signed);
        // v1, log id, time, no extensions, sha256 (4) with ecdsa (3)
        let id = self.key.id();
        let sct = [&[0], &id[..], &time[..], &[0, 0], &[4, 3], &with_length(&signature)].concat();
        with_length(&with_length(&sct))
    }
}

fn with_length(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}
