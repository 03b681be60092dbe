//! Slots on a branch of a git repository: the files of its newest commit, by the `git` program.
//!
//! Guarantees: a slot is created by one push that does not force, so of two writers the server takes one, and the other
//! looks again; what decisions relied on is pushed in one commit with the slot that names it. Nothing of the repository
//! that the caller stands in is read: no configuration, no hooks. Never does: overwrite a slot, keep history (one
//! commit is fetched, not those before it), handle credentials (git's own helpers do), believe the branch. A branch that
//! was pushed back by force is found by the mirror, which has what vanished.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use super::{Created, SlotError, Slots};
use crate::ledger::place::Remote;

mod error;
mod program;
#[cfg(test)]
mod tests;

pub use error::GitError;
use program::{Cache, Head, Pushed};

/// How often others may be faster before a push is given up.
const ATTEMPTS: u32 = 60;
/// What is written with the slot that names it, rather than before.
const WITH_A_SLOT: &str = "evidence/";

/// Slots on a branch.
pub(in crate::ledger) struct Git {
    cache: Cache,
    /// Goes with the next slot.
    staged: Mutex<BTreeMap<String, Bytes>>,
}

impl Git {
    /// Of a branch that may be there or not; what is fetched lies below `cache`, or goes away with this process.
    pub(in crate::ledger) fn open(remote: &Remote, cache: Option<&Path>) -> Result<Self, SlotError> {
        Ok(Self { cache: Cache::open(remote, cache)?, staged: Mutex::default() })
    }

    fn staged(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.staged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pushes a commit with what `change` makes of a head, again from the new head as often as others are faster.
    /// `None` from `change` is nothing to push.
    fn push<'o>(
        &self,
        mut change: impl FnMut(&Head) -> Result<Option<Vec<(&'o str, &'o Bytes)>>, SlotError>,
    ) -> Result<(), SlotError> {
        let _alone = self.cache.lock()?;
        // The newest is known, as a rule: whoever appends has just looked. The push finds out if not.
        let mut head = self.cache.head()?;
        for _ in 0..ATTEMPTS {
            let Some(objects) = change(&head)? else { return Ok(()) };
            let commit = self.cache.commit(&head, &objects)?;
            let open = match self.cache.push(&head, &commit)? {
                Pushed::Taken => return Ok(()),
                Pushed::TooLate => None,
                Pushed::Open(why) => Some(why),
            };
            let before = std::mem::replace(&mut head, self.cache.fetch()?);
            match open {
                Some(why) if head == before => return Err(why.into()),
                Some(_) | None => {}
            }
        }
        Err(GitError::Contention { attempts: ATTEMPTS }.into())
    }
}

impl Slots for Git {
    fn get_all(&self, names: &[String], limit: usize) -> Result<Vec<Option<Bytes>>, SlotError> {
        let _alone = self.cache.lock()?;
        // What is kept under its digest does not change.
        if names.iter().all(|name| name.starts_with(WITH_A_SLOT)) {
            let found = self.cache.read(&self.cache.head()?, names, limit)?;
            if found.iter().all(Option::is_some) {
                return Ok(found);
            }
        }
        self.cache.read(&self.cache.fetch()?, names, limit)
    }

    fn create_all(&self, objects: &[(String, Bytes)]) -> Result<Vec<Created>, SlotError> {
        let names: Vec<_> = objects.iter().map(|(name, _)| name.clone()).collect();
        let created = |there: &BTreeSet<String>| {
            let created = names.iter().map(|name| match there.contains(name) {
                true => Created::Exists,
                false => Created::Created,
            });
            created.collect()
        };
        if names.iter().all(|name| name.starts_with(WITH_A_SLOT)) {
            let _alone = self.cache.lock()?;
            let there = self.cache.which(&self.cache.head()?, &names)?;
            let new = objects.iter().filter(|(name, _)| !there.contains(name)).cloned();
            self.staged().extend(new);
            return Ok(created(&there));
        }
        let staged = self.staged().clone();
        let evidence: Vec<_> = staged.keys().cloned().collect();
        let mut there = BTreeSet::new();
        let mut first = true;
        self.push(|head| {
            there = self.cache.which(head, &names)?;
            // Not by what was fetched some time ago.
            if !there.is_empty() && std::mem::take(&mut first) {
                there = self.cache.which(&self.cache.fetch()?, &names)?;
            }
            let known = self.cache.which(head, &evidence)?;
            let new = objects.iter().filter(|(name, _)| !there.contains(name));
            let new: Vec<_> = new.map(|(name, bytes)| (name.as_str(), bytes)).collect();
            let with = staged.iter().filter(|(name, _)| !known.contains(*name));
            let with = with.map(|(name, bytes)| (name.as_str(), bytes));
            Ok((!new.is_empty()).then(|| new.iter().copied().chain(with).collect()))
        })?;
        self.staged().retain(|name, _| !staged.contains_key(name));
        Ok(created(&there))
    }

    fn list(&self, prefix: &str, after: &str) -> Result<Vec<String>, SlotError> {
        let _alone = self.cache.lock()?;
        let names = self.cache.list(&self.cache.fetch()?)?;
        Ok(names.into_iter().filter(|name| name.starts_with(prefix) && name.as_str() > after).collect())
    }

    fn put_all(&self, objects: &[(String, Bytes)]) -> Result<(), SlotError> {
        let names: Vec<_> = objects.iter().map(|(name, _)| name.clone()).collect();
        let limit = objects.iter().map(|(_, bytes)| bytes.len()).max().unwrap_or_default();
        self.push(|head| {
            let there = match self.cache.read(head, &names, limit) {
                // Something longer than it ought to be.
                Err(SlotError::TooLong { .. }) => vec![None; names.len()],
                there => there?,
            };
            let new = objects.iter().zip(there).filter(|((_, bytes), there)| there.as_ref() != Some(bytes));
            let new: Vec<_> = new.map(|((name, bytes), _)| (name.as_str(), bytes)).collect();
            Ok((!new.is_empty()).then_some(new))
        })
    }
}
