//! Proofs that can be kept beside an entry (C2SP tlog-proof, commit 5ba5ee8).
//!
//! Guarantees: a [`TlogProof`] is well-formed and has one spelling. It proves nothing until
//! [`TlogProof::verify`]; its extra data never does.

use std::fmt;
use std::str::FromStr;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::key::text;
use super::note::Note;
use super::{
    Included, MAX_EXTRA, MAX_NOTE, MAX_PROOF, Quorum, SignedCheckpoint, TlogError, TlogPolicy, Vkey, decimal,
    hash_line,
};
use crate::digest::{Digest, shorten};

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// The longest text: what a note, 63 hashes, the extra data and the words around them can have.
const MAX_TEXT: usize = MAX_NOTE + MAX_EXTRA.div_ceil(3) * 4 + 4096;

/// A proof as it is written in a `.tlog-proof` file.
#[derive(Clone, PartialEq, Eq)]
pub struct TlogProof {
    extra: Vec<u8>,
    index: u64,
    hashes: Vec<Digest>,
    note: String,
}

text!(TlogProof, schemars::json_schema!({ "type": "string", "pattern": "^c2sp\\.org/tlog-proof@v1\n" }));

impl TlogProof {
    /// The proof that `entry` is at `index` of the log with this head. It is checked before it is a proof.
    ///
    /// # Errors
    /// As [`SignedCheckpoint::include`].
    pub fn new(
        head: &SignedCheckpoint,
        index: u64,
        entry: Vec<u8>,
        hashes: Vec<Digest>,
    ) -> Result<Self, TlogError> {
        let _ = head.include(index, entry, &hashes)?;
        Ok(Self { extra: Vec::new(), index, hashes, note: head.text().to_owned() })
    }

    /// The same with extra data, which nothing authenticates.
    ///
    /// # Errors
    /// [`TlogError::ExtraTooLong`].
    pub fn with_extra(self, extra: Vec<u8>) -> Result<Self, TlogError> {
        match extra.len() > MAX_EXTRA {
            true => Err(TlogError::ExtraTooLong { found: extra.len() }),
            false => Ok(Self { extra, ..self }),
        }
    }

    /// The extra data, or none: a claim of whoever had the file last.
    pub fn extra(&self) -> &[u8] {
        &self.extra
    }

    /// The index of the entry, from 0; a claim until the proof is verified.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The signed note of the checkpoint, for [`Vkey::open`] or [`TlogPolicy::open`].
    pub fn note(&self) -> &str {
        &self.note
    }

    /// Shows that `entry` is in the log of `vkey` ("Verifying a tlog proof", without witnesses).
    ///
    /// # Errors
    /// As [`Vkey::open`] and [`SignedCheckpoint::include`].
    pub fn verify(&self, vkey: &Vkey, entry: Vec<u8>) -> Result<Included, TlogError> {
        // 2. the origin and a signature by its key. 1. the leaf hash. 4. the inclusion proof.
        vkey.open(&self.note)?.include(self.index, entry, &self.hashes)
    }

    /// Shows that `entry` is in the log of `vkey`, and what a policy's quorum says of the checkpoint; see
    /// [`TlogPolicy::quorum`]. A quorum that was missed is an answer, and the caller's to refuse.
    ///
    /// # Errors
    /// As [`TlogProof::verify`] and [`TlogPolicy::quorum`].
    pub fn verify_cosigned(
        &self,
        vkey: &Vkey,
        policy: &TlogPolicy,
        not_after: u64,
        entry: Vec<u8>,
    ) -> Result<(Included, Quorum), TlogError> {
        let included = self.verify(vkey, entry)?;
        // 3. "Verify all cosignatures for witnesses known to the verifier."
        Ok((included, policy.quorum(&vkey.open(&self.note)?, not_after)?))
    }
}

impl FromStr for TlogProof {
    type Err = TlogError;

    fn from_str(text: &str) -> Result<Self, TlogError> {
        if text.len() > MAX_TEXT {
            return Err(TlogError::ProofTooLong { found: text.len(), limit: MAX_TEXT });
        }
        // "After the inclusion proof lines and an empty line, the checkpoint".
        let (head, note) = text.split_once("\n\n").unwrap_or((text, ""));
        let mut lines = (1..).zip(head.split('\n')).peekable();
        let wrong = |(line, found): (usize, &str), expected| {
            Err(TlogError::ProofLine { line, found: shorten(found), expected })
        };
        let mut next = || lines.next().unwrap_or((head.split('\n').count() + 1, ""));
        let first = next();
        if first.1 != HEADER {
            return wrong(first, "`c2sp.org/tlog-proof@v1`");
        }
        let (mut line, mut extra) = (next(), Vec::new());
        if let Some(encoded) = line.1.strip_prefix("extra ") {
            extra = match STANDARD.decode(encoded) {
                Ok(extra) if (1..=MAX_EXTRA).contains(&extra.len()) => extra,
                // "If no extra data is present, this line is omitted."
                Ok(_) | Err(_) => return wrong(line, "base64 of 1 to 65536 bytes, or no such line"),
            };
            line = next();
        }
        let Some(index) = line.1.strip_prefix("index ").and_then(decimal) else {
            return wrong(line, "`index` and a decimal number without leading zeros");
        };
        let mut hashes = Vec::new();
        for line in lines {
            match hash_line(line.1) {
                Some(hash) if hashes.len() < MAX_PROOF => hashes.push(hash),
                Some(_) => return wrong(line, "an empty line after at most 63 hashes"),
                None => return wrong(line, "32 bytes of base64, or the empty line before the checkpoint"),
            }
        }
        let _ = Note::parse(note)?;
        Ok(Self { extra, index, hashes, note: note.to_owned() })
    }
}

impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if !self.extra.is_empty() {
            writeln!(f, "extra {}", STANDARD.encode(&self.extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        for hash in &self.hashes {
            writeln!(f, "{}", STANDARD.encode(hash.as_bytes()))?;
        }
        write!(f, "\n{}", self.note)
    }
}

impl fmt::Debug for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlogProof(index {}, {} hashes)", self.index, self.hashes.len())
    }
}

#[cfg(test)]
mod tests;
