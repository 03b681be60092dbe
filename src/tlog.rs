//! The transparency log: what was signed, and what was shown to be in it.
//!
//! Guarantees: a [`SignedCheckpoint`] exists only if its signature was verified with a [`Vkey`]; an
//! [`Included`] exists only if its bytes were hashed here and an inclusion proof led from them to the root of
//! a [`SignedCheckpoint`]; a [`Witnessed`] exists only if verified cosignatures make a quorum. No hash is
//! believed because a reader returned it: every tree operation over stored nodes is to end in one of the
//! checks of this module. Never does: I/O, clocks. Randomness only where a key is generated.
//!
//! Specifications: RFC 6962 section 2.1 (tree and proofs), RFC 9162 sections 2.1.3.2 and 2.1.4.2
//! (verification), C2SP signed-note v1.0.0, tlog-checkpoint v1.0.0, tlog-cosignature and tlog-policy
//! (commit 5ba5ee8 of github.com/C2SP/C2SP).
//!
//! Start at [`Vkey::open`] and [`SignedCheckpoint::include`].

use crate::digest::{Digest, Hasher};

mod checkpoint;
mod cosignature;
mod key;
mod note;
mod policy;
mod tree;

pub use checkpoint::{Checkpoint, Included, SignedCheckpoint, Whole};
pub use cosignature::{Cosignature, WitnessSigner, WitnessVkey};
pub use key::{KeyOf, Origin};
pub use note::{LogSigner, Vkey};
pub use policy::{PolicyKey, PolicyLog, PolicyWitness, Quorum, TlogPolicy, Witnessed};
pub use tree::{Frontier, Node, check_consistency, check_inclusion, consistency_proof, inclusion_proof};

/// The largest tree: what fits a signed 64-bit integer, as every store has one.
pub const MAX_SIZE: u64 = i64::MAX as u64;

/// The largest inclusion proof: one hash for every level of the largest tree. A consistency proof may have
/// one more.
pub const MAX_PROOF: usize = 63;

/// The longest signed note that is read, in bytes: room for 16 signatures of "nearly 5kB" (signed-note,
/// "Format").
pub const MAX_NOTE: usize = 128 * 1024;

/// The most signature lines of a note that is read (signed-note asks for at least 16).
pub const MAX_SIGNATURES: usize = 64;

/// The longest trust policy that is read, in bytes: room for 128 keys of type ML-DSA-44.
pub const MAX_POLICY: usize = 256 * 1024;

/// The most logs, witnesses and groups, each, of a trust policy that is read (tlog-policy asks for at least
/// 32).
pub const MAX_POLICY_LINES: usize = 64;

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
    /// The cryptography library failed (no randomness, no memory).
    #[error("the cryptography library could not {action}")]
    Crypto {
        /// What it was asked for.
        action: &'static str,
    },
}

/// The hash of a leaf: SHA-256 of `0x00` and the entry (RFC 6962 section 2.1).
pub fn leaf_hash(entry: &[u8]) -> Digest {
    let mut hasher = Hasher::default();
    hasher.update(&[0]);
    hasher.update(entry);
    hasher.finish()
}

/// The hash of a node: SHA-256 of `0x01` and its two children (RFC 6962 section 2.1).
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    let mut bytes = [1; 65];
    bytes[1..33].copy_from_slice(left.as_bytes());
    bytes[33..].copy_from_slice(right.as_bytes());
    Digest::of(&bytes)
}

/// The root of the empty log: SHA-256 of nothing (RFC 6962 section 2.1).
pub fn empty_root() -> Digest {
    Digest::of(&[])
}
