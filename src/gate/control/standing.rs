//! What a revocation takes from the promotions in the log, by the log's order alone.
//!
//! The order of the two lanes is what their records say of each other, and only as far as nobody gains by lying:
//! - a revocation says how long the main lane was when it was written: from there on the promoter it names opens, holds
//!   and commits nothing, whatever his records claim to have seen; what lay before stands. Where the revocation names an
//!   earlier beginning, it is that one;
//! - a lift counts only for records that show the lane's very root with the lift in it: nobody could know it before.
//!   What was written in between stays void, so that a lift changes nothing that others relied on.
//!
//! A revoked record is inert: an intent from where its revocation was written on, a commit while the revocation is in
//! force. An abort takes nothing but a lock, and counts whoever wrote it: or a revocation could wake what it had closed.
//! So adding a revocation voids promotions of those it names, and never makes one of anybody else's valid or void, but
//! for those that had to wait for them.

use super::{Holds, Sorted, names, sort};
use crate::evidence::Control;
use crate::policy::{EnvironmentName, Policy, ServiceName};
use crate::record::{Record, Revoked};

/// What the control lane takes from the promotions of a service into an environment.
#[derive(Clone, Debug)]
pub struct Standing<'c> {
    control: &'c Control,
    /// Every revocation that reaches there, lifted or not.
    all: Vec<Holds<'c>>,
    sorted: Sorted<'c>,
}

/// Where a promotion ends, and by what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Taken {
    /// From this index of the main lane on.
    pub from: u64,
    /// The revocation, by its index in the control lane; none where the lane was not looked at.
    pub by: Option<u64>,
}

impl<'c> Standing<'c> {
    /// What `control` takes there.
    pub fn of(
        policy: &Policy,
        service: &ServiceName,
        environment: &EnvironmentName,
        control: &'c Control,
    ) -> Self {
        let sorted = sort(policy, service, control);
        let all = sorted.all.iter().filter(|it| it.reaches(environment)).copied().collect();
        Self { control, all, sorted }
    }

    /// From where on an intent is none any more, if so.
    pub fn of_intent(&self, intent: &Record) -> Option<Taken> {
        // Nothing is known of a lane that was not looked at: nothing stands.
        if self.control.head().is_none() {
            return Some(Taken { from: 0, by: None });
        }
        let taken = self.all.iter().filter_map(|it| {
            let from = match &it.revocation.target {
                Revoked::Digests(_) => return None,
                Revoked::Record(position) => (*position == intent.position()).then_some(seen(it))?,
                Revoked::Identities(_) => {
                    let named = names(it.revocation, intent.identity()) && !self.saw_a_lift(intent, it);
                    named.then(|| {
                        it.revocation.effective_from.map_or(seen(it), |from| from.index.min(seen(it)))
                    })?
                }
            };
            Some(Taken { from, by: Some(it.record.position().index) })
        });
        taken.min()
    }

    /// The revocation in force of this very record, if there is one.
    pub fn of_record(&self, record: &Record) -> Option<Taken> {
        let target = Revoked::Record(record.position());
        let in_force = |it: &&Holds<'_>| {
            it.revocation.target == target
                && self.sorted.holds.iter().any(|holds| holds.record.position() == it.record.position())
        };
        let found = self.all.iter().find(in_force)?;
        Some(Taken { from: record.position().index, by: Some(found.record.position().index) })
    }

    /// Whether its author can only have written it after a lift of this revocation that counts.
    fn saw_a_lift(&self, record: &Record, revocation: &Holds<'_>) -> bool {
        let saw = record.body().ledger().control;
        let lifts = self.sorted.lifts.iter().filter(|lift| lift.lifts(revocation));
        self.control.is_prefix(saw) && lifts.into_iter().any(|lift| lift.record.position().index < saw.size)
    }
}

/// How long the main lane was when this was written.
fn seen(holds: &Holds<'_>) -> u64 {
    holds.revocation.ledger.observed.size
}
