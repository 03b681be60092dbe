//! `ledger verify`: everything recomputed. `ledger evidence`: what a decision relied on, taken out.

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use samebits::digest::Digest;
use samebits::ledger::Ledger;
use samebits::ledger::kept::{Relied, Role, relied_on};
use samebits::ledger::review::review;
use samebits::record::{Record, TreeHead};
use serde_json::Value;

use crate::Outcome;
use crate::args::Evidence;
use crate::kept::{EvidenceFile, EvidenceFolder, What};
use crate::output::{LedgerAudit, LockStands};
use crate::session::Session;
use crate::trouble::{Trouble, undecided, usage};

pub(crate) fn verify(session: &Session<'_>) -> Result<Outcome, Trouble> {
    let mut ledger = session.ledger_as_it_is(None)?;
    let (contradiction, damage) = session.contradiction(&mut ledger)?;
    let audit = review(&ledger, &session.trust).map_err(undecided)?;
    // What stood in the way of comparing is named by the audit; if it is not, nobody can say that all is well.
    if let Some(damage) = damage.filter(|_| audit.is_clean()) {
        return Err(undecided(damage));
    }
    let intact = audit.is_clean() && contradiction.is_none();
    let checkpoint = audit.checkpoint();
    let report = LedgerAudit {
        schema: LedgerAudit::SCHEMA,
        intact,
        origin: checkpoint.origin().to_string(),
        ledger: Some(TreeHead { size: checkpoint.size(), root: checkpoint.root() }),
        control: audit.control().map(|head| TreeHead { size: head.size(), root: head.root() }),
        records: checkpoint.size(),
        lock: session.lock()?.as_ref().map(LockStands::from),
        pinned: session.unpinned.borrow().is_none(),
        findings: contradiction.into_iter().chain(audit.findings().iter().map(ToString::to_string)).collect(),
        notes: session.ledger_notes(),
    };
    session.outputs.emit(&report).map_err(undecided)?;
    Ok(if intact { Outcome::Yes } else { Outcome::No })
}

pub(crate) fn evidence(session: &Session<'_>, args: &Evidence) -> Result<Outcome, Trouble> {
    let mut ledger = session.ledger_as_it_is(None)?;
    session.guard_copy(&mut ledger)?;
    let at = ledger.tip().map_err(undecided)?;
    if args.record >= at.size() {
        return Err(usage(anyhow!("there is no record {}: the ledger has {}", args.record, at.size())));
    }
    let entry = ledger.read(&at, args.record).map_err(undecided)?;
    let record = Record::read(&entry, &session.trust)
        .with_context(|| format!("record {} is not valid", args.record))
        .map_err(undecided)?;
    // Everything is read before anything is written.
    let mut files = pieces(&ledger, &record)?;
    let own = (What::Record, None);
    files.push((file(own, "record.sigstore.json".to_owned(), entry.bytes()), entry.bytes().to_vec()));
    empty_folder(&args.to).map_err(usage)?;
    for (file, bytes) in &files {
        write_new(&args.to.join(&file.file), bytes).map_err(undecided)?;
    }
    let report = EvidenceFolder {
        schema: EvidenceFolder::SCHEMA,
        record: args.record,
        folder: args.to.display().to_string(),
        files: files.into_iter().map(|(file, _)| file).collect(),
    };
    session.outputs.emit(&report).map_err(undecided)?;
    Ok(Outcome::Yes)
}

fn pieces(ledger: &Ledger, record: &Record) -> Result<Vec<(EvidenceFile, Vec<u8>)>, Trouble> {
    let index = record.position().index;
    let Some(promotion) = record.promotion() else {
        let kind = record.body().kind();
        return Err(usage(anyhow!("record {index} is a {kind}: only promotions rely on evidence")));
    };
    let single = record.subjects().platforms.is_empty();
    let piece = |Relied { role, digest }: Relied| {
        let bytes = ledger.kept(index, digest).map_err(undecided)?;
        let name = file_name(&role, digest, &bytes, single);
        Ok((file(What::of(&role), name, &bytes), bytes.to_vec()))
    };
    relied_on(promotion, record.subjects()).into_iter().map(piece).collect()
}

fn file((what, name): (What, Option<String>), file: String, bytes: &[u8]) -> EvidenceFile {
    EvidenceFile { file, what, name, digest: Digest::of(bytes), size: bytes.len() as u64 }
}

/// Made of digests alone: what a record calls a key may be a path to anywhere (F7).
fn file_name(role: &Role, digest: Digest, bytes: &[u8], single: bool) -> String {
    let hex = digest.hex();
    match role {
        Role::Root if single => "manifest.json".to_owned(),
        Role::Root => "index.json".to_owned(),
        Role::Platform => format!("{hex}.manifest.json"),
        Role::Attestation(_) => format!("{hex}.{}.json", format(bytes)),
        Role::Layer => format!("{hex}.layer.json"),
        Role::Policy => "policy.toml".to_owned(),
        Role::Trusted(_) => format!("{hex}.trusted-root.json"),
        Role::Key(_) if bytes.starts_with(b"{") => format!("{hex}.json"),
        Role::Key(_) => format!("{hex}.der"),
    }
}

/// For the name of the file only.
fn format(bytes: &[u8]) -> &'static str {
    let value: Value = serde_json::from_slice(bytes).unwrap_or_default();
    match value.get("mediaType").and_then(Value::as_str) {
        Some(text) if text.starts_with("application/vnd.dev.sigstore.bundle") => "sigstore",
        Some(_) | None if value.get("payloadType").is_some() => "dsse",
        Some(_) | None => "payload",
    }
}

/// A folder that is there and empty, made if it has to be.
fn empty_folder(folder: &Path) -> anyhow::Result<()> {
    let shown = folder.display();
    std::fs::create_dir_all(folder).with_context(|| format!("the folder {shown} cannot be made"))?;
    let mut inside =
        std::fs::read_dir(folder).with_context(|| format!("the folder {shown} cannot be read"))?;
    match inside.next() {
        None => Ok(()),
        Some(_) => {
            Err(anyhow!("the folder {shown} is not empty: nothing is overwritten, expected a new one"))
        }
    }
}

pub(super) fn write_new(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let made = std::fs::File::options().write(true).create_new(true).open(path);
    made.and_then(|mut file| file.write_all(bytes))
        .with_context(|| format!("{} cannot be written", path.display()))
}
