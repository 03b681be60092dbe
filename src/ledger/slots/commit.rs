//! A commit: what one append put into a slot, as bytes.
//!
//! Guarantees: one spelling. What [`Commit::parse`] accepts is what [`Commit::to_bytes`] writes, byte for byte, and no
//! longer than [`LIMIT`]. Never does: I/O, or believe it: whether the entries are the signed ones is checked by
//! whoever takes it over.
//!
//! The format is `samebits-commit/1`: one line of JSON.

use std::collections::BTreeSet;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use crate::digest::{Digest, shorten};
use crate::ledger::seen::Lane;
use crate::ledger::{Entry, Index, MAX_ENTRY};
use crate::record::Kind;

/// The longest commit in bytes; more goes into several.
pub const LIMIT: usize = 16 << 20;

const FORMAT: &str = "samebits-commit/1";

/// Why bytes are not a commit.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Longer than any commit.
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
    /// No entries, or one that is empty or too long, or that is not base64, or of the other lane.
    #[error("its entry {at} is not one of the {lane} lane, in base64, of 1 to {MAX_ENTRY} bytes")]
    Entry {
        /// Which, from 0.
        at: usize,
        /// The lane.
        lane: &'static str,
    },
    /// The same meaning could be written in two ways.
    #[error("it is not written in the one way that commits are written in")]
    Spelling,
}

/// What was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// To the main lane: entries with their index rows, and the digests of what is kept for them.
    Main {
        /// The entries.
        entries: Vec<Entry>,
        /// What they rely on.
        evidence: BTreeSet<Digest>,
    },
    /// To the control lane.
    Control(Vec<Vec<u8>>),
}

/// One append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The size of the lane before.
    pub size: u64,
    /// The root of the lane before.
    pub root: Digest,
    /// What was appended.
    pub content: Content,
    /// The signed note of the lane after.
    pub note: String,
    /// Tells two writers of the same entries apart.
    pub nonce: [u8; 16],
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    format: String,
    lane: WireLane,
    size: u64,
    root: Digest,
    entries: Vec<WireEntry>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    evidence: BTreeSet<Digest>,
    checkpoint: String,
    nonce: String,
}

#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum WireLane {
    Main,
    Control,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct WireEntry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    index: Option<WireIndex>,
    record: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct WireIndex {
    kind: Kind,
    service: String,
    environment: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    phase: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

impl From<&Index> for WireIndex {
    fn from(index: &Index) -> Self {
        Self {
            kind: index.kind,
            service: index.service.clone(),
            environment: index.environment.clone(),
            digest: index.digest,
            phase: index.phase.clone(),
            key: index.idempotency_key.clone(),
        }
    }
}

impl From<WireIndex> for Index {
    fn from(wire: WireIndex) -> Self {
        Self {
            kind: wire.kind,
            service: wire.service,
            environment: wire.environment,
            digest: wire.digest,
            phase: wire.phase,
            idempotency_key: wire.key,
        }
    }
}

impl Commit {
    /// The lane it is of.
    pub(in crate::ledger) fn lane(&self) -> Lane {
        match self.content {
            Content::Main { .. } => Lane::Main,
            Content::Control(_) => Lane::Control,
        }
    }

    /// As it lies in its slot.
    pub fn to_bytes(&self) -> Vec<u8> {
        let bare = |record: &[u8], index| WireEntry { index, record: STANDARD.encode(record) };
        let (lane, entries, evidence) = match &self.content {
            Content::Main { entries, evidence } => {
                let rows = entries.iter().map(|entry| bare(&entry.bytes, Some((&entry.index).into())));
                (WireLane::Main, rows.collect(), evidence.clone())
            }
            Content::Control(entries) => {
                let rows = entries.iter().map(|entry| bare(entry, None));
                (WireLane::Control, rows.collect(), BTreeSet::new())
            }
        };
        let wire = Wire {
            format: FORMAT.to_owned(),
            lane,
            size: self.size,
            root: self.root,
            entries,
            evidence,
            checkpoint: self.note.clone(),
            nonce: STANDARD.encode(self.nonce),
        };
        let mut bytes = serde_json::to_vec(&wire).expect("texts, numbers and lists are JSON");
        bytes.push(b'\n');
        bytes
    }

    /// Reads what lies in a slot.
    ///
    /// # Errors
    /// [`CommitError`] unless it is what [`Commit::to_bytes`] writes.
    pub fn parse(bytes: &[u8]) -> Result<Self, CommitError> {
        // 1. Bounded, of this version, of this shape.
        if bytes.len() > LIMIT {
            return Err(CommitError::TooLong { found: bytes.len() });
        }
        let wire: Wire = serde_json::from_slice(bytes)?;
        if wire.format != FORMAT {
            return Err(CommitError::Format { found: shorten(&wire.format) });
        }
        // 2. Entries of its lane.
        let content = content(wire.lane, wire.entries, wire.evidence)?;
        let nonce = STANDARD.decode(&wire.nonce).ok().and_then(|nonce| nonce.try_into().ok());
        let commit = Self {
            size: wire.size,
            root: wire.root,
            content,
            note: wire.checkpoint,
            nonce: nonce.ok_or(CommitError::Spelling)?,
        };
        // 3. Written in the one way: nothing twice, nothing out of order, nothing behind it.
        match commit.to_bytes() == bytes {
            true => Ok(commit),
            false => Err(CommitError::Spelling),
        }
    }
}

fn content(
    lane: WireLane,
    entries: Vec<WireEntry>,
    evidence: BTreeSet<Digest>,
) -> Result<Content, CommitError> {
    let name = match lane {
        WireLane::Main => "main",
        WireLane::Control => "control",
    };
    let wrong = |at| CommitError::Entry { at, lane: name };
    if entries.is_empty() {
        return Err(wrong(0));
    }
    let record = |at, text: &str| {
        let bytes = STANDARD.decode(text).ok().filter(|bytes| (1..=MAX_ENTRY).contains(&bytes.len()));
        bytes.ok_or_else(|| wrong(at))
    };
    let entries = entries.into_iter().enumerate();
    match lane {
        WireLane::Main => {
            let entries = entries.map(|(at, entry)| {
                let index = entry.index.ok_or_else(|| wrong(at))?.into();
                Ok(Entry { bytes: record(at, &entry.record)?, index })
            });
            Ok(Content::Main { entries: entries.collect::<Result<_, CommitError>>()?, evidence })
        }
        WireLane::Control => {
            if !evidence.is_empty() {
                return Err(CommitError::Spelling);
            }
            let entries = entries.map(|(at, entry)| match entry.index {
                None => record(at, &entry.record),
                Some(_) => Err(wrong(at)),
            });
            Ok(Content::Control(entries.collect::<Result<_, _>>()?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::tests::entry;
    use proptest::prelude::*;

    fn main() -> Commit {
        Commit {
            size: 7,
            root: Digest::of(b"root"),
            content: Content::Main {
                entries: vec![entry(1), entry(2)],
                evidence: [Digest::of(b"one"), Digest::of(b"two")].into(),
            },
            note: "acme.example/promotions\n9\nx\n\n— a b\n".to_owned(),
            nonce: [7; 16],
        }
    }

    fn control() -> Commit {
        Commit { content: Content::Control(vec![b"freeze".to_vec()]), ..main() }
    }

    #[test]
    fn one_spelling_in_and_the_same_out() {
        for commit in [main(), control()] {
            let bytes = commit.to_bytes();
            assert_eq!(Commit::parse(&bytes).unwrap(), commit);
            assert!(bytes.ends_with(b"\n") && bytes.iter().filter(|byte| **byte == b'\n').count() == 1);
        }
    }

    #[test]
    fn another_spelling_is_refused() {
        let text = String::from_utf8(main().to_bytes()).unwrap();
        let control = String::from_utf8(control().to_bytes()).unwrap();
        let changed = |from: &str, to: &str| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        };
        for wrong in [
            String::new(),
            text.trim_end().to_owned(),
            format!(" {text}"),
            format!("{text}\n"),
            format!("{text}{text}"),
            changed("\"size\":7", "\"size\":7.0"),
            changed("\"size\":7", "\"size\": 7"),
            changed("\"size\":7", "\"size\":7,\"size\":7"),
            changed("\"size\":7", "\"size\":-1"),
            changed("\"size\":7", "\"more\":1,\"size\":7"),
            changed("\"lane\":\"main\"", "\"lane\":\"control\""),
            changed("samebits-commit/1", "samebits-commit/2"),
            changed("\"nonce\":\"BwcH", "\"nonce\":\"!wcH"),
            changed("\"nonce\":\"BwcHBwcH", "\"nonce\":\"BwcH"),
            changed("shop", "\\u0073hop"),
            control.replace("\"lane\":\"control\"", "\"lane\":\"main\""),
            control.replace("\"record\"", "\"evidence\":[],\"record\""),
            control.replace("ZnJlZXpl", ""),
            control.replace("[{\"record\":\"ZnJlZXpl\"}]", "[]"),
        ] {
            assert!(Commit::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(matches!(
            Commit::parse(changed("samebits-commit/1", "samebits-commit/2").as_bytes()),
            Err(CommitError::Format { .. })
        ));
        assert!(matches!(Commit::parse(&vec![b' '; LIMIT + 1]), Err(CommitError::TooLong { .. })));
    }

    #[test]
    fn an_entry_has_limits() {
        let sized = |length| Commit { content: Content::Control(vec![vec![1; length]]), ..main() };
        assert!(Commit::parse(&sized(MAX_ENTRY).to_bytes()).is_ok());
        for wrong in [0, MAX_ENTRY + 1] {
            assert!(matches!(Commit::parse(&sized(wrong).to_bytes()), Err(CommitError::Entry { at: 0, .. })));
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>, at: prop::sample::Index, byte: u8) {
            let _ = Commit::parse(&bytes);
            let mut changed = main().to_bytes();
            let at = at.index(changed.len());
            changed[at] = byte;
            if let Ok(commit) = Commit::parse(&changed) {
                prop_assert_eq!(commit.to_bytes(), changed);
            }
        }
    }
}
