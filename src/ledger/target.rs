//! The records of one service in one environment: read, shown complete, and what they add up to.
//!
//! Guarantees: every record was shown to be in the log and names the one before it (`prev`), so that none can be
//! left out below the newest; who may promote is said by the policy; the state follows from the log's order alone.
//! Never does: network; it reads a [`Ledger`] at one signed checkpoint.

use crate::ledger::{Ledger, LedgerError};
use crate::policy::{Environment, EnvironmentName, Policy, ServiceName};
use crate::record::{Phase, Position, Record, RecordError};
use crate::reference::Image;
use crate::tlog::SignedCheckpoint;
use crate::verify::Trust;

/// The records of a target, in log order.
#[derive(Debug)]
pub struct History {
    /// What counts as a record of ours.
    pub records: Vec<Record>,
    /// What lies in the target's place and is none: inert, kept for the explanation.
    pub inert: Vec<(u64, RecordError)>,
    /// The newest entry of the target, record or not.
    pub head: Option<Position>,
}

/// Reads every record of a target at `at`.
///
/// # Errors
/// [`LedgerError`] when an entry cannot be read or shown, or when the chain of `prev` has a gap.
pub fn history(
    ledger: &Ledger,
    at: &SignedCheckpoint,
    trust: &Trust,
    service: &ServiceName,
    environment: &EnvironmentName,
) -> Result<History, LedgerError> {
    let mut history = History { records: Vec::new(), inert: Vec::new(), head: None };
    for entry in ledger.history(at, service.as_str(), environment.as_str())? {
        let position = Position { index: entry.index(), leaf_hash: entry.leaf() };
        match Record::read(&entry, trust) {
            Err(error) => history.inert.push((entry.index(), error)),
            Ok(record) => {
                let body = record.body();
                // The projection that listed the entry is an untrusted cache: compare with what is signed.
                if body.service() != service || body.environment() != Some(environment) {
                    return Err(LedgerError::Misfiled {
                        index: entry.index(),
                        service: service.to_string(),
                        environment: environment.to_string(),
                    });
                }
                if body.ledger().prev != history.head {
                    return Err(LedgerError::Gap {
                        index: entry.index(),
                        expected: body.ledger().prev.map(|prev| prev.index),
                        found: history.head.map(|head| head.index),
                    });
                }
                history.records.push(record);
            }
        }
        history.head = Some(position);
    }
    Ok(history)
}

/// An intent that no commit or abort has closed yet; the first one holds the lock.
#[derive(Clone, Debug)]
pub struct OpenIntent<'a> {
    /// Where it lies.
    pub position: Position,
    /// The record.
    pub record: &'a Record,
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

/// What the promotions of a target add up to, by the log's order alone.
#[derive(Clone, Debug, Default)]
pub struct State<'a> {
    /// The intents that are open, oldest first.
    pub open: Vec<OpenIntent<'a>>,
    /// The last valid commit.
    pub current: Option<Current>,
    /// The valid commits, by the intent they closed.
    pub commits: Vec<Current>,
}

impl<'a> State<'a> {
    /// Replays `records`. Only promoters of the environment can open, commit or abort; a commit counts only if its
    /// intent is the first open one at that place, is by the same identity and about the same image.
    pub fn replay(records: &'a [Record], policy: &Policy, environment: &Environment) -> Self {
        let mut state = Self::default();
        for record in records {
            let Some(promotion) = record.promotion() else { continue };
            let who = policy.who(record.author(), &promotion.service);
            if !who.iter().any(|name| environment.promoters().contains(name)) {
                continue;
            }
            match (promotion.phase, promotion.intent) {
                (Phase::Intent, _) => {
                    state.open.push(OpenIntent { position: record.position(), record });
                }
                (Phase::Commit, Some(intent)) => {
                    let holds = state.open.first().is_some_and(|open| {
                        open.position == intent
                            && open.record.identity() == record.identity()
                            && open.record.subjects().image == record.subjects().image
                    });
                    if holds {
                        state.open.remove(0);
                        let image = record.subjects().image.clone();
                        let current = Current { image, commit: record.position(), intent };
                        state.current = Some(current.clone());
                        state.commits.push(current);
                    }
                }
                (Phase::Abort, Some(intent)) => state.open.retain(|open| open.position != intent),
                (Phase::Commit | Phase::Abort, None) | (Phase::Refused, _) => {}
            }
        }
        state
    }

    /// The intent that holds the lock.
    pub fn holder(&self) -> Option<&OpenIntent<'a>> {
        self.open.first()
    }
}
