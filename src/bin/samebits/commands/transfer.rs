//! `copy`: bytes from one place to another, and no decision about them.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use samebits::archive::ArchiveError;
use samebits::reference::{Destination, Location, Repository};
use samebits::registry::{Along, Already, Registries, Transfer, TransferError};

use crate::Outcome;
use crate::args::{Common, Copy};
use crate::commands::ask::remarks;
use crate::commands::block_on;
use crate::output::{Arrived, Copied};
use crate::progress::{self, Bar};
use crate::report::Outputs;
use crate::session::{self, POLICY, Session};
use crate::trouble::{Trouble, undecided, usage};

pub(crate) fn copy(common: &Common, outputs: &Outputs, args: &Copy) -> Result<Outcome, Trouble> {
    // Nobody needs a policy to copy; where there is one, it guards its tags.
    let there = common.policy.is_some() || session::find_policy().is_ok();
    let session = there.then(|| Session::read(common, outputs)).transpose()?;
    // Relative layouts begin where they are typed.
    let here = std::env::current_dir().context("there is no current folder").map_err(usage)?;
    let mut notes = match &session {
        Some(session) => of_an_environment(session, &here, &args.to)?,
        None => vec![format!("no {POLICY} is here or above: no environment's tag was guarded")],
    };
    // How registries are spoken to is for a file that was typed: who may write one above the current folder must not say
    // whose certificates count, and where a login is sent in the clear.
    let config = match &session {
        Some(session) if common.policy.is_some() => session::http_config(&session.policy, &session.folder),
        Some(session) => {
            warn_of_settings(session, args);
            session::http_config_without_policy()
        }
        None => session::http_config_without_policy(),
    };
    let transfer = Transfer {
        from: args.from.clone(),
        to: args.to.clone(),
        platforms: args.platform.clone(),
        along: if args.no_referrers { Along::Nothing } else { Along::Referrers },
        already: if args.check_blobs { Already::Blobs } else { Already::Manifests },
    };
    let registries = Registries::new(config, here);
    let bar = progress::is_watched(common, outputs).then(|| Bar::draw(registries.progress()));
    let done = block_on(registries.transfer(&transfer));
    drop(bar);
    let done = done?.map_err(trouble)?;
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

fn warn_of_settings(session: &Session<'_>, args: &Copy) {
    for repository in [args.from.repository(), &args.to.repository] {
        if let Location::Registry { host, .. } = repository.location()
            && session.policy.registries().contains_key(host)
        {
            let file = session.file.display();
            session.warn(format_args!(
                "warning: what {file} says of {host} does not count for a copy: expected --policy {file}"
            ));
        }
    }
}

/// The tag of an environment is derived from the ledger: not set by a copy, however the place is spelled. Anywhere else
/// in the repository of an environment a copy means nothing, and that is said.
fn of_an_environment(session: &Session<'_>, here: &Path, to: &Destination) -> Result<Vec<String>, Trouble> {
    let mut notes = Vec::new();
    for (repository, environment) in session.policy.environment_repositories() {
        if place(here, &to.repository) != place(&session.folder, repository) {
            continue;
        }
        let name = environment.name();
        match &to.tag {
            Some(tag) if environment.tag() == Some(tag) => {
                return Err(usage(anyhow!(
                    "the tag `{tag}` of {repository} says what was promoted into `{name}`: it is set by \
                     `samebits promote` alone"
                )));
            }
            Some(_) | None => notes.push(format!(
                "{repository} is where `{name}` runs from: what is copied there has not been promoted"
            )),
        }
    }
    Ok(notes)
}

/// Where a repository is, under one name. A layout: without links, as far as it is there.
fn place(base: &Path, repository: &Repository) -> String {
    match repository.location() {
        Location::Registry { .. } => repository.canonical(),
        Location::Layout { folder } => format!("oci:{}", without_links(&base.join(folder)).display()),
    }
}

fn without_links(path: &Path) -> PathBuf {
    let real = path.ancestors().find_map(|above| {
        let below = path.strip_prefix(above).ok()?;
        Some(std::fs::canonicalize(above).ok()?.join(below))
    });
    real.unwrap_or_else(|| path.to_owned())
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
