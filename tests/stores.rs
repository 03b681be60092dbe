//! One ledger in every store, by the real binary: copied from one to the next and appended to by many at once. The S3
//! server is moto; skipped, aloud, where it is not installed, and in CI (`SAMEBITS_REQUIRE_PEERS=1`) it has to be.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

#[path = "support/cli.rs"]
#[allow(dead_code, reason = "what tests/cli.rs asks")]
mod cli;
#[path = "support/git_server.rs"]
mod git_server;
#[path = "support/image.rs"]
mod image;
#[path = "support/peer.rs"]
#[allow(dead_code, reason = "no skopeo here")]
mod peer;
#[path = "support/postgres.rs"]
#[allow(dead_code, reason = "what tests/postgres.rs asks")]
mod postgres;
#[path = "support/s3.rs"]
mod s3;
#[path = "stores/walked.rs"]
mod walked;
#[path = "support/witness.rs"]
mod witness;

use cli::{Ran, Yard, at, ran};
use s3::{BUCKET, S3};
use samebits::key::{Algorithm, PrivateKey};
use serde_json::Value;

const SQLITE: &str = "sqlite:.samebits/ledger.db";

/// A ledger with records in both lanes, and evidence.
fn yard() -> Yard {
    let yard = Yard::new();
    let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
    yard.write("keys/security.key", key.to_pem().as_bytes());
    yard.write("keys/security.pub", key.public().to_pem());
    yard.edit_policy(|text| {
        format!(
            "{text}\n[signers.security]\npublic-key = \"keys/security.pub\"\n\n\
             [control]\nrevokers = [\"security\"]\n"
        )
    });
    let image = yard.build("1", "first");
    yard.promote(&format!("oci:registry/shop@{}", image.digest), "staging").exits(0);
    yard.deployed_in_staging(&image).exits(0);
    for (tag, reason) in [("2", "CVE-2030-1"), ("3", "CVE-2030-2")] {
        let digest = yard.build(tag, tag).digest.to_string();
        yard.run(["revoke", &digest, "--reason", reason, "--key", "keys/security.key"]).exits(0);
    }
    yard
}

/// The answer of `ledger verify` of one store: intact, and what it has.
fn intact(run: impl Fn(&[&str]) -> Ran, url: &str) -> (Value, Value) {
    let document = run(&["ledger", "verify", "--ledger", url, "-o", "json"]).exits(0).json();
    assert_eq!(document["intact"], true);
    (document["ledger"].clone(), document["control"].clone())
}

#[test]
fn a_ledger_is_copied_to_a_folder_and_back() {
    let yard = yard();
    let run = |args: &[&str]| yard.run(args.iter().copied());
    let heads = intact(run, SQLITE);
    assert_eq!((&heads.0["size"], &heads.1["size"]), (&3.into(), &2.into()));
    let copied = run(&["ledger", "copy", SQLITE, "file:slots", "-o", "json"]).exits(0).json();
    assert_eq!((&copied["ledger"], &copied["control"]), (&heads.0, &heads.1));
    assert!(copied["evidence"].as_u64().unwrap() > 3, "{copied:#}");
    assert_eq!(intact(run, "file:slots"), heads);
    // The same again from there, and the very same log: byte for byte.
    run(&["ledger", "copy", "file:slots", "sqlite:back.db"]).exits(0);
    assert_eq!(intact(run, "sqlite:back.db"), heads);
    for table in ["entries", "nodes", "targets", "checkpoint", "control", "control_checkpoint", "kept"] {
        let rows = |file: &str| -> Vec<Vec<rusqlite::types::Value>> {
            let connection = rusqlite::Connection::open(yard.path(file)).unwrap();
            let mut query = connection.prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2")).unwrap();
            let columns = query.column_count();
            let row = |row: &rusqlite::Row<'_>| (0..columns).map(|column| row.get(column)).collect();
            query.query_map([], row).unwrap().map(Result::unwrap).collect()
        };
        assert_eq!(rows(".samebits/ledger.db"), rows("back.db"), "{table}");
    }
    // Never over something.
    for there in ["file:slots", "sqlite:back.db", SQLITE] {
        let refused = run(&["ledger", "copy", SQLITE, there]).exits(3);
        assert!(refused.stderr.contains("a ledger is never overwritten"), "{}", refused.stderr);
    }
    // A policy may name it, and everything works there.
    yard.edit_policy(|policy| policy.replace(SQLITE, "file:slots"));
    let image = yard.build("4", "fourth");
    yard.promote(&format!("oci:registry/shop@{}", image.digest), "staging").exits(0);
    assert!(yard.replays_the_same() >= 2);
    run(&["ledger", "verify"]).exits(0);
}

#[test]
fn a_ledger_that_is_not_intact_is_not_copied() {
    let yard = yard();
    let connection = rusqlite::Connection::open(yard.path(".samebits/ledger.db")).unwrap();
    connection.execute("UPDATE kept SET bytes = x'00'", []).unwrap();
    let refused = yard.run(["ledger", "copy", SQLITE, "file:slots"]).exits(3);
    assert!(refused.stderr.contains("is not intact"), "{}", refused.stderr);
    assert!(!yard.path("slots/commits").exists(), "damage was spread");
}

#[test]
fn one_ledger_in_s3_is_shared_by_many() {
    let Some(s3) = S3::start() else { return };
    let yard = yard();
    let url = format!("s3://{BUCKET}/shop");
    let command = |args: &[&str]| {
        let mut command = yard.command(args.iter().copied());
        command.envs(s3.variables());
        command
    };
    let run = |args: &[&str]| ran(&mut command(args));
    // 1. It gets there whole.
    let heads = intact(run, SQLITE);
    run(&["ledger", "copy", SQLITE, &url]).exits(0);
    assert_eq!(intact(run, &url), heads);
    let size = heads.0["size"].as_u64().unwrap();
    // 2. Eight at once, each with a home of its own, as CI jobs have: nothing is lost, nothing is doubled.
    let image = yard.build("1", "first");
    let there = at("staging", &image);
    let jobs: Vec<_> = (0..8)
        .map(|job| {
            let home = yard.path(&format!("home-{job}"));
            std::fs::create_dir(&home).unwrap();
            let name = format!("cluster-{job}");
            let what = ["deployed", &there, "--in", "staging", "--name", &name];
            let how = ["--key", "keys/staging.key", "--ledger", &url];
            let mut job = command(&[&what[..], &how].concat());
            job.env("HOME", home).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
            job.spawn().unwrap()
        })
        .collect();
    for job in jobs {
        let output = job.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let (ledger, control) = intact(run, &url);
    assert_eq!((ledger["size"].as_u64().unwrap(), &control), (size + 8, &heads.1));
    // 3. What others read: a checkpoint and tiles.
    let note = String::from_utf8(s3.get("shop/checkpoint").unwrap()).unwrap();
    assert!(note.contains(&format!("\n{}\n", size + 8)), "{note}");
    assert!(s3.get(&format!("shop/tile/entries/000.p/{}", size + 8)).is_some());
    // 4. Back again.
    run(&["ledger", "copy", &url, "sqlite:back.db"]).exits(0);
    assert_eq!(intact(run, "sqlite:back.db"), (ledger, control));
    // 5. A slot that is changed or taken away is no ledger (D1, D2).
    let name = format!("shop/commits/{:020}", size + 7);
    let slot = s3.get(&name).unwrap();
    s3.delete(&name);
    let refused = run(&["status", "--ledger", &url]).exits(3);
    assert!(refused.stderr.contains("was rolled back"), "{}", refused.stderr);
    s3.put(&name, b"{}");
    let refused = run(&["status", "--ledger", &url]).exits(3);
    assert!(refused.stderr.contains("was forked"), "{}", refused.stderr);
    s3.put(&name, &slot);
    run(&["status", "--ledger", &url]).exits(0);
    // 6. Without credentials nobody can tell, and says which.
    let bare = ran(&mut yard.command(["status", "--ledger", &url]));
    assert_eq!(bare.code, Some(3), "{}", bare.stderr);
}
