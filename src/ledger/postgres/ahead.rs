//! What will be asked for next, fetched in one go: a proof is one question instead of one per hash, and an audit is
//! three per 256 records.
//!
//! Guarantees: nothing is answered from here but under the query, or the snapshot, that it was fetched with.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::session::value;
use super::tables::ROW;
use super::{Postgres, signed};
use crate::digest::Digest;
use crate::ledger::LedgerError;
use crate::ledger::store::{Found, Projection};
use crate::tlog::{Frontier, MAX_SIZE, Node, TlogError, inclusion_proof};

/// Records per block of an audit; at most 16 MiB.
const BLOCK: u64 = 256;

/// What was fetched.
#[derive(Default)]
pub(super) struct Ahead {
    /// The size that the last checkpoint named.
    size: u64,
    /// Hashes of proofs.
    hashes: HashMap<Node, Digest>,
    /// The records that are here whole: bodies, rows, and the hashes they complete. What is missing is not there.
    block: Range<u64>,
    bodies: HashMap<u64, Vec<u8>>,
    rows: HashMap<u64, Projection>,
    completed: HashMap<Node, Digest>,
}

pub(super) fn number(of: i64) -> u64 {
    u64::try_from(of).unwrap_or(u64::MAX)
}

/// The size on the second line of a checkpoint, believed as far as to fetch what belongs to it.
fn size(note: &str) -> u64 {
    note.lines().nth(1).and_then(|line| line.parse().ok()).unwrap_or_default()
}

impl Postgres {
    /// Forgets everything.
    pub(super) fn forget(&self) {
        *self.ahead.borrow_mut() = Ahead::default();
    }

    /// What the checkpoint says, and under a snapshot the hashes of its right edge.
    pub(super) fn note_was_read(&self, note: &str) -> Result<(), LedgerError> {
        let size = size(note);
        self.ahead.borrow_mut().size = size;
        if self.reading.get() && size <= MAX_SIZE {
            self.fetch(Frontier::nodes(size).collect())?;
        }
        Ok(())
    }

    /// The hashes that prove what was found to be in a log of `size` records, or of as many as the last checkpoint
    /// names.
    pub(super) fn were_found(&self, found: &[Found], size: Option<u64>) -> Result<(), LedgerError> {
        let size = size.unwrap_or(self.ahead.borrow().size);
        let mut wanted = HashSet::new();
        for (index, _) in found.iter().filter(|(index, _)| *index < size) {
            // Only which hashes it asks for is of interest.
            drop(inclusion_proof::<TlogError>(*index, size, |node| {
                wanted.insert(node);
                Ok(Digest::from_bytes([0; 32]))
            }));
        }
        self.fetch(wanted)
    }

    fn fetch(&self, wanted: HashSet<Node>) -> Result<(), LedgerError> {
        self.ahead.borrow_mut().hashes.clear();
        if wanted.is_empty() {
            return Ok(());
        }
        let levels: Vec<_> = wanted.iter().map(|node| i16::from(node.level)).collect();
        let indexes: Vec<_> = wanted.iter().map(|node| signed(node.index)).collect();
        let query = "SELECT level, idx, hash FROM nodes
                     JOIN unnest($1::int2[], $2::int8[]) AS wanted (level, idx) USING (level, idx)
                     WHERE octet_length(hash) = 32";
        let rows = self.rows(query, vec![value(levels), value(indexes)])?;
        let hashes = rows.iter().map(|row| self.hash(row)).collect::<Result<Vec<_>, _>>()?;
        self.ahead.borrow_mut().hashes.extend(hashes.into_iter().flatten());
        Ok(())
    }

    fn hash(&self, row: &tokio_postgres::Row) -> Result<Option<(Node, Digest)>, LedgerError> {
        let (level, index): (i16, i64) = (self.get(row, 0)?, self.get(row, 1)?);
        let hash: Vec<u8> = self.get(row, 2)?;
        let node = u8::try_from(level).ok().zip(u64::try_from(index).ok());
        let node = node.map(|(level, index)| Node { level, index });
        Ok(node.zip(hash.try_into().ok().map(Digest::from_bytes)))
    }

    /// Under a snapshot, has the block that begins with record `index` here, if another is.
    pub(super) fn block(&self, index: u64) -> Result<(), LedgerError> {
        if !self.reading.get() || self.ahead.borrow().block.contains(&index) {
            return Ok(());
        }
        let block = index..index.saturating_add(BLOCK);
        let ends = || vec![value(signed(block.start)), value(signed(block.end))];
        let bodies = self.rows(
            "SELECT idx, body FROM entries WHERE idx >= $1 AND idx < $2 AND octet_length(body) <= 65535",
            ends(),
        )?;
        let rows =
            self.rows(&format!("SELECT {ROW}, idx FROM targets WHERE idx >= $1 AND idx < $2"), ends())?;
        // A subtree of level l is complete with a record of the block if its index is in this range.
        let hashes = self.rows(
            "SELECT level, idx, hash FROM generate_series(0, 62) AS l JOIN nodes
             ON level = l::int2 AND idx >= ($1::int8 >> l) AND idx < ($2::int8 >> l)
             WHERE octet_length(hash) = 32",
            ends(),
        )?;
        let bodies = bodies.iter().map(|row| Ok((number(self.get(row, 0)?), self.get(row, 1)?)));
        let bodies = bodies.collect::<Result<_, LedgerError>>()?;
        let rows = rows.iter().map(|row| Ok((number(self.get(row, 6)?), self.read_projection(row)?)));
        let rows = rows.collect::<Result<_, LedgerError>>()?;
        let hashes = hashes.iter().map(|row| self.hash(row)).collect::<Result<Vec<_>, _>>()?;
        let mut ahead = self.ahead.borrow_mut();
        (ahead.bodies, ahead.rows, ahead.completed) = (bodies, rows, hashes.into_iter().flatten().collect());
        ahead.block = block;
        Ok(())
    }
}

impl Ahead {
    /// The hash of a node: `None` if it is not known here, `Some(None)` if there is none.
    pub(super) fn node(&self, node: Node) -> Option<Option<Digest>> {
        match self.block.contains(&node.last()) {
            true => Some(self.completed.get(&node).copied()),
            false => self.hashes.get(&node).map(|hash| Some(*hash)),
        }
    }

    /// The bytes of a record, in the same manner.
    pub(super) fn body(&self, index: u64) -> Option<Option<Vec<u8>>> {
        self.block.contains(&index).then(|| self.bodies.get(&index).cloned())
    }

    /// The index row of a record, in the same manner.
    pub(super) fn row(&self, index: u64) -> Option<Option<Projection>> {
        self.block.contains(&index).then(|| self.rows.get(&index).cloned())
    }
}
