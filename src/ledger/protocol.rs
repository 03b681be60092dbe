//! Intent, commit, abort: how a decision becomes a promotion without ever having an effect before it is recorded.
//!
//! Guarantees: an [`Intent`] exists only if it lies in the log and held the lock of its target when it was written;
//! a commit is written only while its intent is still the open one *at its place in the log*: the append carries
//! the size of the log the state was read at, and loses if anything was added since; and none of it by whom the control
//! lane has taken the word from. Clocks affect liveness only: they say when a rival may abort, never what is valid.
//!
//! Who loses twice against others leaves the record to be appended by whoever is first, where the store can do that
//! (`protocol/combine.rs` says under which conditions, and why a late one is harmless).
//!
//! Start at [`Intent::open`]. The steps are those of `DESIGN.md` section 6, "Protocol"; `tests/model.rs` looks at every
//! state they can lead to.

mod combine;
mod stale;

use jiff::Timestamp;
use serde_json::json;

use crate::digest::Digest;
use crate::evidence::{Control, Freshness, Kept};
use crate::gate::unjudged::may_promote;
use crate::gate::{Approved, Denied, Verdict};
use crate::ledger::kept::complete;
use crate::ledger::target::{History, Rules, State, history};
use crate::ledger::{Entry, Index, Ledger, LedgerError};
use crate::policy::{Environment, EnvironmentName, Policy, ServiceName};
use crate::record::{
    Actor, Basis, Body, Direction, Draft, DraftError, Endpoint, LedgerView, Phase, Position, Promotion,
    RootVersion, Subjects, Superseded, TagMeant, TreeHead, WitnessedLane,
};
use crate::tlog::{SignedCheckpoint, Whole};
use crate::verify::{Author, Identity, Sign, Trust};
use combine::{Offers, PLAIN, Round};
use stale::abort;

pub use stale::{STALE, abort_stale, stale};

/// How often an append is tried again because somebody else appended first, where losers leave their records for others.
const ATTEMPTS: u32 = 64;
/// The same elsewhere: of sixteen who append without a pause, one in sixty loses 64 times in a row.
const ALONE: u32 = 1024;

/// How often an append to this ledger is tried.
pub(super) fn attempts(ledger: &Ledger) -> u32 {
    if ledger.combines() { ATTEMPTS } else { ALONE }
}

/// Why a step of the protocol did not happen.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    /// The ledger could not be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The record could not be written.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// The key that signs is not the one the decision was made for.
    #[error("the decision was made for {decided}, and the key at hand is {found}")]
    Requester {
        /// The identity in the decision.
        decided: String,
        /// The identity of the key.
        found: Identity,
    },
    /// Somebody else's promotion is under way.
    #[error(transparent)]
    Busy(Box<Busy>),
    /// The environment given is not the one that was decided on.
    #[error("the decision is about `{decided}`, and `{found}` was given")]
    Environment {
        /// The environment of the decision.
        decided: EnvironmentName,
        /// The environment given.
        found: EnvironmentName,
    },
    /// Another promotion into the environment was committed after the decision had read the ledger.
    #[error("record {index} promoted {image} there while this was being decided")]
    Overtaken {
        /// The commit.
        index: u64,
        /// What it promoted.
        image: Digest,
    },
    /// Our intent was aborted while we acted.
    #[error(
        "record {index}, the intent of this promotion, was closed by somebody else while it was under way"
    )]
    Fenced {
        /// The intent.
        index: u64,
    },
    /// The word of who signs was taken while we acted.
    #[error(
        "record {index} of this promotion counts for nothing: control record {by} revokes who signed it, or it"
    )]
    Revoked {
        /// The intent or commit.
        index: u64,
        /// The revocation, by its index in the control lane.
        by: u64,
    },
    /// A promotion that nobody here can judge may be the newest one, or may have closed ours: nothing is said or derived
    /// before it is.
    #[error("record {index} may be by a promoter, and cannot be judged here: {why}")]
    RecordUnknown {
        /// Its index.
        index: u64,
        /// Why.
        why: String,
    },
    /// Appending lost against others too often.
    #[error(
        "the ledger was appended to by others again and again while this record was about to be{}",
        if *offered { "; it was left for them to append and taken back, so that it may still be appended" } else { "" }
    )]
    Contention {
        /// Whether somebody may still append it.
        offered: bool,
    },
}

/// Somebody else's promotion that is under way.
#[derive(Debug, thiserror::Error)]
#[error(
    "another promotion into `{environment}` is under way: record {index}, {image} by {by}, since {since:.0}; it may \
     be taken over from {until:.0}"
)]
pub struct Busy {
    /// The environment.
    pub environment: EnvironmentName,
    /// The record that holds the lock.
    pub index: u64,
    /// What it promotes.
    pub image: Digest,
    /// Who.
    pub by: Identity,
    /// Since when, by their clock.
    pub since: Timestamp,
    /// When a rival may abort it, by ours.
    pub until: Timestamp,
}

/// The ledger as one writer sees it: with the rules, the trust, and who signs.
pub struct Writer<'a> {
    /// The log.
    pub ledger: &'a mut Ledger,
    /// Who may do what.
    pub policy: &'a Policy,
    /// The keys whose records are read.
    pub trust: &'a Trust,
    /// Who signs.
    pub signer: &'a dyn Sign,
}

/// What a draft is made from: the target's records at one signed checkpoint.
pub struct View<'a> {
    /// The checkpoint.
    pub at: &'a SignedCheckpoint,
    /// The control lane, whole.
    pub lane: &'a Whole,
    /// The keys whose records are read.
    pub trust: &'a Trust,
    /// The records.
    pub history: &'a History,
}

impl View<'_> {
    /// The log as seen here, for the record that is about to be written.
    pub fn ledger(&self, idempotency_key: Digest) -> LedgerView {
        LedgerView {
            origin: self.at.origin().to_string(),
            observed: TreeHead { size: self.at.size(), root: self.at.root() },
            control: head(self.lane.head()),
            idempotency_key,
            prev: self.history.head,
        }
    }

    /// What the control lane says.
    pub fn control(&self) -> Control {
        Control::read(self.lane, self.trust)
    }
}

/// A record that was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Where it lies.
    pub position: Position,
    /// The digest of its bytes, as [`crate::record::Record::digest`] has it.
    pub digest: Digest,
}

impl Written {
    fn of(entry: &Entry, index: u64) -> Self {
        let position = Position { index, leaf_hash: crate::tlog::leaf_hash(&entry.bytes) };
        Self { position, digest: Digest::of(&entry.bytes) }
    }
}

/// What to do with what was read.
pub enum Step<T, D = Draft> {
    /// Append this; the answer is given once it is durable.
    Append(Box<D>, T),
    /// Nothing to append.
    Done(T),
}

impl Writer<'_> {
    /// Who signs.
    pub fn author(&self) -> Author {
        self.signer.author()
    }

    /// Reads the target, lets `step` say what to append, appends it if nothing was added in between, else begins
    /// again. Returns which record it is, if one was appended.
    ///
    /// # Errors
    /// Whatever `step` refuses with; [`ProtocolError::Contention`] when others were faster every time.
    pub fn append<T, E: From<ProtocolError>>(
        &mut self,
        service: &ServiceName,
        environment: &EnvironmentName,
        step: impl FnMut(&View<'_>) -> Result<Step<T>, E>,
    ) -> Result<(Option<Written>, T), E> {
        self.append_with(service, environment, &Kept::default(), step)
    }

    /// [`Writer::append`], keeping in the same transaction the bytes that the record relies on.
    fn append_with<T, E: From<ProtocolError>>(
        &mut self,
        service: &ServiceName,
        environment: &EnvironmentName,
        kept: &Kept,
        step: impl FnMut(&View<'_>) -> Result<Step<T>, E>,
    ) -> Result<(Option<Written>, T), E> {
        let mut offers = Offers::of(service, environment);
        let ended = self.append_or_offer(kept, &mut offers, step);
        // However that was.
        offers.withdraw(self.ledger);
        ended
    }

    fn append_or_offer<T, E: From<ProtocolError>>(
        &mut self,
        kept: &Kept,
        offers: &mut Offers<'_, T>,
        mut step: impl FnMut(&View<'_>) -> Result<Step<T>, E>,
    ) -> Result<(Option<Written>, T), E> {
        let trouble = |error: LedgerError| E::from(ProtocolError::from(error));
        let mut lost = if self.ledger.crowded { PLAIN } else { 0 };
        for _ in 0..attempts(self.ledger) {
            // What was left for others is tried as it is, for as long as it stands.
            match self.round(offers).map_err(trouble)? {
                Round::Appended(written, answer) => return Ok((Some(written), answer)),
                Round::Lost => continue,
                Round::Nothing => {}
            }
            let at = self.ledger.tip().map_err(trouble)?;
            if let Some((written, answer)) = offers.landed(self.ledger, &at, self.trust).map_err(trouble)? {
                return Ok((Some(written), answer));
            }
            let lane = self.ledger.control().map_err(trouble)?;
            let rules = (self.policy, self.trust);
            let (service, environment) = (offers.service, offers.environment);
            let history = history(self.ledger, &at, &lane, rules, service, environment).map_err(trouble)?;
            let view = View { at: &at, lane: &lane, trust: self.trust, history: &history };
            let (draft, answer) = match step(&view)? {
                Step::Done(answer) => return Ok((None, answer)),
                Step::Append(draft, answer) => (draft, answer),
            };
            let bytes = draft.sign(self.signer).map_err(|error| E::from(ProtocolError::from(error)))?;
            let entry = Entry { bytes, index: index_of(&draft.body, &draft.subjects) };
            let drafted = draft.body.ledger();
            // What was drafted for this very view stands for as long as that does.
            if lost >= PLAIN && self.ledger.combines() && *drafted == view.ledger(drafted.idempotency_key) {
                offers.make(self.ledger, entry, drafted, kept, answer).map_err(trouble)?;
                continue;
            }
            match self.ledger.append_with(at.size(), std::slice::from_ref(&entry), kept) {
                Ok(appended) => return Ok((Some(Written::of(&entry, appended.first)), answer)),
                Err(LedgerError::Conflict { .. }) => lost += 1,
                Err(error) => return Err(trouble(error)),
            }
        }
        // Once more, now that nobody finds it any more.
        let offered = offers.withdraw(self.ledger);
        let at = self.ledger.tip().map_err(trouble)?;
        let landed = offers.landed(self.ledger, &at, self.trust).map_err(trouble)?;
        landed
            .map(|(written, answer)| (Some(written), answer))
            .ok_or_else(|| ProtocolError::Contention { offered }.into())
    }

    /// Records that the gate said no; as an abort where an interrupted run of the same request had left its intent open,
    /// which nobody has to wait for then. A requester the policy does not name leaves no record: nobody could read it.
    ///
    /// # Errors
    /// [`ProtocolError`] when the refusal cannot be appended.
    pub fn refuse(&mut self, denied: &Denied, key: Digest) -> Result<Option<Position>, ProtocolError> {
        let verdict = denied.verdict();
        if self.policy.who(&self.author(), &verdict.service).is_empty() {
            return Ok(None);
        }
        let (actor, trust) = (Actor::from(self.author().identity()), self.trust);
        let kept = kept(verdict, trust);
        let (service, name, policy) = (&verdict.service, &verdict.environment, self.policy);
        let identity = self.author().identity().clone();
        let (written, ()) = self.append_with(service, name, &kept, |view| {
            let mut body = promotion(verdict, &actor, trust, Phase::Refused, view.ledger(key));
            if let Some(environment) = policy.environment(name) {
                let control = view.control();
                let rules = Rules { policy, service, environment, control: &control };
                let state = State::replay(&view.history.records, &rules);
                if let Some(open) = state.open.iter().find(|open| open.is_of(key, &identity)) {
                    body.phase = Phase::Abort;
                    body.intent = Some(open.position);
                    body.abort_reason = Some(said_no(verdict));
                }
            }
            Ok::<_, ProtocolError>(Step::Append(draft(verdict, body, &kept)?, ()))
        })?;
        Ok(written.map(|written| written.position))
    }
}

/// That every promotion of a target is judged: one that is not may hold its lock, or have closed what is open here.
pub(crate) fn judged(
    policy: &Policy,
    service: &ServiceName,
    environment: &EnvironmentName,
    control: &Control,
    history: &History,
) -> Result<(), ProtocolError> {
    match may_promote(policy, service, environment, control, &history.unjudged) {
        None => Ok(()),
        Some(it) => {
            let (index, why) = (it.position.index, it.why.reason.whole());
            Err(ProtocolError::RecordUnknown { index, why })
        }
    }
}

pub(super) fn head(at: &SignedCheckpoint) -> TreeHead {
    TreeHead { size: at.size(), root: at.root() }
}

/// The index row of a record, as the projection keeps it. `ledger verify` recomputes it.
pub fn index_of(body: &Body, subjects: &Subjects) -> Index {
    Index {
        kind: body.kind(),
        service: body.service().to_string(),
        environment: body.environment().map(ToString::to_string).unwrap_or_default(),
        digest: Some(subjects.image.digest),
        phase: body.outcome(),
        idempotency_key: Some(body.ledger().idempotency_key.to_string()),
    }
}

/// What a record of the decision relies on: what the gate saw, and the roots of trust it was proved under.
fn kept(verdict: &Verdict, trust: &Trust) -> Kept {
    let mut kept = verdict.kept.clone();
    trust.roots().iter().for_each(|root| kept.keep(root.json()));
    kept
}

/// The bytes of everything it names are there to be kept with it.
fn draft(verdict: &Verdict, promotion: Promotion, kept: &Kept) -> Result<Box<Draft>, ProtocolError> {
    let subjects = verdict.subjects();
    complete(&promotion, &subjects, kept)?;
    Ok(Box::new(Draft { subjects, body: Body::Promotion(Box::new(promotion)) }))
}

fn promotion(verdict: &Verdict, actor: &Actor, trust: &Trust, phase: Phase, ledger: LedgerView) -> Promotion {
    Promotion {
        actor: actor.clone(),
        service: verdict.service.clone(),
        phase,
        kind: Direction::Promote,
        intent: None,
        from: Endpoint { environment: verdict.from.clone(), uri: verdict.image.repository.clone() },
        to: Endpoint {
            environment: Some(verdict.environment.clone()),
            uri: verdict.destination.repository.clone(),
        },
        supersedes: None,
        policy: verdict.policy.clone(),
        roots: trust.roots().iter().map(RootVersion::from).collect(),
        evidence: verdict.evidence(),
        exceptions: Vec::new(),
        level: verdict.level(),
        rationale: verdict.rationale(),
        rollback_to: None,
        abort_reason: None,
        basis: basis(verdict),
        decided_on: verdict.decided_on,
        ledger,
    }
}

/// None where the control lane was not looked at: of that no yes or no is recorded.
fn basis(verdict: &Verdict) -> Option<Basis> {
    let tag = verdict.tag.as_ref();
    let tag = tag.map(|seen| TagMeant { name: seen.tag.clone(), found: seen.found, expected: seen.expected });
    let (observed, decided_on) = (verdict.ledger, verdict.decided_on);
    let witnessed = match verdict.freshness.clone() {
        Freshness::Cosigned { at, size, witnesses } => Some(WitnessedLane { at, size, witnesses }),
        Freshness::Unwitnessed | Freshness::Missed { .. } => None,
    };
    verdict.control.map(|control| Basis { observed, control, decided_on, tag, witnessed })
}

/// The same request has the same key, whatever the attempt: `request` is the CI run without the attempt number,
/// or empty at a terminal.
pub fn idempotency_key(verdict: &Verdict, request: &str) -> Digest {
    // A JSON object with sorted keys (serde_json's map is ordered), so that the text is canonical.
    let request = json!({
        "digest": verdict.image.digest,
        "from": verdict.image.repository,
        "policy": verdict.policy.digest,
        "request": request,
        "service": verdict.service,
        "to": verdict.environment,
    });
    Digest::of(request.to_string().as_bytes())
}

/// An approved promotion whose intent is durable. Nothing has an effect before this exists.
#[must_use = "an open intent holds the lock until it is committed or aborted"]
#[derive(Debug)]
pub struct Intent {
    approved: Approved,
    position: Position,
    supersedes: Option<Superseded>,
    key: Digest,
    resumed: bool,
}

impl Intent {
    /// Records the intent, or takes up the one an interrupted run of the same request left open.
    ///
    /// # Errors
    /// [`ProtocolError::Overtaken`] when another promotion was committed since the decision;
    /// [`ProtocolError::Busy`] while a rival holds the lock and is not stale; [`ProtocolError::Requester`] when the
    /// decision was made for another identity, or for none.
    pub fn open(
        writer: &mut Writer<'_>,
        approved: Approved,
        environment: &Environment,
        key: Digest,
        now: Timestamp,
    ) -> Result<Self, ProtocolError> {
        let author = writer.author();
        let identity = author.identity();
        let verdict = approved.verdict();
        same(verdict, environment)?;
        if verdict.requester.as_ref() != Some(identity) {
            let decided = verdict.requester.as_ref().map_or_else(|| "nobody".to_owned(), ToString::to_string);
            return Err(ProtocolError::Requester { decided, found: identity.clone() });
        }
        let actor = Actor::from(identity);
        let (policy, trust, service) = (writer.policy, writer.trust, &verdict.service);
        let kept = kept(verdict, trust);
        loop {
            let (appended, (found, superseded)) =
                writer.append_with(&verdict.service, &verdict.environment, &kept, |view| {
                    let control = view.control();
                    judged(policy, service, environment.name(), &control, view.history)?;
                    let rules = Rules { policy, service, environment, control: &control };
                    let state = State::replay(&view.history.records, &rules);
                    let superseded = superseded(&state);
                    let Some(holder) = state.holder() else {
                        // A decision is about the environment as it was read; the loser decides again (D5, E9).
                        let newest = state.commits.last();
                        if let Some(newest) = newest.filter(|it| it.commit.index >= verdict.ledger.size) {
                            let (index, image) = (newest.commit.index, newest.image.digest);
                            return Err(ProtocolError::Overtaken { index, image });
                        }
                        let mut body = promotion(verdict, &actor, trust, Phase::Intent, view.ledger(key));
                        body.supersedes = superseded;
                        return Ok(Step::Append(
                            draft(verdict, body, &kept)?,
                            (Found::Ours(None), superseded),
                        ));
                    };
                    if holder.is_of(key, identity) {
                        return Ok(Step::Done((Found::Ours(Some(holder.position)), superseded)));
                    }
                    // A rival: abort it once it is stale, then look again.
                    let body = abort(holder.record, environment.name(), &actor, view.ledger(key), now)?;
                    Ok::<_, ProtocolError>(Step::Append(Box::new(body), (Found::Rival, superseded)))
                })?;
            match (found, appended) {
                (Found::Ours(Some(position)), _) => {
                    return Ok(Self { approved, position, supersedes: superseded, key, resumed: true });
                }
                (Found::Ours(None), Some(Written { position, .. })) => {
                    return Ok(Self { approved, position, supersedes: superseded, key, resumed: false });
                }
                (Found::Ours(None), None) | (Found::Rival, _) => {}
            }
        }
    }

    /// What led to the yes.
    pub fn verdict(&self) -> &Verdict {
        self.approved.verdict()
    }

    /// Where it lies.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Whether an interrupted run had left it open.
    pub fn resumed(&self) -> bool {
        self.resumed
    }

    /// Records the commit, valid only while this intent is the open one, and says that it is new. If an interrupted or
    /// parallel run of the same request has committed it already, that commit is the answer.
    ///
    /// # Errors
    /// [`ProtocolError::Fenced`] when a rival closed the intent; [`ProtocolError::RecordUnknown`] when one may have.
    pub(crate) fn commit(
        &self,
        writer: &mut Writer<'_>,
        environment: &Environment,
        now: Timestamp,
    ) -> Result<(Position, bool), ProtocolError> {
        let verdict = self.verdict();
        same(verdict, environment)?;
        let actor = Actor::from(writer.author().identity());
        let (policy, trust) = (writer.policy, writer.trust);
        let kept = kept(verdict, trust);
        let (service, name) = (&verdict.service, &verdict.environment);
        let (appended, before) = writer.append_with(service, name, &kept, |view| {
            let control = view.control();
            // It may have closed this intent.
            judged(policy, service, name, &control, view.history)?;
            let rules = Rules { policy, service, environment, control: &control };
            let state = State::replay(&view.history.records, &rules);
            if let Some(done) = state.commits.iter().find(|commit| commit.intent == self.position) {
                return Ok(Step::Done(Some(done.commit)));
            }
            if state.holder().is_none_or(|holder| holder.position != self.position) {
                return Err(fenced(&state, self.position));
            }
            let mut body = promotion(verdict, &actor, trust, Phase::Commit, view.ledger(self.key));
            body.intent = Some(self.position);
            body.supersedes = self.supersedes;
            body.decided_on = now;
            Ok(Step::Append(draft(verdict, body, &kept)?, None))
        })?;
        let new = appended.map(|written| (written.position, true));
        let found = before.map(|position| (position, false));
        new.or(found).ok_or(ProtocolError::Fenced { index: self.position.index })
    }

    /// Closes the intent without effect, because the second look said no.
    ///
    /// # Errors
    /// [`ProtocolError`] when the abort cannot be appended.
    pub fn abort(
        self,
        writer: &mut Writer<'_>,
        environment: &Environment,
        denied: &Denied,
    ) -> Result<Position, ProtocolError> {
        let verdict = denied.verdict();
        let actor = Actor::from(writer.author().identity());
        let (policy, trust) = (writer.policy, writer.trust);
        let kept = kept(verdict, trust);
        let (service, name) = (&verdict.service, &verdict.environment);
        let (appended, ()) = writer.append_with(service, name, &kept, |view| {
            let control = view.control();
            let rules = Rules { policy, service, environment, control: &control };
            let state = State::replay(&view.history.records, &rules);
            // One that was taken is closed too, for everybody who reads on.
            let open = state.open.iter().any(|open| open.position == self.position);
            if !open && state.taken(self.position).is_none() {
                return Ok(Step::Done(()));
            }
            let mut body = promotion(verdict, &actor, trust, Phase::Abort, view.ledger(self.key));
            body.intent = Some(self.position);
            body.abort_reason = Some(said_no(verdict));
            Ok::<_, ProtocolError>(Step::Append(draft(verdict, body, &kept)?, ()))
        })?;
        Ok(appended.map_or(self.position, |written| written.position))
    }
}

/// Whose promoters count is said by the environment that was decided on, and by no other.
fn same(verdict: &Verdict, environment: &Environment) -> Result<(), ProtocolError> {
    if verdict.environment == *environment.name() {
        return Ok(());
    }
    let (decided, found) = (verdict.environment.clone(), environment.name().clone());
    Err(ProtocolError::Environment { decided, found })
}

/// Why an intent is no longer the one that may be committed.
fn fenced(state: &State<'_>, intent: Position) -> ProtocolError {
    let index = intent.index;
    match state.taken(intent).and_then(|taken| taken.by) {
        Some(by) => ProtocolError::Revoked { index, by },
        None => ProtocolError::Fenced { index },
    }
}

enum Found {
    Ours(Option<Position>),
    Rival,
}

fn said_no(verdict: &Verdict) -> String {
    let codes: Vec<String> = verdict.codes().iter().map(ToString::to_string).collect();
    format!("another look said no: {}", codes.join(", "))
}

fn superseded(state: &State<'_>) -> Option<Superseded> {
    state
        .current
        .as_ref()
        .map(|current| Superseded { digest: current.image.digest, index: current.commit.index })
}
