//! A pending record: what a writer who lost twice leaves for whoever wins a slot next, as bytes.
//!
//! Guarantees: one spelling. What [`Pending::parse`] accepts is what [`Pending::to_bytes`] writes, byte for byte, and no
//! longer than [`LIMIT`]. Never does: I/O, or believe it. It says nothing of the ledger that its record does not say
//! itself, signed: which heads of both lanes it was decided under, and which record it follows. Its index row is
//! computed from the record by whoever takes it.
//!
//! The format is `samebits-pending/1`: one line of JSON.

use std::collections::BTreeSet;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use crate::digest::{Digest, shorten};
use crate::ledger::MAX_ENTRY;

/// The longest in bytes: a record, and about two thousand pieces of evidence.
pub const LIMIT: usize = 256 << 10;

/// Where they lie.
pub(in crate::ledger) const FOLDER: &str = "pending/";

const FORMAT: &str = "samebits-pending/1";

/// Why bytes are not a pending record.
#[derive(Debug, thiserror::Error)]
pub enum PendingError {
    /// Longer than any.
    #[error("it has {found} bytes: expected at most {LIMIT}")]
    TooLong {
        /// Its length.
        found: usize,
    },
    /// Not JSON of its shape.
    #[error("it is not JSON of the format `{FORMAT}`")]
    Json(#[from] serde_json::Error),
    /// Of another version of this program, or of none.
    #[error("its format is `{found}`: expected `{FORMAT}`")]
    Format {
        /// The format it names.
        found: String,
    },
    /// No record, or one that is too long or not base64.
    #[error("its record is not base64 of 1 to {MAX_ENTRY} bytes")]
    Record,
    /// The same meaning could be written in two ways.
    #[error("it is not written in the one way that pending records are written in")]
    Spelling,
}

/// A record that waits to be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The record.
    pub record: Vec<u8>,
    /// What is kept for it, already.
    pub evidence: BTreeSet<Digest>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    format: String,
    record: String,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    evidence: BTreeSet<Digest>,
}

impl Pending {
    /// As it lies below `pending/`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let wire = Wire {
            format: FORMAT.to_owned(),
            record: STANDARD.encode(&self.record),
            evidence: self.evidence.clone(),
        };
        let mut bytes = serde_json::to_vec(&wire).expect("texts and lists are JSON");
        bytes.push(b'\n');
        bytes
    }

    /// Reads what lies there.
    ///
    /// # Errors
    /// [`PendingError`] unless it is what [`Pending::to_bytes`] writes.
    pub fn parse(bytes: &[u8]) -> Result<Self, PendingError> {
        // 1. Bounded, of this version, of this shape.
        if bytes.len() > LIMIT {
            return Err(PendingError::TooLong { found: bytes.len() });
        }
        let wire: Wire = serde_json::from_slice(bytes)?;
        if wire.format != FORMAT {
            return Err(PendingError::Format { found: shorten(&wire.format) });
        }
        // 2. A record.
        let record = STANDARD.decode(&wire.record).ok();
        let record = record.filter(|record| (1..=MAX_ENTRY).contains(&record.len()));
        let pending = Self { record: record.ok_or(PendingError::Record)?, evidence: wire.evidence };
        // 3. Written in the one way: nothing twice, nothing out of order, nothing behind it.
        match pending.to_bytes() == bytes {
            true => Ok(pending),
            false => Err(PendingError::Spelling),
        }
    }
}

/// The name of the one with these random bytes.
pub(in crate::ledger) fn name(random: [u8; 16]) -> String {
    format!("{FOLDER}{:032x}", u128::from_be_bytes(random))
}

/// Whether it is the name of one: of what else lies there, none of it is.
pub(super) fn is_name(name: &str) -> bool {
    let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    name.strip_prefix(FOLDER).is_some_and(|name| name.len() == 32 && name.bytes().all(hex))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pending() -> Pending {
        let evidence = [Digest::of(b"one"), Digest::of(b"two")].into();
        Pending { record: b"record".to_vec(), evidence }
    }

    #[test]
    fn one_spelling_in_and_the_same_out() {
        for pending in [pending(), Pending { evidence: BTreeSet::new(), ..pending() }] {
            let bytes = pending.to_bytes();
            assert_eq!(Pending::parse(&bytes).unwrap(), pending);
            assert!(bytes.ends_with(b"\n") && bytes.iter().filter(|byte| **byte == b'\n').count() == 1);
        }
    }

    #[test]
    fn another_spelling_is_refused() {
        let text = String::from_utf8(pending().to_bytes()).unwrap();
        let changed = |from: &str, to: &str| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        };
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        let (first, second) = (one.min(two).to_string(), one.max(two).to_string());
        let list = format!("[\"{first}\",\"{second}\"]");
        for wrong in [
            String::new(),
            text.trim_end().to_owned(),
            format!(" {text}"),
            format!("{text}\n"),
            format!("{text}{text}"),
            changed("\"record\":", "\"record\": "),
            changed("\"record\":", "\"more\":1,\"record\":"),
            changed("\"record\":", "\"record\":\"\",\"record\":"),
            changed("cmVjb3Jk", ""),
            changed("cmVjb3Jk", "cmVjb3J"),
            changed("samebits-pending/1", "samebits-commit/1"),
            changed(&list, "[]"),
            changed(&list, &format!("[\"{second}\",\"{first}\"]")),
            changed(&list, &format!("[\"{first}\",\"{first}\"]")),
            changed("sha256:", "SHA256:"),
        ] {
            assert!(Pending::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(matches!(
            Pending::parse(changed("pending/1", "pending/2").as_bytes()),
            Err(PendingError::Format { .. })
        ));
    }

    #[test]
    fn it_is_bounded() {
        let sized = |length| Pending { record: vec![1; length], ..pending() };
        assert!(Pending::parse(&sized(MAX_ENTRY).to_bytes()).is_ok());
        for wrong in [0, MAX_ENTRY + 1] {
            assert!(matches!(Pending::parse(&sized(wrong).to_bytes()), Err(PendingError::Record)));
        }
        assert!(matches!(Pending::parse(&vec![b' '; LIMIT + 1]), Err(PendingError::TooLong { .. })));
        let random = name([0xab; 16]);
        assert_eq!(random, format!("pending/{}", "ab".repeat(16)));
        assert!(is_name(&random));
        for wrong in ["pending/", "pending/x", &random[..39], &random.to_uppercase(), &format!("{random}0")] {
            assert!(!is_name(wrong), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>, at: prop::sample::Index, byte: u8) {
            let _ = Pending::parse(&bytes);
            let mut changed = pending().to_bytes();
            let at = at.index(changed.len());
            changed[at] = byte;
            if let Ok(pending) = Pending::parse(&changed) {
                prop_assert_eq!(pending.to_bytes(), changed);
            }
        }
    }
}
