//! The bytes of a ledger in one SQLite file. An untrusted store: everything it returns is checked above it.
//!
//! Guarantees: what [`Store::swap`] swapped is on disk when it returns (WAL, `synchronous=FULL`: one flush per
//! commit; sqlite.org/wal.html, sqlite.org/pragma.html#pragma_synchronous), all of it or nothing. Never does:
//! believe a row, run triggers or views that somebody put into the file.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params,
};

use super::LedgerError;
use super::place::{self, Place};
use super::seen::Lane;
use super::store::{Batch, ControlBatch, Store, Swap, Tables};
use crate::digest::Digest;
use crate::tlog::{MAX_NOTE, Origin, SignedCheckpoint};

/// "same", in the header of the file.
const APPLICATION: i64 = 0x7361_6d65;
/// The version of the tables below; 3 has the control lane.
const FORMAT: i64 = 3;
/// 16 processes that append without pause wait 4.5 s at the longest (study, section 5.5).
const PATIENCE: Duration = Duration::from_secs(30);

/// `targets` is a cache of what the records say, for queries; `Ledger::verify` compares it.
const TABLES: &str = "
CREATE TABLE meta (id INTEGER PRIMARY KEY CHECK (id = 1), format INTEGER NOT NULL, origin TEXT NOT NULL) STRICT;
CREATE TABLE checkpoint (id INTEGER PRIMARY KEY CHECK (id = 1), note TEXT NOT NULL) STRICT;
CREATE TABLE entries (idx INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
CREATE TABLE nodes (level INTEGER NOT NULL, idx INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY KEY (level, idx))
    STRICT, WITHOUT ROWID;
CREATE TABLE targets (idx INTEGER PRIMARY KEY, kind TEXT NOT NULL, service TEXT NOT NULL, environment TEXT NOT NULL,
    digest BLOB, phase TEXT NOT NULL, key TEXT) STRICT;
CREATE INDEX targets_target ON targets (service, environment, idx);
CREATE INDEX targets_digest ON targets (digest, idx) WHERE digest IS NOT NULL;
CREATE INDEX targets_key ON targets (key, idx) WHERE key IS NOT NULL;
CREATE TABLE control_checkpoint (id INTEGER PRIMARY KEY CHECK (id = 1), note TEXT NOT NULL) STRICT;
CREATE TABLE control (idx INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
CREATE TABLE kept (digest BLOB PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
";

/// Not part of the log, and of no use to who knows no witness: made when it is needed.
const COSIGNED: &str =
    "CREATE TABLE IF NOT EXISTS cosigned (lane TEXT PRIMARY KEY, note TEXT NOT NULL) STRICT, WITHOUT ROWID";

mod tables;

/// The path of a database that nobody else sees and that is gone with the connection (sqlite.org/inmemorydb.html,
/// "Temporary Databases").
pub(super) const TEMPORARY: &str = "";

pub(super) struct Sqlite {
    connection: Connection,
    place: Place,
}

/// SQLite has signed integers; `tlog::MAX_SIZE` is the largest of them.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Sqlite {
    /// Makes the tables, once. All in one transaction: a crash leaves an empty file, which may be made again.
    pub(super) fn create(
        path: &Path,
        origin: &Origin,
        note: &SignedCheckpoint,
        control: &SignedCheckpoint,
    ) -> Result<Self, LedgerError> {
        Self::make(path, "", origin, note, control)
    }

    /// The same with more tables, for a copy of what lies elsewhere.
    pub(super) fn make(
        path: &Path,
        more: &str,
        origin: &Origin,
        note: &SignedCheckpoint,
        control: &SignedCheckpoint,
    ) -> Result<Self, LedgerError> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)
                .map_err(|source| LedgerError::Folder { place: Place::file(path), source })?;
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let store = Self::connect(path, flags)?;
        store
            .transact(|| {
                let tables =
                    "SELECT (SELECT count(*) FROM sqlite_schema) + application_id FROM pragma_application_id";
                let anything: i64 = store.ask(|c| c.query_row(tables, [], |row| row.get(0)))?;
                if anything != 0 {
                    return Err(LedgerError::Exists { place: store.place.clone() });
                }
                store.ask(|c| {
                    c.execute_batch(TABLES)?;
                    c.execute_batch(more)?;
                    c.pragma_update(None, "application_id", APPLICATION)?;
                    c.pragma_update(None, "user_version", FORMAT)?;
                    c.execute("INSERT INTO meta VALUES (1, ?1, ?2)", params![FORMAT, origin.as_str()])?;
                    c.execute("INSERT INTO checkpoint VALUES (1, ?1)", [note.text()])?;
                    c.execute("INSERT INTO control_checkpoint VALUES (1, ?1)", [control.text()])
                })
            })
            .map_err(|error| match error {
                // Something is there, and it is not even a database.
                LedgerError::NotALedger { place } => LedgerError::Exists { place },
                other => other,
            })?;
        if path != Path::new(TEMPORARY) {
            store.durable()?;
        }
        Ok(store)
    }

    pub(super) fn open(path: &Path, write: bool) -> Result<Self, LedgerError> {
        if matches!(path.try_exists(), Ok(false)) {
            return Err(LedgerError::Absent { place: Place::file(path) });
        }
        // SQLite says "disk I/O error" of a folder.
        if path.is_dir() {
            return Err(LedgerError::NotALedger { place: Place::file(path) });
        }
        let access = if write { OpenFlags::SQLITE_OPEN_READ_WRITE } else { OpenFlags::SQLITE_OPEN_READ_ONLY };
        let store = Self::connect(path, access)?;
        let application: i64 =
            store.ask(|c| c.pragma_query_value(None, "application_id", |row| row.get(0)))?;
        if application != APPLICATION {
            return Err(LedgerError::NotALedger { place: store.place });
        }
        let format: i64 = store.ask(|c| c.pragma_query_value(None, "user_version", |row| row.get(0)))?;
        if format != FORMAT {
            return Err(LedgerError::Format { place: store.place, found: format, expected: FORMAT });
        }
        if write {
            store.durable()?;
        }
        Ok(store)
    }

    fn connect(path: &Path, access: OpenFlags) -> Result<Self, LedgerError> {
        let temporary = path == Path::new(TEMPORARY);
        if !temporary {
            place::local(path)?;
        }
        let place = Place::file(if temporary { Path::new("(in a temporary file)") } else { path });
        let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .map_err(|source| LedgerError::sqlite(&place, source))?;
        let store = Self { connection, place };
        store.ask(|c| {
            c.busy_timeout(PATIENCE)?;
            c.set_prepared_statement_cache_capacity(32);
            c.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
            c.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
            c.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
            c.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)
        })?;
        Ok(store)
    }

    /// A commit is on disk before it returns.
    fn durable(&self) -> Result<(), LedgerError> {
        let mode: String =
            self.ask(|c| c.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)))?;
        if mode != "wal" {
            return Err(LedgerError::NoWal { place: self.place.clone(), found: mode });
        }
        self.ask(|c| {
            c.pragma_update(None, "synchronous", "FULL")?;
            // macOS: a plain fsync leaves the bytes in the disk's cache.
            c.pragma_update(None, "fullfsync", true)?;
            c.pragma_update(None, "checkpoint_fullfsync", true)
        })
    }

    pub(super) fn ask<T>(
        &self,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, LedgerError> {
        question(&self.connection).map_err(|source| LedgerError::sqlite(&self.place, source))
    }

    fn begin(&self, behavior: TransactionBehavior) -> Result<Transaction<'_>, LedgerError> {
        Transaction::new_unchecked(&self.connection, behavior)
            .map_err(|source| LedgerError::sqlite(&self.place, source))
    }

    /// Runs `work` with the write lock and commits it if it is `Ok`; everything else is rolled back.
    fn transact<T>(&self, work: impl FnOnce() -> Result<T, LedgerError>) -> Result<T, LedgerError> {
        let transaction = self.begin(TransactionBehavior::Immediate)?;
        let done = work()?;
        transaction.commit().map_err(|source| LedgerError::sqlite(&self.place, source))?;
        Ok(done)
    }

    /// Runs `work` and commits it, if the head of `lane` is still `expected`.
    pub(super) fn swap_head(
        &self,
        lane: Lane,
        expected: &SignedCheckpoint,
        head: &SignedCheckpoint,
        work: impl FnOnce() -> Result<(), LedgerError>,
    ) -> Result<Swap, LedgerError> {
        self.transact(|| {
            if self.note(lane)? != expected.text() {
                return Ok(Swap::Conflict);
            }
            work()?;
            let update = match lane {
                Lane::Main => "UPDATE checkpoint SET note = ?1",
                Lane::Control => "UPDATE control_checkpoint SET note = ?1",
            };
            self.ask(|c| c.prepare_cached(update)?.execute([head.text()]))?;
            Ok(Swap::Swapped)
        })
    }

    pub(super) fn put(&self, batch: &Batch<'_>) -> Result<(), LedgerError> {
        for (index, entry) in (batch.first..).zip(batch.entries) {
            let row = &entry.index;
            self.ask_or_stray(index, |c| {
                c.prepare_cached("INSERT INTO entries VALUES (?1, ?2)")?
                    .execute(params![signed(index), entry.bytes])?;
                c.prepare_cached("INSERT INTO targets VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?.execute(params![
                    signed(index),
                    row.kind.as_str(),
                    row.service,
                    row.environment,
                    row.digest.as_ref().map(Digest::as_bytes),
                    row.phase,
                    row.idempotency_key,
                ])
            })?;
        }
        for (node, hash) in &batch.nodes {
            self.ask_or_stray(node.last(), |c| {
                c.prepare_cached("INSERT INTO nodes VALUES (?1, ?2, ?3)")?.execute(params![
                    node.level,
                    signed(node.index),
                    hash.as_bytes()
                ])
            })?;
        }
        // What is there already and right is left alone.
        for (digest, bytes) in &batch.kept {
            self.ask(|c| {
                c.prepare_cached(
                    "INSERT INTO kept VALUES (?1, ?2)
                     ON CONFLICT (digest) DO UPDATE SET bytes = excluded.bytes WHERE bytes IS NOT excluded.bytes",
                )?
                .execute(params![digest.as_bytes(), &bytes[..]])
            })?;
        }
        Ok(())
    }

    pub(super) fn put_control(&self, batch: &ControlBatch<'_>) -> Result<(), LedgerError> {
        self.ask(|c| {
            c.prepare_cached("INSERT INTO control VALUES (?1, ?2)")?
                .execute(params![signed(batch.index), batch.bytes])
        })
        .map(drop)
    }

    /// The log is append-only: a row that is already there was put there by somebody else.
    fn ask_or_stray(
        &self,
        index: u64,
        question: impl FnOnce(&Connection) -> rusqlite::Result<usize>,
    ) -> Result<(), LedgerError> {
        match question(&self.connection) {
            Ok(_) => Ok(()),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                Err(LedgerError::Stray { place: self.place.clone(), index })
            }
            Err(error) => Err(LedgerError::sqlite(&self.place, error)),
        }
    }
}

impl Store for Sqlite {
    fn place(&self) -> &Place {
        &self.place
    }

    fn tables(&self) -> &dyn Tables {
        self
    }

    fn refresh(&self, _: Lane) -> Result<(), LedgerError> {
        // Every read is of what was committed last.
        Ok(())
    }

    fn kept(&self, digest: Digest, limit: usize) -> Result<Option<Vec<u8>>, LedgerError> {
        // A row that somebody made longer than anything we write is not read.
        self.ask(|c| {
            c.prepare_cached(
                "SELECT CASE WHEN length(bytes) <= ?2 THEN bytes ELSE x'' END FROM kept WHERE digest = ?1",
            )?
            .query_row(params![digest.as_bytes(), i64::try_from(limit).unwrap_or(i64::MAX)], |row| row.get(0))
            .optional()
        })
    }

    fn swap(&self, expected: &SignedCheckpoint, batch: &Batch<'_>) -> Result<Swap, LedgerError> {
        self.swap_head(Lane::Main, expected, batch.head, || self.put(batch))
    }

    fn cosigned(&self, lane: Lane) -> Result<Option<Vec<u8>>, LedgerError> {
        self.ask(|c| {
            // The table is made by who first keeps one.
            let table = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'cosigned'";
            if c.query_row(table, [], |_| Ok(())).optional()?.is_none() {
                return Ok(None);
            }
            c.prepare_cached(
                "SELECT CASE WHEN octet_length(note) <= ?2 THEN CAST(note AS BLOB) ELSE x'' END FROM cosigned
                 WHERE lane = ?1",
            )?
            .query_row(params![lane.name(), i64::try_from(MAX_NOTE).unwrap_or(i64::MAX)], |row| row.get(0))
            .optional()
        })
    }

    fn keep_cosigned(&self, lane: Lane, before: Option<&[u8]>, note: &str) -> Result<Swap, LedgerError> {
        self.transact(|| {
            if self.cosigned(lane)?.as_deref() != before {
                return Ok(Swap::Conflict);
            }
            self.ask(|c| {
                c.execute_batch(COSIGNED)?;
                c.execute("INSERT OR REPLACE INTO cosigned VALUES (?1, ?2)", params![lane.name(), note])
            })?;
            Ok(Swap::Swapped)
        })
    }

    fn swap_control(
        &self,
        expected: &SignedCheckpoint,
        batch: &ControlBatch<'_>,
    ) -> Result<Swap, LedgerError> {
        self.swap_head(Lane::Control, expected, batch.head, || self.put_control(batch))
    }

    #[cfg(test)]
    fn connection(&self) -> &Connection {
        &self.connection
    }
}
