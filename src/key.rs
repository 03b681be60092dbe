//! Keys: read from PEM, made, used to sign and to check signatures.
//!
//! Guarantees: a [`PublicKey`] is one of four known kinds, in the one DER encoding that kind has, so that one key
//! has one [`PublicKey::id`]; a [`PrivateKey`] never shows its secret except through [`PrivateKey::to_pem`]; opening
//! an encrypted one costs bounded time and memory, whatever its file says.
//! Never does: I/O, trust (which key counts is the policy's word), asking for passwords.
//! Start at [`PublicKey::from_pem`] and [`PublicKey::verify`].
//!
//! | Algorithm | Signature | Digest inside |
//! | --- | --- | --- |
//! | ECDSA P-256 | ASN.1 DER `SEQUENCE { r, s }` | SHA-256 |
//! | ECDSA P-384 | ASN.1 DER `SEQUENCE { r, s }` | SHA-384 |
//! | Ed25519 | 64 raw bytes (RFC 8032) | SHA-512, over the message itself |
//! | RSA, 2048 to 8192 bits | PKCS#1 v1.5 (RFC 8017, 8.2) | SHA-256 |
//!
//! The scheme follows from the key alone: nothing in an envelope can choose it.

use std::fmt;

use crate::digest::Digest;
use crate::json::JsonError;

mod encrypted;
mod private;
mod public;

pub use private::PrivateKey;
pub use public::PublicKey;

/// The kinds of key this version knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// ECDSA on NIST P-256 with SHA-256.
    EcdsaP256,
    /// ECDSA on NIST P-384 with SHA-384.
    EcdsaP384,
    /// Ed25519 (RFC 8032).
    Ed25519,
    /// RSA PKCS#1 v1.5 with SHA-256.
    Rsa,
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EcdsaP256 => "ecdsa-p256",
            Self::EcdsaP384 => "ecdsa-p384",
            Self::Ed25519 => "ed25519",
            Self::Rsa => "rsa",
        })
    }
}

/// What is wrong with a key, or with a signature. Never contains key material of a private key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The text holds no readable PEM block.
    #[error("not a PEM file: expected one `-----BEGIN {expected}-----` block")]
    NotPem {
        /// The label that was looked for.
        expected: &'static str,
    },
    /// More than one key in one file: which one was meant is not ours to guess.
    #[error("{found} PEM blocks: expected exactly one, `{expected}`")]
    SeveralBlocks {
        /// How many blocks there are.
        found: usize,
        /// The label that was looked for.
        expected: &'static str,
    },
    /// A PEM block of another kind.
    #[error("PEM block `{found}`: expected `{expected}`")]
    Label {
        /// The label of the block.
        found: String,
        /// The label that was looked for.
        expected: &'static str,
    },
    /// An encrypted private key of a kind that [`PrivateKey::from_encrypted_pem`] opens.
    #[error("PEM block `{label}` is an encrypted key: expected its password as well")]
    Encrypted {
        /// The label of the block.
        label: String,
    },
    /// A private key encrypted in a way that is not read here (PKCS#8, OpenSSL's own).
    #[error(
        "PEM block `{label}` is encrypted in another way than cosign's: expected `ENCRYPTED SIGSTORE PRIVATE KEY` or an unencrypted `PRIVATE KEY` (PKCS#8)"
    )]
    UnknownEncryption {
        /// The label of the block.
        label: String,
    },
    /// An encrypted key whose block does not hold one strict JSON text.
    #[error("the encrypted key is malformed")]
    EncryptedJson {
        /// What is wrong with the JSON.
        source: JsonError,
    },
    /// An encrypted key whose JSON is not of the shape that cosign writes.
    #[error("the encrypted key is malformed: expected {expected} in `{member}`")]
    EncryptedMember {
        /// Where, from the outermost object.
        member: &'static str,
        /// What should be there.
        expected: &'static str,
    },
    /// An encrypted key whose password is stretched by another function.
    #[error("the encrypted key uses the key derivation `{found}`: expected `scrypt`")]
    UnknownKdf {
        /// The name of the function.
        found: String,
    },
    /// An encrypted key that is encrypted by another cipher.
    #[error("the encrypted key uses the cipher `{found}`: expected `nacl/secretbox`")]
    UnknownCipher {
        /// The name of the cipher.
        found: String,
    },
    /// scrypt parameters that are none (RFC 7914, section 2), or that cost more than opening a key is worth.
    #[error(
        "the encrypted key asks for scrypt with N={n}, r={r}, p={p}: expected N a power of two from 2 to 2^20, r 1 to 8, p 1 to 16, N*r at most 2^21 (256 MiB) and N*r*p at most 2^23"
    )]
    KdfBounds {
        /// The cost in memory and time, `N`.
        n: u64,
        /// The block size, `r`.
        r: u64,
        /// The parallelization, `p`.
        p: u64,
    },
    /// The password does not open the key. That the file was changed looks the same.
    #[error("the encrypted key does not open: the password is wrong, or the file was changed")]
    WrongPassword,
    /// A public key of a kind that is not accepted (another curve, RSA-PSS, explicit curve parameters, …).
    #[error(
        "public key begins with `{found}`: expected the SubjectPublicKeyInfo of an ecdsa-p256, ecdsa-p384, ed25519 or rsa key"
    )]
    UnknownAlgorithm {
        /// The first bytes of the DER, in hexadecimal.
        found: String,
    },
    /// The right kind, but no such key: a point off the curve, a wrong length, trailing bytes.
    #[error("not a valid {algorithm} public key")]
    Malformed {
        /// The kind of key its first bytes name.
        algorithm: Algorithm,
    },
    /// A key spelled in another way than the one DER allows, so that its id would not be its own.
    #[error("{algorithm} public key is not in canonical DER")]
    NotCanonical {
        /// The kind of key.
        algorithm: Algorithm,
    },
    /// An RSA modulus outside 2048 to 8192 bits.
    #[error("rsa key of {bits} bits: expected 2048 to 8192")]
    RsaSize {
        /// The size of the modulus in bits.
        bits: usize,
    },
    /// A private key that is none of the known kinds.
    #[error("not a usable private key: expected ecdsa-p256, ecdsa-p384, ed25519 or rsa (2048 to 8192 bits)")]
    UnknownPrivateKey,
    /// Keys of this kind are not made here.
    #[error("{algorithm} keys are not generated here: choose ed25519 or ecdsa-p256")]
    NotGenerated {
        /// The kind asked for.
        algorithm: Algorithm,
    },
    /// The cryptographic library failed (no randomness, no memory).
    #[error("the cryptographic library could not {doing} with an {algorithm} key")]
    Library {
        /// What it was asked to do.
        doing: &'static str,
        /// The kind of key.
        algorithm: Algorithm,
    },
    /// The signature is not this key's signature of this message.
    #[error("no valid {algorithm} signature by key {key}")]
    Signature {
        /// The kind of key.
        algorithm: Algorithm,
        /// The id of the key.
        key: Digest,
    },
}

/// The contents of the one PEM block of `text`, whose label must be one of `labels`.
///
/// `EC PARAMETERS`, which `openssl ecparam -genkey` writes in front of a key, says nothing the key does not.
fn framed(text: &str, labels: &[&'static str]) -> Result<pem::Pem, KeyError> {
    let expected = labels[0];
    // A PEM reader skips what it cannot read; a block skipped is a key somebody believes to be trusted.
    let begun = text.matches("-----BEGIN ").count();
    let mut blocks = pem::parse_many(text).map_err(|_| KeyError::NotPem { expected })?;
    if blocks.len() != begun || begun == 0 {
        return Err(KeyError::NotPem { expected });
    }
    blocks.retain(|block| block.tag() != "EC PARAMETERS");
    let found = blocks.len();
    let (Some(block), true) = (blocks.pop(), found == 1) else {
        return Err(KeyError::SeveralBlocks { found, expected });
    };
    let label = || crate::digest::shorten(block.tag());
    // RFC 1421 headers (`Proc-Type: 4,ENCRYPTED`) mean the old OpenSSL encryption.
    if block.headers().iter().next().is_some() {
        return Err(KeyError::UnknownEncryption { label: label() });
    }
    if labels.contains(&block.tag()) {
        return Ok(block);
    }
    if encrypted::LABELS.contains(&block.tag()) {
        return Err(KeyError::Encrypted { label: label() });
    }
    if block.tag().starts_with("ENCRYPTED ") {
        return Err(KeyError::UnknownEncryption { label: label() });
    }
    Err(KeyError::Label { found: label(), expected })
}

fn unframed(label: &'static str, der: &[u8]) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(label, der), config)
}
