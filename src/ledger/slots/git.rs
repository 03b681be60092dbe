//! Slots on a branch of a git repository: the files of its newest commit, by the `git` program.
//!
//! Guarantees: a slot is created by one push that does not force, so of two writers the server takes one, and the other
//! looks again; what decisions relied on is pushed in one commit with the slot that names it. Nothing of the repository
//! that the caller stands in is read: no configuration, no hooks. Never does: overwrite a slot, keep history (one
//! commit is fetched, not those before it), handle credentials (git's own helpers do), believe the branch. What vanished
//! from it or was changed on it is found by what was fetched before, and by the mirror: nothing is appended then.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::card::CARD;
use super::{COSIGNED, Created, SlotError, Slots, Swap, folder, slot};
use crate::ledger::place::Remote;
use crate::ledger::seen::Lane;

mod error;
mod process;
mod program;
// Its hooks are scripts.
#[cfg(test)]
#[cfg(unix)]
mod tests;

pub use error::GitError;
use program::{Cache, Head, Pushed};

/// How often others may be faster before a push is given up.
const ATTEMPTS: u32 = 60;
/// What is pushed with the slot that names it, rather than before.
const WITH_A_SLOT: &str = "evidence/";
/// What is pushed with the checkpoint that covers it, rather than before.
const WITH_A_CHECKPOINT: &str = "tile/";

/// Slots on a branch.
pub(in crate::ledger) struct Git {
    cache: Cache,
    staged: Mutex<Staged>,
}

/// What is not pushed yet.
#[derive(Default)]
struct Staged {
    /// Goes with the next slot.
    evidence: BTreeMap<String, Bytes>,
    /// Goes with the next checkpoint.
    tiles: BTreeMap<String, Bytes>,
}

impl Git {
    /// Of a branch that may be there or not; what is fetched lies below `cache`, or goes away with this process.
    pub(in crate::ledger) fn open(remote: &Remote, cache: Option<&Path>) -> Result<Self, SlotError> {
        Ok(Self { cache: Cache::open(remote, cache)?, staged: Mutex::default() })
    }

    fn staged(&self) -> MutexGuard<'_, Staged> {
        self.staged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pushes a commit with what `change` makes of a head, again from the new head as often as others are faster.
    /// `None` from `change` is nothing to push.
    fn push<'o>(
        &self,
        attempts: u32,
        mut change: impl FnMut(&Head) -> Result<Option<Vec<(&'o str, &'o Bytes)>>, SlotError>,
    ) -> Result<(), SlotError> {
        let _alone = self.cache.lock()?;
        // The newest is known, as a rule: whoever appends has just looked. The push finds out if not.
        let mut head = self.cache.head()?;
        for _ in 0..attempts {
            if let Some(name) = head.lost() {
                return Err(GitError::Rewritten { name: name.to_owned() }.into());
            }
            let Some(objects) = change(&head)? else { return Ok(()) };
            let commit = self.cache.commit(&head, &objects)?;
            let open = match self.cache.push(&commit)? {
                Pushed::Taken => return Ok(()),
                Pushed::TooLate => None,
                Pushed::Open(why) => Some(why),
            };
            let next = match (self.cache.fetch(), open.as_ref()) {
                // It may be there, and nobody can look.
                (Err(_), Some(_)) => None,
                (fetched, _) => Some(fetched?),
            };
            let before = next.map(|next| std::mem::replace(&mut head, next));
            match open {
                Some(why) if before.as_ref().is_none_or(|before| *before == head) => {
                    return Err(why.into());
                }
                Some(_) | None => {}
            }
        }
        Err(GitError::Contention { attempts }.into())
    }
}

fn all(objects: &[(String, Bytes)], folder: &str) -> bool {
    objects.iter().all(|(name, _)| name.starts_with(folder))
}

fn pairs<'o>(objects: impl Iterator<Item = (&'o String, &'o Bytes)>) -> Vec<(&'o str, &'o Bytes)> {
    objects.map(|(name, bytes)| (name.as_str(), bytes)).collect()
}

impl Slots for Git {
    fn get_all(&self, names: &[String], limit: usize) -> Result<Vec<Option<Bytes>>, SlotError> {
        let _alone = self.cache.lock()?;
        let slots = || names.iter().any(|name| is_slot(name));
        // What is kept under its digest does not change, and what is derived need not be the newest.
        let moves = |name: &String| name == CARD || name.starts_with(COSIGNED);
        if !slots() && !names.iter().any(moves) {
            let found = self.cache.read(&self.cache.head()?, names, limit)?;
            if found.iter().all(Option::is_some) {
                return Ok(found);
            }
        }
        let head = self.cache.fetch()?;
        let found = self.cache.read(&head, names, limit)?;
        // That nothing follows is no answer where something vanished, unless who asks for that sees it himself: the slot
        // that he took over last is the first he asks for, and an empty copy has none.
        match head.lost() {
            Some(name)
                if slots()
                    && found.iter().any(Option::is_none)
                    && !names.first().is_some_and(|asked| head.has_lost(asked) && !is_beginning(names)) =>
            {
                Err(GitError::Rewritten { name: name.to_owned() }.into())
            }
            Some(_) | None => Ok(found),
        }
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
        if all(objects, WITH_A_SLOT) {
            let _alone = self.cache.lock()?;
            let there = self.cache.which(&self.cache.head()?, &names)?;
            let new = objects.iter().filter(|(name, _)| !there.contains(name)).cloned();
            self.staged().evidence.extend(new);
            return Ok(created(&there));
        }
        let evidence = self.staged().evidence.clone();
        let pieces: Vec<_> = evidence.keys().cloned().collect();
        let mut there = BTreeSet::new();
        let mut first = true;
        self.push(ATTEMPTS, |head| {
            there = self.cache.which(head, &names)?;
            // Not by what was fetched some time ago.
            if !there.is_empty() && std::mem::take(&mut first) {
                there = self.cache.which(&self.cache.fetch()?, &names)?;
            }
            let known = self.cache.which(head, &pieces)?;
            let mut new = pairs(objects.iter().map(|(name, bytes)| (name, bytes)));
            new.retain(|(name, _)| !there.contains(*name));
            if new.is_empty() {
                return Ok(None);
            }
            new.extend(pairs(evidence.iter().filter(|(name, _)| !known.contains(*name))));
            Ok(Some(new))
        })?;
        self.staged().evidence.retain(|name, _| !evidence.contains_key(name));
        Ok(created(&there))
    }

    fn list(&self, prefix: &str, after: &str) -> Result<Vec<String>, SlotError> {
        let _alone = self.cache.lock()?;
        let names = self.cache.list(&self.cache.fetch()?, prefix)?;
        Ok(names.into_iter().filter(|name| name.starts_with(prefix) && name.as_str() > after).collect())
    }

    /// At once: a push is taken only where it continues what was looked at.
    fn replace(
        &self,
        name: &str,
        before: Option<&[u8]>,
        bytes: &Bytes,
        limit: usize,
    ) -> Result<Swap, SlotError> {
        let names = [name.to_owned()];
        let same = |head: &Head| {
            let there = match self.cache.read(head, &names, limit) {
                Err(SlotError::TooLong { .. }) => Some(Bytes::new()),
                found => found?.pop().flatten(),
            };
            Ok::<_, SlotError>(there.as_deref() == before)
        };
        let mut swap = Swap::Conflict;
        let mut first = true;
        self.push(ATTEMPTS, |head| {
            // Not by what was fetched some time ago: where that was another, the push is too late and this runs again.
            let is_same = same(head)? || (std::mem::take(&mut first) && same(&self.cache.fetch()?)?);
            swap = if is_same { Swap::Swapped } else { Swap::Conflict };
            Ok((swap == Swap::Swapped).then(|| vec![(name, bytes)]))
        })?;
        Ok(swap)
    }

    fn put_all(&self, objects: &[(String, Bytes)]) -> Result<(), SlotError> {
        if all(objects, WITH_A_CHECKPOINT) {
            self.staged().tiles.extend(objects.iter().cloned());
            return Ok(());
        }
        if all(objects, WITH_A_SLOT) {
            return self
                .push(ATTEMPTS, |_| Ok(Some(pairs(objects.iter().map(|(name, bytes)| (name, bytes))))));
        }
        // Who is faster publishes this too: once, then never mind.
        let tiles = std::mem::take(&mut self.staged().tiles);
        self.push(1, |_| {
            let objects = objects.iter().map(|(name, bytes)| (name, bytes));
            Ok(Some(pairs(tiles.iter().chain(objects))))
        })
    }
}

/// Whether it is asked for the first slot of a lane alone.
fn is_beginning(names: &[String]) -> bool {
    [Lane::Main, Lane::Control].into_iter().any(|lane| names == [slot(lane, 0)])
}

fn is_slot(name: &str) -> bool {
    [Lane::Main, Lane::Control].into_iter().any(|lane| name.starts_with(folder(lane)))
}
