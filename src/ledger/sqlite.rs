//! The bytes of a ledger in one SQLite file. An untrusted store: everything it returns is checked above it.
//!
//! Guarantees: what [`Store::transact`] commits is on disk when it returns (WAL, `synchronous=FULL`: one
//! flush per commit; sqlite.org/wal.html, sqlite.org/pragma.html#pragma_synchronous), all of it or nothing.
//! Never does: believe a row, run triggers or views that somebody put into the file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Row, Transaction, TransactionBehavior, params,
};

use super::{Filter, Index, LedgerError, kept, place};
use crate::digest::Digest;
use crate::tlog::{Node, Origin};

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
";

mod control;

pub(super) struct Store {
    connection: Connection,
    path: PathBuf,
}

/// A record by its index, its bytes if they are there.
pub(super) type Found = (u64, Option<Vec<u8>>);

/// A row of `targets` as it stands in the file.
#[derive(PartialEq, Eq)]
pub(super) struct Projection {
    kind: String,
    service: String,
    environment: String,
    digest: Option<Vec<u8>>,
    phase: String,
    key: Option<String>,
}

impl From<&Index> for Projection {
    fn from(index: &Index) -> Self {
        Self {
            kind: index.kind.as_str().to_owned(),
            service: index.service.clone(),
            environment: index.environment.clone(),
            digest: index.digest.map(|digest| digest.as_bytes().to_vec()),
            phase: index.phase.clone(),
            key: index.idempotency_key.clone(),
        }
    }
}

/// SQLite has signed integers; `tlog::MAX_SIZE` is the largest of them.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

fn found(row: &Row<'_>) -> rusqlite::Result<Found> {
    Ok((unsigned(row, 0)?, row.get(1)?))
}

impl Store {
    /// Makes the tables, once. All in one transaction: a crash leaves an empty file, which may be made again.
    pub(super) fn create(
        path: PathBuf,
        origin: &Origin,
        note: &str,
        control: &str,
    ) -> Result<Self, LedgerError> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)
                .map_err(|source| LedgerError::Folder { path: path.clone(), source })?;
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let store = Self::connect(path, flags)?;
        store
            .transact(|| {
                let tables =
                    "SELECT (SELECT count(*) FROM sqlite_schema) + application_id FROM pragma_application_id";
                let anything: i64 = store.ask(|c| c.query_row(tables, [], |row| row.get(0)))?;
                if anything != 0 {
                    return Err(LedgerError::Exists { path: store.path.clone() });
                }
                store.ask(|c| {
                    c.execute_batch(TABLES)?;
                    c.execute_batch(kept::TABLE)?;
                    c.pragma_update(None, "application_id", APPLICATION)?;
                    c.pragma_update(None, "user_version", FORMAT)?;
                    c.execute("INSERT INTO meta VALUES (1, ?1, ?2)", params![FORMAT, origin.as_str()])?;
                    c.execute("INSERT INTO checkpoint VALUES (1, ?1)", [note])?;
                    c.execute("INSERT INTO control_checkpoint VALUES (1, ?1)", [control])
                })
            })
            .map_err(|error| match error {
                // Something is there, and it is not even a database.
                LedgerError::NotALedger { path } => LedgerError::Exists { path },
                other => other,
            })?;
        store.durable()?;
        Ok(store)
    }

    pub(super) fn open(path: PathBuf, write: bool) -> Result<Self, LedgerError> {
        if matches!(path.try_exists(), Ok(false)) {
            return Err(LedgerError::Absent { path });
        }
        // SQLite says "disk I/O error" of a folder.
        if path.is_dir() {
            return Err(LedgerError::NotALedger { path });
        }
        let access = if write { OpenFlags::SQLITE_OPEN_READ_WRITE } else { OpenFlags::SQLITE_OPEN_READ_ONLY };
        let store = Self::connect(path, access)?;
        let application: i64 =
            store.ask(|c| c.pragma_query_value(None, "application_id", |row| row.get(0)))?;
        if application != APPLICATION {
            return Err(LedgerError::NotALedger { path: store.path });
        }
        let format: i64 = store.ask(|c| c.pragma_query_value(None, "user_version", |row| row.get(0)))?;
        if format != FORMAT {
            return Err(LedgerError::Format { path: store.path, found: format, expected: FORMAT });
        }
        if write {
            store.durable()?;
        }
        Ok(store)
    }

    fn connect(path: PathBuf, access: OpenFlags) -> Result<Self, LedgerError> {
        place::local(&path)?;
        let connection = Connection::open_with_flags(&path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .map_err(|source| LedgerError::sqlite(&path, source))?;
        let store = Self { connection, path };
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
            return Err(LedgerError::NoWal { path: self.path.clone(), found: mode });
        }
        self.ask(|c| {
            c.pragma_update(None, "synchronous", "FULL")?;
            // macOS: a plain fsync leaves the bytes in the disk's cache.
            c.pragma_update(None, "fullfsync", true)?;
            c.pragma_update(None, "checkpoint_fullfsync", true)
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn ask<T>(
        &self,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, LedgerError> {
        question(&self.connection).map_err(|source| LedgerError::sqlite(&self.path, source))
    }

    fn begin(&self, behavior: TransactionBehavior) -> Result<Transaction<'_>, LedgerError> {
        Transaction::new_unchecked(&self.connection, behavior)
            .map_err(|source| LedgerError::sqlite(&self.path, source))
    }

    /// Runs `work` with the write lock and commits it if it is `Ok`; everything else is rolled back.
    pub(super) fn transact<T>(
        &self,
        work: impl FnOnce() -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let transaction = self.begin(TransactionBehavior::Immediate)?;
        let done = work()?;
        transaction.commit().map_err(|source| LedgerError::sqlite(&self.path, source))?;
        Ok(done)
    }

    /// Runs `work` on one unchanging state of the file, whoever appends meanwhile.
    pub(super) fn snapshot<T>(
        &self,
        work: impl FnOnce() -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let _transaction = self.begin(TransactionBehavior::Deferred)?;
        work()
    }

    pub(super) fn origin(&self) -> Result<String, LedgerError> {
        self.ask(|c| c.query_row("SELECT origin FROM meta", [], |row| row.get(0)))
    }

    pub(super) fn note(&self) -> Result<String, LedgerError> {
        self.ask(|c| c.prepare_cached("SELECT note FROM checkpoint")?.query_row([], |row| row.get(0)))
    }

    pub(super) fn put_note(&self, note: &str) -> Result<(), LedgerError> {
        self.ask(|c| c.prepare_cached("UPDATE checkpoint SET note = ?1")?.execute([note])).map(drop)
    }

    /// The stored hash; `None` if it is missing or not 32 bytes.
    pub(super) fn node(&self, node: Node) -> Result<Option<Digest>, LedgerError> {
        self.ask(|c| {
            c.prepare_cached("SELECT hash FROM nodes WHERE level = ?1 AND idx = ?2")?
                .query_row(params![node.level, signed(node.index)], |row| {
                    Ok(row.get_ref(0)?.as_blob()?.try_into().ok().map(Digest::from_bytes))
                })
                .optional()
        })
        .map(Option::flatten)
    }

    pub(super) fn put_node(&self, node: Node, hash: Digest) -> Result<(), LedgerError> {
        self.ask_or_stray(node.last(), |c| {
            c.prepare_cached("INSERT INTO nodes VALUES (?1, ?2, ?3)")?.execute(params![
                node.level,
                signed(node.index),
                hash.as_bytes()
            ])
        })
    }

    pub(super) fn put_entry(&self, index: u64, body: &[u8], row: &Index) -> Result<(), LedgerError> {
        self.ask_or_stray(index, |c| {
            c.prepare_cached("INSERT INTO entries VALUES (?1, ?2)")?.execute(params![signed(index), body])?;
            c.prepare_cached("INSERT INTO targets VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?.execute(params![
                signed(index),
                row.kind.as_str(),
                row.service,
                row.environment,
                row.digest.as_ref().map(Digest::as_bytes),
                row.phase,
                row.idempotency_key,
            ])
        })
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
                Err(LedgerError::Stray { path: self.path.clone(), index })
            }
            Err(error) => Err(LedgerError::sqlite(&self.path, error)),
        }
    }

    pub(super) fn entry(&self, index: u64) -> Result<Option<Vec<u8>>, LedgerError> {
        self.ask(|c| {
            c.prepare_cached("SELECT body FROM entries WHERE idx = ?1")?
                .query_row([signed(index)], |row| row.get(0))
                .optional()
        })
    }

    pub(super) fn projection(&self, index: u64) -> Result<Option<Projection>, LedgerError> {
        self.ask(|c| {
            c.prepare_cached(
                "SELECT kind, service, environment, digest, phase, key FROM targets WHERE idx = ?1",
            )?
            .query_row([signed(index)], |row| {
                Ok(Projection {
                    kind: row.get(0)?,
                    service: row.get(1)?,
                    environment: row.get(2)?,
                    digest: row.get(3)?,
                    phase: row.get(4)?,
                    key: row.get(5)?,
                })
            })
            .optional()
        })
    }

    /// The records of a target below `size`, oldest first.
    pub(super) fn of_target(
        &self,
        service: &str,
        environment: &str,
        size: u64,
    ) -> Result<Vec<Found>, LedgerError> {
        self.ask(|c| {
            c.prepare_cached(
                "SELECT targets.idx, body FROM targets LEFT JOIN entries ON entries.idx = targets.idx
                 WHERE service = ?1 AND environment = ?2 AND targets.idx < ?3 ORDER BY targets.idx",
            )?
            .query_map(params![service, environment, signed(size)], found)?
            .collect()
        })
    }

    /// The records about a digest below `size`, oldest first.
    pub(super) fn of_digest(&self, digest: &Digest, size: u64) -> Result<Vec<Found>, LedgerError> {
        self.ask(|c| {
            c.prepare_cached(
                "SELECT targets.idx, body FROM targets LEFT JOIN entries ON entries.idx = targets.idx
                 WHERE digest = ?1 AND targets.idx < ?2 ORDER BY targets.idx",
            )?
            .query_map(params![digest.as_bytes(), signed(size)], found)?
            .collect()
        })
    }

    /// The first record with an idempotency key below `size`.
    pub(super) fn of_key(&self, key: &str, size: u64) -> Result<Option<Found>, LedgerError> {
        self.ask(|c| {
            c.prepare_cached(
                "SELECT targets.idx, body FROM targets LEFT JOIN entries ON entries.idx = targets.idx
                 WHERE key = ?1 AND targets.idx < ?2 ORDER BY targets.idx LIMIT 1",
            )?
            .query_row(params![key, signed(size)], found)
            .optional()
        })
    }

    /// The records of `range` that pass `filter`, newest first.
    pub(super) fn newest(
        &self,
        range: std::ops::Range<u64>,
        filter: &Filter,
    ) -> Result<Vec<Found>, LedgerError> {
        // Only conditions that are asked for, so that SQLite picks the index of a target where there is one.
        let mut query = "SELECT targets.idx, body FROM targets LEFT JOIN entries ON entries.idx = targets.idx
                         WHERE targets.idx >= ?1 AND targets.idx < ?2 AND ?4 IS ?4 AND ?5 IS ?5 AND ?6 IS ?6"
            .to_owned();
        for (condition, asked) in [
            (" AND service = ?4", filter.service.is_some()),
            (" AND environment = ?5", filter.environment.is_some()),
            (" AND kind = ?6", filter.kind.is_some()),
        ] {
            if asked {
                query.push_str(condition);
            }
        }
        query.push_str(" ORDER BY targets.idx DESC LIMIT ?3");
        self.ask(|c| {
            c.prepare_cached(&query)?
                .query_map(
                    params![
                        signed(range.start),
                        signed(range.end),
                        i64::try_from(filter.limit).unwrap_or(i64::MAX),
                        filter.service,
                        filter.environment,
                        filter.kind.map(super::Kind::as_str),
                    ],
                    found,
                )?
                .collect()
        })
    }

    /// The highest entry, wherever it may be.
    pub(super) fn last_entry(&self) -> Result<Option<u64>, LedgerError> {
        self.ask(|c| {
            c.query_row("SELECT idx FROM entries WHERE idx >= 0 ORDER BY idx DESC LIMIT 1", [], |row| {
                unsigned(row, 0)
            })
            .optional()
        })
    }

    /// Entries and rows of `targets` that no checkpoint of `size` covers.
    pub(super) fn strays(&self, size: u64) -> Result<Vec<i64>, LedgerError> {
        self.ask(|c| {
            c.prepare(
                "SELECT idx FROM entries WHERE idx >= ?1 OR idx < 0
                 UNION SELECT idx FROM targets WHERE idx >= ?1 OR idx < 0 ORDER BY idx",
            )?
            .query_map([signed(size)], |row| row.get(0))?
            .collect()
        })
    }

    /// Stored hashes that are not of a complete subtree of a log of `size` entries, as (level, index).
    pub(super) fn stray_nodes(&self, size: u64) -> Result<Vec<(i64, i64)>, LedgerError> {
        self.ask(|c| {
            c.prepare(
                "SELECT level, idx FROM nodes
                 WHERE level NOT BETWEEN 0 AND 62 OR idx < 0 OR idx >= (?1 >> level) ORDER BY level, idx",
            )?
            .query_map([signed(size)], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
        })
    }

    #[cfg(test)]
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }
}
