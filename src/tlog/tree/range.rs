//! Compact ranges: any run of entries as the few hashes that say all of it (the notion of
//! transparency-dev/merkle, docs/compact_ranges.md).
//!
//! Guarantees: a range has the fewest complete subtrees that cover its entries, left to right, so two that meet
//! merge into the one of both. Never does: I/O, or vouch for a leaf it was given.

use std::ops::Range;

use super::{Node, TlogError, empty_root, fold, within};
use crate::digest::Digest;
use crate::tlog::node_hash;

/// The entries `first..end` of a log, as hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompactRange {
    first: u64,
    end: u64,
    nodes: Vec<(Node, Digest)>,
}

impl CompactRange {
    /// Of no entries, before entry `at`.
    pub fn empty(at: u64) -> Self {
        Self { first: at, end: at, nodes: Vec::new() }
    }

    /// Of the first `size` entries, from their nodes, left to right.
    pub(super) fn from_start(size: u64, nodes: Vec<(Node, Digest)>) -> Self {
        Self { first: 0, end: size, nodes }
    }

    /// The indexes of its entries.
    pub fn range(&self) -> Range<u64> {
        self.first..self.end
    }

    /// The subtrees that cover its entries, left to right, each as large as it can be.
    pub fn nodes(&self) -> &[(Node, Digest)] {
        &self.nodes
    }

    /// The root of the log of these entries (RFC 6962 section 2.1, MTH); `None` if it begins elsewhere.
    pub fn root(&self) -> Option<Digest> {
        let hashes = self.nodes.iter().map(|(_, hash)| *hash);
        (self.first == 0).then(|| fold(hashes).unwrap_or_else(empty_root))
    }

    /// Appends the hash of a leaf; `store` is handed every complete subtree this makes, the leaf first.
    ///
    /// # Errors
    /// What `store` returned; [`TlogError::TooLarge`]. The range is then of no further use.
    pub fn push<E: From<TlogError>>(
        &mut self,
        leaf: Digest,
        mut store: impl FnMut(Node, Digest) -> Result<(), E>,
    ) -> Result<(), E> {
        let end = self.end.saturating_add(1);
        within(end)?;
        let node = Node { level: 0, index: self.end };
        store(node, leaf)?;
        self.add(node, leaf, &mut store)?;
        self.end = end;
        Ok(())
    }

    /// Appends the range that begins where this one ends; `store` is handed every complete subtree this makes.
    ///
    /// # Errors
    /// What `store` returned; [`TlogError::Apart`]. The range is then of no further use.
    pub fn merge<E: From<TlogError>>(
        &mut self,
        next: &Self,
        mut store: impl FnMut(Node, Digest) -> Result<(), E>,
    ) -> Result<(), E> {
        if next.first != self.end {
            return Err(TlogError::Apart { end: self.end, next: next.first }.into());
        }
        for (node, hash) in &next.nodes {
            self.add(*node, *hash, &mut store)?;
        }
        self.end = next.end;
        Ok(())
    }

    /// Puts a subtree at the end, and joins it with the last ones while they are its left siblings.
    fn add<E>(
        &mut self,
        mut node: Node,
        mut hash: Digest,
        store: &mut impl FnMut(Node, Digest) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some((left, left_hash)) = self.nodes.pop_if(|(left, _)| is_left_sibling(*left, node)) {
            node = Node { level: left.level + 1, index: left.index >> 1 };
            hash = node_hash(&left_hash, &hash);
            store(node, hash)?;
        }
        self.nodes.push((node, hash));
        Ok(())
    }
}

/// An odd index is a right child's.
fn is_left_sibling(left: Node, node: Node) -> bool {
    left.level == node.level && node.index & 1 == 1 && left.index == node.index - 1
}

#[cfg(test)]
mod tests;
