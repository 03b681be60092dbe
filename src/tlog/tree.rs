//! The tree: stored nodes, the frontier that grows it, and proofs made and checked.
//!
//! Guarantees: the checks follow RFC 9162 step by step and read nothing but their arguments. What
//! [`Frontier::load`], [`inclusion_proof`] and [`consistency_proof`] return is only as good as the nodes they
//! were given: compare with a signed root. Never does: I/O; nodes come from the caller's closure.

use super::{MAX_PROOF, MAX_SIZE, TlogError, empty_root, node_hash};
use crate::digest::Digest;

mod range;

pub use range::CompactRange;

/// The place of a complete subtree: it covers the entries `index << level` to `((index + 1) << level) - 1`.
///
/// Only complete subtrees are stored, so a stored node never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    /// 0 for leaves.
    pub level: u8,
    /// Counted from the left, from 0, within the level.
    pub index: u64,
}

impl Node {
    /// The first entry below this node.
    pub fn first(self) -> u64 {
        self.index << self.level
    }

    /// The last entry below this node.
    pub fn last(self) -> u64 {
        self.first() + ((1 << self.level) - 1)
    }

    /// The node above.
    pub(super) fn parent(self) -> Self {
        Self { level: self.level + 1, index: self.index >> 1 }
    }

    /// The other node below the one above.
    pub(super) fn sibling(self) -> Self {
        Self { index: self.index ^ 1, ..self }
    }

    /// The two nodes below, left first; `None` for a leaf.
    pub fn children(self) -> Option<(Self, Self)> {
        let level = self.level.checked_sub(1)?;
        Some((Self { level, index: self.index * 2 }, Self { level, index: self.index * 2 + 1 }))
    }
}

/// The largest complete subtrees of the entries `first..end`, left to right. `first` is a multiple of a power
/// of two that is not smaller than `end - first`.
pub(super) fn peaks(first: u64, end: u64) -> impl Iterator<Item = Node> {
    let mut at = first;
    (0..=62u8).rev().filter(move |level| ((end - first) >> level) & 1 == 1).map(move |level| {
        let node = Node { level, index: at >> level };
        at += 1 << level;
        node
    })
}

/// MTH of neighbouring subtrees, left to right; `None` of none.
fn fold(peaks: impl DoubleEndedIterator<Item = Digest>) -> Option<Digest> {
    peaks.rev().reduce(|right, left| node_hash(&left, &right))
}

/// The hash of the entries `first..end`, which are never none.
fn range_hash<E>(
    first: u64,
    end: u64,
    read: &mut impl FnMut(Node) -> Result<Digest, E>,
) -> Result<Digest, E> {
    let hashes = peaks(first, end).map(&mut *read).collect::<Result<Vec<_>, _>>()?;
    Ok(fold(hashes.into_iter()).unwrap_or_else(empty_root))
}

/// The right edge of a log: all that is needed to append to it (a compact range from 0).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frontier(CompactRange);

impl Frontier {
    /// Of the empty log.
    pub fn empty() -> Self {
        Self(CompactRange::empty(0))
    }

    /// Of a log of `size` entries, from its stored nodes. Not to be believed until [`Frontier::root`] equals
    /// a signed root.
    ///
    /// # Errors
    /// What `read` returned; [`TlogError::TooLarge`].
    pub fn load<E: From<TlogError>>(
        size: u64,
        mut read: impl FnMut(Node) -> Result<Digest, E>,
    ) -> Result<Self, E> {
        within(size)?;
        let nodes = Self::nodes(size).map(|node| Ok((node, read(node)?)));
        Ok(Self(CompactRange::from_start(size, nodes.collect::<Result<_, E>>()?)))
    }

    /// The nodes that [`Frontier::load`] reads, left to right.
    pub fn nodes(size: u64) -> impl Iterator<Item = Node> {
        peaks(0, size)
    }

    /// Number of entries.
    pub fn size(&self) -> u64 {
        self.0.range().end
    }

    /// The root of the log (RFC 6962 section 2.1, MTH).
    pub fn root(&self) -> Digest {
        self.0.root().unwrap_or_else(empty_root)
    }

    /// Appends the hash of a leaf; `store` is handed every complete subtree this makes, the leaf first.
    ///
    /// # Errors
    /// What `store` returned; [`TlogError::TooLarge`]. The frontier is then of no further use.
    pub fn push<E: From<TlogError>>(
        &mut self,
        leaf: Digest,
        store: impl FnMut(Node, Digest) -> Result<(), E>,
    ) -> Result<(), E> {
        self.0.push(leaf, store)
    }

    /// Appends a run of entries that was hashed elsewhere, as a whole; `store` is handed every complete subtree
    /// that has entries of both.
    ///
    /// # Errors
    /// As [`CompactRange::merge`]. The frontier is then of no further use.
    pub fn merge<E: From<TlogError>>(
        &mut self,
        next: &CompactRange,
        store: impl FnMut(Node, Digest) -> Result<(), E>,
    ) -> Result<(), E> {
        self.0.merge(next, store)
    }
}

fn within(size: u64) -> Result<(), TlogError> {
    if size > MAX_SIZE { Err(TlogError::TooLarge { found: size }) } else { Ok(()) }
}

/// The largest power of two smaller than `n`, which is at least 2.
fn split(n: u64) -> u64 {
    1 << (n - 1).ilog2()
}

/// The hashes that lead from entry `index` to the root of a log of `size` entries (RFC 6962 section 2.1.1,
/// PATH).
///
/// # Errors
/// What `read` returned; [`TlogError::OutOfRange`], [`TlogError::TooLarge`].
pub fn inclusion_proof<E: From<TlogError>>(
    index: u64,
    size: u64,
    mut read: impl FnMut(Node) -> Result<Digest, E>,
) -> Result<Vec<Digest>, E> {
    within(size)?;
    if index >= size {
        return Err(TlogError::OutOfRange { index, size }.into());
    }
    let (mut first, mut end, mut proof) = (0, size, Vec::new());
    while end - first > 1 {
        let middle = first + split(end - first);
        if index < middle {
            proof.push(range_hash(middle, end, &mut read)?);
            end = middle;
        } else {
            proof.push(range_hash(first, middle, &mut read)?);
            first = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// Checks that the leaf with hash `leaf` is entry `index` of the log of `size` entries with root `root`
/// (RFC 9162 section 2.1.3.2).
///
/// # Errors
/// [`TlogError::OutOfRange`], [`TlogError::TooLarge`], [`TlogError::ProofLength`],
/// [`TlogError::NotIncluded`].
pub fn check_inclusion(
    leaf: Digest,
    index: u64,
    size: u64,
    proof: &[Digest],
    root: Digest,
) -> Result<(), TlogError> {
    within(size)?;
    let length = TlogError::ProofLength { found: proof.len(), index, size };
    if proof.len() > MAX_PROOF {
        return Err(length);
    }
    // 1. leaf_index below tree_size.
    if index >= size {
        return Err(TlogError::OutOfRange { index, size });
    }
    // 2. fn and sn.
    let (mut fnode, mut snode) = (index, size - 1);
    // 3. r.
    let mut r = leaf;
    // 4. Each value of the inclusion path.
    for p in proof {
        // 4.1
        if snode == 0 {
            return Err(length);
        }
        // 4.2
        if fnode & 1 == 1 || fnode == snode {
            r = node_hash(p, &r);
            while fnode & 1 == 0 && fnode != 0 {
                fnode >>= 1;
                snode >>= 1;
            }
        } else {
            r = node_hash(&r, p);
        }
        // 4.3
        fnode >>= 1;
        snode >>= 1;
    }
    // 5. sn is 0 and r is the root.
    if snode != 0 {
        return Err(length);
    }
    if r != root {
        return Err(TlogError::NotIncluded { index, size, expected: root, found: r });
    }
    Ok(())
}

/// The root of the first `index` entries, from the proof that entry `index` is in a log of `size`: its left siblings
/// cover exactly them, each twice as large as the next at least. As good as the proof, which must have been checked.
pub(super) fn root_before(index: u64, size: u64, proof: &[Digest]) -> Digest {
    let (mut fnode, mut snode) = (index, size.saturating_sub(1));
    let mut root: Option<Digest> = None;
    // The walk of `check_inclusion`, from the leaf up: what stands to the left was hashed first.
    for p in proof {
        if fnode & 1 == 1 || fnode == snode {
            root = Some(root.map_or(*p, |right| node_hash(p, &right)));
            while fnode & 1 == 0 && fnode != 0 {
                fnode >>= 1;
                snode >>= 1;
            }
        }
        fnode >>= 1;
        snode >>= 1;
    }
    root.unwrap_or_else(empty_root)
}

/// The hashes that show the log of `new` entries to continue the one of `old` entries (RFC 6962 section
/// 2.1.2, PROOF); empty when either is the other or the empty log.
///
/// # Errors
/// What `read` returned; [`TlogError::Shrunk`], [`TlogError::TooLarge`].
pub fn consistency_proof<E: From<TlogError>>(
    old: u64,
    new: u64,
    mut read: impl FnMut(Node) -> Result<Digest, E>,
) -> Result<Vec<Digest>, E> {
    within(new)?;
    if old > new {
        return Err(TlogError::Shrunk { old, new }.into());
    }
    if old == 0 || old == new {
        return Ok(Vec::new());
    }
    let (mut first, mut end, mut whole, mut proof) = (0, new, true, Vec::new());
    // SUBPROOF: `whole` while the subtree is the older log itself, whose root the checker has.
    while old != end {
        let middle = first + split(end - first);
        if old <= middle {
            proof.push(range_hash(middle, end, &mut read)?);
            end = middle;
        } else {
            proof.push(range_hash(first, middle, &mut read)?);
            first = middle;
            whole = false;
        }
    }
    if !whole {
        proof.push(range_hash(first, end, &mut read)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Checks that the log of `new` entries with root `new_root` continues the one of `old` entries with root
/// `old_root` (RFC 9162 section 2.1.4.2; the cases it leaves out are equal and empty logs, whose proof is
/// empty).
///
/// # Errors
/// [`TlogError::Shrunk`], [`TlogError::TooLarge`], [`TlogError::ProofLength`], [`TlogError::Forked`].
pub fn check_consistency(
    old: u64,
    old_root: Digest,
    new: u64,
    new_root: Digest,
    proof: &[Digest],
) -> Result<(), TlogError> {
    within(new)?;
    let length = TlogError::ProofLength { found: proof.len(), index: old, size: new };
    let forked = TlogError::Forked { old, old_root, new };
    if old > new {
        return Err(TlogError::Shrunk { old, new });
    }
    // One more than an inclusion proof: the subtree it starts from.
    if proof.len() > MAX_PROOF + 1 {
        return Err(length);
    }
    if old == new || old == 0 {
        let same = if old == new { new_root } else { empty_root() };
        return match (proof.is_empty(), old_root == same) {
            (false, _) => Err(length),
            (true, false) => Err(forked),
            (true, true) => Ok(()),
        };
    }
    // 1. An empty path fails. 2. A power of two is itself the first value.
    let seed = [old_root];
    let mut path = if old.is_power_of_two() { &seed[..] } else { &[] }.iter().chain(proof);
    let (false, Some(first)) = (proof.is_empty(), path.next()) else {
        return Err(length);
    };
    // 3. fn and sn.
    let (mut fnode, mut snode) = (old - 1, new - 1);
    // 4. To the root of the last complete subtree.
    while fnode & 1 == 1 {
        fnode >>= 1;
        snode >>= 1;
    }
    // 5. fr and sr.
    let (mut fr, mut sr) = (*first, *first);
    // 6. Each further value.
    for c in path {
        // 6.1
        if snode == 0 {
            return Err(length);
        }
        // 6.2
        if fnode & 1 == 1 || fnode == snode {
            fr = node_hash(c, &fr);
            sr = node_hash(c, &sr);
            while fnode & 1 == 0 && fnode != 0 {
                fnode >>= 1;
                snode >>= 1;
            }
        } else {
            sr = node_hash(&sr, c);
        }
        // 6.3
        fnode >>= 1;
        snode >>= 1;
    }
    // 7. Both roots, and nothing left to climb.
    if snode != 0 {
        return Err(length);
    }
    if fr != old_root || sr != new_root {
        return Err(forked);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
