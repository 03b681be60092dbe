//! The lock of a ledger as it is printed.

use samebits::policy::Lock;
use samebits::record::TreeHead;
use samebits::tlog::{Checkpoint, Vkey};
use schemars::JsonSchema;
use serde::Serialize;

/// The answer of `ledger lock`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LockReport {
    /// `https://samebits.dev/schema/lock.schema.json`
    pub(crate) schema: &'static str,
    /// The log's name.
    pub(crate) origin: String,
    /// The keys it may be signed with.
    pub(crate) vkeys: Vec<Vkey>,
    /// What became of the lock.
    pub(crate) was: LockWas,
    /// What it asks for now.
    pub(crate) lock: LockStands,
    /// The head of the main lane.
    pub(crate) ledger: TreeHead,
    /// The head of the control lane.
    pub(crate) control: TreeHead,
}

impl LockReport {
    pub(crate) const SCHEMA: &str = "https://samebits.dev/schema/lock.schema.json";
}

/// What `ledger lock` made of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LockWas {
    /// There was none.
    Written,
    /// It asks for more than before.
    Raised,
    /// It is as it was.
    Kept,
}

/// The least that a lock asks for.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LockStands {
    /// The name of the file.
    pub(crate) file: String,
    /// Of the main lane.
    pub(crate) main: TreeHead,
    /// Of the control lane.
    pub(crate) control: TreeHead,
}

impl From<&Lock> for LockStands {
    fn from(lock: &Lock) -> Self {
        let head = |head: &Checkpoint| TreeHead { size: head.size, root: head.root };
        Self { file: lock.file().to_owned(), main: head(lock.main()), control: head(lock.control()) }
    }
}
