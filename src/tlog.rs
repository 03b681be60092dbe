//! The transparency log: what was signed, and what was shown to be in it.
//!
//! Guarantees: a [`SignedCheckpoint`] exists only if its signature was verified with a [`Vkey`]; an
//! [`Included`] exists only if its bytes were hashed here and an inclusion proof led from them to the root of
//! a [`SignedCheckpoint`]; a [`Witnessed`] exists only if verified cosignatures make a quorum. No hash is
//! believed because a reader returned it: every tree operation over stored nodes is to end in one of the
//! checks of this module. Never does: I/O, clocks. Randomness only where a key is generated.
//!
//! Specifications: RFC 6962 section 2.1 (tree and proofs), RFC 9162 sections 2.1.3.2 and 2.1.4.2
//! (verification), C2SP signed-note v1.0.0, tlog-checkpoint v1.0.0, tlog-cosignature, tlog-policy,
//! tlog-tiles and tlog-proof (commit 5ba5ee8 of github.com/C2SP/C2SP).
//!
//! Start at [`Vkey::open`] and [`SignedCheckpoint::include`].

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::digest::{Digest, Hasher};

mod checkpoint;
mod cosignature;
mod error;
mod key;
mod note;
mod policy;
mod proof;
mod tile;
mod tree;
mod witness;

pub use checkpoint::{Checkpoint, Included, Inclusions, SignedCheckpoint, Whole};
pub use cosignature::{Cosignature, WitnessSigner, WitnessVkey};
pub use error::TlogError;
pub use key::{KeyOf, Origin};
pub use note::{LogSigner, Vkey};
pub use policy::{PolicyKey, PolicyLog, PolicyWitness, Quorum, TlogPolicy, Witnessed};
pub use proof::TlogProof;
pub use tile::{EntryBundle, Tile, TilePath, TileReader};
pub use tree::{
    CompactRange, Frontier, Node, check_consistency, check_inclusion, consistency_proof, inclusion_proof,
};
pub use witness::{AddCheckpoint, MAX_REQUEST, Refused};

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

/// The most extra data of a proof file that is read or written, in bytes.
pub const MAX_EXTRA: usize = 64 * 1024;

/// The longest trust policy that is read, in bytes: room for 128 keys of type ML-DSA-44.
pub const MAX_POLICY: usize = 256 * 1024;

/// The most logs, witnesses and groups, each, of a trust policy that is read (tlog-policy asks for at least
/// 32).
pub const MAX_POLICY_LINES: usize = 64;

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

/// A number in ASCII decimal without sign or leading zeros, as all specifications here have them.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    text.parse::<u64>().ok().filter(|number| number.to_string() == text)
}

/// A hash on a line of its own, in base64.
pub(crate) fn hash_line(text: &str) -> Option<Digest> {
    STANDARD.decode(text).ok()?.try_into().ok().map(Digest::from_bytes)
}
