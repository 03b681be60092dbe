//! Whether records are filed as they say: the rows that queries find them by are not signed, the records are.
//!
//! Guarantees: what is filed under anything else than its own bytes say is an error that names both; whoever stores a
//! ledger hides no record that way. Never does: say anything of an entry that is no record ([`Index::claimed`]): it is
//! inert wherever it lies, and no place in the chain of a target ([`super::target::history`]).

use super::store::Projection;
use super::{Index, Ledger, LedgerError};
use crate::digest::{Digest, shorten};
use crate::tlog::{Frontier, SignedCheckpoint, TlogError, leaf_hash};

/// So many of the newest records are looked at when a ledger is opened that its user has not pinned yet.
pub(super) const NEWEST: u64 = 1024;

/// The first thing that a row says and the bytes of its record do not, and what they say instead. `None` where there is
/// no contradiction, or no record.
pub(super) fn contradiction(bytes: &[u8], row: &Projection) -> Option<(String, String)> {
    let says = Projection::from(&Index::claimed(bytes)?);
    let named = |name: &str, value: &str| format!("{name} `{}`", shorten(value));
    let optional = |name: &str, value: Option<&str>| {
        value.map_or_else(|| format!("no {name}"), |value| format!("{name} `{}`", shorten(value)))
    };
    let image = |row: &Projection| {
        let digest = row.digest.clone().and_then(|digest| digest.try_into().ok()).map(Digest::from_bytes);
        optional("image", digest.map(|digest| digest.to_string()).as_deref())
    };
    let all = |row: &Projection| {
        [
            named("service", &row.service),
            named("environment", &row.environment),
            named("kind", &row.kind),
            named("phase", &row.phase),
            image(row),
            optional("key", row.key.as_deref()),
        ]
    };
    if *row == says {
        return None;
    }
    all(row)
        .into_iter()
        .zip(all(&says))
        .find(|(filed, says)| filed != says)
        // Values that are not shown in full.
        .or_else(|| Some(("another row".to_owned(), "its own".to_owned())))
}

impl Ledger {
    /// Looks whether the newest records of the log of `at`, those with an index of `from` or more, are filed as they say
    /// and are those that were signed; at most [`NEWEST`].
    ///
    /// # Errors
    /// [`LedgerError::Row`] for the first that is not.
    pub(super) fn require_rows(&self, at: &SignedCheckpoint, from: u64) -> Result<(), LedgerError> {
        let place = || self.place().clone();
        let from = from.max(at.size().saturating_sub(NEWEST)).min(at.size());
        if from == at.size() {
            return Ok(());
        }
        let _snapshot = self.tables().snapshot()?;
        let mut frontier = Frontier::load(from, |node| self.node(node))?;
        for index in from..at.size() {
            let bytes = self.tables().entry(index)?;
            let bytes = bytes.ok_or_else(|| LedgerError::RecordMissing { place: place(), index })?;
            frontier.push::<TlogError>(leaf_hash(&bytes), |_, _| Ok(()))?;
            let wrong = match self.tables().projection(index)? {
                Some(row) => contradiction(&bytes, &row),
                None => Some(("nothing".to_owned(), "what it is about".to_owned())),
            };
            if let Some((filed, says)) = wrong {
                let at = "the index".to_owned();
                return Err(LedgerError::Row { place: place(), at, index, filed, says });
            }
        }
        let (expected, found) = (at.root(), frontier.root());
        match found == expected {
            true => Ok(()),
            false => Err(LedgerError::RootMismatch { place: place(), expected, found }),
        }
    }
}
