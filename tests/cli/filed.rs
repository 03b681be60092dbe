//! The newest record of an environment, filed elsewhere by who can write the store: that is not the past.

use std::path::Path;

use crate::cli::Yard;

const SQLITE: &str = "sqlite:.samebits/ledger.db";

/// An image that may not enter production any more: ana approved it, then rejected it.
fn rejected() -> (Yard, String) {
    let (yard, there) = crate::faces::approved();
    yard.run(["check", &there, "--to", "production"]).exits(0);
    yard.run(["approve", &there, "--to", "production", "--key", "keys/ana.key", "--reject"]).exits(0);
    yard.run(["check", &there, "--to", "production"]).exits(1);
    (yard, there)
}

#[track_caller]
fn halts(yard: &Yard, there: &str, piece: &str) {
    for args in [
        &["check", there, "--to", "production"][..],
        &["promote", there, "--to", "production", "--key", "keys/release.key"],
        &["status"],
    ] {
        let ran = yard.run(args.iter().copied()).exits(3);
        for piece in [piece, "files record 4 under environment `elsewhere`", "says environment `production`"]
        {
            assert!(ran.stderr.contains(piece), "{piece} in\n{}", ran.stderr);
        }
    }
}

fn forget(yard: &Yard, folder: &str) {
    let folder = yard.path(folder);
    if Path::exists(&folder) {
        std::fs::remove_dir_all(folder).unwrap();
    }
}

#[test]
fn d2_the_newest_record_of_slots_that_is_filed_elsewhere_halts_who_comes_cold() {
    let (yard, there) = rejected();
    yard.run(["ledger", "copy", SQLITE, "file:slots"]).exits(0);
    yard.edit_policy(|policy| policy.replace(SQLITE, "file:slots"));
    let slot = "slots/commits/00000000000000000000";
    let right = yard.read(slot);
    let (before, newest) = right.rsplit_once("\"environment\":\"production\"").unwrap();
    let hidden = format!("{before}\"environment\":\"elsewhere\"{newest}");
    yard.write(slot, &hidden);
    for folder in [".cache", ".local"] {
        forget(&yard, folder);
    }
    halts(&yard, &there, "commits/00000000000000000000");
    yard.write(slot, &right);
    yard.run(["check", &there, "--to", "production"]).exits(1);
}

#[test]
fn d2_the_newest_record_of_a_table_that_is_filed_elsewhere_halts_every_verb() {
    let (yard, there) = rejected();
    let pinned = std::fs::read(yard.path(".samebits/ledger.db")).unwrap();
    let table = || rusqlite::Connection::open(yard.path(".samebits/ledger.db")).unwrap();
    table().execute("UPDATE targets SET environment = 'elsewhere' WHERE idx = 4", []).unwrap();
    // Who has not pinned it yet. What lies below a pin is for the audit.
    forget(&yard, ".local");
    halts(&yard, &there, "the index");
    let audit = yard.run(["ledger", "verify"]).exits(1);
    assert!(audit.stdout.contains("the index row of record 4"), "{}", audit.stdout);
    yard.write(".samebits/ledger.db", pinned);
    yard.run(["check", &there, "--to", "production"]).exits(1);
}
