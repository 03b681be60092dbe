//! F11 at the command line: which roots, how old, and exit 3 where one cannot be had.

use base64::Engine;
use serde_json::Value;
use sigstore_trust_root::SIGSTORE_PRODUCTION_TRUSTED_ROOT;

use crate::cli::{Ran, Yard, at};
use crate::tuf::Repository;

const IMAGE: &str = "oci:registry/shop:1";

/// A yard with one more signer, by certificate under `root`, and with these tables.
fn yard(root: &str, tables: &str) -> Yard {
    let yard = Yard::new();
    yard.edit_policy(|text| {
        format!(
            "{text}\n[signers.ci]\nissuer = \"https://ci.example\"\nidentity = \"https://ci.example/shop\"\n{root}\n\
             {tables}"
        )
    });
    yard.build("1", "first");
    yard
}

/// A yard whose root `acme` comes from this repository.
fn refreshed(repository: &Repository, more: &str) -> Yard {
    let url = repository.url();
    let table = format!("[roots.acme]\nrefresh = {{ tuf = \"{url}\", root = \"root.json\" }}\n{more}");
    // The file before the policy that names it.
    let yard = yard("root = \"acme\"", "[roots.acme]\ntrusted-root = \"acme.json\"");
    yard.write("root.json", &repository.bootstrap);
    yard.edit_policy(|text| text.replacen("[roots.acme]\ntrusted-root = \"acme.json\"", &table, 1));
    yard
}

fn served() -> Repository {
    Repository::start(SIGSTORE_PRODUCTION_TRUSTED_ROOT.as_bytes())
}

fn check(yard: &Yard, more: &[&str]) -> Ran {
    yard.run(["check", IMAGE, "--to", "staging"].into_iter().chain(more.iter().copied()))
}

#[test]
fn f11_a_verdict_says_which_roots_it_was_made_under() {
    let public = yard("", "");
    let ran = check(&public, &[]).exits(0);
    assert!(ran.stdout.contains("\n  roots         public-good embedded, "), "{}", ran.stdout);
    let json = check(&public, &["-o", "json"]).exits(0).json();
    assert_eq!(json["roots"].as_array().unwrap().len(), 1);
    let root = &json["roots"][0];
    assert_eq!((&root["name"], &root["source"]), (&"public-good".into(), &"embedded".into()));
    assert_eq!((&root["takenOn"], &root["location"]), (&"2026-10-23".into(), &Value::Null));
    let digest = root["digest"].as_str().unwrap().to_owned();
    // `verify` says it too, and so does the record.
    let verified = public.run(["verify", IMAGE, "-o", "json"]).exits(0).json();
    assert_eq!(verified["roots"][0]["digest"], digest.as_str());
    public.promote(IMAGE, "staging").exits(0);
    let hex = digest.strip_prefix("sha256:").unwrap();
    for promotion in promotions(&public) {
        assert_eq!(
            promotion["roots"],
            serde_json::json!([{ "name": "public-good", "digest": { "sha256": hex } }])
        );
        assert!(promotion["policy"].get("roots").is_none());
    }
    // Where nobody signs by certificate, nothing is said.
    let keys = Yard::new();
    keys.build("1", "first");
    assert!(!check(&keys, &[]).exits(0).stdout.contains("roots"));
    keys.promote(IMAGE, "staging").exits(0);
    assert!(promotions(&keys).iter().all(|promotion| promotion.get("roots").is_none()));
    let none = keys.run(["roots"]).exits(0);
    assert!(none.stdout.contains("no root of trust is used"), "{}", none.stdout);
}

/// The predicates of the promotion records.
fn promotions(yard: &Yard) -> Vec<Value> {
    let ledger = rusqlite::Connection::open(yard.path(".samebits/ledger.db")).unwrap();
    let mut rows = ledger.prepare("SELECT body FROM entries ORDER BY idx").unwrap();
    let bundles = rows.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
    let promotions: Vec<Value> = bundles
        .map(|bundle| {
            let bundle: Value = serde_json::from_slice(&bundle.unwrap()).unwrap();
            let payload = bundle["dsseEnvelope"]["payload"].as_str().unwrap();
            let payload = base64::engine::general_purpose::STANDARD.decode(payload).unwrap();
            serde_json::from_slice::<Value>(&payload).unwrap()["predicate"].take()
        })
        .collect();
    assert_eq!(promotions.len(), 2, "an intent and a commit");
    promotions
}

#[test]
fn f11_roots_are_shown_refreshed_and_then_work_offline() {
    let mut repository = served();
    let yard = refreshed(&repository, "max-age = \"30d\"");
    // Nothing is there, and showing asks nobody.
    let never = yard.run(["roots"]).exits(3);
    assert_eq!(never.stdout, "");
    assert!(never.stderr.contains("the root `acme` was never refreshed from"), "{}", never.stderr);
    assert!(never.stderr.contains("hint: run `samebits roots refresh`"), "{}", never.stderr);
    assert!(repository.asked().is_empty());
    let offline = check(&yard, &["--offline"]).exits(3);
    assert_eq!(offline.stdout, "");

    let ran = yard.run(["roots", "refresh"]).exits(0);
    assert_eq!(repository.asked().len(), 5);
    assert!(ran.stdout.contains("acme  refreshed 0m ago from http://127.0.0.1:"), "{}", ran.stdout);
    for said in [
        "digest      sha256:6494e21e",
        "good until  2999-01-01T00:00:00Z",
        "max-age     30d",
        "of today    logs ",
    ] {
        assert!(ran.stdout.contains(said), "{said}: {}", ran.stdout);
    }
    let json = yard.run(["roots", "-o", "json"]).exits(0).json();
    assert_eq!(json["roots"][0]["source"], "tuf");
    assert_eq!(json["roots"][0]["unreached"], "offline");
    assert_eq!(json["roots"][0]["keys"]["logs"]["all"], 2);
    yard.run(["roots", "refresh", "--offline"]).exits(2);

    // A verb that verifies refreshes by itself.
    repository.asked();
    check(&yard, &[]).exits(0);
    assert_eq!(repository.asked(), ["2.root.json", "timestamp.json"]);
    check(&yard, &["--offline"]).exits(0);
    assert!(repository.asked().is_empty());
    repository.stop();
    let ran = check(&yard, &["--offline"]).exits(0);
    assert!(
        ran.stdout.contains("roots         acme refreshed 0m ago from http://127.0.0.1:"),
        "{}",
        ran.stdout
    );
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
    // Once on stderr, once in the verdict.
    let ran = check(&yard, &[]).exits(0);
    for said in [&ran.stdout, &ran.stderr] {
        assert_eq!(said.matches("the root `acme` is the one refreshed before").count(), 1, "{said}");
    }
    let ran = yard.promote(IMAGE, "staging").exits(0);
    assert_eq!(
        ran.stderr.matches("the root `acme` is the one refreshed before").count(),
        1,
        "{}",
        ran.stderr
    );
    assert_eq!(ran.stdout.lines().count(), 1);
    let unreachable = yard.run(["roots", "refresh"]).exits(3);
    assert!(unreachable.stderr.contains("cannot be reached"), "{}", unreachable.stderr);
    // Older than the policy wants: shown, and no more used.
    let cache = yard.path(".cache/samebits/tuf");
    let folder = std::fs::read_dir(cache).unwrap().next().unwrap().unwrap().path();
    std::fs::write(folder.join("refreshed"), "2026-01-01T00:00:00Z").unwrap();
    let ran = yard.run(["roots"]).exits(1);
    assert!(ran.stdout.contains("refused     the root `acme` is"), "{}", ran.stdout);
    let ran = check(&yard, &["--offline"]).exits(3);
    assert!(ran.stderr.contains("the policy allows 30d"), "{}", ran.stderr);
    assert_eq!(ran.stdout, "");
}

#[test]
fn f11_a_root_that_cannot_be_refreshed_is_no_verdict_and_no_other_root() {
    let mut repository = served();
    let url = repository.url();
    repository.stop();
    let public = yard("", &format!("[roots.public-good]\nrefresh = {{ tuf = \"{url}\" }}"));
    for verb in [
        &["check", IMAGE, "--to", "staging"][..],
        &["verify", IMAGE],
        &["promote", IMAGE, "--to", "staging", "--key", "keys/release.key"],
        &["status"],
        &["log"],
        &["ledger", "verify"],
    ] {
        let ran = public.run(verb.iter().copied()).exits(3);
        assert_eq!(ran.stdout, "", "{verb:?}");
        for said in [
            "of the root `public-good` cannot be reached",
            "never refreshed",
            "the embedded root is not used",
        ] {
            assert!(ran.stderr.contains(said), "{verb:?} did not say {said:?}:\n{}", ran.stderr);
        }
    }
    let json = check(&public, &["-o", "json"]).exits(3).json();
    assert_eq!(json["kind"], "undecided");
    // Nobody promoted anything.
    public.edit_policy(|text| text.replace(&format!("refresh = {{ tuf = \"{url}\" }}"), "refresh = \"tuf\""));
    public.edit_policy(|text| text.replace("[roots.public-good]\nrefresh = \"tuf\"", ""));
    assert_eq!(public.records().len(), 0);
    check(&public, &[]).exits(0);
}

#[test]
fn f11_a_given_root_has_an_age_where_the_policy_says_the_day() {
    let table = "[roots.public-good]\ntrusted-root = \"public.json\"";
    let public = yard("", "");
    public.write("public.json", SIGSTORE_PRODUCTION_TRUSTED_ROOT);
    let text = public.read("samebits.toml");
    let with = |more: &str| public.write("samebits.toml", format!("{text}\n{table}\n{more}"));
    with("");
    let ran = check(&public, &[]).exits(0);
    assert!(ran.stdout.contains("roots         public-good from public.json, age unknown"), "{}", ran.stdout);
    with("taken-on = 2020-01-01");
    let ran = check(&public, &[]).exits(0);
    assert!(ran.stdout.contains("roots         public-good from public.json, 2"), "{}", ran.stdout);
    with("taken-on = 2020-01-01\nmax-age = \"30d\"");
    let ran = check(&public, &[]).exits(3);
    assert!(ran.stderr.contains("the policy allows 30d"), "{}", ran.stderr);
    let ran = public.run(["roots"]).exits(1);
    assert!(ran.stdout.contains("taken on    2020-01-01"), "{}", ran.stdout);
    with("max-age = \"30d\"");
    let ran = public.run(["roots"]).exits(2);
    assert!(ran.stderr.contains("a file that does not say how old it is"), "{}", ran.stderr);
}

#[test]
fn f11_a_record_of_an_approval_survives_a_refresh() {
    let mut repository = served();
    let yard = refreshed(&repository, "");
    let image = yard.build("2", "second");
    yard.promote("oci:registry/shop:2", "staging").exits(0);
    let there = at("staging", &image);
    let before = yard.run(["check", &there, "--to", "production", "-o", "json"]).json();
    repository.publish_target(SIGSTORE_PRODUCTION_TRUSTED_ROOT.replacen('{', "{ ", 1).as_bytes());
    let after = yard.run(["check", &there, "--to", "production", "-o", "json"]).json();
    assert_ne!(before["roots"][0]["digest"], after["roots"][0]["digest"]);
    assert_eq!(before["policy"], after["policy"], "what an approval is for");
}
