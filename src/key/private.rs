//! Private keys: made or read here, and used to sign.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::pkcs8::Document;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};

use super::{Algorithm, KeyError, PublicKey, encrypted};

/// A key that can sign. Its `Debug` shows the public half only.
pub struct PrivateKey {
    // The library's own values, which wipe their memory when dropped.
    secret: Secret,
    public: PublicKey,
}

enum Secret {
    Ecdsa(EcdsaKeyPair, Document),
    Ed25519(Ed25519KeyPair, Document),
    Rsa(RsaKeyPair, Pkcs8V1Der<'static>),
}

// Each with its PKCS#8, so that writing the key down cannot fail later.
impl Secret {
    fn ecdsa(key: EcdsaKeyPair) -> Result<Self, Unspecified> {
        let pkcs8 = key.to_pkcs8v1()?;
        Ok(Self::Ecdsa(key, pkcs8))
    }

    fn ed25519(key: Ed25519KeyPair) -> Result<Self, Unspecified> {
        let pkcs8 = key.to_pkcs8v1()?;
        Ok(Self::Ed25519(key, pkcs8))
    }

    fn rsa(key: RsaKeyPair) -> Result<Self, Unspecified> {
        let pkcs8 = key.as_der()?;
        Ok(Self::Rsa(key, pkcs8))
    }

    // Each reader takes its own kind only, so at most one of them answers.
    fn from_pkcs8(der: &[u8]) -> Result<Self, Unspecified> {
        let ecdsa = |scheme| Self::ecdsa(EcdsaKeyPair::from_pkcs8(scheme, der)?);
        ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING)
            .or_else(|_| ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING))
            .or_else(|_| Self::ed25519(Ed25519KeyPair::from_pkcs8(der)?))
            .or_else(|_| Self::rsa(RsaKeyPair::from_pkcs8(der)?))
    }

    fn from_sec1(der: &[u8]) -> Result<Self, Unspecified> {
        let ecdsa = |scheme| Self::ecdsa(EcdsaKeyPair::from_private_key_der(scheme, der)?);
        ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING).or_else(|_| ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING))
    }
}

const PKCS8: &str = "PRIVATE KEY";
const SEC1: &str = "EC PRIVATE KEY";

impl PrivateKey {
    /// A new key: Ed25519, P-256 or P-384.
    ///
    /// # Errors
    /// [`KeyError::NotGenerated`] for RSA; [`KeyError::Library`] without randomness.
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        let secret = match algorithm {
            Algorithm::EcdsaP256 => {
                EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).and_then(Secret::ecdsa)
            }
            Algorithm::EcdsaP384 => {
                EcdsaKeyPair::generate(&ECDSA_P384_SHA384_ASN1_SIGNING).and_then(Secret::ecdsa)
            }
            Algorithm::Ed25519 => Ed25519KeyPair::generate().and_then(Secret::ed25519),
            Algorithm::Rsa => return Err(KeyError::NotGenerated { algorithm }),
        };
        Self::whole(secret.map_err(|_| KeyError::Library { doing: "make a key", algorithm })?)
    }

    /// A key from a PEM file with one `PRIVATE KEY` (PKCS#8, RFC 5958) or `EC PRIVATE KEY` (RFC 5915) block.
    ///
    /// # Errors
    /// [`KeyError::Encrypted`] where [`PrivateKey::from_encrypted_pem`] is meant, [`KeyError::UnknownEncryption`] for
    /// other encrypted kinds; [`KeyError::UnknownPrivateKey`] when
    /// the key inside is of no accepted kind or size; otherwise what is wrong with the file.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let block = super::framed(text, &[PKCS8, SEC1])?;
        let secret = match block.tag() {
            SEC1 => Secret::from_sec1(block.contents()),
            _ => Secret::from_pkcs8(block.contents()),
        };
        Self::whole(secret.map_err(|_| KeyError::UnknownPrivateKey)?)
    }

    /// A key from a PEM file with one `ENCRYPTED SIGSTORE PRIVATE KEY` block, as cosign writes it, or one
    /// `ENCRYPTED COSIGN PRIVATE KEY` block, as its older versions did. The password may be empty.
    ///
    /// Costs what the file says, at most 256 MiB and some seconds; refuses to cost more.
    ///
    /// # Errors
    /// [`KeyError::WrongPassword`]; [`KeyError::UnknownKdf`], [`KeyError::UnknownCipher`] and [`KeyError::KdfBounds`]
    /// for what is not supported; [`KeyError::EncryptedJson`] and [`KeyError::EncryptedMember`] for what is
    /// malformed; otherwise as [`PrivateKey::from_pem`].
    pub fn from_encrypted_pem(text: &str, password: &[u8]) -> Result<Self, KeyError> {
        let block = super::framed(text, &encrypted::LABELS)?;
        let der = encrypted::open(block.contents(), password)?;
        // PKCS#8, but some old keys are SEC1; neither reads as the other.
        let secret = Secret::from_pkcs8(&der).or_else(|_| Secret::from_sec1(&der));
        Self::whole(secret.map_err(|_| KeyError::UnknownPrivateKey)?)
    }

    /// The key as a PEM file with one unencrypted `PRIVATE KEY` (PKCS#8) block: the secret itself.
    pub fn to_pem(&self) -> String {
        super::unframed(
            PKCS8,
            match &self.secret {
                Secret::Ecdsa(_, pkcs8) | Secret::Ed25519(_, pkcs8) => pkcs8.as_ref(),
                Secret::Rsa(_, pkcs8) => pkcs8.as_ref(),
            },
        )
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        self.public.clone()
    }

    /// Signs `message` in the one scheme its kind of key has (see the module's table).
    ///
    /// # Errors
    /// [`KeyError::Library`] without randomness or memory.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let random = SystemRandom::new();
        let signature = match &self.secret {
            Secret::Ecdsa(key, _) => key.sign(&random, message).map(|signature| signature.as_ref().to_vec()),
            Secret::Ed25519(key, _) => key.try_sign(message).map(|signature| signature.as_ref().to_vec()),
            Secret::Rsa(key, _) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map(|()| signature)
            }
        };
        signature.map_err(|_| KeyError::Library { doing: "sign", algorithm: self.public.algorithm() })
    }

    /// The secret together with its public half, in the spelling [`PublicKey`] insists on.
    fn whole(secret: Secret) -> Result<Self, KeyError> {
        let der: Result<PublicKeyX509Der<'_>, Unspecified> = match &secret {
            Secret::Ecdsa(key, _) => key.public_key().as_der(),
            Secret::Ed25519(key, _) => key.public_key().as_der(),
            Secret::Rsa(key, _) => key.public_key().as_der(),
        };
        let public = PublicKey::from_der(der.map_err(|_| KeyError::UnknownPrivateKey)?.as_ref())?;
        Ok(Self { secret, public })
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey(of {:?})", self.public)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const P256: &str = include_str!("../../tests/vectors/keys/p256.pem");

    #[test]
    fn keys_of_another_tool_sign_for_their_public_halves() {
        for (algorithm, private, public) in [
            (Algorithm::EcdsaP256, P256, include_str!("../../tests/vectors/keys/p256.pub")),
            (
                Algorithm::EcdsaP256,
                include_str!("../../tests/vectors/keys/p256.sec1.pem"),
                include_str!("../../tests/vectors/keys/p256.pub"),
            ),
            (
                Algorithm::EcdsaP384,
                include_str!("../../tests/vectors/keys/p384.pem"),
                include_str!("../../tests/vectors/keys/p384.pub"),
            ),
            (
                Algorithm::EcdsaP384,
                include_str!("../../tests/vectors/keys/p384.sec1.pem"),
                include_str!("../../tests/vectors/keys/p384.pub"),
            ),
            (
                Algorithm::Ed25519,
                include_str!("../../tests/vectors/keys/ed25519.pem"),
                include_str!("../../tests/vectors/keys/ed25519.pub"),
            ),
            (
                Algorithm::Rsa,
                include_str!("../../tests/vectors/keys/rsa2048.pem"),
                include_str!("../../tests/vectors/keys/rsa2048.pub"),
            ),
        ] {
            let key = PrivateKey::from_pem(private).unwrap();
            assert_eq!(key.public(), PublicKey::from_pem(public).unwrap());
            assert_eq!(key.public().algorithm(), algorithm);
            let signature = key.sign(b"same bytes").unwrap();
            key.public().verify(b"same bytes", &signature).unwrap();
            key.public().verify(b"other bytes", &signature).unwrap_err();
            let again = PrivateKey::from_pem(&key.to_pem()).unwrap();
            assert_eq!(again.public(), key.public());
        }
    }

    #[test]
    fn new_keys_differ_and_survive_the_file() {
        for algorithm in [Algorithm::Ed25519, Algorithm::EcdsaP256, Algorithm::EcdsaP384] {
            let key = PrivateKey::generate(algorithm).unwrap();
            assert_eq!(key.public().algorithm(), algorithm);
            assert_ne!(key.public(), PrivateKey::generate(algorithm).unwrap().public());
            let again = PrivateKey::from_pem(&key.to_pem()).unwrap();
            let signature = again.sign(b"same bytes").unwrap();
            key.public().verify(b"same bytes", &signature).unwrap();
        }
        let rsa = PrivateKey::generate(Algorithm::Rsa).unwrap_err();
        assert_eq!(rsa, KeyError::NotGenerated { algorithm: Algorithm::Rsa });
    }

    #[test]
    fn an_encrypted_key_is_named_as_such() {
        for label in encrypted::LABELS {
            let error = PrivateKey::from_pem(&super::super::unframed(label, b"{}")).unwrap_err();
            assert_eq!(error, KeyError::Encrypted { label: label.to_owned() });
        }
        let pkcs8 = include_str!("../../tests/vectors/keys/p256.encrypted.pem");
        let openssl = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\neyJ9\n-----END EC PRIVATE KEY-----\n";
        for (label, pem) in [("ENCRYPTED PRIVATE KEY", pkcs8), ("EC PRIVATE KEY", openssl)] {
            let refused = KeyError::UnknownEncryption { label: label.to_owned() };
            assert_eq!(PrivateKey::from_pem(pem).unwrap_err(), refused);
            assert_eq!(PrivateKey::from_encrypted_pem(pem, b"").unwrap_err(), refused);
        }
    }

    #[test]
    fn keys_of_other_kinds_are_refused() {
        for pem in [
            include_str!("../../tests/vectors/keys/rsa1024.pem"),
            include_str!("../../tests/vectors/keys/secp256k1.pem"),
            // A PKCS#8 body under the SEC1 label and the other way round is read as what it is, or not at all.
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n",
        ] {
            assert_eq!(PrivateKey::from_pem(pem).unwrap_err(), KeyError::UnknownPrivateKey);
        }
        let public = PrivateKey::from_pem(include_str!("../../tests/vectors/keys/p256.pub")).unwrap_err();
        assert_eq!(public, KeyError::Label { found: "PUBLIC KEY".to_owned(), expected: PKCS8 });
    }

    #[test]
    fn f8_debug_shows_no_secret() {
        let key = PrivateKey::from_pem(P256).unwrap();
        assert_eq!(format!("{key:?}"), format!("PrivateKey(of PublicKey(ecdsa-p256 {}))", key.public().id()));
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text: String, der: Vec<u8>) {
            prop_assert!(PrivateKey::from_pem(&text).is_err());
            for label in [PKCS8, SEC1] {
                prop_assert!(PrivateKey::from_pem(&super::super::unframed(label, &der)).is_err());
            }
        }
    }
}
