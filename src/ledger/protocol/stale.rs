//! An intent that its run left open: when a rival may abort it, and the abort.
//!
//! Guarantees: a clock says only who may write an abort; what is valid follows from the log, so that a run which was
//! taken for dead and wakes up finds its intent closed.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{Busy, Intent, ProtocolError, Step, Writer, judged, same};
use crate::digest::Digest;
use crate::ledger::target::{Rules, State};
use crate::policy::{Environment, EnvironmentName, ServiceName};
use crate::record::{Actor, Body, Draft, LedgerView, Phase, Position, Promotion, Record};

/// After this a rival may abort an open intent.
pub const STALE: SignedDuration = SignedDuration::from_mins(10);

/// When a rival may abort an intent.
fn stale_from(intent: &Promotion) -> Timestamp {
    intent.decided_on.saturating_add(STALE).unwrap_or(Timestamp::MAX)
}

/// Whether a rival may abort an intent by now.
pub fn stale(intent: &Promotion, now: Timestamp) -> bool {
    // A clock that runs ahead must not hold the lock for as long as it does.
    let from_the_future = intent.decided_on.duration_since(now) > STALE;
    now >= stale_from(intent) || from_the_future
}

/// Aborts a stale intent, if it is still open.
///
/// # Errors
/// [`ProtocolError::Busy`] while it is not stale; see [`ProtocolError`].
pub fn abort_stale(
    writer: &mut Writer<'_>,
    service: &ServiceName,
    environment: &Environment,
    intent: Position,
    now: Timestamp,
) -> Result<(), ProtocolError> {
    let actor = Actor::from(writer.author().identity());
    let policy = writer.policy;
    let request = json!({ "abort": intent });
    let key = Digest::of(request.to_string().as_bytes());
    let (_, ()) = writer.append(service, environment.name(), |view| {
        let control = view.control();
        judged(policy, service, environment.name(), &control, view.history)?;
        let rules = Rules { policy, service, environment, control: &control };
        let state = State::replay(&view.history.records, &rules);
        let Some(open) = state.open.iter().find(|open| open.position == intent) else {
            return Ok(Step::Done(()));
        };
        let body = abort(open.record, environment.name(), &actor, view.ledger(key), now)?;
        Ok::<_, ProtocolError>(Step::Append(Box::new(body), ()))
    })?;
    Ok(())
}

/// The abort of a rival's stale intent.
pub(super) fn abort(
    rival: &Record,
    environment: &EnvironmentName,
    actor: &Actor,
    ledger: LedgerView,
    now: Timestamp,
) -> Result<Draft, ProtocolError> {
    let fenced = || ProtocolError::Fenced { index: rival.position().index };
    let promotion = rival.promotion().ok_or_else(fenced)?;
    if !stale(promotion, now) {
        return Err(ProtocolError::Busy(Box::new(Busy {
            environment: environment.clone(),
            index: rival.position().index,
            image: rival.subjects().image.digest,
            by: rival.identity().clone(),
            since: promotion.decided_on,
            until: stale_from(promotion),
        })));
    }
    let why = format!("left open since {:.0}", promotion.decided_on);
    Ok(closing(rival, promotion, actor, ledger, (why, now)))
}

fn closing(
    intent: &Record,
    promotion: &Promotion,
    actor: &Actor,
    ledger: LedgerView,
    (why, now): (String, Timestamp),
) -> Draft {
    let mut body = promotion.clone();
    body.actor = actor.clone();
    body.phase = Phase::Abort;
    body.intent = Some(intent.position());
    // The gate was not asked.
    body.basis = None;
    body.abort_reason = Some(why);
    body.decided_on = now;
    body.ledger = ledger;
    Draft { subjects: intent.subjects().clone(), body: Body::Promotion(Box::new(body)) }
}

impl Intent {
    /// Closes the intent without effect, because the world does not let it be carried out: whoever comes next has not to
    /// wait until it is stale.
    ///
    /// # Errors
    /// [`ProtocolError`] when the abort cannot be appended.
    pub fn give_up(
        self,
        writer: &mut Writer<'_>,
        environment: &Environment,
        why: &str,
        now: Timestamp,
    ) -> Result<(), ProtocolError> {
        let verdict = self.approved.verdict();
        same(verdict, environment)?;
        let actor = Actor::from(writer.author().identity());
        let (policy, service) = (writer.policy, &verdict.service);
        let (_, ()) = writer.append(service, environment.name(), |view| {
            let control = view.control();
            let rules = Rules { policy, service, environment, control: &control };
            let state = State::replay(&view.history.records, &rules);
            let open = state.open.iter().find(|open| open.position == self.position);
            let Some((record, promotion)) = open.and_then(|it| Some((it.record, it.record.promotion()?)))
            else {
                return Ok(Step::Done(()));
            };
            let draft = closing(record, promotion, &actor, view.ledger(self.key), (why.to_owned(), now));
            Ok::<_, ProtocolError>(Step::Append(Box::new(draft), ()))
        })?;
        Ok(())
    }
}
