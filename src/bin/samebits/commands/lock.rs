//! `ledger lock`: what was seen of the ledger, into the file that is reviewed.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use samebits::policy;
use samebits::record::TreeHead;
use samebits::tlog::SignedCheckpoint;

use crate::Outcome;
use crate::args::Lock;
use crate::output::{LockReport, LockStands, LockWas};
use crate::report::{DIM, GOOD, Report, clean};
use crate::session::Session;
use crate::trouble::{Trouble, undecided, usage};

pub(crate) fn lock(session: &Session<'_>, args: &Lock) -> Result<Outcome, Trouble> {
    let file = session.lock_file();
    // Two of these at once would each raise what it had read: the policy file stands for both, it is there and stays.
    let alone = File::open(&session.file).and_then(|policy| policy.lock().map(|()| policy));
    let alone = alone.context("the policy file cannot be locked").map_err(undecided)?;
    let before = session.lock()?;
    // Held against the lock as it is now, and this user's pin.
    let ledger = session.ledger()?;
    let main = ledger.tip().map_err(undecided)?;
    let control = ledger.control().map_err(undecided)?.head().clone();
    let (lock, was) = match before {
        None => {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let new = policy::Lock::new(&name, ledger.vkey(), main.checkpoint(), control.checkpoint());
            (new.map_err(undecided)?, LockWas::Written)
        }
        Some(before) if args.update => {
            let raised = before.raised(main.checkpoint(), control.checkpoint()).map_err(undecided)?;
            let was = if raised.text() == before.text() { LockWas::Kept } else { LockWas::Raised };
            (raised, was)
        }
        Some(before) => (before, LockWas::Kept),
    };
    match was {
        LockWas::Written | LockWas::Raised => replace(&file, lock.text()).map_err(usage)?,
        LockWas::Kept => {}
    }
    drop(alone);
    let head = |head: &SignedCheckpoint| TreeHead { size: head.size(), root: head.root() };
    let report = LockReport {
        schema: LockReport::SCHEMA,
        origin: lock.origin().to_string(),
        vkeys: lock.vkeys().to_vec(),
        was,
        lock: LockStands::from(&lock),
        ledger: head(&main),
        control: head(&control),
    };
    session.outputs.emit(&report).map_err(undecided)?;
    Ok(Outcome::Yes)
}

/// Whole or not at all: a new file in the place of the old one.
fn replace(file: &Path, text: &str) -> anyhow::Result<()> {
    let cannot = || format!("the lock {} cannot be written", file.display());
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let new = folder.join(format!(".{name}.new"));
    let write = || {
        let mut opened = File::create(&new)?;
        opened.write_all(text.as_bytes())?;
        opened.sync_all()?;
        fs::rename(&new, file)
    };
    write().with_context(cannot)
}

impl Report for LockReport {
    fn text(&self) -> String {
        let mut text = String::new();
        let word = match self.was {
            LockWas::Written => "wrote",
            LockWas::Raised => "raised",
            LockWas::Kept => "unchanged",
        };
        let LockStands { file, main, control } = &self.lock;
        let _ = writeln!(text, "{GOOD}{word}{GOOD:#} {}: {}", clean(file), clean(&self.origin));
        for (lane, least, head) in [("main", main, &self.ledger), ("control", control, &self.control)] {
            let _ = writeln!(text, "  {lane:<9} at least {} records, {}", least.size, least.root);
            if head.size > least.size {
                let _ = writeln!(text, "  {DIM}{:<9} the ledger has {}: --update{DIM:#}", "", head.size);
            }
        }
        text
    }
}
