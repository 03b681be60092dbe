//! What witnesses say about a checkpoint (C2SP tlog-cosignature, commit 5ba5ee8, "Ed25519 signed message";
//! for type 0x04 the same as v1.0.1).
//!
//! Guarantees: a [`Cosignature`] exists only if it was verified over the very text that the log signed. Never
//! does: read a clock; the time is an argument of [`WitnessSigner::cosign`]. ML-DSA-44 cosignatures (type
//! 0x06) are signatures by unknown keys: ignored, never counted.

use std::fmt;
use std::str::FromStr;

use schemars::json_schema;

use super::key::{KeyOf, Origin, PublicKey, SecretKey, text};
use super::note::{Note, Signature, signature_line};
use super::{SignedCheckpoint, TlogError};

/// The latest time of a cosignature: "It MUST NOT exceed 2^63 - 1".
const MAX_TIME: u64 = i64::MAX as u64;

/// The public key of a witness, in its own text form `name+hash+base64` (type 0x04).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WitnessVkey(PublicKey);

text!(
    WitnessVkey,
    json_schema!({ "type": "string", "pattern": "^[!-*,-~]{1,255}\\+[0-9a-f]{8}\\+[A-Za-z0-9+/]{44}$" })
);

impl WitnessVkey {
    /// The name under which the witness cosigns.
    pub fn name(&self) -> &Origin {
        self.0.name()
    }

    /// The cosignatures of this witness on a checkpoint, in the order of their lines; none is no error.
    ///
    /// # Errors
    /// [`TlogError::BadCosignature`] if a line claims to be by this witness and is not.
    pub fn cosignatures(&self, head: &SignedCheckpoint) -> Result<Vec<Cosignature>, TlogError> {
        self.read(&Note::parse(head.text())?)
    }

    /// As [`WitnessVkey::cosignatures`], of a note that is one of a verified checkpoint.
    pub(super) fn read(&self, note: &Note<'_>) -> Result<Vec<Cosignature>, TlogError> {
        note.by(&self.0).map(|signature| self.verify(note.text, signature)).collect()
    }

    /// The one constructor of a [`Cosignature`].
    fn verify(&self, text: &str, signature: &Signature<'_>) -> Result<Cosignature, TlogError> {
        let bad = TlogError::BadCosignature { expected: self.clone() };
        let Some((time, signature)) = signature.bytes.split_first_chunk::<8>() else {
            return Err(bad);
        };
        let time = u64::from_be_bytes(*time);
        if time > MAX_TIME || !self.0.has_signed(message(text, time).as_bytes(), signature) {
            return Err(bad);
        }
        Ok(Cosignature { witness: self.clone(), time })
    }

    /// The key itself, whatever its name.
    pub(super) fn bytes(&self) -> &[u8; 32] {
        self.0.bytes()
    }
}

/// "Ed25519 signed message": a header line, a timestamp line, the note's text.
fn message(text: &str, time: u64) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

impl FromStr for WitnessVkey {
    type Err = TlogError;

    fn from_str(text: &str) -> Result<Self, TlogError> {
        PublicKey::parse(KeyOf::Witness, text).map(Self)
    }
}

impl fmt::Display for WitnessVkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for WitnessVkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A witness's statement, verified: at this time, this was the largest checkpoint of its log that it had seen,
/// consistent with all before.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Cosignature {
    witness: WitnessVkey,
    time: u64,
}

impl Cosignature {
    /// Who says so.
    pub fn witness(&self) -> &WitnessVkey {
        &self.witness
    }

    /// When, by the witness's clock: seconds since 1970, at most 2^63 - 1.
    pub fn time(&self) -> u64 {
        self.time
    }
}

/// The private key of a witness, in the text form `PRIVATE+KEY+name+hash+base64(0x04 || seed)`.
///
/// "The Ed25519 signed message format doesn't commit to the cosigner name": one key, one witness.
#[derive(Clone)]
pub struct WitnessSigner {
    vkey: WitnessVkey,
    secret: SecretKey,
}

impl WitnessSigner {
    /// A fresh key for a witness, from the operating system's randomness.
    ///
    /// # Errors
    /// [`TlogError::Crypto`].
    pub fn generate(name: Origin) -> Result<Self, TlogError> {
        SecretKey::generate(KeyOf::Witness, name).map(Self::of)
    }

    fn of(secret: SecretKey) -> Self {
        Self { vkey: WitnessVkey(secret.public().clone()), secret }
    }

    /// The public half.
    pub fn vkey(&self) -> &WitnessVkey {
        &self.vkey
    }

    /// The text form, secret: whoever has it can vouch in this witness's name.
    pub fn to_secret_text(&self) -> String {
        self.secret.to_secret_text()
    }

    /// Cosigns a checkpoint at `time`, seconds since 1970: the signature line, with its newline.
    ///
    /// Whoever calls this has seen to it that the checkpoint is consistent with every one cosigned before.
    ///
    /// # Errors
    /// [`TlogError::Time`], [`TlogError::Crypto`].
    pub fn cosign(&self, head: &SignedCheckpoint, time: u64) -> Result<String, TlogError> {
        // tlog-witness, "add-checkpoint": "the timestamp MUST NOT be zero".
        if time == 0 || time > MAX_TIME {
            return Err(TlogError::Time { found: time });
        }
        let text = Note::parse(head.text())?.text;
        let signature = self.secret.sign(message(text, time).as_bytes())?;
        let line = signature_line(self.secret.public(), &[&time.to_be_bytes()[..], &signature].concat());
        // Goes through the verification like anybody else's, so a faulty signature never leaves.
        let _ = self.vkey.read(&Note::parse(&format!("{text}\n{line}"))?)?;
        Ok(line)
    }
}

impl FromStr for WitnessSigner {
    type Err = TlogError;

    fn from_str(text: &str) -> Result<Self, TlogError> {
        SecretKey::parse(KeyOf::Witness, text).map(Self::of)
    }
}

impl fmt::Debug for WitnessSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WitnessSigner({})", self.vkey)
    }
}

impl SignedCheckpoint {
    /// The same checkpoint with what `witness` answered: signature lines, each with its newline, of which only
    /// its own are taken, and of these the newest. An older one by it gives way; all other lines stay.
    ///
    /// tlog-witness (v1.0.0), "add-checkpoint": "The client MUST ignore any cosignatures from unknown keys. …
    /// it can move the valid signatures to its own view of the checkpoint."
    ///
    /// # Errors
    /// A [`TlogError`] if the answer is malformed, has none by this witness, or a wrong one.
    pub fn cosigned(&self, answer: &str, witness: &WitnessVkey) -> Result<Self, TlogError> {
        let note = Note::parse(self.text())?;
        let whole = format!("{}\n{answer}", note.text);
        let given = Note::parse(&whole)?;
        if given.text != note.text {
            return Err(TlogError::NoteShape);
        }
        let mut newest: Option<(u64, &str)> = None;
        for signature in given.by(&witness.0).chain(note.by(&witness.0)) {
            let time = witness.verify(note.text, signature)?.time;
            newest = newest.max(Some((time, signature.line)));
        }
        if given.by(&witness.0).next().is_none() {
            return Err(TlogError::NotCosigned { expected: witness.clone() });
        }
        let others = note.signatures.iter().filter(|signature| !signature.claims(&witness.0));
        let lines = others.map(|signature| signature.line).chain(newest.map(|(_, line)| line));
        self.with_signatures(&lines.flat_map(|line| [line, "\n"]).collect::<String>())
    }
}

#[cfg(test)]
mod tests;
