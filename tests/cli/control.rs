//! Revocations through the binary: who may, what they close, where it shows, and what a tampered lane ends in.

use samebits::digest::Digest;
use samebits::key::{Algorithm, PrivateKey};
use samebits::reference::Image;
use samebits::verify::COSIGN_SIGN;

use crate::cli::{Ran, Yard, at};

/// A yard whose policy has a revoker.
pub(crate) fn yard() -> Yard {
    let yard = Yard::new();
    let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
    yard.write("keys/security.key", key.to_pem().as_bytes());
    yard.write("keys/security.pub", key.public().to_pem());
    yard.edit_policy(|text| {
        format!("{text}\n[signers.security]\npublic-key = \"keys/security.pub\"\n\n[control]\nrevokers = [\"security\"]\n")
    });
    yard
}

/// An image that is promoted into staging, and runs there.
pub(crate) fn staged(yard: &Yard, tag: &str) -> Image {
    let image = yard.build(tag, tag);
    yard.promote(&format!("oci:registry/shop:{tag}"), "staging").exits(0);
    yard.deployed_in_staging(&image).exits(0);
    image
}

pub(crate) fn revoke(yard: &Yard, args: &[&str]) -> Ran {
    let key = ["--key", "keys/security.key", "-q"];
    yard.run(["revoke"].into_iter().chain(args.iter().copied()).chain(key))
}

/// What lies in the file, behind the back of the binary.
fn tamper(yard: &Yard, sql: &str) {
    let connection = rusqlite::Connection::open(yard.path(".samebits/ledger.db")).unwrap();
    connection.execute_batch(sql).unwrap();
}

#[track_caller]
fn refused(ran: &Ran, codes: &[&str]) {
    assert_eq!(ran.code, Some(1), "\n{}\n{}", ran.stdout, ran.stderr);
    for code in codes {
        assert!(ran.stderr.contains(code), "{code} in\n{}", ran.stderr);
    }
}

#[test]
fn b14_a_revoked_digest_enters_nowhere_and_status_says_where_it_runs() {
    let yard = yard();
    let image = staged(&yard, "v1");
    let there = at("staging", &image);
    yard.run(["check", &there, "--to", "production"]).exits(0);
    let digest = image.digest.to_string();
    let said = revoke(&yard, &[&digest, "--reason", "CVE-2030-1"]).exits(0);
    for piece in [
        "revoked",
        &digest,
        "and 2 manifest(s) of it",
        "staging, production",
        "is promoted in staging",
        "runs (default) in staging",
    ] {
        assert!(said.stdout.contains(piece), "{piece} in\n{}", said.stdout);
    }
    refused(
        &yard.promote(&there, "production"),
        &["not-revoked", "revoked by `security` in control record 0: CVE-2030-1"],
    );
    refused(&yard.promote("oci:registry/shop:v1", "staging"), &["not-revoked"]);
    // Twice is once.
    let again = revoke(&yard, &[&digest, "--reason", "other words"]).exits(0);
    assert!(again.stdout.contains("nothing was added"), "{}", again.stdout);
    // Where it is.
    let status = yard.run(["status", "-o", "json"]).exits(0).json();
    assert_eq!(status["control"]["size"], 1);
    assert_eq!(status["revocations"][0]["reason"], "CVE-2030-1");
    let cells = status["cells"].as_array().unwrap();
    let staging = cells.iter().find(|cell| cell["environment"] == "staging").unwrap();
    assert_eq!(staging["revoked"].as_array().unwrap().len(), 2);
    assert_eq!(staging["revoked"][1]["deployment"], "default");
    let production = cells.iter().find(|cell| cell["environment"] == "production").unwrap();
    assert_eq!(production["revoked"].as_array().unwrap().len(), 0);
    let status = yard.run(["status"]).exits(0);
    assert!(status.stdout.contains("REVOKED"), "{}", status.stdout);
    let show = yard.run(["show", &digest]).exits(0);
    assert!(show.stdout.starts_with("revoked"), "{}", show.stdout);
    assert!(yard.run(["show", &digest, "-o", "json"]).exits(0).json()["live"][0]["environment"] == "staging");
    // Lifted by a revoker, and by nobody else.
    let lift = ["revoke", "--lift", "0", "--reason", "another image", "--key"];
    let stranger = yard.run(lift.into_iter().chain(["keys/release.key"])).exits(2);
    assert!(
        stranger.stderr.contains("may not revoke for `shop`: expected `security`"),
        "{}",
        stranger.stderr
    );
    refused(&yard.promote(&there, "production"), &["not-revoked"]);
    revoke(&yard, &["--lift", "0", "--reason", "another image"]).exits(0);
    revoke(&yard, &["--lift", "0", "--reason", "another image"]).exits(0);
    yard.promote(&there, "production").exits(0);
    assert_eq!(yard.run(["status", "-o", "json"]).exits(0).json()["control"]["size"], 2);
    // Once more: another record, for the first one was lifted.
    revoke(&yard, &[&digest, "--reason", "CVE-2030-1"]).exits(0);
    refused(&yard.promote(&there, "production"), &["control record 2"]);
    yard.run(["ledger", "verify"]).exits(0);
}

#[test]
fn b14_an_image_is_revoked_with_its_manifests() {
    let yard = yard();
    let image = staged(&yard, "v1");
    // Nothing is recorded of this one, which is named by its tag.
    let other = yard.build("v2", "v2");
    revoke(&yard, &["oci:registry/shop:v2", "--reason", "bad base"]).exits(0);
    let status = yard.run(["status", "-o", "json"]).exits(0).json();
    let digests = status["revocations"][0]["target"]["digests"].as_array().unwrap();
    assert_eq!((digests.len(), &digests[0]), (3, &serde_json::json!(other.digest.to_string())));
    refused(&yard.promote("oci:registry/shop:v2", "staging"), &["not-revoked"]);
    // A manifest by itself closes the image that has it.
    let page = yard.run(["show", &image.digest.to_string(), "-o", "json"]).exits(0).json();
    assert_eq!(page["records"].as_array().unwrap().len(), 3);
    let closure = yard.runtime.block_on(yard.registries.closure(&image)).unwrap();
    let child = closure.platforms().next().unwrap().0;
    let said = revoke(&yard, &[&child.to_string(), "--reason", "only amd64"]).exits(0);
    assert!(said.stdout.contains("no record names this digest"), "{}", said.stdout);
    refused(&yard.promote(&at("staging", &image), "production"), &["which is part of it", "only amd64"]);
}

#[test]
fn b13_a_revoked_signer_counts_nowhere_from_then_on() {
    let yard = yard();
    let image = staged(&yard, "v1");
    let there = at("staging", &image);
    // Everything so far stands; what comes now does not.
    revoke(&yard, &["--signer", "staging", "--from-now", "--reason", "key rotated"]).exits(0);
    let twice = revoke(&yard, &["--signer", "staging", "--from-now", "--reason", "key rotated"]).exits(0);
    assert!(twice.stdout.contains("nothing was added"), "{}", twice.stdout);
    yard.run(["check", &there, "--to", "production"]).exits(0);
    let later = staged(&yard, "v2");
    let no = yard.promote(&at("staging", &later), "production");
    refused(
        &no,
        &["never-deployed", "does not count: revoked by `security` in control record 0: key rotated"],
    );
    // Back to an index: the deployment of the first is behind it.
    revoke(&yard, &["--signer", "staging", "--since", "2", "--reason", "lost earlier"]).exits(0);
    refused(&yard.promote(&there, "production"), &["never-deployed", "lost earlier"]);
    revoke(&yard, &["--lift", "1", "--reason", "no"]).exits(0);
    yard.run(["check", &there, "--to", "production"]).exits(0);
    // One record.
    revoke(&yard, &["--record", "2", "--reason", "typed by hand"]).exits(0);
    refused(&yard.promote(&there, "production"), &["never-deployed", "typed by hand"]);
    // The builder, the promoter.
    revoke(&yard, &["--signer", "build", "--reason", "leaked"]).exits(0);
    refused(&yard.promote("oci:registry/shop:v1", "staging"), &["not-signed-by", "leaked"]);
    revoke(&yard, &["--signer", "release", "--reason", "leaked too"]).exits(0);
    refused(&yard.promote("oci:registry/shop:v1", "staging"), &["promoter", "leaked too"]);
    yard.run(["ledger", "verify"]).exits(0);
}

#[test]
fn what_cannot_be_revoked_is_said() {
    let yard = Yard::new();
    let image = yard.build("v1", "v1");
    yard.attest(&image, "build", COSIGN_SIGN);
    let digest = Digest::of(b"").to_string();
    let no = yard.run(["revoke", &digest, "--reason", "x", "--key", "keys/release.key"]).exits(2);
    assert!(no.stderr.contains("the policy lets nobody revoke"), "{}", no.stderr);
    let yard = self::yard();
    for (args, piece) in [
        (&["sha256:12", "--reason", "x"][..], "sha256"),
        (&["--reason", "x"], "required"),
        (&[&digest], "--reason"),
        (&[&digest, "--reason", " "], "it is empty"),
        (&[&digest, "--signer", "build", "--reason", "x"], "cannot be used with"),
        (&["--signer", "biuld", "--reason", "x"], "no signer `biuld`"),
        (&["--record", "7", "--reason", "x"], "there is no record 7"),
        (&["--lift", "0", "--reason", "x"], "control record 0 revokes nothing"),
        (&[&digest, "--reason", "x", "--since", "1"], "cannot be used with"),
        (&[&digest, "--reason", "x", "--in", "prod"], "`prod` is not an environment"),
    ] {
        let ran = revoke(&yard, args).exits(2);
        assert!(ran.stderr.contains(piece), "{args:?}: {piece} in\n{}", ran.stderr);
    }
}

/// Whoever can write the file can take nothing out of the lane, and put nothing in.
#[test]
fn d1_a_tampered_control_lane_is_no_decision() {
    let tamperings = [
        "DELETE FROM control WHERE idx = 1",
        "DELETE FROM control WHERE idx = 0",
        "DELETE FROM control",
        "UPDATE control SET body = CAST(replace(CAST(body AS TEXT), 'a', 'b') AS BLOB) WHERE idx = 1",
        "UPDATE control SET idx = 7 WHERE idx = 1",
        "INSERT INTO control VALUES (2, x'00')",
        "INSERT INTO control VALUES (-1, x'00')",
        "DELETE FROM control_checkpoint",
        "UPDATE control_checkpoint SET note = (SELECT note FROM checkpoint)",
        "DELETE FROM control; UPDATE control_checkpoint SET note = replace(note, '/control', '')",
        "DROP TABLE control",
        "DROP TABLE control_checkpoint",
    ];
    for sql in tamperings {
        let yard = yard();
        let image = staged(&yard, "v1");
        let there = at("staging", &image);
        revoke(&yard, &[&Digest::of(b"other").to_string(), "--reason", "x"]).exits(0);
        revoke(&yard, &[&image.digest.to_string(), "--reason", "x"]).exits(0);
        tamper(&yard, sql);
        for args in [&["check", &there, "--to", "production"][..], &["status"]] {
            let ran = yard.run(args.iter().copied()).exits(3);
            assert!(!ran.stderr.contains("panicked"), "{sql}\n{}", ran.stderr);
        }
        yard.promote(&there, "production").exits(3);
        revoke(&yard, &[&image.digest.to_string(), "--reason", "y"]).exits(3);
        let audit = yard.run(["ledger", "verify"]);
        assert!(matches!(audit.code, Some(1 | 3)), "{sql}\n{audit:?}");
    }
}

/// The lane alone put back to what it was, with the checkpoint of then: records of the main lane have seen more. Nobody
/// needs a lock or a pin for that.
#[test]
fn d2_an_older_control_lane_halts_whoever_reads_a_record_that_saw_more() {
    let yard = yard();
    let image = staged(&yard, "v1");
    let old = {
        let connection = rusqlite::Connection::open(yard.path(".samebits/ledger.db")).unwrap();
        connection
            .query_row("SELECT note FROM control_checkpoint", [], |row| row.get::<_, String>(0))
            .unwrap()
    };
    revoke(&yard, &[&image.digest.to_string(), "--reason", "x"]).exits(0);
    refused(&yard.promote(&at("staging", &image), "production"), &["not-revoked"]);
    yard.run(["ledger", "verify"]).exits(0);
    tamper(&yard, &format!("DELETE FROM control; UPDATE control_checkpoint SET note = '{old}'"));
    let audit = yard.run(["ledger", "verify"]).exits(1);
    assert!(audit.stdout.contains("had seen a control lane of 1 records"), "{}", audit.stdout);
    let there = at("staging", &image);
    for args in [
        &["check", &there, "--to", "production"][..],
        &["promote", &there, "--to", "production", "--key", "keys/release.key"],
        &["status"],
    ] {
        std::fs::remove_dir_all(yard.path(".local")).unwrap();
        let ran = yard.run(args.iter().copied()).exits(3);
        let said = "its control lane has 0 records, and the author of record 3 has seen 1";
        assert!(ran.stderr.contains(said), "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains("seen:") && ran.stderr.contains("found:"), "{}", ran.stderr);
    }
    // Another lane of the same length, by the real key: a fork.
    std::fs::remove_dir_all(yard.path(".local")).unwrap();
    revoke(&yard, &[&Digest::of(b"other").to_string(), "--reason", "y"]);
    std::fs::remove_dir_all(yard.path(".local")).unwrap();
    let ran = yard.run(["check", &there, "--to", "production"]).exits(3);
    assert!(ran.stderr.contains("was forked"), "{}", ran.stderr);
}

#[test]
fn a_ledger_of_the_first_format_is_refused_with_what_to_do() {
    let yard = yard();
    tamper(&yard, "PRAGMA user_version = 1");
    let ran = yard.run(["status"]).exits(3);
    assert!(ran.stderr.contains("has format 1: expected 3"), "{}", ran.stderr);
    assert!(ran.stderr.contains("make a new ledger with `samebits init`"), "{}", ran.stderr);
}
