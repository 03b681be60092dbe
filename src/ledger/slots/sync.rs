//! The mirror is brought up to date, and what it holds compared with what is there now.

use bytes::Bytes;

use super::tail::Tail;
use super::{Commit, SlotError, Slotted, commit, folder, slot, slot_size};
use crate::digest::Digest;
use crate::ledger::LedgerError;
use crate::ledger::seen::{Contradiction, Lane, Seen, SeenBy};
use crate::ledger::store::Swap;
use crate::tlog::SignedCheckpoint;

/// So many slots are read at once where many are behind, if none of them is longer than [`SHORT`].
const WINDOW: usize = 32;
/// What is longer is read, verified and stored one by one: with a window, 32 MiB at the most are held that nobody signed.
const SHORT: usize = 1 << 20;

impl Slotted {
    /// Takes over what others appended.
    pub(super) fn sync(&self, lane: Lane) -> Result<(), LedgerError> {
        // A round may find that another process brought the mirror forward; the next one sees that.
        while let Some(next) = self.next_slot(lane)? {
            let mut tail = Tail::load(lane, next.head, &self.mirror)?;
            tail.extend(&next.bytes, self.vkey(lane), &self.place)?;
            if tail.store(&self.mirror)? == Swap::Conflict {
                continue;
            }
            self.catch_up(lane, &mut tail)?;
        }
        Ok(())
    }

    /// Where another slot follows, there may be many: all that are listed, some at a time. Where the log ends is for
    /// [`Slotted::next_slot`] to say, which asks for the very slot.
    fn catch_up(&self, lane: Lane, tail: &mut Tail) -> Result<(), LedgerError> {
        let next = slot(lane, tail.size());
        if self.slots.get(&next, commit::LIMIT).map_err(self.reach())?.is_none() {
            return Ok(());
        }
        let before = slot(lane, tail.size().saturating_sub(1));
        let names = self.slots.list(folder(lane), &before).map_err(self.reach())?;
        for names in names.chunks(WINDOW) {
            let swap = match self.slots.get_all(names, SHORT) {
                Err(SlotError::TooLong { .. }) => self.one_by_one(lane, tail, names)?,
                found => {
                    for (name, bytes) in names.iter().zip(found.map_err(self.reach())?) {
                        // A slot that no commit leads to is none.
                        if let Some(bytes) = bytes.filter(|_| slot_size(lane, name) == Some(tail.size())) {
                            tail.extend(&bytes, self.vkey(lane), &self.place)?;
                        }
                    }
                    tail.store(&self.mirror)?
                }
            };
            if swap == Swap::Conflict {
                return Ok(());
            }
        }
        Ok(())
    }

    fn one_by_one(&self, lane: Lane, tail: &mut Tail, names: &[String]) -> Result<Swap, LedgerError> {
        for name in names {
            if slot_size(lane, name) != Some(tail.size()) {
                continue;
            }
            let Some(bytes) = self.slots.get(name, commit::LIMIT).map_err(self.reach())? else { continue };
            tail.extend(&bytes, self.vkey(lane), &self.place)?;
            if tail.store(&self.mirror)? == Swap::Conflict {
                return Ok(Swap::Conflict);
            }
        }
        Ok(Swap::Swapped)
    }

    /// What lies in the slot behind the mirror's head, if anything does; after making sure that the slot that was
    /// taken over last is still what it was.
    fn next_slot(&self, lane: Lane) -> Result<Option<Next>, LedgerError> {
        let (head, last) = {
            let _snapshot = self.mirror.tables().snapshot()?;
            (self.head(lane)?, self.mirror.last(lane)?)
        };
        let mut names: Vec<_> = last.iter().map(|last| slot(lane, last.first)).collect();
        names.push(slot(lane, head.size()));
        let mut found = self.slots.get_all(&names, commit::LIMIT).map_err(self.reach())?;
        let next = found.pop().flatten();
        if let Some(last) = last {
            let there = found.pop().flatten();
            if there.as_ref().map(|bytes| Digest::of(bytes)) != Some(last.digest) {
                return Err(self.diverged(lane, &head, slot(lane, last.first), there.as_ref()));
            }
        }
        Ok(next.map(|bytes| Next { head, bytes }))
    }

    /// Nothing is built on what is no longer there.
    pub(super) fn still_there(&self, lane: Lane) -> Result<(), LedgerError> {
        let Some(last) = self.mirror.last(lane)? else { return Ok(()) };
        let name = slot(lane, last.first);
        let there = self.slots.get(&name, commit::LIMIT).map_err(self.reach())?;
        match there.as_ref().map(|bytes| Digest::of(bytes)) == Some(last.digest) {
            true => Ok(()),
            false => Err(self.diverged(lane, &self.head(lane)?, name, there.as_ref())),
        }
    }

    /// The head of the mirror.
    fn head(&self, lane: Lane) -> Result<SignedCheckpoint, LedgerError> {
        let note = self.mirror.tables().note(lane)?;
        let mut verified = self.verified.borrow_mut();
        let [main, control] = &mut *verified;
        let verified = match lane {
            Lane::Main => main,
            Lane::Control => control,
        };
        if let Some(same) = verified.as_ref().filter(|head| head.text() == note) {
            return Ok(same.clone());
        }
        let place = || self.mirror.place().clone();
        let head = self.vkey(lane).open(&note).map_err(|source| match lane {
            Lane::Main => LedgerError::Checkpoint { place: place(), source },
            Lane::Control => LedgerError::ControlCheckpoint { place: place(), source },
        })?;
        Ok(verified.insert(head).clone())
    }

    /// The slots are not those that were seen: with what they say instead, if any of it is signed.
    fn diverged(
        &self,
        lane: Lane,
        head: &SignedCheckpoint,
        slot: String,
        there: Option<&Bytes>,
    ) -> LedgerError {
        let place = self.place.clone();
        let found = match there {
            Some(bytes) => self.signed(lane, bytes),
            None => self.newest(lane),
        };
        let seen = Seen::signed(head, SeenBy::Copy(slot));
        let found = match found {
            Some(found) => seen.against(lane, &found),
            None => Box::new(Contradiction {
                lane,
                seen: seen.text,
                seen_size: head.size(),
                by: seen.by,
                found: "nothing that is signed".to_owned(),
                found_size: 0,
            }),
        };
        match there {
            Some(_) => LedgerError::Forked { place, found },
            None => LedgerError::Shorter { place, found },
        }
    }

    fn signed(&self, lane: Lane, bytes: &Bytes) -> Option<SignedCheckpoint> {
        self.vkey(lane).open(&Commit::parse(bytes).ok()?.note).ok()
    }

    /// What the last slot that is listed says. For a message only.
    fn newest(&self, lane: Lane) -> Option<SignedCheckpoint> {
        let (mut after, mut newest) = (String::new(), None);
        loop {
            let names = self.slots.list(folder(lane), &after).ok()?;
            let Some(last) = names.last() else { break };
            newest = names.iter().rfind(|name| slot_size(lane, name).is_some()).cloned().or(newest);
            after.clone_from(last);
        }
        self.signed(lane, &self.slots.get(&newest?, commit::LIMIT).ok()??)
    }

    /// Puts a commit of ours into the mirror, unless somebody did.
    pub(super) fn take_over(
        &self,
        expected: &SignedCheckpoint,
        lane: Lane,
        bytes: &[u8],
    ) -> Result<(), LedgerError> {
        let mut tail = Tail::load(lane, expected.clone(), &self.mirror)?;
        tail.extend(bytes, self.vkey(lane), &self.place)?;
        let _either = tail.store(&self.mirror)?;
        Ok(())
    }
}

/// A slot that is not in the mirror yet.
struct Next {
    /// What it has to continue.
    head: SignedCheckpoint,
    bytes: Bytes,
}
