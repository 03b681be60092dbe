//! Signed notes and the keys of logs (C2SP signed-note v1.0.0, signature type 0x01, Ed25519).
//!
//! Guarantees: [`Vkey::verify`] returns the text of a note only if every signature that claims to be by this
//! key is right and there is at least one; signatures by other keys are ignored, as the specification
//! demands. Never does: trust a key because a note carries its name.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::{Engine, engine::general_purpose::STANDARD};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Checkpoint, MAX_NOTE, MAX_SIGNATURES, MAX_SIZE, SignedCheckpoint, TlogError};
use crate::digest::{Digest, Hasher, shorten};

/// The signature type of plain Ed25519.
const ED25519_TYPE: u8 = 0x01;
const PRIVATE: &str = "PRIVATE+KEY+";
const DASH: &str = "\u{2014} ";
/// What the control lane's name has behind the main lane's.
const CONTROL: &str = "/control";

/// The name of a log, which is also the name of its key: `acme.example/promotions`.
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

/// What [`Origin`] and [`Vkey`] have in common towards serde: one text.
macro_rules! text {
    ($name:ident, $schema:expr) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

text!(Origin, json_schema!({ "type": "string", "pattern": "^[!-*,-~]{1,255}$" }));
text!(
    Vkey,
    json_schema!({ "type": "string", "pattern": "^[!-*,-~]{1,255}\\+[0-9a-f]{8}\\+[A-Za-z0-9+/]{44}$" })
);

/// The public key of a log, in its own text form `origin+hash+base64`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vkey {
    origin: Origin,
    public: [u8; 32],
}

/// SHA-256 of name, newline, signature type and public key, first four bytes.
fn key_id(origin: &Origin, public: &[u8; 32]) -> [u8; 4] {
    let mut hasher = Hasher::default();
    hasher.update(origin.0.as_bytes());
    hasher.update(&[b'\n', ED25519_TYPE]);
    hasher.update(public);
    let digest = hasher.finish();
    let [a, b, c, d, ..] = *digest.as_bytes();
    [a, b, c, d]
}

fn hex(id: [u8; 4]) -> String {
    format!("{:08x}", u32::from_be_bytes(id))
}

/// `name+hash+base64(0x01 || 32 bytes)`; the last part may itself contain `+`.
fn key_parts(text: &str) -> Option<(Origin, &str, [u8; 32])> {
    let mut parts = text.splitn(3, '+');
    let (name, id, encoded) = (parts.next()?, parts.next()?, parts.next()?);
    let origin = name.parse().ok()?;
    let bytes = STANDARD.decode(encoded).ok()?;
    let (kind, key) = bytes.split_first()?;
    let well_formed = *kind == ED25519_TYPE
        && id.len() == 8
        && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    Some((origin, id, key.try_into().ok().filter(|_| well_formed)?))
}

fn same_id(origin: &Origin, public: &[u8; 32], found: &str) -> Result<(), TlogError> {
    let expected = hex(key_id(origin, public));
    if expected == found {
        return Ok(());
    }
    Err(TlogError::KeyId { origin: origin.clone(), expected, found: found.to_owned() })
}

impl Vkey {
    /// The log this key is of.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The same key under the name of the ledger's control lane: its signatures have another key id, so that no
    /// checkpoint of one lane is one of the other.
    ///
    /// # Errors
    /// As [`Origin::control`].
    pub fn control(&self) -> Result<Self, TlogError> {
        Ok(Self { origin: self.origin.control()?, public: self.public })
    }

    /// Opens a signed checkpoint of this log.
    ///
    /// # Errors
    /// A [`TlogError`] unless the note is well-formed, signed by this key, a checkpoint, and of this origin.
    pub fn open(&self, note: &str) -> Result<SignedCheckpoint, TlogError> {
        SignedCheckpoint::open(self, note)
    }

    /// The text of a note that this key signed.
    pub(super) fn verify<'n>(&self, note: &'n str) -> Result<&'n str, TlogError> {
        let (text, signatures) = parse(note)?;
        let id = key_id(&self.origin, &self.public);
        let mut signed = false;
        // signed-note, "Signatures": ignore unknown keys, "even if they share a name or ID (but not both)";
        // verify known ones, reject the whole note if one is wrong.
        for signature in signatures.iter().filter(|s| s.name == self.origin.0 && s.id == id) {
            UnparsedPublicKey::new(&ED25519, &self.public)
                .verify(text.as_bytes(), &signature.bytes)
                .map_err(|_| TlogError::BadSignature { expected: self.clone() })?;
            signed = true;
        }
        if signed { Ok(text) } else { Err(TlogError::NotSigned { expected: self.clone() }) }
    }
}

impl FromStr for Vkey {
    type Err = TlogError;

    fn from_str(text: &str) -> Result<Self, TlogError> {
        let (origin, id, public) = key_parts(text).ok_or_else(|| TlogError::Vkey { found: shorten(text) })?;
        same_id(&origin, &public, id)?;
        Ok(Self { origin, public })
    }
}

impl fmt::Display for Vkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_key(f, &self.origin, key_id(&self.origin, &self.public), &self.public)
    }
}

impl fmt::Debug for Vkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn write_key(f: &mut impl fmt::Write, origin: &Origin, id: [u8; 4], key: &[u8; 32]) -> fmt::Result {
    let mut bytes = [ED25519_TYPE; 33];
    bytes[1..].copy_from_slice(key);
    write!(f, "{origin}+{}+{}", hex(id), STANDARD.encode(bytes))
}

/// The private key of a log, in the text form of Go's sumdb/note: `PRIVATE+KEY+origin+hash+base64`.
#[derive(Clone)]
pub struct LogSigner {
    vkey: Vkey,
    seed: [u8; 32],
    pair: Arc<Ed25519KeyPair>,
}

impl LogSigner {
    /// A fresh key for a log, from the operating system's randomness.
    ///
    /// # Errors
    /// [`TlogError::Crypto`].
    pub fn generate(origin: Origin) -> Result<Self, TlogError> {
        let mut seed = [0; 32];
        aws_lc_rs::rand::fill(&mut seed).map_err(|_| TlogError::Crypto { action: "give random bytes" })?;
        Self::from_seed(origin, seed)
    }

    fn from_seed(origin: Origin, seed: [u8; 32]) -> Result<Self, TlogError> {
        let broken = TlogError::Crypto { action: "make an Ed25519 key" };
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| broken.clone())?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| broken)?;
        Ok(Self { vkey: Vkey { origin, public }, seed, pair: Arc::new(pair) })
    }

    /// The public half.
    pub fn vkey(&self) -> &Vkey {
        &self.vkey
    }

    /// The same key for the ledger's control lane; see [`Vkey::control`].
    ///
    /// # Errors
    /// As [`Origin::control`].
    pub fn control(&self) -> Result<Self, TlogError> {
        Ok(Self { vkey: self.vkey.control()?, seed: self.seed, pair: Arc::clone(&self.pair) })
    }

    /// The text form, secret: whoever has it can rewrite the log.
    pub fn to_secret_text(&self) -> String {
        let mut text = PRIVATE.to_owned();
        // Writing to a String cannot fail.
        let _ =
            write_key(&mut text, &self.vkey.origin, key_id(&self.vkey.origin, &self.vkey.public), &self.seed);
        text
    }

    /// Signs the checkpoint of a log of this origin with `size` entries and root `root`.
    ///
    /// The result goes through [`Vkey::open`] like anybody else's, so a faulty signature never leaves.
    ///
    /// # Errors
    /// [`TlogError::Crypto`], [`TlogError::TooLarge`].
    pub fn sign(&self, size: u64, root: Digest) -> Result<SignedCheckpoint, TlogError> {
        if size > MAX_SIZE {
            return Err(TlogError::TooLarge { found: size });
        }
        let text = Checkpoint { origin: self.vkey.origin.clone(), size, root }.to_string();
        self.vkey.open(&self.sign_note(&text)?)
    }

    /// `text`, a blank line and the signature line.
    fn sign_note(&self, text: &str) -> Result<String, TlogError> {
        let signature =
            self.pair.try_sign(text.as_bytes()).map_err(|_| TlogError::Crypto { action: "sign" })?;
        let id = key_id(&self.vkey.origin, &self.vkey.public);
        let encoded = STANDARD.encode([&id[..], signature.as_ref()].concat());
        Ok(format!("{text}\n{DASH}{} {encoded}\n", self.vkey.origin))
    }
}

impl FromStr for LogSigner {
    type Err = TlogError;

    fn from_str(text: &str) -> Result<Self, TlogError> {
        let (origin, id, seed) = text.strip_prefix(PRIVATE).and_then(key_parts).ok_or(TlogError::Secret)?;
        let signer = Self::from_seed(origin, seed)?;
        same_id(&signer.vkey.origin, &signer.vkey.public, id)?;
        Ok(signer)
    }
}

impl fmt::Debug for LogSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogSigner({})", self.vkey)
    }
}

struct Signature<'n> {
    name: &'n str,
    id: [u8; 4],
    bytes: Vec<u8>,
}

/// signed-note, "Format": text ending in a newline, a blank line, signature lines.
fn parse(note: &str) -> Result<(&str, Vec<Signature<'_>>), TlogError> {
    if note.len() > MAX_NOTE {
        return Err(TlogError::NoteTooLong { found: note.len() });
    }
    // "MUST NOT contain any ASCII control characters (those below U+0020) other than newline".
    if let Some(control) = note.chars().find(|c| *c < ' ' && *c != '\n') {
        return Err(TlogError::NoteControl { found: control.into() });
    }
    // "the text is separated from the signatures by the last empty line in the note".
    let blank = note.rfind("\n\n").ok_or(TlogError::NoteShape)?;
    let (text, lines) = (&note[..=blank], &note[blank + 2..]);
    let lines = lines.strip_suffix('\n').ok_or(TlogError::NoteShape)?;
    let count = lines.split('\n').count();
    if count > MAX_SIGNATURES {
        return Err(TlogError::TooManySignatures { found: count });
    }
    let signatures = lines
        .split('\n')
        .enumerate()
        .map(|(at, line)| signature(line).ok_or(TlogError::SignatureLine { line: at + 1 }))
        .collect::<Result<_, _>>()?;
    Ok((text, signatures))
}

fn signature(line: &str) -> Option<Signature<'_>> {
    let (name, encoded) = line.strip_prefix(DASH)?.split_once(' ')?;
    // "Key names MUST be non-empty and MUST NOT contain any Unicode spaces or plus".
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '+') {
        return None;
    }
    let decoded = STANDARD.decode(encoded).ok()?;
    let (id, bytes) = decoded.split_first_chunk::<4>()?;
    (!bytes.is_empty()).then(|| Signature { name, id: *id, bytes: bytes.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // The example of the documentation of golang.org/x/mod/sumdb/note.
    const GO_SECRET: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    const GO_VKEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const GO_TEXT: &str = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
    const GO_LINE: &str = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    // The example of C2SP signed-note, "Verifier keys".
    const C2SP_VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    const C2SP_NOTE: &str = "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
    const OTHER_LINE: &str = "— example.com/other Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq\n";

    fn go() -> LogSigner {
        GO_SECRET.parse().unwrap()
    }

    fn go_note() -> String {
        format!("{GO_TEXT}\n{GO_LINE}")
    }

    #[test]
    fn the_published_example_of_go_is_ours_byte_for_byte() {
        assert_eq!(go().vkey().to_string(), GO_VKEY);
        assert_eq!(go().to_secret_text(), GO_SECRET);
        assert_eq!(go().sign_note(GO_TEXT).unwrap(), go_note());
        assert_eq!(GO_VKEY.parse::<Vkey>().unwrap().verify(&go_note()).unwrap(), GO_TEXT);
    }

    #[test]
    fn the_published_example_of_c2sp_verifies() {
        let vkey: Vkey = C2SP_VKEY.parse().unwrap();
        assert_eq!(vkey.verify(C2SP_NOTE).unwrap(), "This is an example message.\n");
        assert_eq!(vkey.verify(&go_note()), Err(TlogError::NotSigned { expected: vkey.clone() }));
        // A signed note that is no checkpoint.
        assert!(matches!(vkey.open(C2SP_NOTE), Err(TlogError::OriginMismatch { .. })));
    }

    #[test]
    fn unknown_keys_are_ignored_and_never_enough() {
        let vkey: Vkey = GO_VKEY.parse().unwrap();
        assert!(vkey.verify(&format!("{GO_TEXT}\n{OTHER_LINE}{GO_LINE}{OTHER_LINE}")).is_ok());
        let unsigned = Err(TlogError::NotSigned { expected: vkey.clone() });
        assert_eq!(vkey.verify(&format!("{GO_TEXT}\n{OTHER_LINE}")), unsigned);
        // The known name with another identifier, the known identifier with another name.
        let renamed = GO_LINE.replace("PeterNeumann", "PeterNeumanm");
        assert_eq!(vkey.verify(&format!("{GO_TEXT}\n{renamed}")), unsigned);
        let other_id = GO_LINE.replace("x08go", "x18go");
        assert_eq!(vkey.verify(&format!("{GO_TEXT}\n{other_id}")), unsigned);
    }

    #[test]
    fn a_wrong_signature_by_the_known_key_spoils_the_note() {
        let vkey: Vkey = GO_VKEY.parse().unwrap();
        let bad = Err(TlogError::BadSignature { expected: vkey.clone() });
        assert_eq!(vkey.verify(&go_note().replace("answer", "Answer")), bad);
        let wrong = GO_LINE.replace("ZJku", "ZJkv");
        assert_eq!(vkey.verify(&format!("{GO_TEXT}\n{wrong}")), bad);
        assert_eq!(vkey.verify(&format!("{GO_TEXT}\n{GO_LINE}{wrong}")), bad);
        let short = format!("{GO_TEXT}\n— PeterNeumann {}\n", STANDARD.encode(b"\xc7\x4f\x20\xa3short"));
        assert_eq!(vkey.verify(&short), bad);
    }

    #[test]
    fn b9_malformed_notes_are_refused() {
        let vkey: Vkey = GO_VKEY.parse().unwrap();
        let note = go_note();
        for wrong in [
            "",
            "\n",
            "\n\n",
            GO_TEXT,
            GO_LINE,
            note.trim_end(),
            &note.replace("\n\n", "\n"),
            &format!("{note}\n"),
            &format!("{note} \n"),
            &note.replace('—', "-"),
            &note.replace("— ", "—"),
            &note.replace("PeterNeumann x08", "PeterNeumann  x08"),
            &note.replace("PeterNeumann x08", "Peter\u{a0}Neumann x08"),
            &note.replace("PeterNeumann x08", "Peter+Neumann x08"),
            &note.replace("AM=\n", "AM\n"),
            &note.replace("AM=\n", "AN=\n"),
            &note.replace("AM=\n", "AM=\n\n"),
            &note.replace("AM=\n", "AM= \n"),
            &note.replace('\n', "\r\n"),
            &note.replace("problem,", "problem,\0"),
            &note.replace("problem,", "problem\t,"),
            &format!("{GO_TEXT}\n{GO_LINE}— x AAAAAA==\n"),
        ] {
            assert!(vkey.verify(wrong).is_err(), "{wrong:?} was accepted");
        }
    }

    #[test]
    fn f4_notes_beyond_the_limits_are_refused() {
        let vkey: Vkey = GO_VKEY.parse().unwrap();
        assert!(vkey.verify(&format!("{GO_TEXT}\n{}{GO_LINE}", OTHER_LINE.repeat(63))).is_ok());
        assert_eq!(
            vkey.verify(&format!("{GO_TEXT}\n{}{GO_LINE}", OTHER_LINE.repeat(64))),
            Err(TlogError::TooManySignatures { found: 65 })
        );
        let long = format!("{}\n{GO_LINE}", "x\n".repeat(MAX_NOTE / 2));
        assert_eq!(vkey.verify(&long), Err(TlogError::NoteTooLong { found: long.len() }));
    }

    #[test]
    fn malformed_keys_are_refused() {
        for wrong in [
            "",
            "PeterNeumann",
            "PeterNeumann+c74f20a3",
            &GO_VKEY.replace("PeterNeumann", ""),
            &GO_VKEY.replace("PeterNeumann", "Peter Neumann"),
            &GO_VKEY.replace("PeterNeumann", "PeterNeumänn"),
            &GO_VKEY.replace("c74f20a3", "C74F20A3"),
            &GO_VKEY.replace("c74f20a3", "c74f20a"),
            &GO_VKEY.replace("+ARpc", "+AhpC"),
            &GO_VKEY.replace("10TW", "10T"),
            &format!("{GO_VKEY}AAAA"),
            &format!("{GO_VKEY}\n"),
            &format!(" {GO_VKEY}"),
            GO_SECRET,
        ] {
            assert!(wrong.parse::<Vkey>().is_err(), "{wrong:?} was accepted");
            let secret = format!("{PRIVATE}{wrong}");
            assert_eq!(secret.parse::<LogSigner>().err(), Some(TlogError::Secret), "{secret:?}");
        }
        assert_eq!(GO_VKEY.parse::<LogSigner>().err(), Some(TlogError::Secret));
        assert!(matches!(
            GO_VKEY.replace("PeterNeumann", "PeterNeumanm").parse::<Vkey>(),
            Err(TlogError::KeyId { .. })
        ));
        assert!(matches!(
            GO_SECRET.replace("c74f20a3", "c74f20a4").parse::<LogSigner>(),
            Err(TlogError::KeyId { .. })
        ));
    }

    #[test]
    fn f8_the_secret_is_not_in_what_is_printed() {
        assert_eq!(format!("{:?}", go()), format!("LogSigner({GO_VKEY})"));
        let error = GO_SECRET.replace("PRIVATE+KEY", "PRIVATE+KEYS").parse::<LogSigner>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("AYEKFALV"));
    }

    #[test]
    fn c4_an_origin_has_one_spelling() {
        for right in ["acme.example/promotions", "x", "PeterNeumann", &"a".repeat(255)] {
            assert_eq!(right.parse::<Origin>().unwrap().to_string(), right);
        }
        let long = "a".repeat(256);
        for wrong in ["", " ", "a b", "a+b", "a\n", "a\u{a0}b", "асme.example", &long] {
            assert!(wrong.parse::<Origin>().is_err(), "{wrong:?} was accepted");
        }
    }

    #[test]
    fn two_generated_keys_differ_and_round_trip() {
        let origin: Origin = "acme.example/promotions".parse().unwrap();
        let (one, two) = (LogSigner::generate(origin.clone()).unwrap(), LogSigner::generate(origin).unwrap());
        assert_ne!(one.vkey(), two.vkey());
        let again: LogSigner = one.to_secret_text().parse().unwrap();
        assert_eq!(again.vkey(), one.vkey());
        assert_eq!(one.vkey().to_string().parse::<Vkey>().unwrap(), *one.vkey());
        let json = serde_json::to_string(one.vkey()).unwrap();
        assert_eq!(serde_json::from_str::<Vkey>(&json).unwrap(), *one.vkey());
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text: String, tail in "[\\n— a-zA-Z0-9+/=]{0,200}") {
            let vkey: Vkey = GO_VKEY.parse().unwrap();
            for text in [text.clone(), tail.clone(), format!("{text}\n\n{DASH}{tail}\n")] {
                prop_assert!(vkey.verify(&text).is_err());
                if let Ok(key) = text.parse::<Vkey>() {
                    prop_assert_eq!(key.to_string(), text.clone());
                }
                if let Ok(key) = text.parse::<LogSigner>() {
                    prop_assert_eq!(key.to_secret_text(), text.clone());
                }
                if let Ok(origin) = text.parse::<Origin>() {
                    prop_assert_eq!(origin.to_string(), text);
                }
            }
        }

        #[test]
        fn no_single_change_of_a_note_is_accepted_as_another_text(at in 0usize..160, byte in 0u8..128) {
            let vkey: Vkey = GO_VKEY.parse().unwrap();
            let mut note = go_note().into_bytes();
            note[at] = byte;
            if let Ok(note) = String::from_utf8(note) && let Ok(text) = vkey.verify(&note) {
                prop_assert_eq!(text, GO_TEXT);
            }
        }
    }
}
