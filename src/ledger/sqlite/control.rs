//! The tables of the control lane. No hashes and no index are kept: it is small, and always read whole.

use rusqlite::{OptionalExtension, params};

use super::{Store, signed};
use crate::ledger::LedgerError;

impl Store {
    /// The lane's signed checkpoint; empty, which is none, where the row is gone.
    pub(in crate::ledger) fn control_note(&self) -> Result<String, LedgerError> {
        self.ask(|c| {
            c.prepare_cached("SELECT note FROM control_checkpoint")?
                .query_row([], |row| row.get(0))
                .optional()
                .map(Option::unwrap_or_default)
        })
    }

    pub(in crate::ledger) fn put_control_note(&self, note: &str) -> Result<(), LedgerError> {
        self.ask(|c| c.prepare_cached("UPDATE control_checkpoint SET note = ?1")?.execute([note])).map(drop)
    }

    /// Every row, whatever its index.
    pub(in crate::ledger) fn control_entries(&self) -> Result<Vec<(i64, Vec<u8>)>, LedgerError> {
        self.ask(|c| {
            c.prepare_cached("SELECT idx, body FROM control ORDER BY idx")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
    }

    pub(in crate::ledger) fn put_control(&self, index: u64, body: &[u8]) -> Result<(), LedgerError> {
        self.ask(|c| {
            c.prepare_cached("INSERT INTO control VALUES (?1, ?2)")?.execute(params![signed(index), body])
        })
        .map(drop)
    }
}
