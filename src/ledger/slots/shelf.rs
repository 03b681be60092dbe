//! Records that wait below `pending/` to be appended by whoever wins a slot next ([`Combining`]).
//!
//! Guarantees: what is read is bounded in number and length, and one object that cannot be read hides no other. Never
//! does: believe any of it; who takes a record judges it ([`crate::ledger::protocol`]).

use std::collections::BTreeSet;

use bytes::Bytes;

use super::pending::{self, FOLDER, Pending};
use super::{Content, SlotError, Slotted, evidence};
use crate::digest::Digest;
use crate::ledger::store::{Combining, Swap, TooLong};
use crate::ledger::{Entry, LedgerError, kept};
use crate::tlog::SignedCheckpoint;

/// So many names of records are looked at.
const NAMES: usize = 512;

/// What combining asks of slots beside creating and reading them.
pub(in crate::ledger) trait Shelf {
    /// At most `count` names of objects below the folder `prefix` that `is` one, in any order; what is none takes no place
    /// among them.
    fn some(&self, prefix: &str, is: fn(&str) -> bool, count: usize) -> Result<Vec<String>, SlotError>;

    /// What lies under each of `names`, each with an answer of its own.
    fn get_each(&self, names: &[String], limit: usize) -> Vec<Result<Option<Bytes>, SlotError>>;

    /// Whether something of at most `limit` bytes lies under each of `names`.
    fn which(&self, names: &[String], limit: usize) -> Result<Vec<bool>, SlotError>;

    /// Removes each, if it is there.
    fn delete_all(&self, names: &[String]) -> Result<(), SlotError>;
}

impl Slotted {
    /// As nothing: there is one wherever this is used.
    fn on_shelf<T: Default>(
        &self,
        ask: impl FnOnce(&dyn Shelf) -> Result<T, SlotError>,
    ) -> Result<T, LedgerError> {
        self.slots.shelf().map_or_else(|| Ok(T::default()), ask).map_err(self.reach())
    }
}

impl Combining for Slotted {
    fn keep(&self, kept: &[(Digest, &Bytes)]) -> Result<(), LedgerError> {
        self.keep(kept).map_err(self.reach())
    }

    fn offer(&self, name: &str, pending: &Pending) -> Result<(), LedgerError> {
        let object = (name.to_owned(), Bytes::from(pending.to_bytes()));
        self.slots.create_all(&[object]).map(drop).map_err(self.reach())
    }

    fn names(&self) -> Result<Vec<String>, LedgerError> {
        let mut names = self.on_shelf(|shelf| shelf.some(FOLDER, pending::is_name, NAMES))?;
        names.sort();
        Ok(names)
    }

    fn read(&self, names: &[String]) -> Result<Vec<Option<Result<Bytes, TooLong>>>, LedgerError> {
        let found = self.on_shelf(|shelf| Ok(shelf.get_each(names, pending::LIMIT)))?;
        let found = found.into_iter().map(|found| match found {
            Ok(found) => found.map(Ok),
            Err(SlotError::TooLong { .. }) => Some(Err(TooLong)),
            Err(_) => None,
        });
        Ok(found.collect())
    }

    fn withdraw(&self, names: &[String]) -> Result<(), LedgerError> {
        self.on_shelf(|shelf| shelf.delete_all(names))
    }

    fn keeps(&self, digests: &[Digest]) -> Result<Vec<bool>, LedgerError> {
        let names: Vec<_> = digests.iter().copied().map(evidence).collect();
        self.on_shelf(|shelf| shelf.which(&names, kept::LIMIT))
    }

    fn swap_for_all(
        &self,
        expected: &SignedCheckpoint,
        entries: &[Entry],
        evidence: BTreeSet<Digest>,
        head: &SignedCheckpoint,
    ) -> Result<Swap, LedgerError> {
        self.commit(expected, Content::Main { entries: entries.to_vec(), evidence }, head)
    }
}
