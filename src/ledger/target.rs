//! The records of one service in one environment: read, shown complete, and what they add up to.
//!
//! Guarantees: every record was shown to be in the log and names the one before it (`prev`), so that none can be
//! left out below the newest; who may promote is said by the policy, and whose word was taken by the control lane; the
//! state follows from the order of both lanes alone.
//! Never does: network; it reads a [`Ledger`] at one signed checkpoint.

use std::collections::BTreeSet;

use crate::digest::Digest;
use crate::evidence::{Control, Target};
use crate::gate::control::{Standing, Taken, in_force};
use crate::ledger::{Index, Ledger, LedgerError};
use crate::policy::{After, Environment, EnvironmentName, Policy, Predecessor, ServiceName};
use crate::record::{Phase, Position, Record, RecordError, Unjudged};
use crate::reference::Image;
use crate::tlog::{SignedCheckpoint, Whole};
use crate::verify::{Identity, Trust};

/// The records of a target, in log order.
#[derive(Debug)]
pub struct History {
    /// What counts as a record of ours.
    pub records: Vec<Record>,
    /// What lies in the target's place and is none: inert, kept for the explanation.
    pub inert: Vec<(u64, RecordError)>,
    /// What says that it is about the target, under a certificate that nobody here can judge: it may be a no.
    pub unjudged: Vec<Unjudged>,
    /// The newest entry of the target, by what its bytes say, whoever signed them.
    pub head: Option<Position>,
}

/// Reads every record of a target at `at`. `lane` is the control lane as it was read afterwards.
///
/// # Errors
/// [`LedgerError`] when an entry cannot be read or shown, or when the chain of `prev` has a gap;
/// [`LedgerError::Shorter`], [`LedgerError::Forked`] when the author of a record has seen more of either lane than
/// there is, or something else (D2, D3); one whose word is taken from him by the lane as it is can say what he likes.
pub fn history(
    ledger: &Ledger,
    at: &SignedCheckpoint,
    lane: &Whole,
    (policy, trust): (&Policy, &Trust),
    service: &ServiceName,
    environment: &EnvironmentName,
) -> Result<History, LedgerError> {
    history_below(ledger, at, at.size(), lane, (policy, trust), service, environment)
}

/// The same, of the records with an index below `size`: what came later takes nothing from them.
fn history_below(
    ledger: &Ledger,
    at: &SignedCheckpoint,
    size: u64,
    lane: &Whole,
    (policy, trust): (&Policy, &Trust),
    service: &ServiceName,
    environment: &EnvironmentName,
) -> Result<History, LedgerError> {
    let misfiled = |index| {
        let (service, environment) = (service.to_string(), environment.to_string());
        LedgerError::Misfiled { index, service, environment }
    };
    let mut history = History { records: Vec::new(), inert: Vec::new(), unjudged: Vec::new(), head: None };
    for entry in ledger.history_below(at, size, service.as_str(), environment.as_str())? {
        let position = Position { index: entry.index(), leaf_hash: entry.leaf() };
        match ledger.record(&entry, trust) {
            Err(error) => {
                match Unjudged::of(&entry, service, environment, &error) {
                    Some(unjudged) => history.unjudged.push(unjudged),
                    None => history.inert.push((entry.index(), error)),
                }
                match Index::claimed(entry.bytes()) {
                    Some(row)
                        if row.service != service.as_str() || row.environment != environment.as_str() =>
                    {
                        return Err(misfiled(entry.index()));
                    }
                    Some(_) => {}
                    // Only the projection says that it belongs here, and not everybody's has to.
                    None => continue,
                }
            }
            Ok(record) => {
                let body = record.body();
                // The projection that listed the entry is an untrusted cache: compare with what is signed.
                if body.service() != service || body.environment() != Some(environment) {
                    return Err(misfiled(entry.index()));
                }
                if body.ledger().prev != history.head {
                    return Err(LedgerError::Gap {
                        index: entry.index(),
                        expected: body.ledger().prev.map(|prev| prev.index),
                        found: history.head.map(|head| head.index),
                    });
                }
                if let Err(error) = ledger.require_seen(at, lane, &entry, body.ledger())
                    && !is_taken(&Control::read(lane, trust), policy, service, environment, record.identity())
                {
                    return Err(error);
                }
                history.records.push(record);
            }
        }
        history.head = Some(position);
    }
    Ok(history)
}

/// All that a decision about `target` reads of the main lane: the records of its service where it would enter and in
/// the environments that come before, those with an index below `size`, in log order; and what nobody can judge there.
///
/// # Errors
/// Those of [`history`].
pub fn past(
    ledger: &Ledger,
    at: &SignedCheckpoint,
    lane: &Whole,
    size: u64,
    trust: &Trust,
    target: &Target<'_>,
) -> Result<(Vec<Record>, Vec<Unjudged>), LedgerError> {
    let before = target.environment().after().iter().flat_map(After::any_of).map(Predecessor::environment);
    let environments: BTreeSet<_> = before.chain([target.environment().name()]).collect();
    let (mut records, mut unjudged) = (Vec::new(), Vec::new());
    for environment in environments {
        let (rules, service) = ((target.policy(), trust), target.service().name());
        let found = history_below(ledger, at, size, lane, rules, service, environment)?;
        records.extend(found.records);
        unjudged.extend(found.unjudged);
    }
    records.sort_by_key(Record::position);
    unjudged.sort_by_key(|it| it.position);
    Ok((records, unjudged))
}

/// Whether the word of somebody is taken from him there.
fn is_taken(
    control: &Control,
    policy: &Policy,
    service: &ServiceName,
    environment: &EnvironmentName,
    identity: &Identity,
) -> bool {
    in_force(policy, service, control).of_identity(environment, identity).is_some()
}

/// An intent that no commit or abort has closed yet; the first one holds the lock.
#[derive(Clone, Debug)]
pub struct OpenIntent<'a> {
    /// Where it lies.
    pub position: Position,
    /// The record.
    pub record: &'a Record,
}

impl OpenIntent<'_> {
    /// Whether it is that of a request: its key, by who asked.
    pub fn is_of(&self, key: Digest, identity: &Identity) -> bool {
        self.record.body().ledger().idempotency_key == key && self.record.identity() == identity
    }
}

/// What is promoted there now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Current {
    /// The image, where it was promoted to.
    pub image: Image,
    /// Its commit.
    pub commit: Position,
    /// The intent the commit closed.
    pub intent: Position,
}

/// What the promotions of a target are judged by.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'r> {
    /// Who may promote.
    pub policy: &'r Policy,
    /// The service.
    pub service: &'r ServiceName,
    /// The environment.
    pub environment: &'r Environment,
    /// Whose word was taken, and from where on.
    pub control: &'r Control,
}

/// What the promotions of a target add up to, by the order of both lanes alone.
#[derive(Clone, Debug, Default)]
pub struct State<'a> {
    /// The intents that are open, oldest first.
    pub open: Vec<OpenIntent<'a>>,
    /// The last valid commit.
    pub current: Option<Current>,
    /// The valid commits, by the intent they closed.
    pub commits: Vec<Current>,
    /// The intents that a revocation ended, and the commits that it voids: where they lie.
    pub taken: Vec<(Position, Taken)>,
}

impl<'a> State<'a> {
    /// Replays `records`. Only promoters of the environment can open, commit or abort, and one whose word was taken only
    /// abort ([`Standing`]); a commit counts only if its intent is the first open one at that place, is by the same
    /// identity and about the same image.
    pub fn replay(records: &'a [Record], rules: &Rules<'_>) -> Self {
        let Rules { policy, service, environment, control } = rules;
        let standing = Standing::of(policy, service, environment.name(), control);
        let mut state = Self::default();
        for record in records {
            let Some(promotion) = record.promotion() else { continue };
            let who = policy.who(record.author(), &promotion.service);
            if !who.iter().any(|name| environment.promoters().contains(name)) {
                continue;
            }
            state.end(&standing, record.position().index);
            match (promotion.phase, promotion.intent) {
                (Phase::Intent, _) => {
                    state.open.push(OpenIntent { position: record.position(), record });
                    state.end(&standing, record.position().index);
                }
                (Phase::Commit, Some(intent)) => state.commit(&standing, record, intent),
                (Phase::Abort, Some(intent)) => state.open.retain(|open| open.position != intent),
                (Phase::Commit | Phase::Abort, None) | (Phase::Refused, _) => {}
            }
        }
        state.end(&standing, u64::MAX);
        state
    }

    /// Ends the open intents that stand no longer at this place.
    fn end(&mut self, standing: &Standing<'_>, index: u64) {
        let Self { open, taken, .. } = self;
        open.retain(|open| match standing.of_intent(open.record) {
            Some(ends) if ends.from <= index => {
                taken.push((open.position, ends));
                false
            }
            Some(_) | None => true,
        });
    }

    fn commit(&mut self, standing: &Standing<'_>, record: &'a Record, intent: Position) {
        let holds = self.open.first().filter(|open| {
            open.position == intent
                && open.record.identity() == record.identity()
                && open.record.subjects().image == record.subjects().image
        });
        let Some(opened) = holds.map(|open| open.record) else {
            // That of an intent which was taken: told as such.
            if let Some((_, ends)) = self.taken.iter().find(|(position, _)| *position == intent) {
                self.taken.push((record.position(), *ends));
            }
            return;
        };
        self.open.remove(0);
        if let Some(revoked) = standing.of_record(record).or_else(|| standing.of_record(opened)) {
            self.taken.push((record.position(), revoked));
            return;
        }
        let current = Current { image: record.subjects().image.clone(), commit: record.position(), intent };
        self.current = Some(current.clone());
        self.commits.push(current);
    }

    /// The intent that holds the lock.
    pub fn holder(&self) -> Option<&OpenIntent<'a>> {
        self.open.first()
    }

    /// What took an intent or a commit, if anything did.
    pub fn taken(&self, position: Position) -> Option<Taken> {
        self.taken.iter().find(|(taken, _)| *taken == position).map(|(_, by)| *by)
    }
}
