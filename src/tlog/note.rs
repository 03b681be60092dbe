//! Signed notes and the keys of logs (C2SP signed-note v1.0.0, signature type 0x01, Ed25519).
//!
//! Guarantees: [`Vkey::verify`] returns the text of a note only if every signature that claims to be by this
//! key is right and there is at least one; signatures by other keys are ignored, as the specification
//! demands. Never does: trust a key because a note carries its name.

use std::fmt;
use std::str::FromStr;

use base64::{Engine, engine::general_purpose::STANDARD};
use schemars::json_schema;

use super::key::{KeyOf, Origin, PublicKey, SecretKey, text};
use super::{Checkpoint, MAX_NOTE, MAX_SIGNATURES, MAX_SIZE, SignedCheckpoint, TlogError};
use crate::digest::Digest;

const DASH: &str = "\u{2014} ";

text!(
    Vkey,
    json_schema!({ "type": "string", "pattern": "^[!-*,-~]{1,255}\\+[0-9a-f]{8}\\+[A-Za-z0-9+/]{44}$" })
);

/// The public key of a log, in its own text form `origin+hash+base64`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vkey(PublicKey);

impl Vkey {
    /// The log this key is of.
    pub fn origin(&self) -> &Origin {
        self.0.name()
    }

    /// The same key under the name of the ledger's control lane: its signatures have another key id, so that no
    /// checkpoint of one lane is one of the other.
    ///
    /// # Errors
    /// As [`Origin::control`].
    pub fn control(&self) -> Result<Self, TlogError> {
        Ok(Self(self.0.renamed(self.origin().control()?)))
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
        let note = Note::parse(note)?;
        let mut signed = false;
        for signature in note.by(&self.0) {
            if !self.0.has_signed(note.text.as_bytes(), &signature.bytes) {
                return Err(TlogError::BadSignature { expected: self.clone() });
            }
            signed = true;
        }
        if signed { Ok(note.text) } else { Err(TlogError::NotSigned { expected: self.clone() }) }
    }

    /// The key itself, whatever its name.
    pub(super) fn bytes(&self) -> &[u8; 32] {
        self.0.bytes()
    }
}

impl FromStr for Vkey {
    type Err = TlogError;

    fn from_str(text: &str) -> Result<Self, TlogError> {
        PublicKey::parse(KeyOf::Log, text).map(Self)
    }
}

impl fmt::Display for Vkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Vkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The private key of a log, in the text form of Go's sumdb/note: `PRIVATE+KEY+origin+hash+base64`.
#[derive(Clone)]
pub struct LogSigner {
    vkey: Vkey,
    secret: SecretKey,
}

impl LogSigner {
    /// A fresh key for a log, from the operating system's randomness.
    ///
    /// # Errors
    /// [`TlogError::Crypto`].
    pub fn generate(origin: Origin) -> Result<Self, TlogError> {
        SecretKey::generate(KeyOf::Log, origin).map(Self::of)
    }

    fn of(secret: SecretKey) -> Self {
        Self { vkey: Vkey(secret.public().clone()), secret }
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
        Ok(Self::of(self.secret.renamed(self.vkey.origin().control()?)))
    }

    /// The text form, secret: whoever has it can rewrite the log.
    pub fn to_secret_text(&self) -> String {
        self.secret.to_secret_text()
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
        let text = Checkpoint { origin: self.vkey.origin().clone(), size, root }.to_string();
        self.vkey.open(&self.sign_note(&text)?)
    }

    /// `text`, a blank line and the signature line.
    fn sign_note(&self, text: &str) -> Result<String, TlogError> {
        let signature = self.secret.sign(text.as_bytes())?;
        Ok(format!("{text}\n{}", signature_line(self.secret.public(), &signature)))
    }
}

impl FromStr for LogSigner {
    type Err = TlogError;

    fn from_str(text: &str) -> Result<Self, TlogError> {
        SecretKey::parse(KeyOf::Log, text).map(Self::of)
    }
}

impl fmt::Debug for LogSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogSigner({})", self.vkey)
    }
}

/// A note taken apart: nothing of it is believed.
pub(super) struct Note<'n> {
    /// With its final newline.
    pub(super) text: &'n str,
    pub(super) signatures: Vec<Signature<'n>>,
}

/// One signature line.
pub(super) struct Signature<'n> {
    /// As it stands there, without its newline.
    pub(super) line: &'n str,
    name: &'n str,
    id: [u8; 4],
    pub(super) bytes: Vec<u8>,
}

impl Signature<'_> {
    /// Whether the line says it is by `key`: name and identifier, both.
    pub(super) fn claims(&self, key: &PublicKey) -> bool {
        self.name == key.name().as_str() && self.id == key.id()
    }
}

impl<'n> Note<'n> {
    /// signed-note, "Format": text ending in a newline, a blank line, signature lines.
    pub(super) fn parse(note: &'n str) -> Result<Self, TlogError> {
        printable(note)?;
        // "the text is separated from the signatures by the last empty line in the note".
        let blank = note.rfind("\n\n").ok_or(TlogError::NoteShape)?;
        Ok(Self { text: &note[..=blank], signatures: signatures(&note[blank + 2..])? })
    }

    /// signed-note, "Signatures": ignore unknown keys, "even if they share a name or ID (but not both)"; verify
    /// known ones, reject the whole note if one is wrong.
    pub(super) fn by<'k>(&'k self, key: &'k PublicKey) -> impl Iterator<Item = &'k Signature<'n>> {
        self.signatures.iter().filter(|signature| signature.claims(key))
    }
}

fn printable(note: &str) -> Result<(), TlogError> {
    if note.len() > MAX_NOTE {
        return Err(TlogError::NoteTooLong { found: note.len() });
    }
    // "MUST NOT contain any ASCII control characters (those below U+0020) other than newline".
    match note.chars().find(|c| *c < ' ' && *c != '\n') {
        Some(control) => Err(TlogError::NoteControl { found: control.into() }),
        None => Ok(()),
    }
}

/// Signature lines, at least one, each with its newline.
fn signatures(lines: &str) -> Result<Vec<Signature<'_>>, TlogError> {
    let lines = lines.strip_suffix('\n').ok_or(TlogError::NoteShape)?;
    let count = lines.split('\n').count();
    if count > MAX_SIGNATURES {
        return Err(TlogError::TooManySignatures { found: count });
    }
    let lines = lines.split('\n').enumerate();
    lines.map(|(at, line)| signature(line).ok_or(TlogError::SignatureLine { line: at + 1 })).collect()
}

fn signature(line: &str) -> Option<Signature<'_>> {
    let (name, encoded) = line.strip_prefix(DASH)?.split_once(' ')?;
    // "Key names MUST be non-empty and MUST NOT contain any Unicode spaces or plus".
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '+') {
        return None;
    }
    let decoded = STANDARD.decode(encoded).ok()?;
    let (id, bytes) = decoded.split_first_chunk::<4>()?;
    (!bytes.is_empty()).then(|| Signature { line, name, id: *id, bytes: bytes.to_vec() })
}

/// A signature line with its newline.
pub(super) fn signature_line(key: &PublicKey, signature: &[u8]) -> String {
    let encoded = STANDARD.encode([&key.id()[..], signature].concat());
    format!("{DASH}{} {encoded}\n", key.name())
}

#[cfg(test)]
mod tests;
