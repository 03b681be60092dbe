//! `revoke`: what is no longer good, signed by who may say it; and its end.

use std::collections::BTreeSet;

use anyhow::anyhow;
use samebits::digest::Digest;
use samebits::gate::control::in_force;
use samebits::ledger::Ledger;
use samebits::ledger::control::LaneView;
use samebits::ledger::protocol::{Step, Writer};
use samebits::policy::{Environment, Matcher, Subject};
use samebits::promote::{Resolved, WalkError};
use samebits::record::{
    Actor, ControlBody, ControlDraft, ControlRecord, EffectiveFrom, Position, Record, RecordError,
    Revocation, RevocationEffect, Revoked, Scope,
};
use samebits::reference::{Image, Reference};
use samebits::verify::{Author, Identity};
use serde_json::json;

use crate::Outcome;
use crate::args::{Bytes, Revoke};
use crate::commands::lane::{Does, may, scope, services};
use crate::commands::{block_on, look};
use crate::output::Revoking;
use crate::session::{self, Session};
use crate::trouble::{Trouble, undecided, usage};

pub(crate) fn revoke(session: &Session<'_>, args: &Revoke) -> Result<Outcome, Trouble> {
    let scope = scope(session, args.service.as_deref(), args.environment.as_deref())?;
    let signer = session.signer()?;
    let author = signer.author();
    may(session, Does::Revoke, &author, &scope)?;
    let mut ledger = session.ledger_to_append()?;
    let mut notes = Vec::new();
    let wanted = wanted(session, &ledger, args, scope, &mut notes)?;
    let mut writer =
        Writer { ledger: &mut ledger, policy: &session.policy, trust: &session.trust, signer: &*signer };
    let (appended, (before, body)) = writer.append_control(|view| {
        let body = wanted.body(session, view, args, &author)?;
        Ok::<_, Trouble>(match said_before(session, view, &author, &body) {
            Some(before) => Step::Done((Some(before), body)),
            None => {
                let draft = ControlDraft(ControlBody::Revocation(Box::new(body.clone())));
                Step::Append(Box::new(draft), (None, body))
            }
        })
    })?;
    if before.is_some() {
        notes.push("this was recorded before and holds; nothing was added".to_owned());
    }
    let record = appended.or(before).ok_or_else(|| undecided(anyhow!("the ledger took no record")))?;
    let environments = session.policy.environments().iter().map(Environment::name);
    let closes = environments
        .filter(|_| body.effect == RevocationEffect::Refuse)
        .filter(|name| body.scope.environment.as_ref().is_none_or(|only| only == *name))
        .cloned()
        .collect();
    let mut live = look::revoked_cells(session, &ledger)?;
    live.retain(|cell| cell.revoked.iter().any(|revoked| revoked.revoked_by == record.index));
    let report = Revoking {
        schema: Revoking::SCHEMA,
        effect: body.effect,
        target: body.target,
        scope: body.scope,
        reason: body.reason,
        effective_from: body.effective_from,
        lifts: body.lifts,
        signer: author.identity().clone(),
        record,
        closes,
        live,
        notes,
    };
    session.outputs.emit(&report).map_err(undecided)?;
    Ok(Outcome::Yes)
}

/// What was typed, found.
enum Wanted {
    Target(Revoked, Scope, Since),
    Lift(u64),
}

/// From when a signer is not believed.
#[derive(Clone, Copy)]
enum Since {
    Beginning,
    Record(EffectiveFrom),
    Now,
}

fn wanted(
    session: &Session<'_>,
    ledger: &Ledger,
    args: &Revoke,
    scope: Scope,
    notes: &mut Vec<String>,
) -> Result<Wanted, Trouble> {
    if let Some(index) = args.lift {
        return Ok(Wanted::Lift(index));
    }
    let target = match (&args.image, &args.signer, args.record) {
        (Some(bytes), _, _) => Revoked::Digests(digests(session, ledger, bytes, notes)?),
        (None, Some(name), _) => Revoked::Identities(identities(session, name, &scope)?),
        (None, None, Some(index)) => Revoked::Record(read(session, ledger, index)?.0),
        (None, None, None) => return Err(usage(anyhow!("expected something to revoke"))),
    };
    let since = match (args.since, args.from_now) {
        (Some(index), _) => {
            let record = read(session, ledger, index)?.1.map_err(|error| {
                usage(anyhow!("record {index} has no time ({error}): expected the index of a valid record"))
            })?;
            // A time is a claim of whoever may have the key; it only ever works against them.
            Since::Record(EffectiveFrom { index, time: record.body().claimed_time().min(session::now()) })
        }
        (None, true) => Since::Now,
        (None, false) => Since::Beginning,
    };
    Ok(Wanted::Target(target, scope, since))
}

/// The place of a record of the main lane, and the record if it is valid.
fn read(
    session: &Session<'_>,
    ledger: &Ledger,
    index: u64,
) -> Result<(Position, Result<Record, RecordError>), Trouble> {
    let at = ledger.tip().map_err(undecided)?;
    if index >= at.size() {
        let size = at.size();
        return Err(usage(anyhow!(
            "there is no record {index}: expected one of the {size} in `samebits log`"
        )));
    }
    let entry = ledger.read(&at, index).map_err(undecided)?;
    let position = Position { index, leaf_hash: entry.leaf() };
    Ok((position, Record::read(&entry, &session.trust)))
}

/// The digest, and the platform manifests of the image it is the digest of: from the registry, or as records that name
/// the image list them.
fn digests(
    session: &Session<'_>,
    ledger: &Ledger,
    bytes: &Bytes,
    notes: &mut Vec<String>,
) -> Result<Vec<Digest>, Trouble> {
    let digest = match bytes {
        Bytes::Digest(digest) => *digest,
        Bytes::Image(typed) => {
            let reference = session.reference(typed)?;
            let registries = session.registries()?;
            match (block_on(Resolved::resolve(&registries, &reference))?, &reference) {
                (Ok(Resolved { image, closure, .. }), _) => {
                    return Ok(each(image.digest, closure.platforms().map(|(digest, _)| digest)));
                }
                // What is bad may have been deleted already; its digest is known all the same.
                (Err(error), Reference::Pinned(Image { digest, .. })) => {
                    notes.push(format!("the image could not be read ({error}): its digest is revoked"));
                    *digest
                }
                (Err(error), Reference::Tagged(..) | Reference::Expected(..)) => {
                    return Err(WalkError::from(error).into());
                }
            }
        }
    };
    let at = ledger.tip().map_err(undecided)?;
    let entries = ledger.by_digest(&at, &digest).map_err(undecided)?;
    let known: Vec<Digest> = entries
        .iter()
        .filter_map(|entry| Record::read(entry, &session.trust).ok())
        .filter(|record| record.subjects().image.digest == digest)
        .flat_map(|record| record.subjects().digests().collect::<Vec<_>>())
        .collect();
    if known.is_empty() {
        notes.push(
            "no record names this digest: it alone is revoked, with nothing that it may list".to_owned(),
        );
    }
    Ok(each(digest, known.into_iter()))
}

fn each(first: Digest, others: impl Iterator<Item = Digest>) -> Vec<Digest> {
    let mut seen = BTreeSet::from([first]);
    std::iter::once(first).chain(others.filter(|digest| seen.insert(*digest))).collect()
}

/// Every identity the signer has in the policy for the services of the scope.
fn identities(session: &Session<'_>, name: &str, scope: &Scope) -> Result<Vec<Identity>, Trouble> {
    let signer = session.policy.signers().find(|signer| signer.name().as_str() == name);
    let signer = signer.ok_or_else(|| usage(anyhow!("the policy has no signer `{name}`")))?;
    let mut identities = BTreeSet::new();
    for matcher in signer.any_of() {
        match matcher {
            Matcher::Key { key, .. } => {
                identities.insert(Identity::Key { id: key.id() });
            }
            Matcher::Keyless { identity: Subject::Exactly(template), issuer, root, .. } => {
                identities.extend(services(session, scope).into_iter().map(|service| Identity::Keyless {
                    issuer: issuer.clone(),
                    subject: template.fill(service.name()),
                    root: root.clone(),
                }));
            }
            Matcher::Keyless { identity: Subject::Pattern(pattern), .. } => {
                return Err(usage(anyhow!(
                    "`{name}` is whoever matches `{}`: expected a signer with exact identities; take a pattern out of \
                     the policy instead",
                    pattern.as_str()
                )));
            }
        }
    }
    Ok(identities.into_iter().collect())
}

impl Wanted {
    fn body(
        &self,
        session: &Session<'_>,
        view: &LaneView<'_>,
        args: &Revoke,
        author: &Author,
    ) -> Result<Revocation, Trouble> {
        let now = session::now();
        let (target, scope, effective_from, lifts) = match self {
            Self::Lift(index) => {
                let lifted = view.control.records().iter().find(|it| it.position().index == *index);
                let said = lifted.and_then(|it| Some((it.position(), it.revocation()?)));
                let said = said.filter(|(_, said)| said.effect == RevocationEffect::Refuse);
                let (position, said) = said.ok_or_else(|| {
                    usage(anyhow!(
                        "control record {index} revokes nothing: expected the index of a revocation in `samebits status`"
                    ))
                })?;
                may(session, Does::Revoke, author, &said.scope)?;
                (said.target.clone(), said.scope.clone(), None, Some(position))
            }
            Self::Target(target, scope, since) => {
                let from = match since {
                    Since::Beginning => None,
                    Since::Record(from) => Some(*from),
                    Since::Now => Some(EffectiveFrom { index: view.at.size(), time: now }),
                };
                (target.clone(), scope.clone(), from, None)
            }
        };
        let effect = if lifts.is_some() { RevocationEffect::Lift } else { RevocationEffect::Refuse };
        // What changes from run to run is no part of what was asked for.
        let since = match self {
            Self::Target(_, _, Since::Now) => json!("now"),
            Self::Lift(_) | Self::Target(..) => json!(effective_from.map(|from| from.index)),
        };
        let request =
            json!({ "effect": effect, "lifts": lifts, "scope": scope, "since": since, "target": target });
        Ok(Revocation {
            actor: Actor::from(author.identity()),
            target,
            scope,
            effect,
            reason: args.reason.clone(),
            effective_from,
            lifts,
            decided_on: now,
            ledger: view.ledger(Digest::of(request.to_string().as_bytes())),
        })
    }
}

/// The record of the same request by the same author, if it still has its effect.
fn said_before(
    session: &Session<'_>,
    view: &LaneView<'_>,
    author: &Author,
    body: &Revocation,
) -> Option<Position> {
    let same = |record: &&ControlRecord| {
        record.author().identity() == author.identity()
            && record.body().ledger().idempotency_key == body.ledger.idempotency_key
    };
    let holds = |position: Position| {
        services(session, &body.scope).iter().all(|service| {
            let in_force = in_force(&session.policy, service.name(), view.control);
            in_force.all().iter().any(|it| it.record.position() == position)
        })
    };
    let mut before = view.control.records().iter().filter(same).map(ControlRecord::position);
    match body.lifts {
        None => before.find(|position| holds(*position)),
        Some(lifted) => before.next().filter(|_| !holds(lifted)),
    }
}
