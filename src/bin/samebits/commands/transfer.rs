//! `copy`: bytes from one place to another, and no decision about them.

use anyhow::{Context as _, anyhow};
use samebits::archive::ArchiveError;
use samebits::policy::Home;
use samebits::reference::Destination;
use samebits::registry::{Along, Registries, Transfer, TransferError};

use crate::Outcome;
use crate::args::{Common, Copy};
use crate::commands::ask::remarks;
use crate::commands::block_on;
use crate::output::{Arrived, Copied};
use crate::report::Outputs;
use crate::session::{self, Session};
use crate::trouble::{Trouble, undecided, usage};

pub(crate) fn copy(common: &Common, outputs: &Outputs, args: &Copy) -> Result<Outcome, Trouble> {
    // Nobody needs a policy to copy; where there is one, it says how its registries are spoken to.
    let there = common.policy.is_some() || session::find_policy().is_ok();
    let session = there.then(|| Session::read(common, outputs)).transpose()?;
    let mut notes = Vec::new();
    if let Some(session) = &session {
        notes.extend(of_an_environment(session, &args.to)?);
    }
    let config = match &session {
        Some(session) => session::http_config(&session.policy, &session.folder),
        None => session::http_config_without_policy(),
    };
    // Relative layouts as they are typed: nothing is compared with how a policy spells them.
    let here = std::env::current_dir().context("there is no current folder").map_err(usage)?;
    let transfer = Transfer {
        from: args.from.clone(),
        to: args.to.clone(),
        platforms: args.platform.clone(),
        along: if args.no_referrers { Along::Nothing } else { Along::Referrers },
    };
    let done = block_on(Registries::new(config, here).transfer(&transfer))?.map_err(trouble)?;
    for arrived in &done.images {
        notes.extend(remarks(&arrived.report));
    }
    let report = Copied {
        schema: Copied::SCHEMA,
        source: done.source,
        images: done.images.iter().map(Arrived::from).collect(),
        tag: done.tag,
        with_referrers: transfer.along == Along::Referrers,
        notes,
    };
    let lines: Vec<String> = report.images.iter().map(|arrived| arrived.image.to_string()).collect();
    outputs.emit_line(&report, Some(&lines.join("\n")), common.quiet).map_err(undecided)?;
    Ok(Outcome::Yes)
}

/// The tag of an environment is derived from the ledger: not set by a copy. Anywhere else in the repository of an
/// environment a copy means nothing, and that is said.
fn of_an_environment(session: &Session<'_>, to: &Destination) -> Result<Option<String>, Trouble> {
    let repository = session.repository(&to.repository)?;
    let environment = match session.policy.home_of(&repository) {
        Some(Home::Environment(_, environment)) => environment,
        Some(Home::Service(_)) | None => return Ok(None),
    };
    match &to.tag {
        Some(tag) if environment.tag() == Some(tag) => Err(usage(anyhow!(
            "the tag `{tag}` of {repository} says what was promoted into `{}`: it is set by `samebits promote` alone",
            environment.name()
        ))),
        Some(_) | None => Ok(Some(format!(
            "{repository} is where `{}` runs from: what is copied there has not been promoted",
            environment.name()
        ))),
    }
}

fn trouble(error: TransferError) -> Trouble {
    match error {
        TransferError::NoPlatform { .. }
        | TransferError::Ambiguous { .. }
        | TransferError::Archive(ArchiveError::Exists { .. } | ArchiveError::LeftOver { .. })
        | TransferError::OneNameForSeveral { .. } => usage(error),
        TransferError::Copy(_)
        | TransferError::Archive(ArchiveError::Io { .. } | ArchiveError::Malformed { .. })
        | TransferError::Moved { .. }
        | TransferError::Unexpected { .. } => undecided(error),
    }
}
