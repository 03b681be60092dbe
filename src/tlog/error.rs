//! Why a log, a note or a proof is not believed.

use super::{
    EntryBundle, KeyOf, MAX_EXTRA, MAX_NOTE, MAX_POLICY, MAX_SIGNATURES, MAX_SIZE, Node, Origin, Tile, Vkey,
    WitnessVkey,
};
use crate::digest::Digest;

/// Why a log, a note or a proof is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlogError {
    /// A text that cannot name a log.
    #[error("`{found}` is not a log origin: expected 1 to 255 visible ASCII characters without `+`")]
    Origin {
        /// The text.
        found: String,
    },
    /// Not a verifier key of this type.
    #[error(
        "`{found}` is not a {of} verifier key: expected `name+8 hexadecimal digits+base64 of an Ed25519 key`"
    )]
    Vkey {
        /// The text.
        found: String,
        /// Whose key was expected.
        of: KeyOf,
    },
    /// Not a private key of this type; the text is secret and not repeated.
    #[error(
        "this is not a {of} key: expected `PRIVATE+KEY+name+8 hexadecimal digits+base64 of an Ed25519 key`"
    )]
    Secret {
        /// Whose key was expected.
        of: KeyOf,
    },
    /// The key identifier in a key's text is not the one that its name and bytes give.
    #[error("the key of `{name}` says its identifier is {found}: its name and bytes give {expected}")]
    KeyId {
        /// Whose key.
        name: Origin,
        /// Computed here.
        expected: String,
        /// As written.
        found: String,
    },
    /// A note beyond the limit.
    #[error("the note is {found} bytes long: expected at most {MAX_NOTE}")]
    NoteTooLong {
        /// Its length in bytes.
        found: usize,
    },
    /// A control character in a note.
    #[error("the note has the control character U+{found:04X}: expected none but the newline")]
    NoteControl {
        /// Its code point.
        found: u32,
    },
    /// A note without text, blank line or final newline.
    #[error(
        "this is not a signed note: expected text, a blank line and signature lines, each ending in a newline"
    )]
    NoteShape,
    /// A malformed signature line.
    #[error("signature line {line} of the note is malformed: expected `— name base64`")]
    SignatureLine {
        /// Counted from 1.
        line: usize,
    },
    /// More signature lines than are read.
    #[error("the note has {found} signatures: expected at most {MAX_SIGNATURES}")]
    TooManySignatures {
        /// How many.
        found: usize,
    },
    /// No signature by the known key.
    #[error("the note is not signed by `{expected}`")]
    NotSigned {
        /// The known key.
        expected: Vkey,
    },
    /// A signature that claims to be of the known key and is not.
    #[error("the note's signature by `{expected}` is wrong")]
    BadSignature {
        /// The known key.
        expected: Vkey,
    },
    /// An answer without a cosignature by the witness that was asked.
    #[error("the answer has no cosignature by witness `{expected}`")]
    NotCosigned {
        /// The witness.
        expected: WitnessVkey,
    },
    /// A cosignature that claims to be of a known witness and is not.
    #[error("the cosignature by witness `{expected}` is wrong")]
    BadCosignature {
        /// The witness.
        expected: WitnessVkey,
    },
    /// A time that no cosignature can have.
    #[error("{found} is not a time of a cosignature: expected seconds since 1970, from 1 to 2^63 - 1")]
    Time {
        /// As given.
        found: u64,
    },
    /// A trust policy beyond the limit.
    #[error("the log policy is {found} bytes long: expected at most {MAX_POLICY}")]
    PolicyTooLong {
        /// Its length in bytes.
        found: usize,
    },
    /// A line of a trust policy that says nothing.
    #[error("line {line} of the log policy has `{found}`: expected {expected}")]
    PolicyLine {
        /// Counted from 1.
        line: usize,
        /// The item.
        found: String,
        /// What should stand there.
        expected: &'static str,
    },
    /// A line of a trust policy with a key that is none.
    #[error("line {line} of the log policy has a key that cannot be read")]
    PolicyKey {
        /// Counted from 1.
        line: usize,
        /// Why not.
        source: Box<TlogError>,
    },
    /// A trust policy that does not say what it requires.
    #[error("the log policy has no quorum: expected one line `quorum NAME` or `quorum none`")]
    NoQuorum,
    /// A checkpoint by none of the logs that a trust policy lists.
    #[error("the checkpoint of `{found}` is not signed by a log of the log policy, which has {expected}")]
    UnlistedLog {
        /// The origin of the checkpoint.
        found: String,
        /// The logs, for a person.
        expected: String,
    },
    /// A signed text that is not a checkpoint.
    #[error("line {line} of the checkpoint is `{found}`: expected {expected}")]
    CheckpointLine {
        /// Counted from 1.
        line: usize,
        /// What stands there.
        found: String,
        /// What should.
        expected: &'static str,
    },
    /// A checkpoint of another log.
    #[error("the checkpoint is of log `{found}`: expected `{expected}`")]
    OriginMismatch {
        /// The log that was meant.
        expected: Origin,
        /// The log it is of.
        found: String,
    },
    /// An index at or beyond the size.
    #[error("index {index} is outside a log of {size} entries")]
    OutOfRange {
        /// Counted from 0.
        index: u64,
        /// Number of entries.
        size: u64,
    },
    /// A tree beyond [`MAX_SIZE`].
    #[error("a log of {found} entries is too large: expected at most {MAX_SIZE}")]
    TooLarge {
        /// Number of entries.
        found: u64,
    },
    /// Two ranges that do not meet.
    #[error("the range begins at entry {next}: expected {end}, where the one before it ends")]
    Apart {
        /// Where the one before it ends.
        end: u64,
        /// Where it begins.
        next: u64,
    },
    /// A proof with too few or too many hashes for its place.
    #[error("the proof has {found} hashes, which does not fit index {index} of a log of {size} entries")]
    ProofLength {
        /// How many hashes.
        found: usize,
        /// The entry (inclusion) or the older size (consistency).
        index: u64,
        /// The size of the (newer) log.
        size: u64,
    },
    /// An inclusion proof that leads elsewhere.
    #[error(
        "entry {index} is not in the log of {size} entries: its proof leads to root {found}, signed is {expected}"
    )]
    NotIncluded {
        /// Counted from 0.
        index: u64,
        /// Number of entries.
        size: u64,
        /// The signed root.
        expected: Digest,
        /// Where the proof leads.
        found: Digest,
    },
    /// Fewer or more entries than the log has, where all of them were asked for.
    #[error("there are {found} entries: expected all {size} of the log")]
    NotWhole {
        /// Number of entries of the log.
        size: u64,
        /// How many there are.
        found: u64,
    },
    /// All entries are there, and they are not the signed ones.
    #[error("the {size} entries have root {found}: signed is {expected}")]
    OtherRoot {
        /// Number of entries.
        size: u64,
        /// The signed root.
        expected: Digest,
        /// The root of the entries.
        found: Digest,
    },
    /// The newer log is the shorter one.
    #[error("the log shrank from {old} to {new} entries")]
    Shrunk {
        /// Entries before.
        old: u64,
        /// Entries now.
        new: u64,
    },
    /// Two roots that are not of one log.
    #[error(
        "the log of {new} entries does not continue the log of {old} entries with root {old_root}: it was forked"
    )]
    Forked {
        /// Size of the older log.
        old: u64,
        /// Root of the older log.
        old_root: Digest,
        /// Size of the newer log.
        new: u64,
    },
    /// A text that is no path of a tiled log.
    #[error(
        "`{found}` is not a path of a tiled log: expected `tile/LEVEL/INDEX` or `tile/entries/INDEX`, and `.p/WIDTH` behind it"
    )]
    TilePath {
        /// The text.
        found: String,
    },
    /// A tile of another length.
    #[error("{tile} has {found} bytes: expected {expected}")]
    TileLength {
        /// The tile.
        tile: Tile,
        /// Its length in bytes.
        found: usize,
        /// What its width gives.
        expected: usize,
    },
    /// A node that is in no tile of a log.
    #[error("a log of {size} entries has no node {} at level {}", node.index, node.level)]
    NoNode {
        /// The node.
        node: Node,
        /// Number of entries.
        size: u64,
    },
    /// An entry that no bundle can have.
    #[error("entry {index} has {found} bytes: an entry bundle takes at most 65535 of each")]
    EntryTooLong {
        /// Counted from 0.
        index: u64,
        /// Its length in bytes.
        found: usize,
    },
    /// A bundle that ends within an entry.
    #[error("{bundle} ends within an entry, after {found} bytes")]
    BundleEnd {
        /// The bundle.
        bundle: EntryBundle,
        /// Its length in bytes.
        found: usize,
    },
    /// A bundle with fewer or more entries than its width.
    #[error("{bundle} has {found} entries: expected {expected}")]
    BundleCount {
        /// The bundle.
        bundle: EntryBundle,
        /// How many.
        found: usize,
        /// Its width.
        expected: u16,
    },
    /// A proof file beyond the limit.
    #[error("the proof is {found} bytes long: expected at most {limit}")]
    ProofTooLong {
        /// Its length in bytes.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// More extra data than a proof file takes.
    #[error("the extra data of the proof has {found} bytes: expected at most {MAX_EXTRA}")]
    ExtraTooLong {
        /// Its length in bytes.
        found: usize,
    },
    /// A line of a proof file that is none.
    #[error("line {line} of the proof is `{found}`: expected {expected}")]
    ProofLine {
        /// Counted from 1.
        line: usize,
        /// What stands there.
        found: String,
        /// What should.
        expected: &'static str,
    },
    /// The cryptography library failed (no randomness, no memory).
    #[error("the cryptography library could not {action}")]
    Crypto {
        /// What it was asked for.
        action: &'static str,
    },
}
