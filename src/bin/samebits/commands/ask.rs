//! `check` and `promote`: the same question, with and without what follows.

use std::cell::RefCell;

use anyhow::anyhow;
use samebits::gate::Decision;
use samebits::promote::{Answer, Promotion, Request, Stage, Walk};
use samebits::registry::{CopyReport, Stored};

use crate::Outcome;
use crate::args::Ask;
use crate::commands::block_on;
use crate::commands::witness::{client, cosign_after, not_cosigned};
use crate::output::{self, Copy, PermitWritten, TagMoved, YesOrNo};
use crate::permit_file::PermitFile;
use crate::progress::{self, Bar};
use crate::session::{self, Session};
use crate::trouble::{Trouble, undecided, usage};

fn request(session: &Session<'_>, ask: &Ask, permit: bool) -> Result<Request, Trouble> {
    // A name that is wrong is said before anything is read or asked for.
    session.policy.find_environment(&ask.to).map_err(usage)?;
    if let Some(service) = &ask.service {
        session.policy.find_service(service).map_err(usage)?;
    }
    Ok(Request {
        reference: session.reference(&ask.image)?,
        environment: ask.to.clone(),
        service: ask.service.clone(),
        run: session::run(),
        files: session.files(&ask.evidence)?,
        permit,
    })
}

pub(crate) fn check(session: &Session<'_>, ask: &Ask) -> Result<Outcome, Trouble> {
    let request = request(session, ask, false)?;
    let requester = session.signer_if_given()?.map(|signer| signer.author());
    let registries = session.registries()?;
    let mut ledger = session.ledger()?;
    let mut walk = Walk {
        policy: &session.policy,
        trust: &session.trust,
        registries: &registries,
        ledger: &mut ledger,
        clock: &session::now,
        witnesses: None,
    };
    let decision = block_on(walk.check(&request, requester))??;
    let (outcome, word) = match &decision {
        Decision::Approved(_) => (Outcome::Yes, YesOrNo::Approved),
        Decision::Denied(_) => (Outcome::No, YesOrNo::Denied),
    };
    let mut report = output::Decision::new(decision.verdict(), word);
    say_beside(session, &mut report);
    session.outputs.emit(&report).map_err(undecided)?;
    Ok(outcome)
}

pub(crate) fn promote(
    session: &Session<'_>,
    ask: &Ask,
    permit: Option<PermitFile>,
) -> Result<Outcome, Trouble> {
    let request = request(session, ask, permit.is_some())?;
    let signer = session.signer()?;
    let registries = session.registries()?;
    let mut ledger = session.ledger_to_append()?;
    // A permit takes their cosignatures; beside one they are asked afterwards, and a no of theirs is a remark.
    let asks = request.permit && ledger.witnesses().is_some();
    let witnesses = asks.then(|| client(session)).transpose()?;
    let mut walk = Walk {
        policy: &session.policy,
        trust: &session.trust,
        registries: &registries,
        ledger: &mut ledger,
        clock: &session::now,
        witnesses: witnesses.as_ref(),
    };
    let watched = progress::is_watched(session.common, session.outputs);
    let bar = RefCell::new(None);
    let stage = |stage: Stage<'_>| {
        // Whatever is said next is said below it.
        bar.take();
        say(session, &stage);
        if watched && matches!(stage, Stage::Copy(_)) {
            bar.replace(Some(Bar::draw(registries.progress())));
        }
    };
    let answer = block_on(walk.promote_watched(&request, &*signer, &stage));
    drop(bar);
    let answer = answer??;
    let unsigned = match &answer {
        Answer::Promoted(promotion) | Answer::Withheld { promotion, .. } => match promotion.uncosigned() {
            Some(why) => not_cosigned(why),
            None => cosign_after(session, &ledger),
        },
        Answer::Denied { .. } => Vec::new(),
    };
    let (outcome, mut report) = match answer {
        Answer::Denied { denied, record } => {
            let mut report = output::Decision::new(denied.verdict(), YesOrNo::Denied);
            if record.is_none() {
                report.notes.push("not recorded: the policy does not name who asked".to_owned());
            }
            report.record = record;
            (Outcome::No, report)
        }
        Answer::Withheld { promotion, denied } => {
            let mut report = output::Decision::new(denied.verdict(), YesOrNo::Denied);
            let commit = promotion.commit();
            report.notes.push(format!(
                "it was promoted as record {}, before this was known: there is no permit for it, and it is not to be \
                 deployed",
                commit.index
            ));
            report.record = Some(commit);
            (Outcome::No, report)
        }
        Answer::Promoted(promotion) => {
            let mut report = output::Decision::new(promotion.verdict(), YesOrNo::Approved);
            report.promoted = Some(promotion.destination().clone());
            report.record = Some(promotion.commit());
            report.copy = promotion.report().map(Copy::from);
            report.tag_moved =
                promotion.tag_moved().map(|(tag, now)| TagMoved { tag: tag.clone(), now: *now });
            match promotion.report() {
                Some(copy) => report.notes.extend(remarks(copy)),
                None => {
                    report.notes.push("these bytes were promoted before; nothing had to be copied".to_owned())
                }
            }
            report.permit = permit.map(|file| write(file, &promotion)).transpose()?;
            (Outcome::Yes, report)
        }
    };
    report.record_url = report.record.and_then(|at| session.record_url(at));
    say_beside(session, &mut report);
    report.notes.extend(unsigned);
    // The text says it on stderr; where there is none, this does.
    if session.outputs.is_json() {
        session.warn_of_roots();
    }
    // Text on stdout is the pinned reference, and only on yes, so that a lost exit code cannot deploy a no (E14).
    let line = report.promoted.as_ref().map(ToString::to_string);
    let quiet = session.common.quiet && outcome == Outcome::Yes;
    session.outputs.emit_line(&report, line.as_deref(), quiet).map_err(undecided)?;
    Ok(outcome)
}

/// Puts the permit in its place.
fn write(file: PermitFile, promotion: &Promotion) -> Result<PermitWritten, Trouble> {
    let commit = promotion.commit().index;
    let trouble = |error: anyhow::Error| {
        undecided(error.context(format!("it was promoted as record {commit}, and has no permit")))
    };
    let shown = file.shown();
    let given = promotion.permit().ok_or_else(|| trouble(anyhow!("none was given")))?;
    let bundle = String::from_utf8(given.bytes.clone()).map_err(|error| trouble(error.into()))?;
    file.write(&given.bytes).map_err(trouble)?;
    let (issued_on, valid_until) = (given.permit.issued_on, given.permit.valid_until);
    Ok(PermitWritten { file: shown, issued_on, valid_until, bundle })
}

fn say_beside(session: &Session<'_>, report: &mut output::Decision) {
    report.roots = output::RootInUse::all(session);
    report.notes.extend(session.root_notes());
    report.notes.extend(session.ledger_notes());
}

fn say(session: &Session<'_>, stage: &Stage<'_>) {
    match stage {
        Stage::Resolve(reference) => session.progress(format_args!("resolving {reference}")),
        Stage::Collect(image) => session.progress(format_args!("collecting evidence on {image}")),
        Stage::Intent(at, false) => session.progress(format_args!("recorded the intent as {}", at.index)),
        Stage::Intent(at, true) => {
            session.progress(format_args!("going on with the intent in record {}", at.index));
        }
        Stage::Copy(image) => session.progress(format_args!("copying to {image}")),
        Stage::Commit(at) => session.progress(format_args!("recorded the promotion as {}", at.index)),
        Stage::Publish(image) => session.progress(format_args!("publishing at {}", image.repository)),
    }
}

/// What a copy could not bring along, and why.
pub(super) fn remarks(copy: &CopyReport) -> Vec<String> {
    let mut remarks = Vec::new();
    if copy.referrers_unsupported {
        remarks.push(
            "the source registry has no referrers API: only what fallback tags and cosign's tags list was copied"
                .to_owned(),
        );
    }
    if copy.blobs_foreign > 0 {
        let count = copy.blobs_foreign;
        remarks.push(format!(
            "foreign layers that the source does not keep were not copied ({count}): whoever runs the image gets them from \
             where its manifest says"
        ));
    }
    for digest in &copy.referrers_dangling {
        remarks.push(format!("the source lists {digest} as a referrer, and does not have it"));
    }
    for digest in &copy.referrers_runnable {
        remarks.push(format!(
            "{digest} is attached to the image at the source and can itself be run: it was left behind"
        ));
    }
    for digest in &copy.referrers_malformed {
        remarks.push(format!(
            "{digest} is attached to the image at the source and is no manifest: it was left behind"
        ));
    }
    if let Some(Stored { store, .. }) = &copy.stored {
        remarks.push(format!("the destination refuses what is attached to images: it was kept in {store}"));
    }
    for tag in &copy.legacy_merged {
        remarks
            .push(format!("the tag `{tag}` holds other evidence at the destination too: all of it is kept"));
    }
    for tag in &copy.legacy_kept {
        remarks
            .push(format!("the tag `{tag}` holds something else at the destination, and was left as it is"));
    }
    remarks
}
