//! The bytes of a ledger in a PostgreSQL database. An untrusted store: everything it returns is checked above it.
//!
//! Guarantees: an append is one transaction under the lock of the row that holds the head (`SELECT … FOR UPDATE`),
//! and is flushed by the server when [`Store::swap`] returns (`synchronous_commit` of `on` or more; a server with
//! `fsync=off` is refused); reads under a snapshot are of one state (`REPEATABLE READ`). Never does: believe a row,
//! change anything outside of its schema, overwrite a schema in which there is anything.
//!
//! A connection that is lost at the commit leaves open whether it was made: another session waits for the lock and
//! looks. Where it cannot, or finds nothing, that is [`PostgresError::Lost`]. The next question logs in again.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::FromSql;

use super::driver::Driver;
use super::seen::Lane;
use super::store::{Batch, ControlBatch, Store, Swap, Tables};
use super::{LedgerError, Place};
use crate::digest::Digest;
use crate::tlog::{MAX_NOTE, Origin, SignedCheckpoint};

mod ahead;
mod error;
mod login;
mod session;
mod swap;
mod tables;
#[cfg(test)]
mod tests;
mod url;

use ahead::Ahead;
pub use error::PostgresError;
use session::{Session, Value, value};
use swap::{Change, Outcome, Trouble};
pub(super) use url::Server;

/// The version of the tables below, that of SQLite's.
const FORMAT: i64 = 3;

/// As in SQLite. Names are compared and ordered as bytes, whatever the database's collation is.
const TABLES: &str = r#"
CREATE TABLE meta (id int8 PRIMARY KEY CHECK (id = 1), format int8 NOT NULL, origin text NOT NULL);
CREATE TABLE checkpoint (id int8 PRIMARY KEY CHECK (id = 1), note text NOT NULL);
CREATE TABLE entries (idx int8 PRIMARY KEY, body bytea NOT NULL);
CREATE TABLE nodes (level int2 NOT NULL, idx int8 NOT NULL, hash bytea NOT NULL, PRIMARY KEY (level, idx));
CREATE TABLE targets (idx int8 PRIMARY KEY, kind text NOT NULL, service text COLLATE "C" NOT NULL,
    environment text COLLATE "C" NOT NULL, digest bytea, phase text NOT NULL, key text COLLATE "C");
CREATE INDEX targets_target ON targets (service, environment, idx);
CREATE INDEX targets_digest ON targets (digest, idx) WHERE digest IS NOT NULL;
CREATE INDEX targets_key ON targets (key, idx) WHERE key IS NOT NULL;
CREATE TABLE control_checkpoint (id int8 PRIMARY KEY CHECK (id = 1), note text NOT NULL);
CREATE TABLE control (idx int8 PRIMARY KEY, body bytea NOT NULL);
CREATE TABLE kept (digest bytea PRIMARY KEY, bytes bytea NOT NULL);
CREATE TABLE cosigned (lane text PRIMARY KEY, note text NOT NULL);
"#;

pub(super) struct Postgres {
    driver: Driver,
    server: Server,
    place: Place,
    session: RefCell<Arc<Session>>,
    /// Whether a snapshot lives, which a new login would end without a word.
    reading: Cell<bool>,
    /// Whether the session ended before it could say so itself.
    lost: Cell<bool>,
    ahead: RefCell<Ahead>,
}

/// PostgreSQL has signed integers; `tlog::MAX_SIZE` is the largest of them.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Whether somebody else made the same at the same time.
fn is_there(source: &tokio_postgres::Error) -> bool {
    let taken = [&SqlState::DUPLICATE_SCHEMA, &SqlState::DUPLICATE_TABLE, &SqlState::UNIQUE_VIOLATION];
    source.code().is_some_and(|code| taken.contains(&code))
}

impl Postgres {
    /// Makes the schema and its tables, once, in one transaction. A schema that an administrator made is used if there
    /// is nothing in it.
    pub(super) fn create(
        server: &Server,
        origin: &Origin,
        note: &SignedCheckpoint,
        control: &SignedCheckpoint,
    ) -> Result<Self, LedgerError> {
        let store = Self::connect(server)?;
        store.durable()?;
        store.begin("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")?;
        // Where it fails the session ends, and its transaction with it.
        store.make(origin, note, control).map_err(|error| match error {
            LedgerError::Postgres { source: PostgresError::Server { place, source } }
                if is_there(&source) =>
            {
                LedgerError::Exists { place }
            }
            other => other,
        })?;
        store.batch("COMMIT")?;
        Ok(store)
    }

    fn make(
        &self,
        origin: &Origin,
        note: &SignedCheckpoint,
        control: &SignedCheckpoint,
    ) -> Result<(), LedgerError> {
        let schema = &self.server.schema;
        let there = "SELECT EXISTS (SELECT FROM pg_class WHERE relnamespace = pg_namespace.oid)
                         OR EXISTS (SELECT FROM pg_proc WHERE pronamespace = pg_namespace.oid)
                     FROM pg_namespace WHERE nspname = $1";
        match self.first(there, vec![value(schema.clone())])? {
            // The name is one that needs no quotes.
            None => self.batch(&format!("CREATE SCHEMA {schema}"))?,
            Some(false) => {}
            Some(true) => return Err(LedgerError::Exists { place: self.place.clone() }),
        }
        self.batch(TABLES)?;
        self.rows("INSERT INTO meta VALUES (1, $1, $2)", vec![value(FORMAT), value(origin.to_string())])?;
        self.rows("INSERT INTO checkpoint VALUES (1, $1)", vec![value(note.text().to_owned())])?;
        self.rows("INSERT INTO control_checkpoint VALUES (1, $1)", vec![value(control.text().to_owned())])?;
        Ok(())
    }

    pub(super) fn open(server: &Server, write: bool) -> Result<Self, LedgerError> {
        let store = Self::connect(server)?;
        let there = "SELECT to_regclass($1 || '.meta') IS NOT NULL FROM pg_namespace WHERE nspname = $1";
        match store.first(there, vec![value(server.schema.clone())])? {
            None => return Err(LedgerError::Absent { place: store.place }),
            Some(false) => return Err(LedgerError::NotALedger { place: store.place }),
            Some(true) => {}
        }
        let found = match store.first("SELECT format FROM meta", Vec::new()) {
            Ok(Some(found)) => found,
            Ok(None) => return Err(LedgerError::NotALedger { place: store.place }),
            Err(LedgerError::Postgres { source: PostgresError::Tables { .. } }) => {
                return Err(LedgerError::NotALedger { place: store.place });
            }
            Err(other) => return Err(other),
        };
        if found != FORMAT {
            return Err(LedgerError::Format { place: store.place, found, expected: FORMAT });
        }
        if write {
            store.durable()?;
            let may = "SELECT has_table_privilege('checkpoint', 'UPDATE')
                          AND has_table_privilege('control_checkpoint', 'UPDATE')
                          AND has_table_privilege('kept', 'INSERT') AND has_table_privilege('kept', 'UPDATE')
                          AND has_table_privilege('entries', 'INSERT') AND has_table_privilege('nodes', 'INSERT')
                          AND has_table_privilege('targets', 'INSERT') AND has_table_privilege('control', 'INSERT')";
            if store.first(may, Vec::new())? != Some(true) {
                return Err(PostgresError::ReadOnlyLogin { place: store.place }.into());
            }
        }
        Ok(store)
    }

    fn connect(server: &Server) -> Result<Self, LedgerError> {
        let place = Place::server(server);
        let driver =
            Driver::new().map_err(|source| PostgresError::Thread { place: place.clone(), source })?;
        let session = driver.run(Session::open(server.clone(), place.clone()))?;
        let session = RefCell::new(Arc::new(session));
        Ok(Self {
            driver,
            server: server.clone(),
            place,
            session,
            reading: Cell::new(false),
            lost: Cell::new(false),
            ahead: RefCell::default(),
        })
    }

    /// A commit is on disk before it is acknowledged, and a server that takes none is found now.
    fn durable(&self) -> Result<(), LedgerError> {
        let place = || self.place.clone();
        let standby = "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on'";
        if self.first(standby, Vec::new())? != Some(false) {
            return Err(PostgresError::Standby { place: place() }.into());
        }
        for (setting, question) in [
            ("fsync=off", "SELECT current_setting('fsync') = 'on'"),
            ("full_page_writes=off", "SELECT current_setting('full_page_writes') = 'on'"),
            (
                "synchronous_commit=off",
                "SELECT current_setting('synchronous_commit') IN ('on', 'remote_apply')",
            ),
        ] {
            if self.first(question, Vec::new())? != Some(true) {
                return Err(PostgresError::NotDurable { place: place(), setting }.into());
            }
        }
        Ok(())
    }

    /// Whoever is logged in; anew, where the connection was lost and no reader relies on it.
    fn session(&self) -> Result<Arc<Session>, LedgerError> {
        let mut session = self.session.borrow_mut();
        if (self.lost.get() || session.client.is_closed()) && !self.reading.get() {
            *session = Arc::new(self.driver.run(Session::open(self.server.clone(), self.place.clone()))?);
            self.lost.set(false);
        }
        Ok(session.clone())
    }

    fn trouble(&self, source: tokio_postgres::Error) -> LedgerError {
        let trouble = PostgresError::asking(&self.place, source);
        self.lost.set(self.lost.get() || matches!(trouble, PostgresError::Lost { .. }));
        trouble.into()
    }

    fn begin(&self, begin: &'static str) -> Result<(), LedgerError> {
        let session = self.session()?;
        let done = self.driver.run(async move { session.begin(begin).await });
        done.map_err(|source| self.trouble(source))
    }

    fn batch(&self, sql: &str) -> Result<(), LedgerError> {
        let (session, sql) = (self.session()?, sql.to_owned());
        let done = self.driver.run(async move { session.client.batch_execute(&sql).await });
        done.map_err(|source| self.trouble(source))
    }

    fn rows(&self, sql: &str, values: Vec<Value>) -> Result<Vec<Row>, LedgerError> {
        let (session, sql) = (self.session()?, sql.to_owned());
        let rows = self.driver.run(async move { session.rows(&sql, &values).await });
        rows.map_err(|source| self.trouble(source))
    }

    fn get<T: for<'r> FromSql<'r>>(&self, row: &Row, column: usize) -> Result<T, LedgerError> {
        row.try_get(column).map_err(|source| self.trouble(source))
    }

    /// The first column of the first row.
    fn first<T: for<'r> FromSql<'r>>(&self, sql: &str, values: Vec<Value>) -> Result<Option<T>, LedgerError> {
        self.rows(sql, values)?.first().map(|row| self.get(row, 0)).transpose()
    }

    fn change(&self, change: Change) -> Result<Swap, LedgerError> {
        let (session, change) = (self.session()?, Arc::new(change));
        let make = Arc::clone(&change);
        match self.driver.run(async move { make.make(&session).await }) {
            Ok(Outcome::Swapped) => Ok(Swap::Swapped),
            Ok(Outcome::Conflict) => Ok(Swap::Conflict),
            Ok(Outcome::Stray(Lane::Main, index)) => {
                Err(LedgerError::Stray { place: self.place.clone(), index })
            }
            Ok(Outcome::Stray(Lane::Control, index)) => {
                Err(LedgerError::ControlStray { place: self.place.clone(), index: signed(index) })
            }
            Err(Trouble::Before(source)) => Err(self.trouble(source)),
            Err(Trouble::AtCommit(source)) => match self.trouble(source) {
                lost @ LedgerError::Postgres { source: PostgresError::Lost { .. } } => {
                    if self.was_made(change).unwrap_or(false) { Ok(Swap::Swapped) } else { Err(lost) }
                }
                refused => Err(refused),
            },
        }
    }

    /// Looks, by another session, for what one that was lost has done.
    fn was_made(&self, change: Arc<Change>) -> Result<bool, LedgerError> {
        let session = self.session()?;
        let made = self.driver.run(async move { change.was_made(&session).await });
        made.map_err(|source| self.trouble(source))
    }
}

impl Store for Postgres {
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
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.first(
            "SELECT CASE WHEN octet_length(bytes) <= $2::int8 THEN bytes ELSE ''::bytea END FROM kept WHERE digest = $1",
            vec![value(digest.as_bytes().to_vec()), value(limit)],
        )
    }

    fn cosigned(&self, lane: Lane) -> Result<Option<Vec<u8>>, LedgerError> {
        let note: Option<String> = self.first(
            "SELECT CASE WHEN octet_length(note) <= $2::int8 THEN note ELSE '' END FROM cosigned WHERE lane = $1",
            vec![value(lane.name().to_owned()), value(signed(MAX_NOTE as u64))],
        )?;
        Ok(note.map(String::into_bytes))
    }

    fn keep_cosigned(&self, lane: Lane, before: Option<&[u8]>, note: &str) -> Result<Swap, LedgerError> {
        let mut values = vec![value(lane.name().to_owned()), value(note.to_owned())];
        // Each is one statement: who waits for the row looks at it again (PostgreSQL 17 documentation, 13.2.1).
        let kept: Option<String> = match before {
            None => self.first(
                "INSERT INTO cosigned VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING lane",
                values,
            )?,
            Some(before) => {
                values.push(value(String::from_utf8_lossy(before).into_owned()));
                values.push(value(signed(MAX_NOTE as u64)));
                self.first(
                    "UPDATE cosigned SET note = $2 WHERE lane = $1
                     AND CASE WHEN octet_length(note) <= $4::int8 THEN note ELSE '' END = $3 RETURNING lane",
                    values,
                )?
            }
        };
        Ok(if kept.is_some() { Swap::Swapped } else { Swap::Conflict })
    }

    fn swap(&self, expected: &SignedCheckpoint, batch: &Batch<'_>) -> Result<Swap, LedgerError> {
        self.change(Change::main(expected.text(), batch))
    }

    fn swap_control(
        &self,
        expected: &SignedCheckpoint,
        batch: &ControlBatch<'_>,
    ) -> Result<Swap, LedgerError> {
        self.change(Change::control(expected.text(), batch))
    }
}
