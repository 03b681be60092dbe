//! What the ledger keeps and shows, and what it does not (D9 to D12).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::cli::{Yard, at};

/// What the records of the main lane say.
fn payloads(yard: &Yard) -> Vec<String> {
    let database = rusqlite::Connection::open(yard.path(".samebits/ledger.db")).unwrap();
    let mut rows = database.prepare("SELECT body FROM entries").unwrap();
    let bodies = rows.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
    let said = |body: Vec<u8>| {
        let bundle: Value = serde_json::from_slice(&body).unwrap();
        let payload = STANDARD.decode(bundle["dsseEnvelope"]["payload"].as_str().unwrap()).unwrap();
        String::from_utf8(payload).unwrap()
    };
    bodies.map(|body| said(body.unwrap())).collect()
}

/// What is typed into a record is for ever: what looks like a secret is refused, not repeated, and nothing is written.
#[test]
fn d9_a_secret_that_was_typed_is_not_recorded() {
    let yard = Yard::new();
    let image = yard.build("v1", "v1");
    yard.promote("oci:registry/shop:v1", "staging").exits(0);
    let there = at("staging", &image);
    let secret = "hunter2hunter2hunter2";
    for (verb, key, extra, field) in [
        ("deployed", "staging", ["--url", "https://ci:hunter2hunter2hunter2@ci.example/7"], "externalUrl"),
        ("deployed", "staging", ["--url", "https://ci.example/7?token=hunter2hunter2hunter2"], "externalUrl"),
        ("deployed", "staging", ["--name", "ghp_hunter2hunter2hunter2"], "deploymentName"),
    ] {
        let key = format!("keys/{key}.key");
        let ran = yard.run([verb, &there, "--in", "staging", "--key", &key, extra[0], extra[1]]).exits(2);
        let expected = format!("`{field}` holds what looks like");
        assert!(ran.stderr.contains(&expected) && ran.stderr.contains("hint: take it out"), "{}", ran.stderr);
        assert!(!ran.stderr.contains(secret) && ran.stdout.is_empty(), "{}", ran.stderr);
    }
    let url = ["--url", "https://ci.example/run/7?attempt=2"];
    yard.run(["deployed", &there, "--in", "staging", "--key", "keys/staging.key", url[0], url[1]]).exits(0);
    assert!(payloads(&yard).iter().all(|said| !said.contains(secret)));
}

/// Neither the environment, nor what the CI run is called, nor where the machine keeps its keys is in a record.
#[test]
fn d9_no_value_of_the_environment_is_recorded() {
    let yard = Yard::new();
    let image = yard.build("v1", "v1");
    let reference = format!("oci:registry/shop@{}", image.digest);
    let mut command = yard.command(["promote", &reference, "--to", "staging"]);
    let key = yard.path("keys/release.key");
    command.env("SAMEBITS_KEY", &key);
    for name in ["GITHUB_RUN_ID", "GITHUB_TOKEN", "CI_JOB_TOKEN", "HOME", "USER"] {
        command.env(name, "do-not-record-4711");
    }
    crate::cli::ran(&mut command).exits(0);
    yard.run(["deployed", &at("staging", &image), "--in", "staging", "--key", "keys/staging.key"]).exits(0);
    let key = key.display().to_string();
    let said = payloads(&yard);
    assert_eq!(said.len(), 3);
    for hidden in ["do-not-record-4711", &key, yard.path("").to_str().unwrap()] {
        assert!(said.iter().all(|said| !said.contains(hidden)), "{hidden} in {said:#?}");
    }
}

/// What was kept can be erased, for whatever law asks: the log keeps its digest and says what is gone and of which
/// record; what it decided stands, and it goes on deciding.
#[test]
fn d10_what_is_kept_can_be_erased_and_the_log_stands() {
    let yard = Yard::new();
    let image = yard.build("v1", "v1");
    yard.promote("oci:registry/shop:v1", "staging").exits(0);
    yard.deployed_in_staging(&image).exits(0);
    let before = yard.run(["status", "-o", "json"]).exits(0).json();
    let database = rusqlite::Connection::open(yard.path(".samebits/ledger.db")).unwrap();
    assert!(database.execute("DELETE FROM kept", []).unwrap() > 3);
    let audit = yard.run(["ledger", "verify", "-o", "json"]).exits(1).json();
    let findings = audit["findings"].as_array().unwrap();
    assert!(!findings.is_empty());
    for finding in findings {
        let finding = finding.as_str().unwrap();
        // Nothing but what was erased, each by the digest that the record still names.
        assert!(finding.contains("sha256:") && finding.contains("record"), "{finding}");
    }
    assert_eq!(audit["ledger"], before["ledger"]);
    assert_eq!(yard.run(["status", "-o", "json"]).exits(0).json(), before);
    yard.promote(&at("staging", &image), "production").exits(0);
}

/// What lies in a registry is a copy for others: all of it taken away or forged, the ledger decides as it did.
#[test]
fn d11_the_copies_in_the_registry_are_not_the_log() {
    let yard = Yard::new();
    let image = yard.build("v1", "v1");
    yard.promote("oci:registry/shop:v1", "staging").exits(0);
    yard.deployed_in_staging(&image).exits(0);
    let there = at("staging", &image);
    yard.run(["check", &there, "--to", "production"]).exits(0);
    // Every referrer that is ours is gone from staging.
    let path = "registry/staging/shop/index.json";
    let mut index: Value = serde_json::from_str(&yard.read(path)).unwrap();
    // What the build had attached lies at the source too.
    let source = yard.read("registry/shop/index.json");
    let ours = |manifest: &Value| {
        let digest = manifest["digest"].as_str().unwrap();
        manifest["artifactType"].is_string() && !source.contains(digest)
    };
    let manifests = index["manifests"].as_array_mut().unwrap();
    let all = manifests.len();
    manifests.retain(|manifest| !ours(manifest));
    assert!(manifests.len() < all, "{manifests:#?}");
    yard.write(path, index.to_string());
    yard.run(["check", &there, "--to", "production"]).exits(0);
    yard.run(["ledger", "verify"]).exits(0);
    // They are copied there again from the ledger.
    let left = yard.run(["reconcile", "--in", "staging", "-o", "json"]).exits(1).json();
    let what: Vec<&str> =
        left["left"].as_array().unwrap().iter().filter_map(|it| it["what"].as_str()).collect();
    assert_eq!(what, ["record", "summary"]);
    yard.run(["reconcile", "--yes", "--key", "keys/release.key", "-q"]).exits(0);
    // And a copy of a record on an image of another ledger says nothing there.
    let other = Yard::new();
    let same = other.build("v1", "v1");
    assert_eq!(same.digest, image.digest);
    std::fs::remove_dir_all(other.path("registry")).unwrap();
    std::process::Command::new("cp")
        .arg("-r")
        .arg(yard.path("registry"))
        .arg(other.path("registry"))
        .status()
        .unwrap();
    let refused = other.run(["check", &there, "--to", "production"]).exits(1);
    assert!(refused.stdout.contains("never-deployed"), "{}", refused.stdout);
}

/// Whoever is shown a checkpoint, a witness for one, learns the log's name, how long it is and a hash; nothing of what
/// was shipped, by whom and where to.
#[test]
fn d12_a_checkpoint_says_nothing_of_what_was_shipped() {
    let yard = Yard::new();
    let image = yard.build("v1", "v1");
    yard.promote("oci:registry/shop:v1", "staging").exits(0);
    yard.deployed_in_staging(&image).exits(0);
    let status = yard.run(["status", "-o", "json"]).exits(0).json();
    let database = rusqlite::Connection::open(yard.path(".samebits/ledger.db")).unwrap();
    let note: String = database.query_row("SELECT note FROM checkpoint", [], |row| row.get(0)).unwrap();
    let lines: Vec<&str> = note.lines().collect();
    let [origin, size, root, "", signature] = lines[..] else { panic!("{note}") };
    assert_eq!((origin, size), (status["origin"].as_str().unwrap(), "3"));
    assert!(signature.starts_with(&format!("— {origin} ")), "{signature}");
    let root: String = STANDARD.decode(root).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(status["ledger"]["root"], format!("sha256:{root}"));
}
