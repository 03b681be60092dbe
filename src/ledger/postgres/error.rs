//! What can go wrong with a server. Each is another thing to do, and none of it is ever a yes.

use std::path::PathBuf;

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use crate::ledger::Place;

/// Why a ledger in PostgreSQL did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// Not the URL of a server.
    #[error("`{found}` in the URL of the ledger: expected {expected}")]
    Url {
        /// The part that is wrong.
        found: String,
        /// What should be there.
        expected: &'static str,
    },
    /// A password in a place that others read.
    #[error("there is a password in the URL of the ledger: expected none")]
    Password,
    /// The file with passwords cannot be read, or is open to others.
    #[error("the passwords in {} are not used: {why}", file.display())]
    PassFile {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The file with certificates cannot be used.
    #[error("there is no certificate to be read in {}", file.display())]
    Roots {
        /// The file.
        file: PathBuf,
    },
    /// TLS could not be set up here.
    #[error("TLS to ledger {place} cannot be set up")]
    Provider {
        /// The ledger.
        place: Place,
        /// Why not.
        source: rustls::Error,
    },
    /// No thread for the client.
    #[error("the client of ledger {place} cannot be started")]
    Thread {
        /// The ledger.
        place: Place,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Nobody answers.
    #[error("the server of ledger {place} cannot be reached")]
    Unreachable {
        /// The ledger.
        place: Place,
        /// What the client said.
        source: Error,
    },
    /// Nobody answers in time.
    #[error("the server of ledger {place} did not answer within {seconds} s")]
    TimedOut {
        /// The ledger.
        place: Place,
        /// How long was waited.
        seconds: u64,
    },
    /// The server did not prove its name.
    #[error("the server of ledger {place} did not prove its name")]
    Tls {
        /// The ledger.
        place: Place,
        /// What the client said.
        source: Error,
    },
    /// The login was refused.
    #[error("the server of ledger {place} refused the login")]
    Login {
        /// The ledger.
        place: Place,
        /// What the server said.
        source: Error,
    },
    /// There is no such database.
    #[error("there is no such database: {place}")]
    NoDatabase {
        /// The ledger.
        place: Place,
        /// What the server said.
        source: Error,
    },
    /// The login may not do what is needed.
    #[error("the login may not do this with ledger {place}")]
    Forbidden {
        /// The ledger.
        place: Place,
        /// What the server said.
        source: Error,
    },
    /// The login may read only.
    #[error("the login may read ledger {place} and not append to it")]
    ReadOnlyLogin {
        /// The ledger.
        place: Place,
    },
    /// The server takes no writes.
    #[error("the server of ledger {place} takes no writes: it is a standby, or set to read only")]
    Standby {
        /// The ledger.
        place: Place,
    },
    /// What is appended could be lost.
    #[error("the server of ledger {place} has `{setting}`: a record could be lost after it was acknowledged")]
    NotDurable {
        /// The ledger.
        place: Place,
        /// The setting.
        setting: &'static str,
    },
    /// Others hold the lock for longer than we wait.
    #[error("ledger {place} is locked by another session")]
    Locked {
        /// The ledger.
        place: Place,
        /// What the server said.
        source: Error,
    },
    /// The server's disk is full.
    #[error("the disk of the server of ledger {place} is full")]
    Full {
        /// The ledger.
        place: Place,
        /// What the server said.
        source: Error,
    },
    /// The connection ended.
    #[error("the connection to ledger {place} was lost: what was being appended is not known to be there")]
    Lost {
        /// The ledger.
        place: Place,
        /// What the client said.
        source: Error,
    },
    /// Tables of others, or damaged ones.
    #[error("the tables of ledger {place} are not those of a ledger")]
    Tables {
        /// The ledger.
        place: Place,
        /// What the server said.
        source: Error,
    },
    /// Anything else that the server said.
    #[error("the server of ledger {place} failed")]
    Server {
        /// The ledger.
        place: Place,
        /// What the server said.
        source: Error,
    },
}

impl PostgresError {
    /// What came of connecting and logging in. The client tells its own kinds of error by their text alone.
    pub(super) fn connecting(place: &Place, source: Error) -> Self {
        let place = place.clone();
        if let Some(code) = source.code() {
            return match code {
                &SqlState::INVALID_PASSWORD | &SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
                    Self::Login { place, source }
                }
                &SqlState::INVALID_CATALOG_NAME => Self::NoDatabase { place, source },
                &SqlState::INSUFFICIENT_PRIVILEGE => Self::Forbidden { place, source },
                &SqlState::CANNOT_CONNECT_NOW | &SqlState::TOO_MANY_CONNECTIONS => {
                    Self::Unreachable { place, source }
                }
                _ => Self::Server { place, source },
            };
        }
        match source.to_string().as_str() {
            "error performing TLS handshake" => Self::Tls { place, source },
            // No password where one is asked for; a server that does not know ours either.
            "invalid configuration" | "authentication error" => Self::Login { place, source },
            _ => Self::Unreachable { place, source },
        }
    }

    /// What came of a question.
    pub(super) fn asking(place: &Place, source: Error) -> Self {
        let place = place.clone();
        let io = std::error::Error::source(&source).is_some_and(|cause| cause.is::<std::io::Error>());
        match source.code() {
            None if source.is_closed() || io => Self::Lost { place, source },
            None => Self::Tables { place, source },
            Some(
                &SqlState::ADMIN_SHUTDOWN
                | &SqlState::CRASH_SHUTDOWN
                | &SqlState::CANNOT_CONNECT_NOW
                | &SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
            ) => Self::Lost { place, source },
            Some(
                &SqlState::LOCK_NOT_AVAILABLE | &SqlState::QUERY_CANCELED | &SqlState::T_R_DEADLOCK_DETECTED,
            ) => Self::Locked { place, source },
            Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Self::Forbidden { place, source },
            Some(&SqlState::READ_ONLY_SQL_TRANSACTION) => Self::Standby { place },
            Some(&SqlState::DISK_FULL) => Self::Full { place, source },
            Some(
                &SqlState::UNDEFINED_TABLE
                | &SqlState::UNDEFINED_COLUMN
                | &SqlState::UNDEFINED_FUNCTION
                | &SqlState::DATATYPE_MISMATCH
                | &SqlState::WRONG_OBJECT_TYPE,
            ) => Self::Tables { place, source },
            Some(_) => Self::Server { place, source },
        }
    }

    /// What the reader of the error can do.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Url { .. } => "write `url = \"postgres://USER@HOST/DATABASE\"` under `[ledger]`",
            Self::Password => "set PGPASSWORD, or write a line in ~/.pgpass: a policy lies in a repository",
            Self::PassFile { .. } => "make it a file that only this user can read: chmod 600",
            Self::Roots { .. } => "`sslrootcert` names a file of PEM certificates, from the policy's folder",
            Self::Provider { .. } | Self::Thread { .. } | Self::Server { .. } => return None,
            Self::Unreachable { .. } | Self::TimedOut { .. } => {
                "see that the server is up and can be reached from here: nothing was appended"
            }
            Self::Tls { .. } => {
                "the server needs TLS, and a certificate for this host name from a root this machine trusts; name a \
                 root of your own with `sslrootcert=FILE`"
            }
            Self::Login { .. } => "set PGUSER and PGPASSWORD, or write a line in ~/.pgpass",
            Self::NoDatabase { .. } => "make it with `createdb`, or check `url` under `[ledger]`",
            Self::Forbidden { .. } => {
                "the login needs USAGE on the schema and SELECT on its tables; to append, INSERT on all and UPDATE on \
                 `checkpoint`, `control_checkpoint` and `kept`; to make a ledger, CREATE on the database"
            }
            Self::ReadOnlyLogin { .. } => {
                "the login needs INSERT on all tables, UPDATE on `checkpoint`, `control_checkpoint` and `kept`"
            }
            Self::Standby { .. } => "name the primary under `[ledger]`",
            Self::NotDurable { .. } => "switch it on in postgresql.conf: nothing was appended",
            Self::Locked { .. } => {
                "run the command again when the other session has finished: nothing was appended"
            }
            Self::Full { .. } => "free some space and run the command again: nothing was appended",
            Self::Lost { .. } => "run the command again: it looks first for what it may have appended",
            Self::Tables { .. } => {
                "check `url` under `[ledger]`; `samebits ledger verify` names what was changed"
            }
        })
    }
}
