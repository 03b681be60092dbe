//! Public keys: `SubjectPublicKeyInfo` (RFC 5280, 4.1.2.7) in one canonical encoding.

use std::fmt;

use aws_lc_rs::digest;
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Algorithm, KeyError};
use crate::digest::Digest;

/// A key that can check signatures.
#[derive(Clone)]
pub struct PublicKey {
    algorithm: Algorithm,
    der: Vec<u8>,
    id: Digest,
    parsed: ParsedPublicKey,
}

/// What the DER of a key of each kind begins with, and how long it is in all. For the curves the length is fixed:
/// uncompressed points only, named curves only. For RSA the prefix is the `AlgorithmIdentifier`, which stands after
/// an outer length that depends on the modulus.
const P256: &[u8] =
    b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\
                      \x03\x42\x00\x04";
const P384: &[u8] = b"\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22\
                      \x03\x62\x00\x04";
const ED25519: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
const RSA: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";

impl PublicKey {
    /// A key from a PEM file with one `PUBLIC KEY` block.
    ///
    /// # Errors
    /// [`KeyError`] when the text is not one such block, or the key is not of an accepted kind, size and encoding.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        Self::from_der(super::framed(text, &["PUBLIC KEY"])?.contents())
    }

    /// A key from the DER of its `SubjectPublicKeyInfo`.
    ///
    /// # Errors
    /// [`KeyError`] when the key is not of an accepted kind, size and encoding.
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let algorithm = kind(der)?;
        let malformed = || KeyError::Malformed { algorithm };
        if let Algorithm::Rsa = algorithm {
            let bits = modulus_bits(der).ok_or_else(malformed)?;
            if !(2048..=8192).contains(&bits) {
                return Err(KeyError::RsaSize { bits });
            }
        }
        let parsed = ParsedPublicKey::new(scheme(algorithm), der).map_err(|_| malformed())?;
        let canonical: PublicKeyX509Der<'_> = parsed.as_der().map_err(|_| malformed())?;
        if canonical.as_ref() != der {
            return Err(KeyError::NotCanonical { algorithm });
        }
        Ok(Self { algorithm, der: der.to_vec(), id: Digest::of(der), parsed })
    }

    /// The key as a PEM file with one `PUBLIC KEY` block.
    pub fn to_pem(&self) -> String {
        super::unframed("PUBLIC KEY", &self.der)
    }

    /// The DER of its `SubjectPublicKeyInfo` (RFC 5280, section 4.1).
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The SHA-256 of the DER of its `SubjectPublicKeyInfo`: what this crate calls the key by.
    pub fn id(&self) -> Digest {
        self.id
    }

    /// The 32 bytes of [`PublicKey::id`] in standard base64, as cosign writes `publicKey.hint` into a bundle.
    pub fn hint(&self) -> String {
        STANDARD.encode(self.id.as_bytes())
    }

    /// The kind of key.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Checks that `signature` was made over `message` with the private half of this key.
    ///
    /// # Errors
    /// [`KeyError::Signature`], without saying what about it is wrong.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), KeyError> {
        self.parsed
            .verify_sig(message, signature)
            .map_err(|_| KeyError::Signature { algorithm: self.algorithm, key: self.id })
    }
}

impl PublicKey {
    /// Checks that `signature` was made over the bytes with this SHA-256, where only that is at hand.
    ///
    /// # Errors
    /// As [`PublicKey::verify`]; always for keys whose scheme does not begin with SHA-256 (P-384, Ed25519).
    pub fn verify_digest(&self, digest: Digest, signature: &[u8]) -> Result<(), KeyError> {
        let refused = |_| KeyError::Signature { algorithm: self.algorithm, key: self.id };
        match self.algorithm {
            Algorithm::EcdsaP256 | Algorithm::Rsa => {}
            Algorithm::EcdsaP384 | Algorithm::Ed25519 => return Err(refused(Unspecified)),
        }
        let digest = digest::Digest::import_less_safe(digest.as_bytes(), &digest::SHA256).map_err(refused)?;
        self.parsed.verify_digest_sig(&digest, signature).map_err(refused)
    }
}

fn kind(der: &[u8]) -> Result<Algorithm, KeyError> {
    if der.starts_with(P256) && der.len() == 91 {
        return Ok(Algorithm::EcdsaP256);
    }
    if der.starts_with(P384) && der.len() == 120 {
        return Ok(Algorithm::EcdsaP384);
    }
    if der.starts_with(ED25519) && der.len() == 44 {
        return Ok(Algorithm::Ed25519);
    }
    // SEQUENCE of any length form: 30 xx, 30 81 xx, 30 82 xx xx. Whether it is the right one, the DER reader says.
    let header = match der {
        [0x30, 0x82, ..] => 4,
        [0x30, 0x81, ..] => 3,
        _ => 2,
    };
    if der.get(header..).is_some_and(|rest| rest.starts_with(RSA)) {
        return Ok(Algorithm::Rsa);
    }
    let found = der.iter().take(32).map(|byte| format!("{byte:02x}")).collect();
    Err(KeyError::UnknownAlgorithm { found })
}

fn modulus_bits(der: &[u8]) -> Option<usize> {
    let key = aws_lc_rs::rsa::PublicKey::from_der(der).ok()?;
    let modulus = key.modulus();
    let bytes = modulus.big_endian_without_leading_zero();
    Some(bytes.len() * 8 - bytes.first()?.leading_zeros() as usize)
}

fn scheme(algorithm: Algorithm) -> &'static dyn VerificationAlgorithm {
    match algorithm {
        Algorithm::EcdsaP256 => &signature::ECDSA_P256_SHA256_ASN1,
        Algorithm::EcdsaP384 => &signature::ECDSA_P384_SHA384_ASN1,
        Algorithm::Ed25519 => &signature::ED25519,
        Algorithm::Rsa => &signature::RSA_PKCS1_2048_8192_SHA256,
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({} {})", self.algorithm, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MESSAGE: &[u8] = b"same bytes";
    const RSA_KEY: &str = include_str!("../../tests/vectors/keys/rsa2048.pub");
    const P256_KEY: &str = include_str!("../../tests/vectors/keys/p256.pub");
    const P384_KEY: &str = include_str!("../../tests/vectors/keys/p384.pub");
    const ED25519_KEY: &str = include_str!("../../tests/vectors/keys/ed25519.pub");

    // Keys and signatures were made by OpenSSL 3.0.19.
    fn golden() -> [(Algorithm, &'static str, &'static [u8]); 4] {
        [
            (Algorithm::Rsa, RSA_KEY, include_bytes!("../../tests/vectors/keys/rsa2048.sig")),
            (Algorithm::EcdsaP256, P256_KEY, include_bytes!("../../tests/vectors/keys/p256.sig")),
            (Algorithm::EcdsaP384, P384_KEY, include_bytes!("../../tests/vectors/keys/p384.sig")),
            (Algorithm::Ed25519, ED25519_KEY, include_bytes!("../../tests/vectors/keys/ed25519.sig")),
        ]
    }

    #[test]
    fn signatures_of_another_tool_verify_and_nothing_else_does() {
        for (algorithm, pem, signature) in golden() {
            let key = PublicKey::from_pem(pem).unwrap();
            assert_eq!(key.algorithm(), algorithm);
            assert_eq!(key.verify(MESSAGE, signature), Ok(()));
            let refused = Err(KeyError::Signature { algorithm, key: key.id() });
            assert_eq!(key.verify(b"same byteS", signature), refused);
            assert_eq!(key.verify(b"", signature), refused);
            assert_eq!(key.verify(MESSAGE, b""), refused);
            assert_eq!(key.verify(MESSAGE, &[signature, b"\0"].concat()), refused, "trailing byte");
            for at in 0..signature.len() {
                let mut changed = signature.to_vec();
                changed[at] ^= 1;
                assert_eq!(key.verify(MESSAGE, &changed), refused, "{algorithm}, byte {at}");
            }
        }
    }

    #[test]
    fn a_digest_is_enough_for_the_schemes_that_begin_with_it() {
        for (algorithm, pem, signature) in golden() {
            let key = PublicKey::from_pem(pem).unwrap();
            let enough = matches!(algorithm, Algorithm::EcdsaP256 | Algorithm::Rsa);
            assert_eq!(key.verify_digest(Digest::of(MESSAGE), signature).is_ok(), enough, "{algorithm}");
            assert!(key.verify_digest(Digest::of(b"same byteS"), signature).is_err(), "{algorithm}");
            assert!(key.verify_digest(Digest::of(MESSAGE), b"").is_err(), "{algorithm}");
        }
    }

    #[test]
    fn a_signature_never_verifies_with_another_key() {
        for (algorithm, pem, _) in golden() {
            let key = PublicKey::from_pem(pem).unwrap();
            for (other, _, signature) in golden() {
                assert_eq!(key.verify(MESSAGE, signature).is_ok(), algorithm == other);
            }
        }
    }

    #[test]
    fn the_scheme_follows_the_key() {
        let rsa = PublicKey::from_pem(RSA_KEY).unwrap();
        assert!(rsa.verify(MESSAGE, include_bytes!("../../tests/vectors/keys/rsa.pss.sig")).is_err(), "PSS");
        let p384 = PublicKey::from_pem(P384_KEY).unwrap();
        let sha256 = include_bytes!("../../tests/vectors/keys/p384.sha256.sig");
        assert!(p384.verify(MESSAGE, sha256).is_err(), "P-384 with SHA-256");
    }

    #[test]
    fn one_spelling_in_the_same_spelling_out() {
        for (_, pem, _) in golden() {
            let key = PublicKey::from_pem(pem).unwrap();
            assert_eq!(key.to_pem(), pem);
            assert_eq!(PublicKey::from_pem(&key.to_pem()).unwrap(), key);
            assert_eq!(key.hint().len(), 44);
        }
    }

    #[test]
    fn weak_and_foreign_keys_are_refused_by_name() {
        let small = PublicKey::from_pem(include_str!("../../tests/vectors/keys/rsa1024.pub"));
        assert_eq!(small.unwrap_err(), KeyError::RsaSize { bits: 1024 });
        for (name, pem) in [
            ("P-521", include_str!("../../tests/vectors/keys/p521.pub")),
            ("secp256k1", include_str!("../../tests/vectors/keys/secp256k1.pub")),
            ("RSA-PSS", include_str!("../../tests/vectors/keys/rsa-pss.pub")),
            ("compressed point", include_str!("../../tests/vectors/keys/p256-compressed.pub")),
            ("explicit parameters", include_str!("../../tests/vectors/keys/p256-explicit.pub")),
        ] {
            let error = PublicKey::from_pem(pem).unwrap_err();
            assert!(matches!(error, KeyError::UnknownAlgorithm { .. }), "{name}: {error}");
        }
    }

    #[test]
    fn one_key_has_one_encoding() {
        for (_, pem, _) in golden() {
            let der = PublicKey::from_pem(pem).unwrap().der;
            assert!(PublicKey::from_der(&[&der[..], b"\0"].concat()).is_err(), "trailing byte");
            assert!(PublicKey::from_der(&der[..der.len() - 1]).is_err(), "truncated");
        }
        // The same RSA key with a BER length (30 83 00 01 22) in front.
        let der = PublicKey::from_pem(RSA_KEY).unwrap().der;
        let spelled = [b"\x30\x83\x00\x01\x22", &der[4..]].concat();
        assert!(PublicKey::from_der(&spelled).is_err());
        // A P-256 point that is not on the curve.
        let mut off = PublicKey::from_pem(P256_KEY).unwrap().der;
        off[90] ^= 1;
        assert_eq!(
            PublicKey::from_der(&off).unwrap_err(),
            KeyError::Malformed { algorithm: Algorithm::EcdsaP256 }
        );
    }

    #[test]
    fn the_file_is_exactly_one_public_key() {
        let two = format!("{P256_KEY}{ED25519_KEY}");
        assert_eq!(
            PublicKey::from_pem(&two).unwrap_err(),
            KeyError::SeveralBlocks { found: 2, expected: "PUBLIC KEY" }
        );
        let private = include_str!("../../tests/vectors/keys/p256.pem");
        assert_eq!(
            PublicKey::from_pem(private).unwrap_err(),
            KeyError::Label { found: "PRIVATE KEY".to_owned(), expected: "PUBLIC KEY" }
        );
        let broken = format!("{P256_KEY}-----BEGIN PUBLIC KEY-----\nAAAA\n");
        for text in ["", "no key", "-----BEGIN PUBLIC KEY-----", &P256_KEY[..60], &broken] {
            let error = PublicKey::from_pem(text).unwrap_err();
            assert_eq!(error, KeyError::NotPem { expected: "PUBLIC KEY" }, "{text}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text: String) {
            prop_assert!(PublicKey::from_pem(&text).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(der: Vec<u8>, flip in 0usize..294, bit in 0u8..8) {
            prop_assert!(PublicKey::from_der(&der).is_err());
            for (_, pem, _) in golden() {
                let mut changed = PublicKey::from_pem(pem).unwrap().der;
                let at = flip % changed.len();
                changed[at] ^= 1 << bit;
                // Another key, or none; never the same one in another spelling.
                if let Ok(key) = PublicKey::from_der(&changed) {
                    prop_assert_eq!(key.der, changed);
                }
            }
        }

        #[test]
        fn arbitrary_signatures_never_panic(signature: Vec<u8>) {
            for (_, pem, _) in golden() {
                prop_assert!(PublicKey::from_pem(pem).unwrap().verify(MESSAGE, &signature).is_err());
            }
        }
    }
}
