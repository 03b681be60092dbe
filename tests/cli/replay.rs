//! Decisions made again: from the ledger alone, and by another policy file.

use std::net::TcpListener;

use samebits::reference::Image;
use samebits::verify::COSIGN_SIGN;
use serde_json::{Value, json};
use snapbox::{assert_data_eq, file};

use crate::cli::{Ran, Yard, at, ran, redact};

/// A refusal, a yes and the commit of it, in production; before them a yes and its commit in staging.
fn walked() -> (Yard, Image) {
    let yard = Yard::new();
    let image = yard.build("1", "first");
    yard.promote("oci:registry/shop:1", "staging").exits(0);
    yard.promote(&at("staging", &image), "production").exits(1);
    yard.deployed_in_staging(&image).exits(0);
    yard.promote(&at("staging", &image), "production").exits(0);
    (yard, image)
}

fn vkey(yard: &Yard) -> String {
    let policy = yard.read("samebits.toml");
    let line = policy.lines().find_map(|line| line.strip_prefix("verifier = \"")).unwrap();
    line.trim_end_matches('"').to_owned()
}

fn tamper(yard: &Yard, sql: &str) {
    let connection = rusqlite::Connection::open(yard.path(".samebits/ledger.db")).unwrap();
    connection.execute_batch(sql).unwrap();
}

/// The digest of what a record relies on as `what`.
fn piece(yard: &Yard, record: &str, what: &str) -> String {
    let folder = format!("taken-{}", std::fs::read_dir(yard.path(".")).unwrap().count());
    let taken = yard.run(["ledger", "evidence", record, "--to", &folder, "-o", "json"]).exits(0).json();
    let files = taken["files"].as_array().unwrap();
    let found = files.iter().find(|file| file["what"] == what).unwrap();
    found["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned()
}

/// B5: nothing is left but the ledger, and nobody is asked.
#[test]
fn b5_a_decision_is_made_again_from_the_ledger_alone() {
    let (yard, image) = walked();
    let records = yard.records();
    for gone in ["registry", "keys"] {
        std::fs::remove_dir_all(yard.path(gone)).unwrap();
    }
    let vkey = vkey(&yard);
    std::fs::remove_file(yard.path("samebits.toml")).unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    nobody.set_nonblocking(true).unwrap();
    let proxy = format!("http://{}", nobody.local_addr().unwrap());
    let replay = |record: &str| -> Ran {
        let ledger = ["--ledger", "sqlite:.samebits/ledger.db", "--vkey", &vkey, "-o", "json"];
        let mut command = yard.command(["replay", record].into_iter().chain(ledger));
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
            command.env(name, &proxy);
        }
        ran(&mut command)
    };
    let expected = [("0", "intent"), ("1", "commit"), ("2", "refused"), ("4", "intent"), ("5", "commit")];
    for (index, phase) in expected {
        let again = replay(index).exits(0).json();
        assert_eq!((&again["same"], &again["phase"]), (&json!(true), &json!(phase)), "{again:#}");
        assert_eq!(again["image"].as_str().unwrap().rsplit('@').next(), Some(&*image.digest.to_string()));
        // The same record by its digest.
        let place: usize = index.parse().unwrap();
        let by_digest = replay(records[place]["digest"].as_str().unwrap()).exits(0).json();
        assert_eq!(by_digest, again);
    }
    assert_eq!(replay("2").json()["codes"], json!(["never-deployed"]));
    let named = [("FIRST", image.digest)];
    let ledger = ["--ledger", "sqlite:.samebits/ledger.db", "--vkey", &vkey];
    let text = yard.run(["replay", "2"].into_iter().chain(ledger)).exits(0).stdout;
    assert_data_eq!(redact(&text, &named), file!["replay.txt"].raw());
    assert_eq!(nobody.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    // A deployment is a fact, and what is not there is not there.
    for (record, said) in [
        ("3", "record 3 is no decision of the gate but deployment"),
        ("6", "there is no record 6: the ledger has 6"),
        (&format!("sha256:{}", "0".repeat(64)), "no record of the ledger has the digest"),
    ] {
        let refused = replay(record).exits(2);
        assert!(refused.stderr.contains(said), "{}", refused.stderr);
    }
    // Another log's key is none of this one.
    let other = Yard::new();
    let vkey = self::vkey(&other);
    let ledger = ["--ledger", "sqlite:.samebits/ledger.db", "--vkey", &vkey];
    yard.run(["replay", "0"].into_iter().chain(ledger)).exits(3);
    yard.run(["replay", "0", "--vkey", &vkey]).exits(2);
}

/// B5: what is missing is named, and it is neither the same nor different.
#[test]
fn b5_what_was_not_kept_is_named_and_nothing_is_decided() {
    let (yard, _) = walked();
    for (what, said) in [
        ("policy", "the policy file"),
        ("attestation", "the evidence `https://sigstore.dev/cosign/sign/v1`"),
        ("platform", "the platform manifest"),
        ("root", "the image"),
        ("key", "the key `keys/"),
    ] {
        let digest = piece(&yard, "4", what);
        tamper(&yard, "DROP TABLE IF EXISTS was; CREATE TABLE was AS SELECT * FROM kept");
        tamper(&yard, &format!("UPDATE kept SET bytes = x'00' WHERE digest = x'{digest}'"));
        let changed = yard.run(["replay", "4"]).exits(3);
        assert_eq!(changed.stdout, "");
        assert!(changed.stderr.contains(said), "{}", changed.stderr);
        assert!(changed.stderr.contains(&format!("sha256:{digest} was changed")), "{}", changed.stderr);
        tamper(
            &yard,
            "UPDATE kept SET bytes = (SELECT bytes FROM was WHERE was.digest = kept.digest); DROP TABLE was",
        );
        yard.run(["replay", "4"]).exits(0);
    }
    let digests = [piece(&yard, "4", "attestation"), piece(&yard, "4", "root")];
    for digest in &digests {
        tamper(&yard, &format!("DELETE FROM kept WHERE digest = x'{digest}'"));
    }
    let trouble = yard.run(["replay", "4", "-o", "json"]).exits(3).json();
    let causes = trouble["causes"].to_string();
    for digest in &digests {
        assert!(causes.contains(&format!("sha256:{digest} is gone")), "{causes}");
    }
}

/// What lists the records is a cache: a record that it hides is not taken for one that never was.
#[test]
fn d1_a_hidden_record_is_no_difference() {
    let (yard, _) = walked();
    tamper(&yard, "UPDATE targets SET environment = 'elsewhere' WHERE idx = 3");
    let undecided = yard.run(["replay", "4"]).exits(3).stderr;
    let said = "record 4 relied on ledger:3, which the ledger's index does not list";
    assert!(undecided.contains(said), "{undecided}");
}

/// The control lane of then: a revocation afterwards changes nothing, and one before does.
#[test]
fn b14_a_revocation_counts_from_its_place_on() {
    let yard = crate::control::yard();
    let image = crate::control::staged(&yard, "v1");
    let digest = image.digest.to_string();
    crate::control::revoke(&yard, &[&digest, "--reason", "CVE-2030-1"]).exits(0);
    yard.promote(&at("staging", &image), "production").exits(1);
    crate::control::revoke(&yard, &["--lift", "0", "--reason", "not so"]).exits(0);
    yard.promote(&at("staging", &image), "production").exits(0);
    assert_eq!(yard.replays_the_same(), 5);
    let refused = yard.run(["replay", "3", "-o", "json"]).exits(0).json();
    assert_eq!((&refused["codes"], &refused["control"]["size"]), (&json!(["revoked"]), &json!(1)));
    // A lane that was put back is no longer the one that was decided on.
    tamper(&yard, "DELETE FROM control WHERE idx = 1");
    let undecided = yard.run(["replay", "4"]).exits(3);
    assert!(undecided.stderr.contains("control"), "{}", undecided.stderr);
}

fn what_if(yard: &Yard, policy: &str, more: &[&str], code: i32) -> Value {
    yard.write("new.toml", policy);
    let args = ["replay", "--policy", "new.toml", "-o", "json", "-q"];
    yard.run(args.into_iter().chain(more.iter().copied())).exits(code).json()
}

fn counts(told: &Value) -> [u64; 4] {
    ["same", "refused", "allowed", "cannotTell"].map(|name| told[name].as_u64().unwrap())
}

#[test]
fn another_policy_is_asked_about_every_decision() {
    let (yard, image) = walked();
    let policy = yard.read("samebits.toml");
    // 1. The same file, and one that says the same.
    assert_eq!(counts(&what_if(&yard, &policy, &[], 0)), [3, 0, 0, 0]);
    assert_eq!(counts(&what_if(&yard, &format!("# reviewed\n{policy}"), &[], 0)), [3, 0, 0, 0]);
    // 2. A longer soak refuses what was allowed; which, and why.
    let soak = policy.replace(
        "after = [{ environment = \"staging\" }]",
        "after = [{ environment = \"staging\", for-at-least = \"1h\" }]",
    );
    let told = what_if(&yard, &soak, &[], 1);
    assert_eq!(counts(&told), [2, 1, 0, 0]);
    let refused = &told["records"][2];
    assert_eq!((&refused["record"], &refused["now"]), (&json!(4), &json!("refused")), "{told:#}");
    assert_eq!(refused["codes"], json!(["soak-too-short"]));
    assert!(refused["why"][0].as_str().unwrap().contains("for at least 1h without a break"), "{told:#}");
    // 3. A shorter way allows what was refused.
    let open = policy.replace(
        "after = [{ environment = \"staging\" }]        # add for-at-least = \"1h\" to let it soak",
        "entry = true",
    );
    let told = what_if(&yard, &open, &[], 1);
    assert_eq!(counts(&told), [2, 0, 1, 0], "{told:#}");
    assert_eq!(told["records"][1]["why"], json!(["no longer never-deployed"]));
    // 4. What nobody asked for then was not kept: it was there, and it cannot be told.
    yard.attest(&image, "production", COSIGN_SIGN);
    let more = policy.replace("signed-by = \"build\"", "signed-by = [\"build\", \"production\"]");
    let more = more.replace(
        "public-key = \"keys/production.pub\"",
        "public-key = \"keys/production.pub\"\ntime = \"not-required\"",
    );
    let told = what_if(&yard, &more, &[], 3);
    assert_eq!(counts(&told), [1, 0, 0, 2], "{told:#}");
    assert!(
        told["records"][0]["why"][0]
            .as_str()
            .unwrap()
            .starts_with("not collected then: a signature by `production`")
    );
    // 5. Another promoter, and an environment that is gone.
    let promoter = policy.replacen("promoters = [\"release\"]", "promoters = [\"build\"]", 1);
    assert_eq!(
        what_if(&yard, &promoter, &["--to", "staging"], 1)["records"][0]["codes"],
        json!(["not-a-promoter"])
    );
    let text = yard.run(["replay", "--policy", "new.toml"]).exits(1).stdout;
    assert_data_eq!(redact(&text, &[("FIRST", image.digest)]), file!["what-if.txt"].raw());
    let (staging, _) = policy.split_once("[environments.production]").unwrap();
    assert_eq!(counts(&what_if(&yard, staging, &[], 1)), [2, 1, 0, 0]);
    // 6. A part of history.
    assert_eq!(counts(&what_if(&yard, &soak, &["--to", "staging"], 0)), [1, 0, 0, 0]);
    assert_eq!(counts(&what_if(&yard, &soak, &["--since", "4"], 1)), [0, 1, 0, 0]);
    assert_eq!(counts(&what_if(&yard, &soak, &["--since", "2099-01-01"], 0)), [0; 4]);
    assert_eq!(counts(&what_if(&yard, &soak, &["--service", "shop"], 1)), [2, 1, 0, 0]);
    yard.run(["replay", "--service", "shpo"]).exits(2);
    // 7. What is gone cannot be told either.
    let digest = piece(&yard, "0", "root");
    tamper(&yard, &format!("DELETE FROM kept WHERE digest = x'{digest}'"));
    let told = what_if(&yard, &policy, &[], 3);
    assert_eq!(counts(&told), [0, 0, 0, 3], "{told:#}");
    assert!(told["records"][0]["why"][0].as_str().unwrap().contains("is gone"), "{told:#}");
}

/// An approval was given for the file of then; the new one stands in its place.
#[test]
fn e5_an_approval_counts_as_given_for_the_new_file_and_no_more_than_it_did() {
    let (yard, there) = crate::faces::approved();
    yard.promote(&there, "production").exits(0);
    let policy = yard.read("samebits.toml");
    assert_eq!(counts(&what_if(&yard, &format!("# reviewed\n{policy}"), &[], 0)), [2, 0, 0, 0]);
    let two = policy.replace("count = 1, from = [\"ana\"]", "count = 2, from = [\"ana\", \"build\"]");
    let told = what_if(&yard, &two, &["--to", "production"], 1);
    assert_eq!(told["records"][0]["codes"], json!(["approval-missing"]), "{told:#}");
    assert_eq!(yard.replays_the_same(), 4);
}
