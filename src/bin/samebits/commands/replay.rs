//! `replay`: a decision made again from what was kept with it; all of them by another policy file.

use anyhow::{Context as _, anyhow};
use samebits::ledger::{Filter, Ledger};
use samebits::policy::Policy;
use samebits::record::{Phase, Promotion, Record, TreeHead};
use samebits::replay::{Answer, Recorded, ReplayError, Replayed, WhatIf};
use samebits::tlog::{Included, Vkey};
use samebits::verify::Trust;

use crate::Outcome;
use crate::args::{Common, RecordName, Replay as Args, Since};
use crate::output::{AtHand, Decided, History, Now, Replay, YesOrNo};
use crate::report::Outputs;
use crate::session::Session;
use crate::trouble::{Trouble, undecided, usage};

pub(crate) fn replay(common: &Common, outputs: &Outputs, args: &Args) -> Result<Outcome, Trouble> {
    match (args.record, &args.vkey) {
        (Some(record), Some(vkey)) => one(&ledger_alone(common, vkey)?, outputs, record, None),
        (Some(record), None) => {
            let session = Session::read(common, outputs)?;
            one(&ledger(&session)?, outputs, record, Some(&session.policy))
        }
        (None, _) => all(&Session::read(common, outputs)?, args),
    }
}

/// The ledger of the policy; of a copy that was named, an older one will do.
fn ledger(session: &Session<'_>) -> Result<Ledger, Trouble> {
    let mut ledger = session.ledger_as_it_is(None)?;
    session.guard_copy(&mut ledger)?;
    Ok(ledger)
}

/// The ledger without a policy file: where it is and whose it is were typed.
fn ledger_alone(common: &Common, vkey: &str) -> Result<Ledger, Trouble> {
    let url = common.ledger.as_deref().ok_or_else(|| usage(anyhow!("--vkey needs --ledger URL")))?;
    let base = std::env::current_dir().context("there is no current folder").map_err(usage)?;
    let vkey: Vkey = vkey.parse().context("--vkey is wrong").map_err(usage)?;
    Ledger::open(url, &base, &vkey, None).context("the ledger cannot be opened").map_err(undecided)
}

fn yes_or_no(approved: bool) -> YesOrNo {
    if approved { YesOrNo::Approved } else { YesOrNo::Denied }
}

fn one(
    ledger: &Ledger,
    outputs: &Outputs,
    name: RecordName,
    policy: Option<&Policy>,
) -> Result<Outcome, Trouble> {
    let index = index_of(ledger, name)?;
    let recorded = Recorded::load(ledger, index)?;
    let again = recorded.again(ledger)?;
    let same = again.differences().is_empty();
    outputs.emit(&report(&recorded, &again, policy)).map_err(undecided)?;
    Ok(if same { Outcome::Yes } else { Outcome::No })
}

fn report(recorded: &Recorded, again: &Replayed, policy: Option<&Policy>) -> Replay {
    let (record, promotion, basis) = (recorded.record(), recorded.promotion(), recorded.basis());
    let verdict = again.verdict();
    Replay {
        schema: Replay::SCHEMA,
        record: record.position().index,
        digest: record.digest(),
        phase: promotion.phase,
        same: again.differences().is_empty(),
        recorded: yes_or_no(recorded.approved()),
        decision: yes_or_no(again.approved()),
        codes: verdict.codes(),
        differences: again.differences().to_vec(),
        image: record.subjects().image.clone(),
        service: promotion.service.clone(),
        to: verdict.environment.clone(),
        decided_on: basis.decided_on,
        policy: promotion.policy.clone(),
        at_hand: match policy {
            Some(policy) if is_by(promotion, policy) => AtHand::Same,
            Some(_) => AtHand::Other,
            None => AtHand::None,
        },
        roots: promotion.roots.clone(),
        ledger: basis.observed,
        control: basis.control,
        evidence: promotion.evidence.len(),
    }
}

/// Whether a decision was made by this file with these keys.
fn is_by(promotion: &Promotion, policy: &Policy) -> bool {
    promotion.policy.digest.0 == policy.digest() && promotion.policy.keys == *policy.key_digests()
}

/// The place of a record that was named.
pub(crate) fn index_of(ledger: &Ledger, name: RecordName) -> Result<u64, Trouble> {
    match name {
        RecordName::Index(index) => Ok(index),
        RecordName::Digest(digest) => {
            let found = entries(ledger)?.into_iter().find(|entry| entry.content() == digest);
            let found = found.map(|entry| entry.index());
            found.ok_or_else(|| usage(anyhow!("no record of the ledger has the digest {digest}")))
        }
    }
}

/// Every record, oldest first.
fn entries(ledger: &Ledger) -> Result<Vec<Included>, Trouble> {
    let at = ledger.tip().map_err(undecided)?;
    let everything = Filter { service: None, environment: None, kind: None, limit: usize::MAX };
    let mut entries = ledger.log(&at, 0..at.size(), &everything).map_err(undecided)?;
    entries.reverse();
    Ok(entries)
}

fn all(session: &Session<'_>, args: &Args) -> Result<Outcome, Trouble> {
    let ledger = ledger(session)?;
    let at = ledger.tip().map_err(undecided)?;
    let from = match args.since {
        Some(Since::Record(name)) => index_of(&ledger, name)?,
        Some(Since::Time(_)) | None => 0,
    };
    let mut records = Vec::new();
    for entry in entries(&ledger)?.iter().filter(|entry| entry.index() >= from) {
        records.extend(decided(session, &ledger, args, entry)?);
    }
    // A name that is in no record may be one of the past, or a slip.
    if records.is_empty() {
        if let Some(service) = &args.service {
            session.policy.find_service(service).map_err(usage)?;
        }
        if let Some(environment) = &args.to {
            session.policy.find_environment(environment).map_err(usage)?;
        }
    }
    let count = |now| records.iter().filter(|line: &&Decided| line.now == now).count();
    let (same, refused, allowed) = (count(Now::Same), count(Now::Refused), count(Now::Allowed));
    let untold = count(Now::CannotTell);
    let report = History {
        schema: History::SCHEMA,
        origin: at.origin().to_string(),
        ledger: TreeHead { size: at.size(), root: at.root() },
        policy: session.policy.digest(),
        decisions: records.len(),
        same,
        refused,
        allowed,
        cannot_tell: untold,
        records,
    };
    session.outputs.emit(&report).map_err(undecided)?;
    match (refused + allowed, untold) {
        (0, 0) => Ok(Outcome::Yes),
        (0, _) => Ok(Outcome::Untold),
        (_, _) => Ok(Outcome::No),
    }
}

/// The line of one record, if it is a decision that was asked about and that no other line tells.
fn decided(
    session: &Session<'_>,
    ledger: &Ledger,
    args: &Args,
    entry: &Included,
) -> Result<Option<Decided>, Trouble> {
    let line = match Recorded::load(ledger, entry.index()) {
        Err(ReplayError::NotADecision { .. }) => return Ok(None),
        Err(error @ (ReplayError::Ledger(_) | ReplayError::NoSuchRecord { .. })) => return Err(error.into()),
        Err(error) => untold(session, ledger, entry, &error),
        Ok(recorded) if is_of_its_intent(ledger, recorded.trust(), recorded.promotion()) => return Ok(None),
        Ok(recorded) => {
            let told = recorded.under(ledger, &session.policy)?;
            Some(told_line(&recorded, told))
        }
    };
    Ok(line.filter(|line| asked(args, line)))
}

/// What cannot be decided again, as far as today's policy can read it; an abort by a rival is no decision.
fn untold(session: &Session<'_>, ledger: &Ledger, entry: &Included, error: &ReplayError) -> Option<Decided> {
    let record = Record::read(entry, &session.trust).ok();
    let promotion = record.as_ref().and_then(Record::promotion);
    let is_none = promotion.is_some_and(|it| match (it.phase, &it.basis) {
        (Phase::Abort, None) => true,
        (Phase::Commit, _) => is_of_its_intent(ledger, &session.trust, it),
        (Phase::Intent | Phase::Refused, _) | (Phase::Abort, Some(_)) => false,
    });
    if is_none {
        return None;
    }
    Some(Decided {
        record: entry.index(),
        phase: promotion.map(|it| it.phase),
        image: record.as_ref().map(|record| record.subjects().image.clone()),
        service: promotion.map(|it| it.service.clone()),
        to: promotion.and_then(|it| it.to.environment.clone()),
        decided_on: promotion.map(|it| it.decided_on),
        recorded: promotion.map(|it| yes_or_no(matches!(it.phase, Phase::Intent | Phase::Commit))),
        now: Now::CannotTell,
        codes: Vec::new(),
        why: vec![error.to_string()],
    })
}

/// What is not known of a record leaves it in.
fn asked(args: &Args, line: &Decided) -> bool {
    let since = match args.since {
        Some(Since::Time(time)) => line.decided_on.is_none_or(|decided| decided >= time),
        Some(Since::Record(_)) | None => true,
    };
    let is = |asked: &Option<String>, found: Option<&str>| {
        asked.as_deref().zip(found).is_none_or(|(asked, found)| asked == found)
    };
    since
        && is(&args.service, line.service.as_ref().map(|name| name.as_str()))
        && is(&args.to, line.to.as_ref().map(|name| name.as_str()))
}

/// A commit says what its intent said, unless it was taken up by a later run that decided again.
fn is_of_its_intent(ledger: &Ledger, trust: &Trust, promotion: &Promotion) -> bool {
    let intent = match (promotion.phase, promotion.intent) {
        (Phase::Commit, Some(intent)) => intent.index,
        (Phase::Commit | Phase::Intent | Phase::Abort | Phase::Refused, _) => return false,
    };
    let entry = ledger.tip().and_then(|at| ledger.read(&at, intent)).ok();
    let intent = entry.and_then(|entry| Record::read(&entry, trust).ok());
    let intent = intent.as_ref().and_then(Record::promotion);
    intent.is_some_and(|intent| intent.basis.is_some() && intent.basis == promotion.basis)
}

fn told_line(recorded: &Recorded, told: WhatIf) -> Decided {
    let (record, promotion) = (recorded.record(), recorded.promotion());
    Decided {
        record: record.position().index,
        phase: Some(promotion.phase),
        image: Some(record.subjects().image.clone()),
        service: Some(promotion.service.clone()),
        to: promotion.to.environment.clone(),
        decided_on: Some(recorded.basis().decided_on),
        recorded: Some(yes_or_no(recorded.approved())),
        now: match told.answer {
            Answer::Same => Now::Same,
            Answer::Refused => Now::Refused,
            Answer::Allowed => Now::Allowed,
            Answer::CannotTell => Now::CannotTell,
        },
        codes: told.codes,
        why: told.why,
    }
}
