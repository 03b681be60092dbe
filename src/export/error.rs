//! Why there is no export, or none that could be looked at.

use std::path::PathBuf;

use crate::archive::ArchiveError;
use crate::ledger::LedgerError;
use crate::tlog::TlogError;

/// Why nothing was exported or checked.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A log, a tile or a proof.
    #[error("the log cannot be written as files")]
    Tlog(#[from] TlogError),
    /// JSON refused one of our own values.
    #[error("the index cannot be written as JSON")]
    Json(#[from] serde_json::Error),
    /// Something is there already.
    #[error("{} is there and not empty: nothing is overwritten, expected a new one", path.display())]
    Exists {
        /// The folder or file.
        path: PathBuf,
    },
    /// What an interrupted export left, or another one is writing.
    #[error(
        "{} is there: an export that was interrupted left it, or one is being written; remove it, and run this again",
        path.display()
    )]
    LeftOver {
        /// The folder or file.
        path: PathBuf,
    },
    /// The disk.
    #[error("{} cannot be {action}", path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Not an export.
    #[error("{} is no export of a ledger: {why}", path.display())]
    NotAnExport {
        /// The folder or file.
        path: PathBuf,
        /// What is missing or wrong.
        why: String,
    },
}
