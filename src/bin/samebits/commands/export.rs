//! `ledger export` and `ledger prove`: the log for strangers. `ledger verify PATH`: as they check it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use samebits::archive::ArchiveError;
use samebits::digest::Digest;
use samebits::export::{self, Destination, ExportError, Files, Part};
use samebits::ledger::seen::Lane;
use samebits::record::TreeHead;
use samebits::tlog::{SignedCheckpoint, TlogProof, Vkey};
use samebits::verify::Trust;

use crate::Outcome;
use crate::args::{Common, Export, Prove, Since, VerifyLedger};
use crate::commands::audit::write_new;
use crate::commands::replay::index_of;
use crate::output::{ExportAudit, Exported, KeyOf, Proof, Unchecked};
use crate::report::Outputs;
use crate::session::{self, Session};
use crate::trouble::{Trouble, undecided, usage};

/// The ending of a proof's name (C2SP tlog-proof).
const PROOF: &str = "tlog-proof";

fn head(at: &SignedCheckpoint) -> TreeHead {
    TreeHead { size: at.size(), root: at.root() }
}

fn trouble(error: ExportError) -> Trouble {
    match error {
        ExportError::Exists { .. }
        | ExportError::LeftOver { .. }
        | ExportError::Archive(ArchiveError::Exists { .. } | ArchiveError::LeftOver { .. }) => usage(error),
        ExportError::Ledger(_)
        | ExportError::Tlog(_)
        | ExportError::Json(_)
        | ExportError::Io { .. }
        | ExportError::Archive(ArchiveError::Io { .. } | ArchiveError::Malformed { .. })
        | ExportError::NotAnExport { .. } => undecided(error),
    }
}

pub(crate) fn export(session: &Session<'_>, args: &Export) -> Result<Outcome, Trouble> {
    if let Some(service) = &args.service {
        session.policy.find_service(service).map_err(usage)?;
    }
    if let Some(environment) = &args.environment {
        session.policy.find_environment(environment).map_err(usage)?;
    }
    let destination = Destination::new(&args.path).map_err(trouble)?;
    let mut ledger = session.ledger_as_it_is(None)?;
    session.guard_copy(&mut ledger)?;
    let (from, since) = match args.since {
        Some(Since::Record(name)) => (Some(index_of(&ledger, name)?), None),
        Some(Since::Time(time)) => (None, Some(time)),
        None => (None, None),
    };
    let part = Part { service: args.service.clone(), environment: args.environment.clone(), from, since };
    let mut writing = destination.begin().map_err(trouble)?;
    let mut put = |name: &str, bytes: &[u8]| writing.put(name, bytes);
    let written = export::write(&ledger, &session.trust, &session.policy, &part, &mut put);
    let index = match written {
        Ok(index) => index,
        Err(error) => {
            writing.discard();
            return Err(trouble(error));
        }
    };
    writing.finish().map_err(trouble)?;
    let outcome = if index.missing.is_empty() { Outcome::Yes } else { Outcome::No };
    let report = Exported {
        schema: Exported::SCHEMA,
        path: args.path.display().to_string(),
        origin: index.origin,
        part,
        ledger: index.ledger,
        control: index.control,
        records: index.records.len(),
        evidence: index.evidence.len(),
        missing: index.missing,
    };
    session.outputs.emit(&report).map_err(undecided)?;
    Ok(outcome)
}

pub(crate) fn prove(session: &Session<'_>, args: &Prove) -> Result<Outcome, Trouble> {
    let mut ledger = session.ledger_as_it_is(None)?;
    session.guard_copy(&mut ledger)?;
    let tip = ledger.tip().map_err(undecided)?;
    let at = ledger.with_cosignatures(Lane::Main, tip).map_err(undecided)?;
    let record = index_of(&ledger, args.record)?;
    if record >= at.size() {
        return Err(usage(anyhow!("there is no record {record}: the ledger has {}", at.size())));
    }
    let entry = ledger.read(&at, record).map_err(undecided)?;
    let proof = ledger.proof(&at, record).map_err(undecided)?.to_string();
    let mut files = Vec::new();
    if let Some(file) = &args.to {
        let beside = args.with_record.then(|| record_beside(file));
        if let Some(there) = [Some(file), beside.as_ref()].into_iter().flatten().find(|file| file.exists()) {
            return Err(usage(anyhow!("{} is there: nothing is overwritten", there.display())));
        }
        write_new(file, proof.as_bytes()).map_err(undecided)?;
        files.push(file.display().to_string());
        if let Some(beside) = beside {
            write_new(&beside, entry.bytes()).map_err(undecided)?;
            files.push(beside.display().to_string());
        }
    }
    let report = Proof {
        schema: Proof::SCHEMA,
        proved: true,
        record,
        digest: entry.content(),
        vkey: ledger.vkey().clone(),
        ledger: Some(head(&at)),
        proof,
        bare: files.is_empty(),
        files,
        why: None,
    };
    session.outputs.emit(&report).map_err(undecided)?;
    Ok(Outcome::Yes)
}

/// Where the record of a proof lies.
fn record_beside(proof: &Path) -> PathBuf {
    proof.with_extension("json")
}

pub(crate) fn verify(
    common: &Common,
    outputs: &Outputs,
    args: &VerifyLedger,
    path: &Path,
) -> Result<Outcome, Trouble> {
    // A stranger has no policy.
    let asked = common.policy.is_some() || (args.vkey.is_none() && session::find_policy().is_ok());
    let session = asked.then(|| Session::read(common, outputs)).transpose()?;
    let (vkey, whose) = match (&args.vkey, &session) {
        (Some(typed), _) => {
            let vkey = typed.parse::<Vkey>().context("--vkey is wrong").map_err(usage)?;
            (Some(vkey), KeyOf::Given)
        }
        (None, None) => (None, KeyOf::Export),
        (None, Some(session)) => (Some(session.vkey().map_err(usage)?), KeyOf::Policy),
    };
    if path.extension().is_some_and(|ending| ending == PROOF) {
        let vkey =
            vkey.ok_or_else(|| usage(anyhow!("a proof does not say whose log it is of: expected --vkey")))?;
        return one(outputs, path, vkey);
    }
    let files = Files::open(path).map_err(trouble)?;
    let nobody = Trust::new(Vec::new());
    let ours = session.as_ref().map_or(&nobody, |session| &session.trust);
    let checked = export::check(&files, vkey.as_ref(), ours).map_err(trouble)?;
    let outcome = match (
        checked.findings.is_empty(),
        checked.unchecked.is_empty() && checked.unchecked_control.is_empty(),
    ) {
        (false, _) => Outcome::No,
        (true, false) => Outcome::Untold,
        (true, true) => Outcome::Yes,
    };
    let report = ExportAudit {
        schema: ExportAudit::SCHEMA,
        intact: outcome == Outcome::Yes,
        path: path.display().to_string(),
        origin: checked.ledger.as_ref().map(|head| head.origin().to_string()),
        ledger: checked.ledger.as_ref().map(head),
        control: checked.control.as_ref().map(head),
        records: checked.records,
        whole: checked.whole,
        key: whose,
        unchecked: unchecked(checked.unchecked),
        unchecked_control: unchecked(checked.unchecked_control),
        unnamed: checked.unnamed,
        findings: checked.findings.iter().map(ToString::to_string).collect(),
    };
    outputs.emit(&report).map_err(undecided)?;
    Ok(outcome)
}

fn unchecked(records: BTreeMap<u64, String>) -> Vec<Unchecked> {
    records.into_iter().map(|(record, why)| Unchecked { record, why }).collect()
}

/// One proof, and the record beside it.
fn one(outputs: &Outputs, path: &Path, vkey: Vkey) -> Result<Outcome, Trouble> {
    let read = |path: &Path| {
        let text = session::read_text(path);
        text.with_context(|| format!("{} cannot be read", path.display())).map_err(undecided)
    };
    let text = read(path)?;
    let record = read(&record_beside(path))?.into_bytes();
    let proof: TlogProof =
        text.parse().with_context(|| format!("{} is no proof", path.display())).map_err(undecided)?;
    let digest = Digest::of(&record);
    let proved = proof.verify(&vkey, record);
    let report = Proof {
        schema: Proof::SCHEMA,
        proved: proved.is_ok(),
        record: proof.index(),
        digest,
        ledger: proved.as_ref().ok().map(|entry| TreeHead { size: entry.size(), root: entry.root() }),
        vkey,
        proof: proof.to_string(),
        files: Vec::new(),
        why: proved.as_ref().err().map(ToString::to_string),
        bare: false,
    };
    outputs.emit(&report).map_err(undecided)?;
    Ok(if report.proved { Outcome::Yes } else { Outcome::No })
}
