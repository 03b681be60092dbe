//! The copy of the slots that questions are answered from: the tables of a SQLite ledger, and which slot was taken over
//! last.
//!
//! Guarantees: a commit is in it whole or not at all, and after the one before it. Never does: know better than the
//! slots; it may be deleted, and with it goes the memory of what was seen.

use std::path::Path;

use rusqlite::{OptionalExtension, params};

use super::card::Empty;
use super::room;
use crate::digest::Digest;
use crate::ledger::LedgerError;
use crate::ledger::place::{self, Place};
use crate::ledger::seen::Lane;
use crate::ledger::sqlite::{Sqlite, TEMPORARY};
use crate::ledger::store::{Batch, ControlBatch, Keys, Store, Swap, Tables};
use crate::tlog::SignedCheckpoint;

/// Its file; another number for other tables, or for other demands on what is taken over, so that an old one is simply
/// not used.
const FILE: &str = "mirror-2.db";

const TABLE: &str = "
CREATE TABLE slots (lane TEXT PRIMARY KEY, first INTEGER NOT NULL, digest BLOB NOT NULL) STRICT;
";

/// The slot that was taken over last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Last {
    /// The size it is for.
    pub(super) first: u64,
    /// The digest of its bytes.
    pub(super) digest: Digest,
}

pub(super) struct Mirror(Sqlite);

impl Mirror {
    /// Opens or makes the mirror of `place` below `cache`; without one it lives as long as this process.
    pub(super) fn open(
        cache: Option<&Path>,
        place: &Place,
        keys: Keys<'_>,
        empty: &Empty,
    ) -> Result<Self, LedgerError> {
        let make = |path: &Path| Sqlite::make(path, TABLE, keys.main.origin(), &empty.main, &empty.control);
        let name = Digest::of(format!("{place}\n{}", keys.main).as_bytes()).hex();
        let path = cache.map(|cache| cache.join("ledgers").join(name).join(FILE));
        // A home that machines share is no place for SQLite.
        let Some(path) = path.filter(|path| place::local(path).is_ok()) else {
            return Ok(Self(make(Path::new(TEMPORARY))?));
        };
        if let (Some(top), Some(folder)) = (cache, path.parent()) {
            room::private_from(top, folder)
                .map_err(|source| LedgerError::Slots { place: place.clone(), source })?;
        }
        match make(&path) {
            Err(LedgerError::Exists { .. }) => Ok(Self(Sqlite::open(&path, true)?)),
            made => Ok(Self(made?)),
        }
    }

    pub(super) fn tables(&self) -> &dyn Tables {
        self.0.tables()
    }

    /// Where it is, for messages about itself.
    pub(super) fn place(&self) -> &Place {
        self.0.place()
    }

    pub(super) fn last(&self, lane: Lane) -> Result<Option<Last>, LedgerError> {
        let row = self.0.ask(|c| {
            c.prepare_cached("SELECT first, digest FROM slots WHERE lane = ?1")?
                .query_row([lane.name()], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, [u8; 32]>(1)?)))
                .optional()
        })?;
        Ok(row.map(|(first, digest)| Last {
            first: u64::try_from(first).unwrap_or(u64::MAX),
            digest: Digest::from_bytes(digest),
        }))
    }

    /// Takes over entries of the main lane.
    pub(super) fn take(
        &self,
        expected: &SignedCheckpoint,
        batch: &Batch<'_>,
        last: Last,
    ) -> Result<Swap, LedgerError> {
        self.0.swap_head(Lane::Main, expected, batch.head, || {
            self.0.put(batch)?;
            self.remember(Lane::Main, last)
        })
    }

    /// Takes over records of the control lane.
    pub(super) fn take_control(
        &self,
        expected: &SignedCheckpoint,
        batches: &[ControlBatch<'_>],
        head: &SignedCheckpoint,
        last: Last,
    ) -> Result<Swap, LedgerError> {
        self.0.swap_head(Lane::Control, expected, head, || {
            batches.iter().try_for_each(|batch| self.0.put_control(batch))?;
            self.remember(Lane::Control, last)
        })
    }

    fn remember(&self, lane: Lane, last: Last) -> Result<(), LedgerError> {
        let first = i64::try_from(last.first).unwrap_or(i64::MAX);
        self.0.ask(|c| {
            c.prepare_cached("INSERT OR REPLACE INTO slots VALUES (?1, ?2, ?3)")?.execute(params![
                lane.name(),
                first,
                last.digest.as_bytes()
            ])
        })?;
        Ok(())
    }
}
