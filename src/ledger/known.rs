//! Records that were read before in this process: a promotion reads its history some eight times, and to verify a record
//! takes longer than everything else about it.
//!
//! Guarantees: what comes out was verified here, from the same bytes at the same place, under a copy of the same trust; one
//! under another begins anew. Never does: remember a refusal; say that a record is in the log, which is shown each time.

use std::collections::BTreeMap;

use super::Ledger;
use crate::record::{Position, Record, RecordError};
use crate::tlog::Included;
use crate::verify::Trust;

/// What verified under one trust.
#[derive(Default)]
pub(super) struct Known {
    under: Trust,
    records: BTreeMap<Position, Record>,
}

impl Ledger {
    /// [`Record::read`], of which the answer is known for what was read before.
    pub(super) fn record(&self, entry: &Included, trust: &Trust) -> Result<Record, RecordError> {
        let mut known = self.known.borrow_mut();
        if !known.under.is_copy_of(trust) {
            *known = Known { under: trust.clone(), records: BTreeMap::new() };
        }
        // The leaf hash is that of the bytes: other bytes lie elsewhere.
        let position = Position { index: entry.index(), leaf_hash: entry.leaf() };
        if let Some(record) = known.records.get(&position) {
            return Ok(record.clone());
        }
        let record = Record::read(entry, trust)?;
        known.records.insert(position, record.clone());
        Ok(record)
    }
}
