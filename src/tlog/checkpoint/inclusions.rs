//! Many entries of one log, each shown to be in it, with what their proofs share hashed once.
//!
//! Guarantees: a hash is taken for proved only if it lay on a path, or beside one, that was hashed up to the signed root
//! by this very value; each [`Included`] comes of a path that ended in the signed root or in such a hash. So it is
//! exactly as strict as [`SignedCheckpoint::include`] of every entry by itself (RFC 9162 section 2.1.3.2).

use std::collections::HashMap;

use super::{Checkpoint, Included, SignedCheckpoint};
use crate::digest::Digest;
use crate::tlog::tree::peaks;
use crate::tlog::{Node, TlogError, empty_root, leaf_hash, node_hash};

/// What has been proved of one log so far. Nothing, to begin with.
#[derive(Clone, Debug)]
pub struct Inclusions<'a> {
    head: &'a SignedCheckpoint,
    proved: HashMap<Node, Digest>,
}

impl SignedCheckpoint {
    /// To show many entries of this log to be in it.
    pub fn inclusions(&self) -> Inclusions<'_> {
        Inclusions { head: self, proved: HashMap::new() }
    }
}

impl Inclusions<'_> {
    /// The nodes whose hashes show entry `index`, in the order in which [`Inclusions::include`] takes them.
    ///
    /// # Errors
    /// [`TlogError::OutOfRange`].
    pub fn nodes(&self, index: u64) -> Result<Vec<Node>, TlogError> {
        let peak = self.peak(index)?;
        let (mut node, mut nodes) = (Node { level: 0, index }, Vec::new());
        while node != peak && !self.proved.contains_key(&node) {
            nodes.push(node.sibling());
            node = node.parent();
        }
        // The first one shows how the complete subtrees make the root; from then on, all of them are proved.
        if self.proved.is_empty() {
            nodes.extend(peaks(0, self.head.size()).filter(|other| *other != peak));
        }
        Ok(nodes)
    }

    /// Shows that `bytes` are entry `index`: hashes them and goes up by `hashes`, those of [`Inclusions::nodes`].
    ///
    /// # Errors
    /// [`TlogError::OutOfRange`], [`TlogError::ProofLength`], [`TlogError::NotIncluded`]; nothing is proved then that
    /// was not before.
    pub fn include(&mut self, index: u64, bytes: Vec<u8>, hashes: &[Digest]) -> Result<Included, TlogError> {
        let Checkpoint { origin, size, root } = self.head.checkpoint.clone();
        let nodes = self.nodes(index)?;
        if nodes.len() != hashes.len() {
            return Err(TlogError::ProofLength { found: hashes.len(), index, size });
        }
        let beside: Vec<_> = nodes.into_iter().zip(hashes.iter().copied()).collect();
        let (peak, leaf) = (self.peak(index)?, leaf_hash(&bytes));
        let (mut node, mut hash, mut path) = (Node { level: 0, index }, leaf, Vec::new());
        let mut siblings = beside.iter();
        // 1. Up, to what was proved before, or to the complete subtree that it is in.
        while node != peak && !self.proved.contains_key(&node) {
            let Some((_, sibling)) = siblings.next() else { break };
            path.push((node, hash));
            hash = match node.index & 1 {
                0 => node_hash(&hash, sibling),
                _ => node_hash(sibling, &hash),
            };
            node = node.parent();
        }
        path.push((node, hash));
        // 2. That is the proved one, or makes the signed root with the others.
        let (expected, found) = match self.proved.get(&node) {
            Some(proved) => (*proved, hash),
            None => (root, with_others(node, hash, siblings.as_slice())),
        };
        if expected != found {
            return Err(TlogError::NotIncluded { index, size, expected, found });
        }
        // 3. All of it is proved now: with another hash anywhere, the last one would have been another.
        self.proved.extend(path);
        self.proved.extend(beside);
        let before = self.root_before(index, size)?;
        Ok(Included { index, bytes, leaf, size, root, before, origin })
    }

    /// The complete subtree that an entry is in.
    fn peak(&self, index: u64) -> Result<Node, TlogError> {
        let size = self.head.size();
        let found = peaks(0, size).find(|peak| index <= peak.last());
        found.ok_or(TlogError::OutOfRange { index, size })
    }

    /// The root of the first `index` entries: their complete subtrees stood to the left of the path.
    fn root_before(&self, index: u64, size: u64) -> Result<Digest, TlogError> {
        let left: Vec<_> = peaks(0, index).map(|node| self.proved.get(&node).copied()).collect();
        let left = left.into_iter().collect::<Option<Vec<_>>>();
        let left = left.ok_or(TlogError::ProofLength { found: self.proved.len(), index, size })?;
        Ok(left.into_iter().rev().reduce(|right, left| node_hash(&left, &right)).unwrap_or_else(empty_root))
    }
}

/// The root, from the complete subtrees of a log: this one, and the others from left to right.
fn with_others(node: Node, hash: Digest, others: &[(Node, Digest)]) -> Digest {
    let at = others.partition_point(|(other, _)| other.first() < node.first());
    let (left, right) = others.split_at(at);
    let hashes = left.iter().map(|(_, hash)| *hash).chain([hash]).chain(right.iter().map(|(_, hash)| *hash));
    let hashes: Vec<_> = hashes.collect();
    hashes.into_iter().rev().reduce(|right, left| node_hash(&left, &right)).unwrap_or(hash)
}

#[cfg(test)]
mod tests;
