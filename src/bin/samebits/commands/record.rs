//! `deployed`, `removed`, `approve`: facts and approvals, each signed by who may say it.

use std::collections::BTreeMap;

use anyhow::anyhow;
use jiff::SignedDuration;
use samebits::digest::Digest;
use samebits::ledger::protocol::{ProtocolError, Step, View, Writer, Written};
use samebits::policy::{Environment, EvidenceClass, Service, SignerName};
use samebits::promote::{Resolved, WalkError, service};
use samebits::record::{
    Actor, Approval, ApprovedFor, Body, Deployment, Draft, Kind, Record, Runtime, Status, Subjects, Verdict,
};
use samebits::reference::{Image, Reference};
use samebits::verify::{Author, Identity};
use serde_json::json;

use crate::Outcome;
use crate::args::{Approve, Deployed, Removed};
use crate::commands::block_on;
use crate::output::Recorded;
use crate::session::{self, Session};
use crate::trouble::{Trouble, undecided, usage};

pub(crate) fn deployed(session: &Session<'_>, args: &Deployed) -> Result<Outcome, Trouble> {
    let reference = session.reference(&args.image)?;
    let place = place(session, &args.environment, args.service.as_deref(), &reference)?;
    let Resolved { image, closure, .. } = resolve(session, &reference)?;
    let now = session::now();
    let started = args.started.unwrap_or(now);
    if started > now {
        return Err(usage(anyhow!(
            "--started {started} has not come yet: expected a time before now ({now})"
        )));
    }
    let runtime = args.observed.map(|observed_digest| Runtime {
        observed_digest,
        platform: args.platform.clone(),
        replicas: args.replicas,
    });
    if let Some(observed) = args.observed
        && !closure.contains(observed)
    {
        return Err(usage(anyhow!(
            "--observed {observed} is not in the image {}: expected the image's digest or that of one of its \
             platform manifests",
            image.digest
        )));
    }
    let platforms = closure
        .platforms()
        .filter(|(digest, _)| *digest != image.digest)
        .map(|(d, p)| (d, Some(p.clone())))
        .collect();
    let said = Said {
        status: if args.failed { Status::Failed } else { Status::Succeeded },
        name: &args.name,
        started,
        runtime,
        url: args.url.clone(),
    };
    deployment(session, &place, Subjects { image, platforms }, &said)
}

pub(crate) fn removed(session: &Session<'_>, args: &Removed) -> Result<Outcome, Trouble> {
    let reference = session.reference(&Reference::Pinned(args.image.clone()))?;
    let place = place(session, &args.environment, args.service.as_deref(), &reference)?;
    let Reference::Pinned(image) = reference else {
        return Err(usage(anyhow!("expected an image by digest")));
    };
    // What was removed may be gone from the registry too: its platforms are those of the record that deployed it.
    let said =
        Said { status: Status::Removed, name: &args.name, started: session::now(), runtime: None, url: None };
    deployment(session, &place, Subjects { image, platforms: Vec::new() }, &said)
}

/// A service in an environment, and the key that may speak of it.
struct Place<'a> {
    service: &'a Service,
    environment: &'a Environment,
}

fn place<'a>(
    session: &'a Session<'_>,
    environment: &str,
    named: Option<&str>,
    reference: &Reference,
) -> Result<Place<'a>, Trouble> {
    let policy = &session.policy;
    let environment = policy.find_environment(environment).map_err(usage)?;
    let name = service(policy, named, reference.repository())?;
    let service = policy.find_service(name.as_str()).map_err(usage)?;
    let own = environment.repository(&name);
    if Some(reference.repository()) != own {
        return Err(usage(anyhow!(
            "{} is not where `{name}` lies in `{}`: expected an image in {}",
            reference.repository(),
            environment.name(),
            own.map(ToString::to_string).unwrap_or_default()
        )));
    }
    Ok(Place { service, environment })
}

fn resolve(session: &Session<'_>, reference: &Reference) -> Result<Resolved, Trouble> {
    let registries = session.registries()?;
    let resolved = block_on(Resolved::resolve(&registries, reference))?;
    resolved.map_err(|error| Trouble::from(WalkError::from(error)))
}

/// What a deployment record is to say.
struct Said<'a> {
    status: Status,
    name: &'a str,
    started: jiff::Timestamp,
    runtime: Option<Runtime>,
    url: Option<String>,
}

fn deployment(
    session: &Session<'_>,
    place: &Place<'_>,
    subjects: Subjects,
    said: &Said<'_>,
) -> Result<Outcome, Trouble> {
    let signer = session.signer()?;
    let author = signer.author();
    let identity = author.identity();
    let (service, environment) = (place.service.name(), place.environment.name());
    may(session, place, &author, place.environment.deployers(), "say what runs in")?;
    let mut ledger = session.ledger_to_append()?;
    let mut writer =
        Writer { ledger: &mut ledger, policy: &session.policy, trust: &session.trust, signer: &*signer };
    let request = json!({
        "digest": subjects.image.digest,
        "environment": environment,
        "name": said.name,
        "run": session::run(),
        "runtime": said.runtime,
        "service": service,
        "status": said.status,
        "url": said.url,
    });
    let idempotency = Digest::of(request.to_string().as_bytes());
    let evidence_class = match said.runtime {
        Some(_) => EvidenceClass::Observed,
        None => EvidenceClass::Asserted,
    };
    let now = session::now();
    let (appended, (already, promoted)) = writer
        .append(service, environment, |view| {
            let promoted = promoted(view, subjects.image.digest);
            if let Some(record) = latest(view, said.name, identity, idempotency) {
                return Ok(Step::Done((Some(record), promoted)));
            }
            let body = Body::Deployment(Deployment {
                actor: Actor::from(identity),
                service: service.clone(),
                environment: environment.clone(),
                deployment_name: said.name.to_owned(),
                status: said.status,
                started_on: said.started,
                finished_on: now,
                evidence_class,
                runtime: said.runtime.clone(),
                parity: BTreeMap::new(),
                external_url: said.url.clone(),
                ledger: view.ledger(idempotency),
            });
            Ok::<_, ProtocolError>(Step::Append(
                Box::new(Draft { subjects: subjects.clone(), body }),
                (None, promoted),
            ))
        })
        .map_err(|error| Trouble::from(WalkError::from(error)))?;
    let mut notes = Vec::new();
    if already.is_some() {
        notes.push("this was recorded before; nothing was added".to_owned());
    }
    if !promoted && said.status != Status::Removed {
        notes.push(format!("this image was never promoted into `{environment}`"));
    }
    let written = appended.or(already).ok_or_else(|| undecided(anyhow!("the ledger took no record")))?;
    emit_recorded(
        session,
        place,
        Kind::Deployment,
        said.status.to_string(),
        &subjects.image,
        identity.clone(),
        written,
        notes,
    )
}

/// The newest deployment record under this name, if it is the very one that is about to be written.
fn latest(view: &View<'_>, name: &str, identity: &Identity, idempotency: Digest) -> Option<Written> {
    let deployments = view.history.records.iter().rev();
    let newest = deployments
        .filter(|record| record.identity() == identity)
        .find(|record| record.deployment().is_some_and(|said| said.deployment_name == name))?;
    let written = Written { position: newest.position(), digest: newest.digest() };
    (newest.body().ledger().idempotency_key == idempotency).then_some(written)
}

fn promoted(view: &View<'_>, digest: Digest) -> bool {
    let commit = |record: &Record| {
        record.promotion().is_some_and(|promotion| promotion.phase == samebits::record::Phase::Commit)
    };
    view.history.records.iter().any(|record| commit(record) && record.subjects().image.digest == digest)
}

fn may(
    session: &Session<'_>,
    place: &Place<'_>,
    author: &Author,
    allowed: &[SignerName],
    what: &str,
) -> Result<(), Trouble> {
    let who = session.policy.who(author, place.service.name());
    if who.iter().any(|name| allowed.contains(name)) {
        return Ok(());
    }
    let list = |names: Vec<String>| names.join(" or ");
    let allowed = list(allowed.iter().map(|name| format!("`{name}`")).collect());
    let found = match who.is_empty() {
        true => format!("{}, which the policy does not name", author.identity()),
        false => list(who.iter().map(|name| format!("`{name}`")).collect()),
    };
    Err(usage(anyhow!(
        "who signs here may not {what} `{}`: expected {allowed}, found {found}",
        place.environment.name()
    )))
}

pub(crate) fn approve(session: &Session<'_>, args: &Approve) -> Result<Outcome, Trouble> {
    let reference = session.reference(&args.image)?;
    let environment = session.policy.find_environment(&args.to).map_err(usage)?;
    let name = service(&session.policy, args.service.as_deref(), reference.repository())?;
    let place = Place { service: session.policy.find_service(name.as_str()).map_err(usage)?, environment };
    let Some(rule) = environment.require().approvals() else {
        return Err(usage(anyhow!(
            "`{}` asks for no approvals: expected `approvals` in its `require` table",
            environment.name()
        )));
    };
    let signer = session.signer()?;
    let author = signer.author();
    let identity = author.identity();
    may(session, &place, &author, rule.from(), "approve for")?;
    let Resolved { image, closure, .. } = resolve(session, &reference)?;
    let platforms = closure
        .platforms()
        .filter(|(digest, _)| *digest != image.digest)
        .map(|(d, p)| (d, Some(p.clone())))
        .collect();
    let subjects = Subjects { image: image.clone(), platforms };
    let mut nonce = [0; 32];
    aws_lc_rs::rand::fill(&mut nonce).map_err(|_| undecided(anyhow!("the system gives no random bytes")))?;
    let nonce = Digest::from_bytes(nonce);
    let decision = if args.reject { Verdict::Rejected } else { Verdict::Approved };
    let now = session::now();
    let valid_until =
        now.checked_add(SignedDuration::from_hours(i64::from(args.valid_for))).map_err(usage)?;
    let mut ledger = session.ledger_to_append()?;
    let mut writer =
        Writer { ledger: &mut ledger, policy: &session.policy, trust: &session.trust, signer: &*signer };
    let (appended, ()) = writer
        .append(&name, environment.name(), |view| {
            let body = Body::Approval(Approval {
                actor: Actor::from(identity),
                service: name.clone(),
                decision,
                approved_for: ApprovedFor {
                    environment: environment.name().clone(),
                    policy_digest: session.policy.digest(),
                    keys: session.policy.key_digests().clone(),
                },
                nonce,
                valid_until,
                decided_on: now,
                comment: args.comment.clone(),
                ledger: view.ledger(nonce),
            });
            Ok::<_, ProtocolError>(Step::Append(Box::new(Draft { subjects: subjects.clone(), body }), ()))
        })
        .map_err(|error| Trouble::from(WalkError::from(error)))?;
    let written = appended.ok_or_else(|| undecided(anyhow!("the ledger took no record")))?;
    let notes = vec![format!("good until {valid_until:.0}, for this policy file only")];
    emit_recorded(
        session,
        &place,
        Kind::Approval,
        decision.to_string(),
        &image,
        identity.clone(),
        written,
        notes,
    )
}

#[allow(clippy::too_many_arguments, reason = "one line of output has that many parts")]
fn emit_recorded(
    session: &Session<'_>,
    place: &Place<'_>,
    kind: Kind,
    outcome: String,
    image: &Image,
    signer: Identity,
    written: Written,
    notes: Vec<String>,
) -> Result<Outcome, Trouble> {
    let report = Recorded {
        schema: Recorded::SCHEMA,
        kind,
        outcome,
        image: image.clone(),
        service: place.service.name().clone(),
        environment: place.environment.name().clone(),
        signer,
        record: written.position,
        record_url: session.record_url(written.position),
        digest: written.digest,
        notes,
    };
    session.outputs.emit(&report).map_err(undecided)?;
    Ok(Outcome::Yes)
}
