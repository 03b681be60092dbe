//! The keys of the services and of the signers: P-256 with SHA-256 as everywhere in Sigstore, and Ed25519 for
//! Rekor v2.

use aws_lc_rs::digest::{self, SHA256};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    UnparsedPublicKey,
};

use super::der::{self, Element};

/// `ecdsa-with-SHA256` (RFC 5758).
pub fn ecdsa() -> Vec<u8> {
    der::sequence(&[der::oid("1.2.840.10045.4.3.2")])
}

/// `id-sha256`.
pub fn sha256_algorithm() -> Vec<u8> {
    der::sequence(&[der::oid("2.16.840.1.101.3.4.2.1")])
}

pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest::digest(&SHA256, bytes).as_ref().try_into().unwrap()
}

/// A P-256 key.
pub struct P256(EcdsaKeyPair);

impl P256 {
    pub fn generate() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap())
    }

    /// DER, as ECDSA signatures are outside JOSE.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    }

    /// Signs what has this digest.
    pub fn sign_digest(&self, sha256: [u8; 32]) -> Vec<u8> {
        let digest = digest::Digest::import_less_safe(&sha256, &SHA256).unwrap();
        self.0.sign_digest(&digest).unwrap().as_ref().to_vec()
    }

    /// SubjectPublicKeyInfo.
    pub fn spki(&self) -> Vec<u8> {
        AsDer::<PublicKeyX509Der<'_>>::as_der(self.0.public_key()).unwrap().as_ref().to_vec()
    }

    /// What RFC 6962 and Rekor v1 call the log id.
    pub fn id(&self) -> [u8; 32] {
        sha256(&self.spki())
    }
}

/// An Ed25519 key.
pub struct Ed25519(Ed25519KeyPair);

impl Ed25519 {
    pub fn generate() -> Self {
        Self(Ed25519KeyPair::generate().unwrap())
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).as_ref().to_vec()
    }

    pub fn raw(&self) -> Vec<u8> {
        self.0.public_key().as_ref().to_vec()
    }

    /// SubjectPublicKeyInfo (RFC 8410).
    pub fn spki(&self) -> Vec<u8> {
        der::sequence(&[der::sequence(&[der::oid("1.3.101.112")]), der::bits(&self.raw())])
    }
}

/// Whether the key made this signature over the message; only P-256 is known.
pub fn verifies(spki: &[u8], message: &[u8], signature: &[u8]) -> bool {
    point(spki).is_some_and(|point| {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, signature).is_ok()
    })
}

/// The same for what has this digest.
pub fn verifies_digest(spki: &[u8], sha256: &[u8], signature: &[u8]) -> bool {
    let Ok(digest) = digest::Digest::import_less_safe(sha256, &SHA256) else { return false };
    point(spki).is_some_and(|point| {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify_digest(&digest, signature).is_ok()
    })
}

/// The point of a P-256 SubjectPublicKeyInfo.
pub fn point(spki: &[u8]) -> Option<Vec<u8>> {
    let parts = Element::read(spki)?.children()?;
    let algorithm = [der::oid("1.2.840.10045.2.1"), der::oid("1.2.840.10045.3.1.7")].concat();
    match parts.as_slice() {
        [alg, key] if alg.content == algorithm && key.tag == 3 => Some(key.content.get(1..)?.to_vec()),
        _ => None,
    }
}

/// The key in a PEM text: a public key, or a certificate's.
pub fn spki_of_pem(text: &[u8]) -> Option<Vec<u8>> {
    let block = pem::parse(text).ok()?;
    match block.tag() {
        "PUBLIC KEY" => Some(block.contents().to_vec()),
        "CERTIFICATE" => spki_of_certificate(block.contents()),
        _ => None,
    }
}

/// The key of a certificate.
pub fn spki_of_certificate(der: &[u8]) -> Option<Vec<u8>> {
    let tbs = *Element::read(der)?.children()?.first()?;
    // version, serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo
    Some(tbs.children()?.get(6)?.whole.to_vec())
}

pub fn pem_of(label: &str, der: &[u8]) -> String {
    let line = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(label, der), line)
}
