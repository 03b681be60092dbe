//! What commits add to a log that was seen: each checked against the one before it and against what it signs.

use super::mirror::{Last, Mirror};
use super::{Commit, Content, slot};
use crate::digest::Digest;
use crate::ledger::place::Place;
use crate::ledger::rows::contradiction;
use crate::ledger::seen::{Lane, Seen, SeenBy};
use crate::ledger::store::{Batch, ControlBatch, Swap, Tables};
use crate::ledger::{Entry, LedgerError};
use crate::tlog::{Frontier, Node, SignedCheckpoint, TlogError, Vkey, leaf_hash};

/// Verified commits that are not in the mirror yet.
pub(super) struct Tail {
    lane: Lane,
    begin: SignedCheckpoint,
    head: SignedCheckpoint,
    frontier: Frontier,
    entries: Vec<Entry>,
    control: Vec<Vec<u8>>,
    nodes: Vec<(Node, Digest)>,
    last: Option<Last>,
}

impl Tail {
    /// Nothing yet, behind `head`; the stored hashes of `mirror` have to give its root.
    pub(super) fn load(lane: Lane, head: SignedCheckpoint, mirror: &Mirror) -> Result<Self, LedgerError> {
        let place = || mirror.place().clone();
        let tables = mirror.tables();
        let frontier = match lane {
            Lane::Main => Frontier::load(head.size(), |node| {
                tables.node(node)?.ok_or_else(|| LedgerError::NodeMissing { place: place(), node })
            })?,
            Lane::Control => whole(tables, head.size())?,
        };
        if frontier.root() != head.root() || frontier.size() != head.size() {
            let (expected, found) = (head.root(), frontier.root());
            return Err(LedgerError::RootMismatch { place: place(), expected, found });
        }
        Ok(Self {
            lane,
            begin: head.clone(),
            head,
            frontier,
            entries: Vec::new(),
            control: Vec::new(),
            nodes: Vec::new(),
            last: None,
        })
    }

    /// The number of entries so far.
    pub(super) fn size(&self) -> u64 {
        self.head.size()
    }

    /// Adds what lay in the slot that comes next.
    pub(super) fn extend(&mut self, bytes: &[u8], vkey: &Vkey, place: &Place) -> Result<(), LedgerError> {
        let place = || place.clone();
        let first = self.head.size();
        let name = slot(self.lane, first);
        // 1. A commit, signed.
        let commit = Commit::parse(bytes);
        let commit =
            commit.map_err(|source| LedgerError::Slot { place: place(), name: name.clone(), source })?;
        let head = vkey.open(&commit.note).map_err(|source| match self.lane {
            Lane::Main => LedgerError::Checkpoint { place: place(), source },
            Lane::Control => LedgerError::ControlCheckpoint { place: place(), source },
        })?;
        // 2. Of this lane, and on top of what is here.
        if (commit.lane(), commit.size, commit.root) != (self.lane, first, self.head.root()) {
            let seen = Seen::signed(&self.head, SeenBy::Copy(name));
            return Err(LedgerError::Forked { place: place(), found: seen.against(self.lane, &head) });
        }
        // 3. What it signs is what it holds.
        let known = self.entries.len();
        let nodes = &mut self.nodes;
        let mut push = |frontier: &mut Frontier, bytes: &[u8]| {
            frontier.push::<TlogError>(leaf_hash(bytes), |node, hash| {
                nodes.push((node, hash));
                Ok(())
            })
        };
        match commit.content {
            Content::Main { entries, .. } => {
                entries.iter().try_for_each(|entry| push(&mut self.frontier, &entry.bytes))?;
                self.entries.extend(entries);
            }
            Content::Control(entries) => {
                entries.iter().try_for_each(|entry| push(&mut self.frontier, entry))?;
                self.control.extend(entries);
            }
        }
        if (head.size(), head.root()) != (self.frontier.size(), self.frontier.root()) {
            return Err(LedgerError::SlotChanged {
                place: place(),
                name,
                signed: Box::new(head.checkpoint().clone()),
                found: self.frontier.root(),
            });
        }
        // 4. And it is filed as it says: a reader who never saw it would not find it elsewhere.
        for (index, entry) in (first..).zip(self.entries.iter().skip(known)) {
            if let Some((filed, says)) = contradiction(&entry.bytes, &(&entry.index).into()) {
                return Err(LedgerError::Row { place: place(), at: name, index, filed, says });
            }
        }
        self.head = head;
        self.last = Some(Last { first, digest: Digest::of(bytes) });
        Ok(())
    }

    /// Puts all of it into the mirror, and begins anew behind it. `Conflict`: another process was there first.
    pub(super) fn store(&mut self, mirror: &Mirror) -> Result<Swap, LedgerError> {
        let Some(last) = self.last.take() else { return Ok(Swap::Swapped) };
        let first = self.begin.size();
        let swap = match self.lane {
            Lane::Main => {
                let nodes = std::mem::take(&mut self.nodes);
                let batch =
                    Batch { first, entries: &self.entries, nodes, kept: Vec::new(), head: &self.head };
                mirror.take(&self.begin, &batch, last)?
            }
            Lane::Control => {
                let records = (first..).zip(&self.control);
                let batches: Vec<_> =
                    records.map(|(index, bytes)| ControlBatch { index, bytes, head: &self.head }).collect();
                mirror.take_control(&self.begin, &batches, &self.head, last)?
            }
        };
        self.entries.clear();
        self.control.clear();
        self.nodes.clear();
        self.begin = self.head.clone();
        Ok(swap)
    }
}

/// The tree over the first `size` control records of the mirror; another process may have added to it meanwhile.
fn whole(tables: &dyn Tables, size: u64) -> Result<Frontier, LedgerError> {
    let mut frontier = Frontier::empty();
    for (_, (_, bytes)) in (0..size).zip(tables.control_entries(size)?) {
        frontier.push::<TlogError>(leaf_hash(&bytes), |_, _| Ok(()))?;
    }
    Ok(frontier)
}
