//! What a witness remembers: the last checkpoint of every log that it cosigned, in a SQLite file of its own.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use crate::tlog::{Checkpoint, SignedCheckpoint};

/// "samw", in the header of the file.
const APPLICATION: i64 = 0x7361_6d77;

const TABLE: &str =
    "CREATE TABLE IF NOT EXISTS cosigned (origin TEXT PRIMARY KEY, note TEXT NOT NULL) STRICT, WITHOUT ROWID";

/// Why what a witness remembers cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Something else is there.
    #[error("{path} is not the state of a witness")]
    NotAState {
        /// The file.
        path: PathBuf,
    },
    /// A row of it is no checkpoint.
    #[error("the state {path} holds no checkpoint of `{origin}` where it should")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The log.
        origin: String,
    },
    /// SQLite.
    #[error("the state {path} of the witness failed")]
    Store {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
}

pub(super) struct State {
    connection: Mutex<Connection>,
    path: PathBuf,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "State({})", self.path.display())
    }
}

impl State {
    /// Made, if there is nothing.
    pub(super) fn open(path: &Path) -> Result<Self, StateError> {
        let failed = |source| StateError::Store { path: path.to_owned(), source };
        let connection = Connection::open(path).map_err(failed)?;
        let found: i64 = connection
            .query_row("SELECT application_id + 0 FROM pragma_application_id", [], |row| row.get(0))
            .map_err(failed)?;
        let tables: i64 = connection
            .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
            .map_err(failed)?;
        if found != APPLICATION && (found, tables) != (0, 0) {
            return Err(StateError::NotAState { path: path.to_owned() });
        }
        let ready = |c: &Connection| {
            c.busy_timeout(Duration::from_secs(10))?;
            c.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))?;
            // What was cosigned is on disk before anybody hears of it.
            c.pragma_update(None, "synchronous", "FULL")?;
            c.pragma_update(None, "fullfsync", true)?;
            c.pragma_update(None, "application_id", APPLICATION)?;
            c.execute_batch(TABLE)
        };
        ready(&connection).map_err(failed)?;
        Ok(Self { connection: Mutex::new(connection), path: path.to_owned() })
    }

    /// Asks `may` whether `head` follows the latest checkpoint of its log, and keeps it if so: one transaction, so that
    /// of two requests one is checked against the other.
    pub(super) fn step<E>(
        &self,
        head: &SignedCheckpoint,
        may: impl FnOnce(Option<&Checkpoint>) -> Result<(), E>,
    ) -> Result<Result<(), E>, StateError> {
        let failed = |source| StateError::Store { path: self.path.clone(), source };
        // Whoever panicked left a transaction that is rolled back.
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let origin = head.origin().as_str();
        let note: Option<String> = transaction
            .query_row("SELECT note FROM cosigned WHERE origin = ?1", [origin], |row| row.get(0))
            .optional()
            .map_err(failed)?;
        let damaged = || StateError::Damaged { path: self.path.clone(), origin: origin.to_owned() };
        // It was verified before it was kept; what stands here now is this machine's word.
        let latest = note.map(|note| {
            let text = note.split_once("\n\n").map(|(text, _)| format!("{text}\n"));
            text.and_then(|text| text.parse::<Checkpoint>().ok()).ok_or_else(damaged)
        });
        if let Err(no) = may(latest.transpose()?.as_ref()) {
            return Ok(Err(no));
        }
        transaction
            .execute("INSERT OR REPLACE INTO cosigned VALUES (?1, ?2)", params![origin, head.text()])
            .map_err(failed)?;
        transaction.commit().map_err(failed)?;
        Ok(Ok(()))
    }
}
