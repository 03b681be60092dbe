//! Checkpoints, and entries shown to be below one.
//!
//! Guarantees: the only way to a [`SignedCheckpoint`] verifies a signature (what witnesses add changes no
//! text); the only ways to an [`Included`] check an inclusion proof against one, alone or with others
//! ([`Inclusions`]), or recompute its root from every entry ([`Whole`]). Grep for `SignedCheckpoint {`, `Included {` and `Whole {` to see all.

use std::fmt;
use std::str::FromStr;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::note::Note;
use super::tree::root_before;
use super::{Frontier, MAX_SIZE, Origin, TlogError, Vkey, check_inclusion, decimal, hash_line, leaf_hash};
use crate::digest::{Digest, shorten};

mod inclusions;

pub use inclusions::Inclusions;

/// The head of a log: what a checkpoint says (C2SP tlog-checkpoint, "Note text"). A claim until it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log.
    pub origin: Origin,
    /// Number of entries.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Digest,
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, STANDARD.encode(self.root.as_bytes()))
    }
}

impl FromStr for Checkpoint {
    type Err = TlogError;

    /// Extension lines are accepted and, as the specification calls them opaque, forgotten.
    fn from_str(text: &str) -> Result<Self, TlogError> {
        let wrong = |line, found: &str, expected| {
            Err(TlogError::CheckpointLine { line, found: shorten(found), expected })
        };
        let lines: Vec<_> = text.split('\n').collect();
        // "a sequence of at least three non-empty lines, separated by newlines"; a note's text ends in one.
        let Some(("", lines)) = lines.split_last().map(|(last, lines)| (*last, lines)) else {
            return wrong(lines.len(), lines[lines.len() - 1], "a final newline");
        };
        let line = |at: usize| lines.get(at).copied().unwrap_or_default();
        // 1. origin.
        let origin = line(0).parse()?;
        // 2. tree size, "no leading zeroes".
        let Some(size) = decimal(line(1)).filter(|size| *size <= MAX_SIZE) else {
            return wrong(2, line(1), "a decimal size below 2^63 without leading zeros");
        };
        // 3. root hash.
        let Some(root) = hash_line(line(2)) else {
            return wrong(3, line(2), "32 bytes of base64");
        };
        // 4. "Extension lines, if any, MUST be non-empty".
        if let Some(empty) = lines.iter().position(|line| line.is_empty()) {
            return wrong(empty + 1, "", "no empty line");
        }
        Ok(Self { origin, size, root })
    }
}

/// A checkpoint whose signature was verified. Made by [`Vkey::open`] and by what goes through it: `LogSigner::sign`,
/// [`TlogPolicy::open`](super::TlogPolicy::open), and `cosigned`, which leaves text and log signature as they are.
#[derive(Clone, PartialEq, Eq)]
#[must_use]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    note: String,
}

impl SignedCheckpoint {
    /// The one constructor.
    pub(super) fn open(vkey: &Vkey, note: &str) -> Result<Self, TlogError> {
        let text = vkey.verify(note)?;
        let checkpoint: Checkpoint = match text.parse() {
            // An origin we would not give a log of ours is simply another log's.
            Err(TlogError::Origin { found }) => {
                return Err(TlogError::OriginMismatch { expected: vkey.origin().clone(), found });
            }
            other => other?,
        };
        // tlog-checkpoint, "Signatures": the key name SHOULD match the origin. Here it must.
        if checkpoint.origin != *vkey.origin() {
            let found = checkpoint.origin.to_string();
            return Err(TlogError::OriginMismatch { expected: vkey.origin().clone(), found });
        }
        Ok(Self { checkpoint, note: note.to_owned() })
    }

    /// The same checkpoint with other signature lines, each with its newline, the log's own among them.
    pub(super) fn with_signatures(&self, lines: &str) -> Result<Self, TlogError> {
        let text = Note::parse(&self.note)?.text;
        let note = format!("{text}\n{lines}");
        // The text is the signed one, and the limits hold.
        match Note::parse(&note)?.text == text {
            true => Ok(Self { checkpoint: self.checkpoint.clone(), note }),
            false => Err(TlogError::NoteShape),
        }
    }

    /// What was signed.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The log.
    pub fn origin(&self) -> &Origin {
        &self.checkpoint.origin
    }

    /// Number of entries.
    pub fn size(&self) -> u64 {
        self.checkpoint.size
    }

    /// The root of the tree over them.
    pub fn root(&self) -> Digest {
        self.checkpoint.root
    }

    /// The whole signed note, with every signature it came with.
    pub fn text(&self) -> &str {
        &self.note
    }

    /// Shows that `bytes` are entry `index` of this log: hashes them and checks `proof` up to the signed
    /// root.
    ///
    /// # Errors
    /// [`TlogError::OutOfRange`], [`TlogError::ProofLength`], [`TlogError::NotIncluded`].
    pub fn include(&self, index: u64, bytes: Vec<u8>, proof: &[Digest]) -> Result<Included, TlogError> {
        let leaf = leaf_hash(&bytes);
        let Checkpoint { origin, size, root } = self.checkpoint.clone();
        check_inclusion(leaf, index, size, proof, root)?;
        let before = root_before(index, size, proof);
        Ok(Included { index, bytes, leaf, size, root, before, origin })
    }

    /// Shows that `entries` are this log, all of it and in order: hashes every one and compares the root.
    ///
    /// # Errors
    /// [`TlogError::NotWhole`], [`TlogError::OtherRoot`].
    pub fn whole(&self, entries: Vec<Vec<u8>>) -> Result<Whole, TlogError> {
        let Checkpoint { origin, size, root } = self.checkpoint.clone();
        let mut frontier = Frontier::empty();
        let mut prefixes = vec![frontier.root()];
        let mut included = Vec::with_capacity(entries.len());
        for (index, bytes) in (0..).zip(entries) {
            let (leaf, before) = (leaf_hash(&bytes), frontier.root());
            frontier.push::<TlogError>(leaf, |_, _| Ok(()))?;
            prefixes.push(frontier.root());
            included.push(Included { index, bytes, leaf, size, root, before, origin: origin.clone() });
        }
        if frontier.size() != size {
            return Err(TlogError::NotWhole { size, found: frontier.size() });
        }
        if frontier.root() != root {
            return Err(TlogError::OtherRoot { size, expected: root, found: frontier.root() });
        }
        Ok(Whole { head: self.clone(), prefixes, entries: included })
    }
}

/// Every entry of a log, in order: nothing is missing, for the signed root was recomputed from their bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Whole {
    head: SignedCheckpoint,
    /// The root of the first 0, 1, 2, … entries.
    prefixes: Vec<Digest>,
    entries: Vec<Included>,
}

impl Whole {
    /// The head they are all of.
    pub fn head(&self) -> &SignedCheckpoint {
        &self.head
    }

    /// The entries, oldest first.
    pub fn entries(&self) -> &[Included] {
        &self.entries
    }

    /// The root that the log had with its first `size` entries; `None` beyond its end.
    pub fn root_at(&self, size: u64) -> Option<Digest> {
        usize::try_from(size).ok().and_then(|size| self.prefixes.get(size)).copied()
    }
}

impl fmt::Debug for SignedCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignedCheckpoint({}, {} entries, {})", self.origin(), self.size(), self.root())
    }
}

/// An entry that was shown to be at its index of a log whose checkpoint was verified.
///
/// Says nothing about who wrote the entry: the log takes whatever its writers append.
#[derive(Clone, PartialEq, Eq)]
#[must_use]
pub struct Included {
    index: u64,
    bytes: Vec<u8>,
    leaf: Digest,
    size: u64,
    root: Digest,
    before: Digest,
    origin: Origin,
}

impl Included {
    /// Its place in the log, from 0.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The entry.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its leaf hash in the log.
    pub fn leaf(&self) -> Digest {
        self.leaf
    }

    /// The digest of the entry itself, computed at each call.
    pub fn content(&self) -> Digest {
        Digest::of(&self.bytes)
    }

    /// Number of entries of the log it was shown to be in.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The signed root of that log.
    pub fn root(&self) -> Digest {
        self.root
    }

    /// The root that the log had before this entry, with the entries up to it and no others: its proof shows that too.
    pub fn root_before(&self) -> Digest {
        self.before
    }

    /// The log.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}

impl fmt::Debug for Included {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Included({} of {} in {}, {})", self.index, self.size, self.origin, self.leaf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tlog::{LogSigner, empty_root, node_hash};
    use proptest::prelude::*;

    // The example of C2SP tlog-checkpoint.
    const TEXT: &str =
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    fn signer() -> LogSigner {
        LogSigner::generate("acme.example/promotions".parse().unwrap()).unwrap()
    }

    #[test]
    fn the_published_checkpoint_reads_and_round_trips() {
        let checkpoint: Checkpoint = TEXT.parse().unwrap();
        assert_eq!((checkpoint.origin.as_str(), checkpoint.size), ("example.com/behind-the-sofa", 20852163));
        assert_eq!(checkpoint.to_string(), TEXT);
        // Extension lines are tolerated.
        assert_eq!(format!("{TEXT}extension\n").parse::<Checkpoint>().unwrap(), checkpoint);
    }

    #[test]
    fn b9_malformed_checkpoints_are_refused() {
        for wrong in [
            "",
            "\n",
            "example.com\n",
            "example.com\n1\n",
            TEXT.trim_end(),
            &TEXT.replace("20852163", "020852163"),
            &TEXT.replace("20852163", "00"),
            &TEXT.replace("20852163", "+20852163"),
            &TEXT.replace("20852163", "-1"),
            &TEXT.replace("20852163", " 1"),
            &TEXT.replace("20852163", "1.0"),
            &TEXT.replace("20852163", ""),
            &TEXT.replace("20852163", "9223372036854775808"),
            &TEXT.replace("20852163", "18446744073709551616"),
            &TEXT.replace("2I=", "2J="),
            &TEXT.replace("2I=", "2I"),
            &TEXT.replace("CsUY", ""),
            &TEXT.replace("example.com", "example com"),
            &TEXT.replace("example.com/behind-the-sofa", ""),
            &format!("{TEXT}\n"),
            &format!("{TEXT}\nextension\n"),
            &format!("{TEXT}extension"),
            &TEXT.replace('\n', "\r\n"),
        ] {
            assert!(wrong.parse::<Checkpoint>().is_err(), "{wrong:?} was accepted");
        }
        assert!(TEXT.replace("20852163", "9223372036854775807").parse::<Checkpoint>().is_ok());
    }

    #[test]
    fn d4_a_checkpoint_of_another_log_is_refused() {
        let (mine, other) = (signer(), LogSigner::generate("other.example".parse().unwrap()).unwrap());
        let note = other.sign(0, empty_root()).unwrap().text().to_owned();
        assert!(matches!(mine.vkey().open(&note), Err(TlogError::NotSigned { .. })));
        // The right name with another key, as after somebody made the ledger anew.
        let again = signer();
        let note = again.sign(0, empty_root()).unwrap().text().to_owned();
        assert!(matches!(mine.vkey().open(&note), Err(TlogError::NotSigned { .. })));
        assert_eq!(again.vkey().open(&note).unwrap().size(), 0);
    }

    #[test]
    fn d1_only_what_was_signed_is_included() {
        let signer = signer();
        let (left, right) = (leaf_hash(b"left"), leaf_hash(b"right"));
        let head = signer.sign(2, node_hash(&left, &right)).unwrap();
        let included = head.include(1, b"right".to_vec(), &[left]).unwrap();
        assert_eq!((included.index(), included.bytes(), included.size()), (1, &b"right"[..], 2));
        assert_eq!((included.leaf(), included.content()), (right, Digest::of(b"right")));
        assert_eq!((included.root(), included.origin()), (head.root(), head.origin()));
        for (index, bytes, proof) in [
            (1, &b"righT"[..], vec![left]),
            (0, b"right", vec![left]),
            (2, b"right", vec![left]),
            (1, b"right", vec![]),
            (1, b"right", vec![left, left]),
            (1, b"right", vec![right]),
        ] {
            assert!(head.include(index, bytes.to_vec(), &proof).is_err(), "{index} {bytes:?} {proof:?}");
        }
    }

    #[test]
    fn d2_a_log_is_whole_or_it_is_not() {
        let signer = signer();
        let entries: Vec<Vec<u8>> = (0..5_u8).map(|number| vec![number; 3]).collect();
        let mut frontier = Frontier::empty();
        let mut roots = vec![frontier.root()];
        for entry in &entries {
            frontier.push::<TlogError>(leaf_hash(entry), |_, _| Ok(())).unwrap();
            roots.push(frontier.root());
        }
        let head = signer.sign(5, frontier.root()).unwrap();
        let whole = head.whole(entries.clone()).unwrap();
        assert_eq!(whole.head(), &head);
        assert_eq!(whole.entries().iter().map(Included::index).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        for (size, root) in (0..).zip(&roots) {
            assert_eq!(whole.root_at(size), Some(*root));
        }
        assert_eq!(whole.root_at(6), None);
        for count in 0..5 {
            let cut = head.whole(entries[..count].to_vec());
            assert_eq!(cut, Err(TlogError::NotWhole { size: 5, found: count as u64 }));
        }
        let mut longer = entries.clone();
        longer.push(vec![5]);
        assert!(matches!(head.whole(longer), Err(TlogError::NotWhole { size: 5, found: 6 })));
        let (mut changed, mut swapped) = (entries.clone(), entries);
        changed[4][0] ^= 1;
        swapped.swap(0, 1);
        for other in [changed, swapped] {
            assert!(matches!(head.whole(other), Err(TlogError::OtherRoot { size: 5, .. })));
        }
    }

    #[test]
    fn d4_a_checkpoint_of_one_lane_is_none_of_the_other() {
        let main = signer();
        let control = main.control().unwrap();
        assert_eq!(control.vkey(), &main.vkey().control().unwrap());
        assert_eq!(control.vkey().origin().as_str(), "acme.example/promotions/control");
        for (one, other) in [(&main, &control), (&control, &main)] {
            let note = one.sign(0, empty_root()).unwrap().text().to_owned();
            assert!(one.vkey().open(&note).is_ok());
            assert!(matches!(other.vkey().open(&note), Err(TlogError::NotSigned { .. })));
            // Nor under the other's name.
            let renamed = note.replace(one.vkey().origin().as_str(), other.vkey().origin().as_str());
            assert!(other.vkey().open(&renamed).is_err());
        }
        // A control lane has no control lane: two ledgers of one key cannot meet there.
        assert!(matches!(control.control(), Err(TlogError::Origin { .. })));
        let long: Origin = "a".repeat(250).parse().unwrap();
        assert!(matches!(long.control(), Err(TlogError::Origin { .. })));
    }

    #[test]
    fn a_size_beyond_the_limit_is_not_signed() {
        assert!(signer().sign(MAX_SIZE, empty_root()).is_ok());
        let refused = signer().sign(MAX_SIZE + 1, empty_root());
        assert_eq!(refused, Err(TlogError::TooLarge { found: MAX_SIZE + 1 }));
    }

    proptest! {
        #[test]
        fn one_spelling_in_the_same_spelling_out(size in 0..=MAX_SIZE, root: [u8; 32]) {
            let origin = "acme.example/promotions".parse().unwrap();
            let checkpoint = Checkpoint { origin, size, root: Digest::from_bytes(root) };
            prop_assert_eq!(checkpoint.to_string().parse::<Checkpoint>().unwrap(), checkpoint);
        }

        #[test]
        fn arbitrary_text_never_panics(text: String, origin in ".{0,9}", size in ".{0,4}", root in "[a-z+/=]{40,46}") {
            for text in [text, format!("{origin}\n{size}\n{root}\n")] {
                if let Ok(checkpoint) = text.parse::<Checkpoint>() {
                    prop_assert!(text.starts_with(&checkpoint.to_string()));
                }
            }
        }
    }
}
