//! What was seen of a log before, and that it still is that log (`ATTACKS.md` D2, D3, D4).
//!
//! Guarantees: a ledger that is shorter than what was seen, or does not continue it, is refused with both checkpoints,
//! whoever signed them. Never does: repair, or believe a stored hash: the main lane's consistency proof is checked
//! against its signed checkpoint, the control lane's root is recomputed from its records.
//!
//! Start at [`Ledger::require`].

use std::collections::BTreeSet;
use std::fmt;

use super::{Ledger, LedgerError};
use crate::digest::Digest;
use crate::evidence::Control;
use crate::record::{LedgerView, TreeHead};
use crate::tlog::{
    Checkpoint, Frontier, Included, SignedCheckpoint, TlogError, Whole, check_consistency, consistency_proof,
};
use crate::verify::Identity;

/// One of the two logs of a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// The records.
    Main,
    /// The negative evidence.
    Control,
}

impl Lane {
    /// How it is called where it is stored.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Control => "control",
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Main => "main lane",
            Self::Control => "control lane",
        })
    }
}

/// Who has seen a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeenBy {
    /// The lock beside the policy, by its name.
    Lock(String),
    /// This user, whose pin is this file.
    Pin(String),
    /// This very process, a moment ago.
    Process,
    /// The copy that is kept of a ledger elsewhere, with the name there that shows it.
    Copy(String),
    /// The witnesses who cosigned it.
    Witnesses,
    /// The author of this record of the main lane.
    Record(u64),
    /// The author of this record of the control lane.
    ControlRecord(u64),
}

impl fmt::Display for SeenBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lock(file) => f.write_str(file),
            Self::Pin(file) => write!(f, "this user (pin {file})"),
            Self::Witnesses => f.write_str("a witness"),
            Self::Process => f.write_str("this command, a moment ago,"),
            Self::Copy(name) => write!(f, "this machine's copy, compared at {name},"),
            Self::Record(index) => write!(f, "the author of record {index}"),
            Self::ControlRecord(index) => write!(f, "the author of control record {index}"),
        }
    }
}

/// Two heads of one lane that cannot both be true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// Which lane.
    pub lane: Lane,
    /// Who has seen the other head.
    pub by: SeenBy,
    /// The head that was seen, with its signatures where they were kept.
    pub seen: String,
    /// Its size.
    pub seen_size: u64,
    /// The signed head that the ledger has now.
    pub found: String,
    /// Its size.
    pub found_size: u64,
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lane, by, seen, seen_size, found, found_size } = self;
        write!(f, "its {lane} has {found_size} records, and {by} has seen {seen_size}")?;
        for (name, note) in [("seen", seen), ("found", found)] {
            write!(f, "\n  {name}:")?;
            for line in note.lines() {
                write!(f, "\n    {line}")?;
            }
        }
        Ok(())
    }
}

/// A head of either lane that somebody has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What it says; its origin is the lane's.
    pub checkpoint: Checkpoint,
    /// How it is shown: the signed note, where it was kept.
    pub text: String,
    /// Who has seen it.
    pub by: SeenBy,
}

impl Seen {
    /// A head without its signature.
    pub fn claimed(checkpoint: Checkpoint, by: SeenBy) -> Self {
        Self { text: checkpoint.to_string(), checkpoint, by }
    }

    /// A signed head.
    pub fn signed(head: &SignedCheckpoint, by: SeenBy) -> Self {
        Self { checkpoint: head.checkpoint().clone(), text: head.text().to_owned(), by }
    }

    /// What it contradicts.
    pub(super) fn against(&self, lane: Lane, found: &SignedCheckpoint) -> Box<Contradiction> {
        Box::new(Contradiction {
            lane,
            by: self.by.clone(),
            seen: self.text.clone(),
            seen_size: self.checkpoint.size,
            found: found.text().to_owned(),
            found_size: found.size(),
        })
    }
}

impl Ledger {
    /// Refuses a ledger whose lane of that origin is shorter than what was seen, or does not continue it.
    ///
    /// # Errors
    /// [`LedgerError::Shorter`], [`LedgerError::Forked`]; [`LedgerError::Request`] for a head of another log; see
    /// [`LedgerError`].
    pub fn require(&self, seen: &Seen) -> Result<(), LedgerError> {
        match seen.checkpoint.origin == *self.control.origin() {
            true => self.require_control(seen),
            false => self.require_main(&self.tip()?, seen),
        }
    }

    /// The same of the main lane as it is at `at`.
    pub(super) fn require_main(&self, at: &SignedCheckpoint, seen: &Seen) -> Result<(), LedgerError> {
        let Checkpoint { origin, size, root } = &seen.checkpoint;
        if origin != at.origin() {
            let (expected, found) = (at.origin().clone(), origin.to_string());
            return Err(TlogError::OriginMismatch { expected, found }.into());
        }
        let place = || self.place().clone();
        if *size > at.size() {
            return Err(LedgerError::Shorter { place: place(), found: seen.against(Lane::Main, at) });
        }
        let proof = consistency_proof(*size, at.size(), |node| self.node(node))?;
        if check_consistency(*size, *root, at.size(), at.root(), &proof).is_ok() {
            return Ok(());
        }
        // Where the stored hashes are not the signed ones, they show nothing about what was seen.
        let stored = Frontier::load(at.size(), |node| self.node(node))?.root();
        match stored == at.root() {
            true => Err(LedgerError::Forked { place: place(), found: seen.against(Lane::Main, at) }),
            false => Err(LedgerError::RootMismatch { place: place(), expected: at.root(), found: stored }),
        }
    }

    /// Refuses a ledger of which the author of a record of the main lane, shown at `at`, has seen something else or
    /// more; `lane` was read after `at`.
    pub(super) fn require_seen(
        &self,
        at: &SignedCheckpoint,
        lane: &Whole,
        entry: &Included,
        view: &LedgerView,
    ) -> Result<(), LedgerError> {
        let by = SeenBy::Record(entry.index());
        let TreeHead { size, root } = view.observed;
        // What an author sees is most often the log up to his own record, whose proof shows that root as well.
        let shown = size == entry.index() && root == entry.root_before();
        if !shown {
            let checkpoint = Checkpoint { origin: at.origin().clone(), size, root };
            self.require_main(at, &Seen::claimed(checkpoint, by.clone()))?;
        }
        self.require_lane(lane, &Seen::claimed(control_head(lane, view), by))
    }

    /// The same of the authors of the control lane, but for those whose word is `taken`: what each saw of that lane, and
    /// the largest that one saw of the main lane, with everything of that size.
    ///
    /// # Errors
    /// [`LedgerError::Shorter`], [`LedgerError::Forked`]; see [`LedgerError`].
    pub fn require_seen_by_control(
        &self,
        lane: &Whole,
        control: &Control,
        taken: impl Fn(&Identity) -> bool,
    ) -> Result<(), LedgerError> {
        let believed: Vec<_> =
            control.records().iter().filter(|record| !taken(record.author().identity())).collect();
        let views = || believed.iter().map(|record| (record.position().index, record.body().ledger()));
        for (index, view) in views() {
            self.require_lane(lane, &Seen::claimed(control_head(lane, view), SeenBy::ControlRecord(index)))?;
        }
        let Some(most) = views().map(|(_, view)| view.observed.size).max() else { return Ok(()) };
        // Newer than the lane: what an author of it saw is there by now.
        let at = self.tip()?;
        let mut roots = BTreeSet::new();
        for (index, view) in views().filter(|(_, view)| view.observed.size == most) {
            let TreeHead { size, root } = view.observed;
            if roots.insert(root) {
                let checkpoint = Checkpoint { origin: at.origin().clone(), size, root };
                self.require_main(&at, &Seen::claimed(checkpoint, SeenBy::ControlRecord(index)))?;
            }
        }
        Ok(())
    }

    fn require_control(&self, seen: &Seen) -> Result<(), LedgerError> {
        let Checkpoint { size, root, .. } = seen.checkpoint;
        self.store.refresh(Lane::Control)?;
        let tip = self.control_tip()?;
        let found = match size == tip.size() {
            true => Some(tip.root()),
            false => self.control()?.root_at(size),
        };
        self.same_control(&tip, seen, found, root)
    }

    /// The same of the control lane as it was read.
    pub(super) fn require_lane(&self, lane: &Whole, seen: &Seen) -> Result<(), LedgerError> {
        self.same_control(lane.head(), seen, lane.root_at(seen.checkpoint.size), seen.checkpoint.root)
    }

    fn same_control(
        &self,
        tip: &SignedCheckpoint,
        seen: &Seen,
        found: Option<Digest>,
        root: Digest,
    ) -> Result<(), LedgerError> {
        let (place, against) = (|| self.place().clone(), || seen.against(Lane::Control, tip));
        match found {
            Some(found) if found == root => Ok(()),
            Some(_) => Err(LedgerError::Forked { place: place(), found: against() }),
            None => Err(LedgerError::Shorter { place: place(), found: against() }),
        }
    }
}

fn control_head(lane: &Whole, view: &LedgerView) -> Checkpoint {
    let TreeHead { size, root } = view.control;
    Checkpoint { origin: lane.head().origin().clone(), size, root }
}

#[cfg(test)]
mod tests;
