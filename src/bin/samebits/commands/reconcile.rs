//! `reconcile`: what interrupted and overtaken promotions left, said, and mended where that was asked for.

use anyhow::anyhow;
use samebits::policy::{Environment, Service};
use samebits::promote::Walk;
use samebits::promote::reconcile::{Left, Mended};
use samebits::record::TreeHead;
use samebits::verify::Sign;

use crate::Outcome;
use crate::args::Reconcile;
use crate::commands::block_on;
use crate::output::{LeftHere, LeftOutcome, LeftWhat, Reconciling};
use crate::session::{self, Session};
use crate::trouble::{Trouble, undecided, usage};

pub(crate) fn reconcile(session: &Session<'_>, args: &Reconcile) -> Result<Outcome, Trouble> {
    let services: Vec<&Service> = match &args.service {
        Some(name) => vec![session.policy.find_service(name).map_err(usage)?],
        None => session.policy.services().collect(),
    };
    let environments: Vec<&Environment> = match &args.environment {
        Some(name) => vec![session.policy.find_environment(name).map_err(usage)?],
        None => session.policy.environments().iter().collect(),
    };
    let signer = args.yes.then(|| session.signer()).transpose()?;
    let registries = session.registries()?;
    // Only an abort is written to the ledger.
    let mut ledger = match args.yes && args.abort {
        true => session.ledger_to_append()?,
        false => session.ledger()?,
    };
    let mut walk = Walk {
        policy: &session.policy,
        trust: &session.trust,
        registries: &registries,
        ledger: &mut ledger,
        clock: &session::now,
        witnesses: None,
    };
    let left = block_on(all(session, &mut walk, &services, &environments, args, signer.as_deref()))??;
    let at = ledger.tip().map_err(undecided)?;
    let lane = ledger.control().map_err(undecided)?;
    let next = left.iter().any(|it| it.outcome == LeftOutcome::ToDo).then(|| again(args, &left));
    let report = Reconciling {
        schema: Reconciling::SCHEMA,
        origin: at.origin().to_string(),
        ledger: TreeHead { size: at.size(), root: at.root() },
        control: TreeHead { size: lane.head().size(), root: lane.head().root() },
        left,
        next,
    };
    session.outputs.emit(&report).map_err(undecided)?;
    Ok(if report.is_clean() { Outcome::Yes } else { Outcome::No })
}

async fn all(
    session: &Session<'_>,
    walk: &mut Walk<'_>,
    services: &[&Service],
    environments: &[&Environment],
    args: &Reconcile,
    signer: Option<&dyn Sign>,
) -> Result<Vec<LeftHere>, Trouble> {
    let mut all = Vec::new();
    for service in services {
        for environment in environments {
            session.progress(format_args!("looking at {} in {}", service.name(), environment.name()));
            for left in walk.left(service, environment).await? {
                let mut here = here(service, environment, &left)?;
                (here.outcome, here.why) = planned(&left, args);
                if let (LeftOutcome::ToDo, Some(signer)) = (here.outcome, signer) {
                    (here.outcome, here.why) = match walk.mend(service, environment, &left, signer).await? {
                        Mended::Done => (LeftOutcome::Done, None),
                        Mended::Not(why) => (LeftOutcome::Left, Some(why.to_owned())),
                    };
                }
                all.push(here);
            }
        }
    }
    Ok(all)
}

/// What would be done of it.
fn planned(left: &Left, args: &Reconcile) -> (LeftOutcome, Option<String>) {
    let (outcome, why) = match left {
        Left::Record { .. } | Left::Summary { .. } | Left::Tag { .. } => (LeftOutcome::ToDo, None),
        Left::Bytes { .. } => (LeftOutcome::Left, Some("promote it again: only that brings bytes back")),
        Left::TagOfNothing { .. } => (LeftOutcome::Left, Some("take the tag away, or promote what it means")),
        Left::Intent { stale: false, .. } => (
            LeftOutcome::UnderWay,
            Some("its run may be at it; the same command takes an interrupted one up"),
        ),
        // Dry, it is said what --abort would do.
        Left::Intent { .. } if args.abort || !args.yes => (LeftOutcome::ToDo, None),
        Left::Intent { .. } => {
            (LeftOutcome::Left, Some("close it with --abort, or run the same promotion again"))
        }
    };
    (outcome, why.map(str::to_owned))
}

fn again(args: &Reconcile, left: &[LeftHere]) -> String {
    let mut command = "samebits reconcile".to_owned();
    for (flag, value) in [("--in", &args.environment), ("--service", &args.service)] {
        command.push_str(&value.as_ref().map(|value| format!(" {flag} {value}")).unwrap_or_default());
    }
    command.push_str(" --yes");
    if left.iter().any(|it| it.what == LeftWhat::Intent && it.outcome == LeftOutcome::ToDo) {
        command.push_str(" --abort");
    }
    command + " --key FILE"
}

fn here(service: &Service, environment: &Environment, left: &Left) -> Result<LeftHere, Trouble> {
    let name = service.name();
    let none = || undecided(anyhow!("`{}` has no repository for `{name}`", environment.name()));
    let place = environment.repository(name).cloned().ok_or_else(none)?;
    let mut here = LeftHere {
        service: name.clone(),
        environment: environment.name().clone(),
        what: LeftWhat::Bytes,
        repository: place,
        image: None,
        record: None,
        tag: None,
        found: None,
        on: Vec::new(),
        by: None,
        since: None,
        outcome: LeftOutcome::ToDo,
        why: None,
    };
    match left {
        Left::Bytes { image, commit } => {
            (here.image, here.record) = (Some(image.digest), Some(commit.index));
        }
        Left::Record { image, commit } => {
            here.what = LeftWhat::Record;
            (here.image, here.record) = (Some(image.digest), Some(commit.index));
        }
        Left::Summary { image, commit, on } => {
            here.what = LeftWhat::Summary;
            (here.image, here.record) = (Some(image.digest), Some(commit.index));
            here.on.clone_from(on);
        }
        Left::Tag { tag, image, commit, found } => {
            here.what = LeftWhat::Tag;
            (here.image, here.record) = (Some(image.digest), Some(commit.index));
            (here.tag, here.found) = (Some(tag.clone()), *found);
        }
        Left::TagOfNothing { tag, found, .. } => {
            here.what = LeftWhat::TagOfNothing;
            (here.tag, here.found) = (Some(tag.clone()), Some(*found));
        }
        Left::Intent { image, intent, by, since, .. } => {
            here.what = LeftWhat::Intent;
            (here.image, here.record) = (Some(image.digest), Some(intent.index));
            (here.by, here.since) = (Some(by.clone()), Some(*since));
        }
    }
    Ok(here)
}
