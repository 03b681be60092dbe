//! `freeze` and `thaw`: nothing enters, and something may again, signed by who may say it.

use anyhow::anyhow;
use jiff::Timestamp;
use samebits::digest::Digest;
use samebits::evidence::Control;
use samebits::gate::control::freezes;
use samebits::ledger::Ledger;
use samebits::ledger::control::LaneView;
use samebits::ledger::protocol::{Step, Writer};
use samebits::ledger::target::{Rules, State, history};
use samebits::policy::Environment;
use samebits::record::{
    Actor, ControlBody, ControlDraft, ControlRecord, Freeze as Body, Position, Record, Scope,
};
use samebits::verify::Author;
use serde_json::json;

use crate::Outcome;
use crate::args::{Freeze, Thaw};
use crate::commands::lane::{Does, may, scope, services};
use crate::output::{Freezing, FreezingEffect, UnderWay};
use crate::session::{self, Session};
use crate::trouble::{Trouble, undecided, usage};

pub(crate) fn freeze(session: &Session<'_>, args: &Freeze) -> Result<Outcome, Trouble> {
    let now = session::now();
    let scope = scope(session, args.service.as_deref(), args.environment.as_deref())?;
    let from = args.from.unwrap_or(now);
    if let Some(until) = args.until.filter(|until| *until <= from || *until <= now) {
        return Err(usage(anyhow!("--until {until}: expected a time that is to come, and after --from")));
    }
    // What changes from run to run is no part of what was asked for.
    let request = json!({ "freeze": scope, "from": args.from, "until": args.until });
    write(session, &args.reason, |_, author| {
        may(session, Does::Freeze, author, &scope)?;
        Ok(Wanted {
            scope: scope.clone(),
            from,
            until: args.until,
            lifts: None,
            request: request.to_string(),
        })
    })
}

pub(crate) fn thaw(session: &Session<'_>, args: &Thaw) -> Result<Outcome, Trouble> {
    write(session, &args.reason, |view, author| {
        let lifted = view.control.records().iter().find(|it| it.position().index == args.freeze);
        let said = lifted.and_then(|it| Some((it.position(), it.freeze()?)));
        let (position, said) = said.filter(|(_, said)| said.lifts.is_none()).ok_or_else(|| {
            usage(anyhow!(
                "control record {} freezes nothing: expected the index of a freeze in `samebits status`",
                args.freeze
            ))
        })?;
        may(session, Does::Freeze, author, &said.scope)?;
        let (scope, lifts) = (said.scope.clone(), Some(position));
        Ok(Wanted {
            scope,
            from: said.from,
            until: said.until,
            lifts,
            request: json!({ "thaw": position }).to_string(),
        })
    })
}

struct Wanted {
    scope: Scope,
    from: Timestamp,
    until: Option<Timestamp>,
    lifts: Option<Position>,
    request: String,
}

fn write(
    session: &Session<'_>,
    reason: &str,
    wanted: impl Fn(&LaneView<'_>, &Author) -> Result<Wanted, Trouble>,
) -> Result<Outcome, Trouble> {
    let signer = session.signer()?;
    let author = signer.author();
    let mut ledger = session.ledger_to_append()?;
    let mut writer =
        Writer { ledger: &mut ledger, policy: &session.policy, trust: &session.trust, signer: &*signer };
    // 1. Into the control lane, unless the same was said before and holds.
    let (appended, (before, body)) = writer.append_control(|view| {
        let Wanted { scope, from, until, lifts, request } = wanted(view, &author)?;
        let body = Body {
            actor: Actor::from(author.identity()),
            scope,
            from,
            until,
            reason: reason.to_owned(),
            lifts,
            decided_on: session::now(),
            ledger: view.ledger(Digest::of(request.as_bytes())),
        };
        Ok::<_, Trouble>(match said_before(session, view, &author, &body) {
            Some((position, before)) => Step::Done((Some(position), before)),
            None => {
                let draft = ControlDraft(ControlBody::Freeze(Box::new(body.clone())));
                Step::Append(Box::new(draft), (None, body))
            }
        })
    })?;
    let record = appended.or(before).ok_or_else(|| undecided(anyhow!("the ledger took no record")))?;
    // 2. Only then the main lane: what is not seen here will see the freeze.
    let under_way = match body.lifts {
        None => under_way(session, &ledger, &body)?,
        Some(_) => (Vec::new(), Vec::new()),
    };
    let notes = before.map(|_| "this was recorded before and holds; nothing was added".to_owned());
    let environments = session.policy.environments().iter().map(Environment::name);
    let here = |name: &&_| body.scope.environment.as_ref().is_none_or(|only| only == *name);
    let report = Freezing {
        schema: Freezing::SCHEMA,
        effect: if body.lifts.is_some() { FreezingEffect::Thaw } else { FreezingEffect::Freeze },
        environments: environments.filter(here).cloned().collect(),
        scope: body.scope,
        from: body.from,
        until: body.until,
        reason: body.reason,
        lifts: body.lifts,
        signer: author.identity().clone(),
        record,
        open: under_way.0,
        committed: under_way.1,
        notes: notes.into_iter().collect(),
    };
    session.outputs.emit(&report).map_err(undecided)?;
    Ok(Outcome::Yes)
}

/// The promotions that the freeze may have come too late for: open now, or committed since its author looked.
fn under_way(
    session: &Session<'_>,
    ledger: &Ledger,
    body: &Body,
) -> Result<(Vec<UnderWay>, Vec<UnderWay>), Trouble> {
    let at = ledger.tip().map_err(undecided)?;
    let lane = ledger.control().map_err(undecided)?;
    let control = Control::read(&lane, &session.trust);
    let (mut open, mut committed) = (Vec::new(), Vec::new());
    for service in services(session, &body.scope) {
        for environment in session.policy.environments() {
            let name = environment.name();
            if !body.scope.has(service.name(), name) {
                continue;
            }
            let found = history(ledger, &at, &lane, (&session.policy, &session.trust), service.name(), name)
                .map_err(undecided)?;
            let rules =
                Rules { policy: &session.policy, service: service.name(), environment, control: &control };
            let state = State::replay(&found.records, &rules);
            let under_way = |record: &Record| UnderWay {
                service: service.name().clone(),
                environment: name.clone(),
                image: record.subjects().image.digest,
                record: record.position().index,
                signer: record.identity().clone(),
                decided_on: record.body().claimed_time(),
            };
            open.extend(state.open.iter().map(|open| under_way(open.record)));
            let since = |record: &&Record| {
                let index = record.position().index;
                index >= body.ledger.observed.size && state.commits.iter().any(|it| it.commit.index == index)
            };
            committed.extend(found.records.iter().filter(since).map(under_way));
        }
    }
    Ok((open, committed))
}

/// The record of the same request by the same author, if it still has its effect.
fn said_before(
    session: &Session<'_>,
    view: &LaneView<'_>,
    author: &Author,
    body: &Body,
) -> Option<(Position, Body)> {
    let same = |record: &&ControlRecord| {
        record.author().identity() == author.identity()
            && record.body().ledger().idempotency_key == body.ledger.idempotency_key
    };
    let holds = |position: Position| {
        services(session, &body.scope).iter().all(|service| {
            let freezes = freezes(&session.policy, service.name(), view.control);
            freezes.iter().any(|it| it.record.position() == position && !it.is_over(session::now()))
        })
    };
    let said = |record: &ControlRecord| Some((record.position(), record.freeze()?.clone()));
    let mut before = view.control.records().iter().filter(same).filter_map(said);
    match body.lifts {
        None => before.find(|(position, _)| holds(*position)),
        Some(lifted) => before.next().filter(|_| !holds(lifted)),
    }
}
