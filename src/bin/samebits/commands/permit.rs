//! `permit verify`: may it be deployed, by the permit that is shown?

use std::io;
use std::path::Path;

use samebits::evidence::TagSeen;
use samebits::gate::permit::{Log, Question, Shown, admit};
use samebits::promote::{Resolved, WalkError, service};
use samebits::record::SignedPermit;
use samebits::reference::{Image, Reference};
use samebits::verify::Trust;

use crate::Outcome;
use crate::args::PermitVerify;
use crate::commands::block_on;
use crate::output::{PermitVerdict, RootInUse, YesOrNo};
use crate::session::{self, FileError, PERMIT, Session, permit_as_it_is, read_small};
use crate::trouble::{Trouble, undecided, usage};

pub(crate) fn verify(session: &Session<'_>, args: &PermitVerify) -> Result<Outcome, Trouble> {
    let policy = &session.policy;
    let reference = session.reference(&args.image)?;
    let name = service(policy, args.service.as_deref(), reference.repository())?;
    policy.find_environment(&args.environment).map_err(usage)?;
    let shown = shown(args.permit.as_deref(), &session.trust)?;
    let (image, tag) = pinned(session, &reference)?;
    // Whose cosignatures count is said by the lock, which lies beside the policy here as there.
    let witnesses = session.witness_policy()?;
    let log = Log { witnesses: witnesses.as_ref(), trust: &session.trust };
    let question = Question::new(policy, log, name.as_str(), &args.environment, image.clone(), tag);
    let question = question.map_err(usage)?;
    let admission = admit(&question, &shown, session::now());
    let environment = policy.find_environment(&args.environment).map_err(usage)?.name().clone();
    let report = PermitVerdict::new(&admission, image, name.clone(), environment);
    let mut report = report.of(&shown, |author| policy.who(author, &name).into_iter().cloned().collect());
    report.roots = RootInUse::all(session);
    report.notes.extend(session.root_notes());
    let outcome = match report.decision {
        YesOrNo::Approved => Outcome::Yes,
        YesOrNo::Denied => Outcome::No,
    };
    // Text on stdout is the pinned reference, and only on yes (E14).
    let line = report.permitted.as_ref().map(ToString::to_string);
    let quiet = session.common.quiet && outcome == Outcome::Yes;
    session.outputs.emit_line(&report, line.as_deref(), quiet).map_err(undecided)?;
    Ok(outcome)
}

/// What is shown: in the file that was named, else in the variable. That there is none is an answer, and no trouble:
/// it is what a job finds whose gate was skipped.
fn shown(file: Option<&Path>, trust: &Trust) -> Result<Shown, Trouble> {
    let (bytes, place) = match file {
        None => (permit_as_it_is(), format!("{PERMIT} is not set")),
        Some(file) => {
            let place = format!("{} is not there", file.display());
            match read_small(file) {
                Ok(bytes) => (Some(bytes), place),
                Err(FileError::Io(error)) if error.kind() == io::ErrorKind::NotFound => (None, place),
                Err(error) => {
                    let error = anyhow::Error::new(error);
                    return Err(undecided(
                        error.context(format!("the permit {} cannot be read", file.display())),
                    ));
                }
            }
        }
    };
    let Some(bytes) = bytes else { return Ok(Shown::Nothing(place)) };
    if bytes.iter().all(u8::is_ascii_whitespace) {
        let place = file.map_or_else(|| PERMIT.to_owned(), |file| file.display().to_string());
        return Ok(Shown::Nothing(format!("{place} is empty")));
    }
    Ok(SignedPermit::read(&bytes, trust).into())
}

/// The bytes that are meant, and what the tag meant. A digest means itself: nobody is asked.
fn pinned(session: &Session<'_>, reference: &Reference) -> Result<(Image, Option<TagSeen>), Trouble> {
    match reference {
        Reference::Pinned(image) => Ok((image.clone(), None)),
        Reference::Tagged(..) | Reference::Expected(..) => {
            let registries = session.registries()?;
            let resolved = block_on(Resolved::resolve(&registries, reference))?.map_err(WalkError::from)?;
            Ok((resolved.image, resolved.tag))
        }
    }
}
