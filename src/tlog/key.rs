//! Names and Ed25519 keys of logs and witnesses (C2SP signed-note v1.0.0, "Verifier keys").
//!
//! Guarantees: a key of one signature type is never one of another, for the type is in its text and in its
//! identifier. Never does: I/O. Randomness only in [`SecretKey::generate`].

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::{Engine, engine::general_purpose::STANDARD};

use super::TlogError;
use crate::digest::{Hasher, shorten};

pub(super) const PRIVATE: &str = "PRIVATE+KEY+";
/// What the control lane's name has behind the main lane's.
const CONTROL: &str = "/control";

/// The name of a log or of a witness, which is also the name of its key: `acme.example/promotions`.
///
/// Narrower than C2SP: 1 to 255 visible ASCII characters without `+`, so that no two look alike.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(String);

impl Origin {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the control lane of a ledger whose main lane has this name: with `/control` behind it. A name that
    /// ends so already is a control lane's, and has none of its own.
    ///
    /// # Errors
    /// [`TlogError::Origin`] where there is no such name.
    pub fn control(&self) -> Result<Self, TlogError> {
        match self.0.ends_with(CONTROL) {
            true => Err(TlogError::Origin { found: shorten(&self.0) }),
            false => format!("{}{CONTROL}", self.0).parse(),
        }
    }
}

impl FromStr for Origin {
    type Err = TlogError;

    fn from_str(text: &str) -> Result<Self, TlogError> {
        let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'+';
        if (1..=255).contains(&text.len()) && text.bytes().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(TlogError::Origin { found: shorten(text) })
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whose key, and so what its signatures are (signed-note, "Signature types").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyOf {
    /// A log's: type `0x01`, Ed25519 over the note's text.
    Log,
    /// A witness's: type `0x04`, timestamped Ed25519 cosignatures of checkpoints.
    Witness,
}

impl KeyOf {
    /// The signature type identifier byte.
    fn byte(self) -> u8 {
        match self {
            Self::Log => 0x01,
            Self::Witness => 0x04,
        }
    }
}

impl fmt::Display for KeyOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Log => "log",
            Self::Witness => "witness",
        })
    }
}

/// The first four bytes of SHA-256 of name, newline, signature type and public key.
fn key_id(name: &Origin, kind: u8, public: &[u8]) -> [u8; 4] {
    let mut hasher = Hasher::default();
    hasher.update(name.0.as_bytes());
    hasher.update(&[b'\n', kind]);
    hasher.update(public);
    let digest = hasher.finish();
    let [a, b, c, d, ..] = *digest.as_bytes();
    [a, b, c, d]
}

fn hex(id: [u8; 4]) -> String {
    format!("{:08x}", u32::from_be_bytes(id))
}

/// A key's text, taken apart and not yet believed: `name+hash+base64(type || key)`.
pub(super) struct Parts<'t> {
    pub(super) name: Origin,
    id: &'t str,
    pub(super) kind: u8,
    pub(super) bytes: Vec<u8>,
}

impl<'t> Parts<'t> {
    /// The last part may itself contain `+`.
    pub(super) fn split(text: &'t str) -> Option<Self> {
        let mut parts = text.splitn(3, '+');
        let (name, id, encoded) = (parts.next()?, parts.next()?, parts.next()?);
        let name = name.parse().ok()?;
        let bytes = STANDARD.decode(encoded).ok()?;
        let (kind, bytes) = bytes.split_first()?;
        let tidy = id.len() == 8 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        tidy.then(|| Self { name, id, kind: *kind, bytes: bytes.to_vec() })
    }

    /// The identifier in the text is the one that `public` gives.
    pub(super) fn has_id_of(&self, public: &[u8]) -> Result<(), TlogError> {
        let expected = hex(key_id(&self.name, self.kind, public));
        match expected == self.id {
            true => Ok(()),
            false => Err(TlogError::KeyId { name: self.name.clone(), expected, found: self.id.to_owned() }),
        }
    }
}

/// An ML-DSA-44 key (type 0x06, 1312 bytes), which is recognised and not supported.
pub(super) fn ml_dsa_44(parts: Parts<'_>) -> Option<Parts<'_>> {
    (parts.kind == 0x06 && parts.bytes.len() == 1312).then_some(parts)
}

/// A public key under a name, for one type of signature. As text it is a vkey.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PublicKey {
    name: Origin,
    of: KeyOf,
    bytes: [u8; 32],
}

impl PublicKey {
    pub(super) fn parse(of: KeyOf, text: &str) -> Result<Self, TlogError> {
        let malformed = || TlogError::Vkey { found: shorten(text), of };
        let parts = Parts::split(text).filter(|parts| parts.kind == of.byte()).ok_or_else(malformed)?;
        let bytes = parts.bytes.as_slice().try_into().map_err(|_| malformed())?;
        parts.has_id_of(&parts.bytes)?;
        Ok(Self { name: parts.name, of, bytes })
    }

    pub(super) fn name(&self) -> &Origin {
        &self.name
    }

    /// The key itself, whatever its name and type.
    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// The same key under another name.
    pub(super) fn renamed(&self, name: Origin) -> Self {
        Self { name, of: self.of, bytes: self.bytes }
    }

    /// The key identifier in its signatures.
    pub(super) fn id(&self) -> [u8; 4] {
        key_id(&self.name, self.of.byte(), &self.bytes)
    }

    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.bytes).verify(message, signature).is_ok()
    }

    fn write(&self, f: &mut impl fmt::Write, key: &[u8; 32]) -> fmt::Result {
        let mut bytes = [self.of.byte(); 33];
        bytes[1..].copy_from_slice(key);
        write!(f, "{}+{}+{}", self.name, hex(self.id()), STANDARD.encode(bytes))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, &self.bytes)
    }
}

/// A private key, in the text form of Go's sumdb/note: `PRIVATE+KEY+name+hash+base64(type || seed)`.
#[derive(Clone)]
pub(super) struct SecretKey {
    public: PublicKey,
    seed: [u8; 32],
    pair: Arc<Ed25519KeyPair>,
}

impl SecretKey {
    pub(super) fn generate(of: KeyOf, name: Origin) -> Result<Self, TlogError> {
        let mut seed = [0; 32];
        aws_lc_rs::rand::fill(&mut seed).map_err(|_| TlogError::Crypto { action: "give random bytes" })?;
        Self::from_seed(of, name, seed)
    }

    fn from_seed(of: KeyOf, name: Origin, seed: [u8; 32]) -> Result<Self, TlogError> {
        let broken = TlogError::Crypto { action: "make an Ed25519 key" };
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| broken.clone())?;
        let bytes = pair.public_key().as_ref().try_into().map_err(|_| broken)?;
        Ok(Self { public: PublicKey { name, of, bytes }, seed, pair: Arc::new(pair) })
    }

    pub(super) fn parse(of: KeyOf, text: &str) -> Result<Self, TlogError> {
        let malformed = || TlogError::Secret { of };
        let parts = text.strip_prefix(PRIVATE).and_then(Parts::split).filter(|parts| parts.kind == of.byte());
        let parts = parts.ok_or_else(malformed)?;
        let seed = parts.bytes.as_slice().try_into().map_err(|_| malformed())?;
        let key = Self::from_seed(of, parts.name.clone(), seed)?;
        parts.has_id_of(&key.public.bytes)?;
        Ok(key)
    }

    pub(super) fn public(&self) -> &PublicKey {
        &self.public
    }

    pub(super) fn renamed(&self, name: Origin) -> Self {
        Self { public: self.public.renamed(name), seed: self.seed, pair: Arc::clone(&self.pair) }
    }

    pub(super) fn to_secret_text(&self) -> String {
        let mut text = PRIVATE.to_owned();
        // Writing to a String cannot fail.
        let _ = self.public.write(&mut text, &self.seed);
        text
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, TlogError> {
        let signature = self.pair.try_sign(message).map_err(|_| TlogError::Crypto { action: "sign" })?;
        Ok(signature.as_ref().to_vec())
    }
}

/// What the texts of this module have in common towards serde and schemas: one string.
macro_rules! text {
    ($name:ident, $schema:expr) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                $schema
            }
        }
    };
}
pub(super) use text;

text!(Origin, schemars::json_schema!({ "type": "string", "pattern": "^[!-*,-~]{1,255}$" }));
