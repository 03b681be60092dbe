//! What was seen of the ledger, through the binary: the lock, the pin, and a ledger that is not that one any more.

use std::fs;

use samebits::ledger::{Entry, Index, Ledger};
use samebits::record::Kind;
use samebits::reference::Image;
use samebits::tlog::LogSigner;
use snapbox::{Data, assert_data_eq, file};

use crate::cli::{Ran, Yard, at, ran, redact};
use crate::witness::{names, witness};

const LEDGER: &str = ".samebits/ledger.db";

/// Everything is in the one file: nobody has it open.
fn copy(yard: &Yard) -> Vec<u8> {
    fs::read(yard.path(LEDGER)).unwrap()
}

fn put_back(yard: &Yard, copy: &[u8]) {
    yard.write(LEDGER, copy);
}

/// Nobody has been here: the user's state is gone.
fn forget(yard: &Yard) {
    fs::remove_dir_all(yard.path(".local")).unwrap();
}

fn staged(yard: &Yard, tag: &str) -> Image {
    let image = yard.build(tag, tag);
    yard.promote(&format!("oci:registry/shop:{tag}"), "staging").exits(0);
    yard.deployed_in_staging(&image).exits(0);
    image
}

/// What somebody with the log's key, and nobody's else, can append.
fn forge(yard: &Yard, kind: u8, count: u8) {
    let signer: LogSigner = yard.read("keys/ledger.key").trim().parse().unwrap();
    let base = yard.path("");
    let vkey = signer.vkey().clone();
    let mut ledger = Ledger::open("sqlite:.samebits/ledger.db", &base, &vkey, Some(signer)).unwrap();
    for number in 0..count {
        let size = ledger.tip().unwrap().size();
        let index = Index {
            kind: Kind::Approval,
            service: "elsewhere".to_owned(),
            environment: "staging".to_owned(),
            digest: None,
            phase: "approved".to_owned(),
            idempotency_key: None,
        };
        let _ = ledger.append(size, &[Entry { bytes: vec![kind, number], index }]).unwrap();
    }
}

#[track_caller]
fn halts(ran: &Ran, pieces: &[&str]) {
    assert_eq!(ran.code, Some(3), "\n{}\n{}", ran.stdout, ran.stderr);
    assert_eq!(ran.stdout, "");
    for piece in pieces {
        assert!(ran.stderr.contains(piece), "{piece} in\n{}", ran.stderr);
    }
}

/// Every verb that opens the ledger, with what it takes to get that far.
fn verbs(image: &Image) -> Vec<Vec<String>> {
    let (built, there) = ("oci:registry/shop:v1".to_owned(), at("staging", image));
    let digest = image.digest.to_string();
    [
        vec!["check", &there, "--to", "production"],
        vec!["promote", &built, "--to", "staging", "--key", "keys/release.key"],
        vec!["deployed", &there, "--in", "staging", "--key", "keys/staging.key"],
        vec!["removed", &there, "--in", "staging", "--key", "keys/staging.key"],
        vec!["status"],
        vec!["log"],
        vec!["show", &digest],
        vec!["ledger", "lock"],
        vec!["ledger", "lock", "--update"],
        vec!["ledger", "evidence", "0", "--to", "evidence"],
    ]
    .into_iter()
    .map(|args| args.into_iter().map(str::to_owned).collect())
    .collect()
}

#[test]
fn d2_a_ledger_put_back_halts_every_verb_by_the_pin_alone() {
    let yard = Yard::new();
    let image = staged(&yard, "v1");
    let old = copy(&yard);
    staged(&yard, "v2");
    let newest = copy(&yard);
    put_back(&yard, &old);
    for args in verbs(&image) {
        let ran = yard.run(args.iter().map(String::as_str));
        halts(
            &ran,
            &["was rolled back", "its main lane has 3 records", "this user (pin ", "seen:", "found:"],
        );
        assert_eq!(ran.stderr.matches("shop.example/promotions").count(), 4, "{}", ran.stderr);
    }
    assert_eq!(copy(&yard), old, "something was written");
    // In JSON too, with both.
    let trouble = yard.run(["status", "-o", "json"]).exits(3).json();
    assert!(trouble["causes"][1].as_str().unwrap().contains("\n  found:\n"), "{trouble:#}");
    // The audit says it beside whatever else there is.
    let audit = yard.run(["ledger", "verify", "-o", "json"]).exits(1).json();
    assert_eq!(audit["findings"].as_array().unwrap().len(), 1, "{audit:#}");
    put_back(&yard, &newest);
    yard.run(["ledger", "verify"]).exits(0);
    yard.run(["status"]).exits(0);
}

#[test]
fn d2_the_lock_halts_a_fresh_clone() {
    let yard = Yard::new();
    let image = staged(&yard, "v1");
    let old = copy(&yard);
    staged(&yard, "v2");
    yard.run(["ledger", "lock"]).exits(0);
    put_back(&yard, &old);
    for args in verbs(&image) {
        forget(&yard);
        let ran = yard.run(args.iter().map(String::as_str));
        halts(&ran, &["was rolled back", "its main lane has 3 records, and samebits.lock has seen 6"]);
        // What is not used is not pinned either.
        yard.write("pinned", format!("{}", yard.path(".local").join("state/samebits/pins").exists()));
        assert_eq!(yard.read("pinned"), "false");
        fs::create_dir_all(yard.path(".local")).unwrap();
    }
    // Evidence may come from an older copy that was named: it is rehashed against a signed record.
    yard.write("copy.db", &old);
    let ran =
        yard.run(["ledger", "evidence", "1", "--to", "evidence", "--ledger", "sqlite:copy.db"]).exits(0);
    assert!(
        ran.stderr.contains("warning:") && ran.stderr.contains("older than what was seen"),
        "{}",
        ran.stderr
    );
    yard.run(["check", &at("staging", &image), "--to", "production", "--ledger", "sqlite:copy.db"]).exits(3);
}

#[test]
fn d3_a_fork_by_the_real_key_halts_who_saw_the_other_one() {
    let yard = Yard::new();
    let image = staged(&yard, "v1");
    let common = copy(&yard);
    // One client sees this history, and another is shown that one.
    forge(&yard, 1, 4);
    yard.run(["status"]).exits(0);
    yard.run(["ledger", "lock"]).exits(0);
    put_back(&yard, &common);
    forge(&yard, 2, 9);
    for args in verbs(&image) {
        let ran = yard.run(args.iter().map(String::as_str));
        halts(
            &ran,
            &[
                "was forked",
                "samebits.lock has seen 7",
                "it does not continue what was seen before",
                "two histories",
            ],
        );
    }
    fs::remove_file(yard.path("samebits.lock")).unwrap();
    let ran = yard.run(["status"]);
    // Signed twice by one key: the output is the proof.
    halts(&ran, &["was forked", "this user (pin "]);
    assert_eq!(ran.stderr.matches("\u{2014} shop.example/promotions ").count(), 2, "{}", ran.stderr);
    // A client that saw neither has nothing to hold against it.
    forget(&yard);
    yard.run(["status"]).exits(0);
}

/// The bytes and the index row of a record, as anybody with the file reads them.
fn taken(yard: &Yard, index: u64) -> Entry {
    let signer: LogSigner = yard.read("keys/ledger.key").trim().parse().unwrap();
    let ledger = Ledger::open("sqlite:.samebits/ledger.db", &yard.path(""), signer.vkey(), None).unwrap();
    let bytes = ledger.read(&ledger.tip().unwrap(), index).unwrap().bytes().to_vec();
    let index = Index::claimed(&bytes).unwrap();
    Entry { bytes, index }
}

/// No lock, no pin: the record itself says what its author had seen.
#[test]
fn d3_a_record_of_a_lost_history_halts_whoever_reads_it() {
    let yard = Yard::new();
    let image = staged(&yard, "v1");
    let old = copy(&yard);
    yard.build("v2", "v2");
    yard.promote("oci:registry/shop:v2", "staging").exits(0);
    let there_too = yard.push_to(&"oci:registry/production/shop".parse().unwrap(), "x", "x");
    let args = ["--in", "production", "--key", "keys/production.key"];
    yard.run(["deployed", &at("production", &there_too)].into_iter().chain(args)).exits(0);
    let lost = taken(&yard, 5);
    let signer: LogSigner = yard.read("keys/ledger.key").trim().parse().unwrap();
    let (base, vkey, there) = (yard.path(""), signer.vkey().clone(), at("staging", &image));
    // At the place it had, and behind it.
    for others in [2, 3] {
        put_back(&yard, &old);
        forge(&yard, 1, others);
        let size = 3 + u64::from(others);
        let mut ledger =
            Ledger::open("sqlite:.samebits/ledger.db", &base, &vkey, Some(signer.clone())).unwrap();
        let _ = ledger.append(size, std::slice::from_ref(&lost)).unwrap();
        drop(ledger);
        for args in [
            &["check", &there, "--to", "production"][..],
            &["promote", &there, "--to", "production", "--key", "keys/release.key"],
            &["removed", &at("production", &there_too), "--in", "production", "--key", "keys/production.key"],
            &["status"],
        ] {
            forget(&yard);
            let said = format!("and the author of record {size} has seen 5");
            halts(&yard.run(args.iter().copied()), &["was forked", &said, "seen:", "found:"]);
        }
        forget(&yard);
        yard.run(["ledger", "verify"]).exits(1);
    }
    // Before the place it had it says that it saw the future, and is no record at all.
    put_back(&yard, &old);
    let mut ledger = Ledger::open("sqlite:.samebits/ledger.db", &base, &vkey, Some(signer)).unwrap();
    let _ = ledger.append(3, &[lost]).unwrap();
    drop(ledger);
    forget(&yard);
    yard.run(["check", &there, "--to", "production"]).exits(0);
    let audit = yard.run(["ledger", "verify"]).exits(1);
    assert!(audit.stdout.contains("a place in the log that is not before it"), "{}", audit.stdout);
}

/// The main lane alone put back: a control record has seen more of it.
#[test]
fn d2_an_older_main_lane_halts_by_what_a_control_record_saw() {
    let yard = crate::control::yard();
    let image = staged(&yard, "v1");
    let old = copy(&yard);
    staged(&yard, "v2");
    let args = ["--reason", "x", "--key", "keys/security.key", "-q"];
    yard.run(["revoke", &samebits::digest::Digest::of(b"other").to_string()].into_iter().chain(args))
        .exits(0);
    yard.write("old.db", &old);
    let rows = rusqlite::Connection::open(yard.path(LEDGER)).unwrap();
    rows.execute("ATTACH ?1 AS old", [yard.path("old.db").to_str().unwrap()]).unwrap();
    for table in ["entries", "targets", "nodes", "checkpoint"] {
        let back = format!("DELETE FROM main.{table}; INSERT INTO main.{table} SELECT * FROM old.{table}");
        rows.execute_batch(&back).unwrap();
    }
    drop(rows);
    forget(&yard);
    let ran = yard.run(["check", &at("staging", &image), "--to", "production"]);
    halts(
        &ran,
        &["was rolled back", "its main lane has 3 records, and the author of control record 0 has seen 6"],
    );
}

#[test]
fn d4_a_lock_that_disagrees_with_the_policy_is_an_error() {
    let yard = Yard::new();
    yard.run(["ledger", "lock"]).exits(0);
    let good = yard.read("samebits.lock");
    let other = LogSigner::generate("shop.example/promotions".parse().unwrap()).unwrap();
    let vkey = good.lines().find(|line| line.starts_with("vkeys")).unwrap();
    for (text, says) in [
        (good.replace("shop.example", "else.example"), "is not the verifier key"),
        (good.replace(vkey, &format!("vkeys = [\"{}\"]", other.vkey())), "verifier key"),
        (good.replace("[main]", "[mian]"), "did you mean `main`?"),
        (String::new(), "`version` is missing"),
    ] {
        yard.write("samebits.lock", text);
        let ran = yard.run(["status"]).exits(2);
        assert!(
            ran.stderr.contains("samebits.lock") && ran.stderr.contains(says),
            "{says} in\n{}",
            ran.stderr
        );
    }
    fs::remove_file(yard.path("samebits.lock")).unwrap();
    fs::create_dir(yard.path("samebits.lock")).unwrap();
    let ran = yard.run(["status"]).exits(2);
    assert!(ran.stderr.contains("cannot be read"), "{}", ran.stderr);
}

#[test]
fn d4_a_genesis_that_was_replaced_is_refused() {
    let yard = Yard::new();
    staged(&yard, "v1");
    yard.run(["ledger", "lock"]).exits(0);
    let signer: LogSigner = yard.read("keys/ledger.key").trim().parse().unwrap();
    fs::remove_dir_all(yard.path(".samebits")).unwrap();
    drop(Ledger::create("sqlite:.samebits/ledger.db", &yard.path(""), &signer).unwrap());
    halts(&yard.run(["status"]), &["was rolled back", "has 0 records"]);
    forge(&yard, 1, 5);
    halts(&yard.run(["status"]), &["was forked", "has 5 records"]);
}

#[test]
fn the_lock_is_written_once_shown_and_raised() {
    let yard = Yard::new();
    staged(&yard, "v1");
    let wrote = yard.run(["ledger", "lock"]).exits(0);
    let first = yard.read("samebits.lock");
    staged(&yard, "v2");
    let shown = yard.run(["ledger", "lock"]).exits(0);
    assert_eq!(yard.read("samebits.lock"), first);
    let noted = first.replace("[control]", "# nobody revoked so far\n[control]");
    yard.write("samebits.lock", &noted);
    let raised = yard.run(["ledger", "lock", "--update", "-o", "json"]).exits(0).json();
    assert_eq!((&raised["was"], &raised["lock"]["main"]["size"]), (&"raised".into(), &6.into()));
    let second = yard.read("samebits.lock");
    let changed = first.lines().zip(second.lines()).filter(|(one, other)| one != other).count();
    assert_eq!(
        (noted.lines().count(), second.contains("# nobody revoked so far")),
        (second.lines().count(), true)
    );
    assert!(changed >= 2, "{second}");
    let again = yard.run(["ledger", "lock", "--update", "-o", "json"]).exits(0).json();
    assert_eq!(again["was"], "kept");
    let text = format!("{}{}\n{first}", wrote.stdout, shown.stdout);
    let vkey = text.lines().find(|line| line.starts_with("vkeys")).unwrap().to_owned();
    let text = redact(&text.replace(&vkey, "vkeys = [\"VKEY\"]"), &[]);
    assert_data_eq!(Data::text(text).raw(), file!["ledger-lock.txt"].raw());
}

#[test]
fn without_a_home_nothing_is_pinned_and_the_answers_say_so() {
    let yard = Yard::new();
    staged(&yard, "v1");
    let run = |args: &[&str]| ran(yard.command(args.iter().copied()).env_remove("HOME"));
    let audit = run(&["ledger", "verify", "-o", "json"]).exits(0).json();
    assert_eq!(audit["pinned"], false);
    assert!(audit["notes"][0].as_str().unwrap().starts_with("unpinned: "), "{audit:#}");
    let image = yard.build("v2", "v2");
    let check = run(&["check", "oci:registry/shop:v2", "--to", "staging", "-o", "json"]).exits(0).json();
    let notes = check["notes"].as_array().unwrap();
    assert!(notes.iter().any(|note| note.as_str().unwrap().starts_with("unpinned: ")), "{check:#}");
    // A relative state folder would lie in the working folder (F9).
    let relative = ran(yard.command(["ledger", "verify"]).env_remove("HOME").env("XDG_STATE_HOME", "state"));
    assert!(relative.exits(0).stdout.contains("unpinned"));
    assert!(!yard.path("state").exists());
    // With one it is asked before the home.
    let state = yard.path("state");
    let pinned = ran(yard.command(["ledger", "verify", "-o", "json"]).env("XDG_STATE_HOME", &state));
    assert_eq!(pinned.exits(0).json()["pinned"], true);
    assert_eq!(fs::read_dir(state.join("samebits/pins")).unwrap().count(), 2);
    drop(image);
}

#[test]
fn a_malformed_pin_is_an_error_that_names_the_file() {
    let yard = Yard::new();
    staged(&yard, "v1");
    let pins = yard.path(".local/state/samebits/pins");
    let pin = fs::read_dir(&pins).unwrap().map(|entry| entry.unwrap().path());
    let pin = pin.into_iter().find(|path| path.extension().is_none()).unwrap();
    fs::write(&pin, "{").unwrap();
    for args in [&["status"][..], &["ledger", "verify"]] {
        let ran = yard.run(args.iter().copied());
        halts(&ran, &[pin.to_str().unwrap(), "is malformed", "pinned anew"]);
    }
}

#[test]
fn d3_a_witness_vouches_for_the_ledger_and_not_for_a_fork() {
    let yard = Yard::new();
    let image = staged(&yard, "v1");
    yard.run(["ledger", "lock"]).exits(0);
    let none = yard.run(["ledger", "cosign"]).exits(2);
    assert!(none.stderr.contains("no witness is named"), "{}", none.stderr);
    let key = yard.run(["ledger", "witness", "key", "witness.example/w1", "--to", "witness.key"]).exits(0);
    let vkey = key.stdout.lines().last().unwrap().to_owned();
    yard.run(["ledger", "witness", "key", "witness.example/w1", "--to", "witness.key"]).exits(2);
    yard.edit_policy(|text| {
        text.replace("tag = \"production\"\n", "tag = \"production\"\ncontrol-max-staleness = \"1h\"\n")
    });
    let there = at("staging", &image);
    let no = yard.run(["check", &there, "--to", "production"]).exits(1);
    assert!(no.stdout.contains("control-unwitnessed"), "{}", no.stdout);
    // A witness that is not there is no witness.
    names(&yard, &vkey, "http://127.0.0.1:1/");
    let no = yard.run(["ledger", "cosign"]).exits(1);
    assert!(no.stdout.contains("cannot be reached") && no.stdout.contains("no quorum"), "{}", no.stdout);
    yard.run(["check", &there, "--to", "production"]).exits(1);
    // One that is.
    let first = witness(&yard);
    names(&yard, &vkey, &first.1);
    let said = yard.run(["ledger", "cosign"]).exits(0);
    assert!(said.stdout.contains("w1 cosigned 3 records of the main lane"), "{}", said.stdout);
    let check = yard.run(["check", &there, "--to", "production", "-o", "json"]).exits(0).json();
    assert_eq!(check["freshness"]["status"], "cosigned");
    let old = copy(&yard);
    // A promotion is cosigned by itself.
    yard.promote(&there, "production").exits(0);
    let rows = rusqlite::Connection::open(yard.path(LEDGER)).unwrap();
    let note: String =
        rows.query_row("SELECT note FROM cosigned WHERE lane = 'main'", [], |row| row.get(0)).unwrap();
    assert!(
        note.starts_with("shop.example/promotions\n5\n") && note.contains("witness.example/w1"),
        "{note}"
    );
    drop(rows);
    // And whoever is given the ledger, or a proof, has that in hand.
    let by = |text: &str| text.contains("\u{2014} witness.example/w1 ");
    yard.run(["ledger", "export", "cosigned"]).exits(0);
    for file in ["cosigned/checkpoint", "cosigned/control/checkpoint", "cosigned/records/0.tlog-proof"] {
        assert!(by(&yard.read(file)), "{file}: {}", yard.read(file));
    }
    yard.run(["ledger", "verify", "cosigned"]).exits(0);
    assert!(by(&yard.run(["ledger", "prove", "0"]).exits(0).stdout));
    // A head that no witness has seen has none.
    drop(first);
    yard.run(["removed", &there, "--in", "staging", "--key", "keys/staging.key"]).exits(0);
    yard.run(["ledger", "export", "alone"]).exits(0);
    assert!(!by(&yard.read("alone/checkpoint")) && by(&yard.read("alone/control/checkpoint")));
    // It remembers through a restart, where nobody else does.
    let again = witness(&yard);
    names(&yard, &vkey, &again.1);
    put_back(&yard, &old);
    forget(&yard);
    let ran = yard.run(["ledger", "cosign"]);
    halts(&ran, &["`w1` has cosigned 5 records of main lane, and this ledger has 3"]);
    forge(&yard, 7, 4);
    forget(&yard);
    halts(&yard.run(["ledger", "cosign"]), &["is not continued by this ledger", "shop.example/promotions"]);
    assert_eq!(yard.run(["ledger", "verify"]).code, Some(1));
}
