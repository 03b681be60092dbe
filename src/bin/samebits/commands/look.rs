//! `status`, `log`, `show`: what the ledger says, each record shown to be in it and its signature checked.

use std::collections::{BTreeMap, BTreeSet};

use samebits::digest::Digest;
use samebits::evidence::Control;
use samebits::gate::control::{self, Frozen, Holds};
use samebits::ledger::kept::{Relied, relied_on};
use samebits::ledger::target::{Current, Rules, State, history};
use samebits::ledger::{Filter, Ledger, LedgerError};
use samebits::policy::{Environment, Service};
use samebits::record::{Record, RecordError, Revocation, Revoked, Status as Ran, TreeHead};
use samebits::tlog::{Included, SignedCheckpoint, Whole};

use crate::Outcome;
use crate::args::{Log, Show, Status};
use crate::kept::{KeptEvidence, State as Kept, What};
use crate::output::{
    Agreement, FrozenHere, InForce, LogEntry, LogPage, RevokedHere, StatusCell, StatusTable,
};
use crate::session::{self, Session};
use crate::trouble::{Trouble, undecided, usage};

fn head(at: &SignedCheckpoint) -> TreeHead {
    TreeHead { size: at.size(), root: at.root() }
}

pub(crate) fn status(session: &Session<'_>, args: &Status) -> Result<Outcome, Trouble> {
    let services: Vec<&Service> = match &args.service {
        Some(name) => vec![session.policy.find_service(name).map_err(usage)?],
        None => session.policy.services().collect(),
    };
    let ledger = session.ledger()?;
    let at = ledger.tip().map_err(undecided)?;
    let lane = ledger.control().map_err(undecided)?;
    let control = Control::read(&lane, &session.trust);
    let cells = cells(session, &ledger, (&at, &lane), &control, &services)?;
    let revocations = in_force(session, &control, &services, |_| true);
    let origin = at.origin().to_string();
    let next = match cells.iter().all(|cell| cell.agreement == Agreement::Empty) {
        true => first_step(session, &services),
        false => None,
    };
    let report = StatusTable {
        schema: StatusTable::SCHEMA,
        origin,
        ledger: head(&at),
        cells,
        control: head(lane.head()),
        revocations,
        freezes: frozen(session, &control, &services),
        next,
    };
    session.outputs.emit(&report).map_err(undecided)?;
    Ok(Outcome::Yes)
}

fn cells(
    session: &Session<'_>,
    ledger: &Ledger,
    heads: (&SignedCheckpoint, &Whole),
    control: &Control,
    services: &[&Service],
) -> Result<Vec<StatusCell>, Trouble> {
    let mut cells = Vec::new();
    for service in services {
        let holds = control::in_force(&session.policy, service.name(), control);
        for environment in session.policy.environments() {
            let rules = Rules { policy: &session.policy, service: service.name(), environment, control };
            cells.push(cell(session, ledger, heads, &holds, &rules, service)?);
        }
    }
    Ok(cells)
}

/// Where something is promoted or said to run that is revoked (B14).
pub(crate) fn revoked_cells(session: &Session<'_>, ledger: &Ledger) -> Result<Vec<StatusCell>, Trouble> {
    let at = ledger.tip().map_err(undecided)?;
    let lane = ledger.control().map_err(undecided)?;
    let control = Control::read(&lane, &session.trust);
    let services: Vec<&Service> = session.policy.services().collect();
    let mut cells = cells(session, ledger, (&at, &lane), &control, &services)?;
    cells.retain(|cell| !cell.revoked.is_empty());
    Ok(cells)
}

/// The revocations in force for one of the services at least, each once, oldest first.
fn in_force(
    session: &Session<'_>,
    control: &Control,
    services: &[&Service],
    wanted: impl Fn(&Revocation) -> bool,
) -> Vec<InForce> {
    let mut found = BTreeMap::new();
    for service in services {
        let holds = control::in_force(&session.policy, service.name(), control);
        for Holds { record, revocation } in holds.all().iter().filter(|it| wanted(it.revocation)) {
            found.entry(record.position().index).or_insert_with(|| InForce {
                index: record.position().index,
                target: revocation.target.clone(),
                scope: revocation.scope.clone(),
                reason: revocation.reason.clone(),
                effective_from: revocation.effective_from,
                signer: record.author().identity().clone(),
                decided_on: revocation.decided_on,
            });
        }
    }
    found.into_values().collect()
}

/// The freezes for one of the services at least that were not thawed and are not over, each once, oldest first.
fn frozen(session: &Session<'_>, control: &Control, services: &[&Service]) -> Vec<FrozenHere> {
    let mut found = BTreeMap::new();
    for service in services {
        let freezes = control::freezes(&session.policy, service.name(), control);
        for Frozen { record, freeze } in freezes.into_iter().filter(|it| !it.is_over(session::now())) {
            found.entry(record.position().index).or_insert_with(|| FrozenHere {
                index: record.position().index,
                scope: freeze.scope.clone(),
                from: freeze.from,
                until: freeze.until,
                reason: freeze.reason.clone(),
                signer: record.author().identity().clone(),
            });
        }
    }
    found.into_values().collect()
}

/// Into the entry environment, from where the build pushes.
fn first_step(session: &Session<'_>, services: &[&Service]) -> Option<String> {
    let service = services.first()?;
    let entry = session.policy.environments().iter().find(|environment| environment.entry())?;
    Some(format!("samebits promote {}:TAG --to {} --key FILE", service.repository(), entry.name()))
}

fn cell(
    session: &Session<'_>,
    ledger: &Ledger,
    (at, lane): (&SignedCheckpoint, &Whole),
    holds: &control::InForce<'_>,
    rules: &Rules<'_>,
    service: &Service,
) -> Result<StatusCell, Trouble> {
    let (name, environment) = (service.name(), rules.environment);
    let history = history(ledger, at, lane, (&session.policy, &session.trust), name, environment.name())
        .map_err(undecided)?;
    let state = State::replay(&history.records, rules);
    let running = running(session, &history.records, service, environment);
    let promoted = &state.current;
    let agreement = match (promoted.as_ref().map(|current| current.image.digest), running) {
        (Some(promoted), Some(record)) if record.subjects().image.digest == promoted => Agreement::Same,
        (Some(_), Some(_)) => Agreement::Differs,
        (Some(_), None) => Agreement::NotDeployed,
        (None, Some(_)) => Agreement::NeverPromoted,
        (None, None) => Agreement::Empty,
    };
    Ok(StatusCell {
        service: name.clone(),
        environment: environment.name().clone(),
        repository: environment.repository(name).cloned(),
        promoted: promoted.as_ref().map(|current| current.image.digest),
        promoted_by: promoted.as_ref().map(|current| current.commit.index),
        running: running.map(|record| record.subjects().image.digest),
        running_by: running.map(|record| record.position().index),
        open_intent: state.holder().map(|open| open.position.index),
        agreement,
        revoked: revoked(session, holds, &history.records, promoted.as_ref(), service, environment),
    })
}

/// What is promoted, and every deployment that is said to run, where it is revoked or who said so was.
fn revoked(
    session: &Session<'_>,
    holds: &control::InForce<'_>,
    records: &[Record],
    promoted: Option<&Current>,
    service: &Service,
    environment: &Environment,
) -> Vec<RevokedHere> {
    let promoted = promoted.and_then(|current| records.iter().find(|it| it.position() == current.commit));
    let mut running: BTreeMap<&str, &Record> = BTreeMap::new();
    for record in records.iter().filter(|record| may_say(session, record, service, environment)) {
        let Some(said) = record.deployment() else { continue };
        let name = said.deployment_name.as_str();
        match said.status {
            Ran::Succeeded => {
                running.insert(name, record);
            }
            Ran::Failed => {}
            Ran::Removed => {
                let gone = record.subjects().image.digest;
                if running.get(name).is_some_and(|record| record.subjects().image.digest == gone) {
                    running.remove(name);
                }
            }
        }
    }
    let running = running.into_iter().map(|(name, record)| (Some(name.to_owned()), record));
    let here = promoted.map(|record| (None, record)).into_iter().chain(running);
    here.filter_map(|(deployment, record)| {
        let subjects = record.subjects();
        let bytes = holds.of_digests(environment.name(), |digest| subjects.contain(digest));
        let found = bytes.map(|(found, _)| found).or_else(|| holds.of_record(environment.name(), record))?;
        Some(RevokedHere {
            deployment,
            image: subjects.image.digest,
            record: record.position().index,
            revoked_by: found.record.position().index,
            reason: found.revocation.reason.clone(),
        })
    })
    .collect()
}

fn may_say(session: &Session<'_>, record: &Record, service: &Service, environment: &Environment) -> bool {
    let who = session.policy.who(record.author(), service.name());
    who.iter().any(|name| environment.deployers().contains(name))
}

/// The newest successful deployment by who may say so, unless it was removed since.
fn running<'a>(
    session: &Session<'_>,
    records: &'a [Record],
    service: &Service,
    environment: &Environment,
) -> Option<&'a Record> {
    let mut running: Option<&Record> = None;
    for record in records {
        let Some(said) = record.deployment() else { continue };
        if !may_say(session, record, service, environment) {
            continue;
        }
        match said.status {
            Ran::Succeeded => running = Some(record),
            Ran::Failed => {}
            Ran::Removed => {
                let gone = record.subjects().image.digest;
                running = running.filter(|record| record.subjects().image.digest != gone);
            }
        }
    }
    running
}

pub(crate) fn log(session: &Session<'_>, args: &Log) -> Result<Outcome, Trouble> {
    if let Some(service) = &args.service {
        session.policy.find_service(service).map_err(usage)?;
    }
    if let Some(environment) = &args.environment {
        session.policy.find_environment(environment).map_err(usage)?;
    }
    let ledger = session.ledger()?;
    let at = ledger.tip().map_err(undecided)?;
    let filter = Filter {
        service: args.service.clone(),
        environment: args.environment.clone(),
        kind: None,
        limit: args.limit as usize,
    };
    let entries = ledger.log(&at, 0..at.size(), &filter).map_err(undecided)?;
    let records = entries.iter().map(|entry| line(session, entry)).collect();
    let origin = at.origin().to_string();
    let report = LogPage {
        schema: LogPage::SCHEMA,
        origin,
        ledger: head(&at),
        digest: None,
        records,
        revocations: Vec::new(),
        live: Vec::new(),
    };
    session.outputs.emit(&report).map_err(undecided)?;
    Ok(Outcome::Yes)
}

pub(crate) fn show(session: &Session<'_>, args: &Show) -> Result<Outcome, Trouble> {
    let ledger = session.ledger()?;
    let at = ledger.tip().map_err(undecided)?;
    let everything = Filter { service: None, environment: None, kind: None, limit: usize::MAX };
    // The index knows the image that was named; a platform manifest is found by reading what contains it.
    let mut entries = ledger.log(&at, 0..at.size(), &everything).map_err(undecided)?;
    entries.reverse();
    let about = |entry: &Included, digest: Digest| {
        Record::read(entry, &session.trust).is_ok_and(|record| record.subjects().contain(digest))
    };
    // What else it is: the images it is in, its manifests.
    let mut kin = BTreeSet::from([args.digest]);
    for record in entries.iter().filter_map(|entry| Record::read(entry, &session.trust).ok()) {
        if record.subjects().contain(args.digest) {
            kin.insert(record.subjects().image.digest);
        }
        if record.subjects().image.digest == args.digest {
            kin.extend(record.subjects().digests());
        }
    }
    let control = Control::read(&ledger.control().map_err(undecided)?, &session.trust);
    let services: Vec<&Service> = session.policy.services().collect();
    let revocations = in_force(session, &control, &services, |revocation| match &revocation.target {
        Revoked::Digests(digests) => digests.iter().any(|digest| kin.contains(digest)),
        Revoked::Identities(_) | Revoked::Record(_) => false,
    });
    let mut live = revoked_cells(session, &ledger)?;
    live.retain(|cell| cell.revoked.iter().any(|revoked| kin.contains(&revoked.image)));
    let mut records = Vec::new();
    for entry in entries.iter().filter(|entry| about(entry, args.digest)) {
        let mut line = line(session, entry);
        line.evidence = evidence(session, &ledger, entry)?;
        records.push(line);
    }
    let found = !records.is_empty() || !revocations.is_empty();
    let origin = at.origin().to_string();
    let digest = Some(args.digest);
    let report =
        LogPage { schema: LogPage::SCHEMA, origin, ledger: head(&at), digest, records, revocations, live };
    session.outputs.emit(&report).map_err(undecided)?;
    Ok(if found { Outcome::Yes } else { Outcome::No })
}

/// What a promotion relied on, and whether the ledger still has it.
fn evidence(session: &Session<'_>, ledger: &Ledger, entry: &Included) -> Result<Vec<KeptEvidence>, Trouble> {
    let Ok(record) = Record::read(entry, &session.trust) else { return Ok(Vec::new()) };
    let Some(promotion) = record.promotion() else { return Ok(Vec::new()) };
    let piece = |Relied { role, digest }: Relied| {
        let state = match ledger.kept(entry.index(), digest) {
            Ok(_) => Kept::Kept,
            Err(LedgerError::EvidenceGone { .. }) => Kept::Gone,
            Err(LedgerError::EvidenceChanged { .. }) => Kept::Changed,
            Err(error) => return Err(undecided(error)),
        };
        let (what, name) = What::of(&role);
        Ok(KeptEvidence { what, name, digest, state })
    };
    relied_on(promotion, record.subjects()).into_iter().map(piece).collect()
}

fn line(session: &Session<'_>, entry: &Included) -> LogEntry {
    let mut line = LogEntry {
        index: entry.index(),
        digest: entry.content(),
        kind: None,
        outcome: None,
        service: None,
        environment: None,
        image: None,
        signer: None,
        names: Vec::new(),
        claimed_time: None,
        codes: Vec::new(),
        invalid: None,
        evidence: Vec::new(),
    };
    match Record::read(entry, &session.trust) {
        Err(error) => {
            line.invalid = Some(match &error {
                RecordError::Rejected(rejected) => format!("{error}: {rejected}"),
                _ => error.to_string(),
            });
        }
        Ok(record) => {
            let body = record.body();
            line.kind = Some(body.kind());
            line.outcome = Some(body.outcome());
            line.service = Some(body.service().clone());
            line.environment = body.environment().cloned();
            line.image = Some(record.subjects().image.clone());
            line.names = session.policy.who(record.author(), body.service()).into_iter().cloned().collect();
            line.signer = Some(record.identity().clone());
            line.claimed_time = Some(body.claimed_time());
            if let Some(promotion) = record.promotion() {
                line.codes = promotion.rationale.iter().filter_map(|line| line.code.clone()).collect();
            }
        }
    }
    line
}
