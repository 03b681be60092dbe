//! Both faces of every answer, human and JSON, as they are printed.

use snapbox::data::Inline;
use snapbox::{Data, assert_data_eq, file};

use crate::cli::{Ran, Yard, at, redact};
use samebits::reference::Image;

/// Compares with a snapshot, literally.
#[track_caller]
fn same(seen: &str, names: &[(&str, &Image)], snapshot: Data) {
    let names: Vec<_> = names.iter().map(|(name, image)| (*name, image.digest)).collect();
    assert_data_eq!(Data::text(redact(seen, &names)).raw(), snapshot.raw());
}

/// Stderr, then stdout, told apart.
fn both(ran: &Ran) -> String {
    format!("{}── stdout\n{}", ran.stderr, ran.stdout)
}

#[test]
fn init_writes_a_policy_and_says_what_is_next() {
    let yard = Yard::empty();
    let ran = yard.run(["init", "--service", "shop"]).exits(0);
    same(&both(&ran), &[], file!["init.txt"]);
    let policy = yard.read("samebits.toml");
    // The verifier key is another one every time.
    let policy: Vec<&str> = policy.lines().filter(|line| !line.starts_with("verifier = ")).collect();
    same(&(policy.join("\n") + "\n"), &[], file!["init.toml"]);

    let again = yard.run(["init"]).exits(2);
    assert!(again.stderr.contains("samebits.toml is there already"), "{}", again.stderr);
    let other = Yard::empty();
    let json = other.run(["init", "-o", "json", "-q"]).exits(0);
    json.json();
    assert_eq!(json.stderr, "");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        for role in ["build", "release", "staging", "production", "ledger"] {
            let file = yard.path(&format!("keys/{role}.key"));
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{role}");
        }
    }
}

#[test]
fn the_paths_of_init_are_as_typed_and_a_key_in_the_environment_is_no_mistake() {
    let yard = Yard::empty();
    let mut init = yard.command(["init", "--policy", "sub/gate.toml"]);
    let ran = crate::cli::ran(init.env("SAMEBITS_KEY", "keys/release.key")).exits(0);
    assert!(ran.stdout.contains("wrote sub/gate.toml\n"), "{}", ran.stdout);
    assert!(ran.stderr.contains("  cd sub\n"), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("samebits promote --policy gate.toml oci:registry/app:$tag"),
        "{}",
        ran.stderr
    );
    yard.run(["status", "--policy", "sub/gate.toml"]).exits(0);
    yard.run(["init", "--key", "x"]).exits(2);
}

/// The ledger may be made in any store, where there is none yet; and without it nothing is.
#[test]
fn init_makes_the_ledger_where_it_is_told_to() {
    let yard = Yard::empty();
    let bare = yard.path("bare.git");
    let mut urls = vec!["file:shared".to_owned(), format!("file:{}", yard.path("slots").display())];
    if crate::peer::is_installed("git") {
        let git =
            crate::peer::alone("git", &yard.path("")).args(["init", "-q", "--bare"]).arg(&bare).status();
        assert!(git.unwrap().success());
        urls.push(format!("git+file://{}#ledger", bare.display()));
    }
    for (number, url) in urls.iter().enumerate() {
        let at = |name: &str| format!("{number}/{name}");
        let init = |folder: &str| {
            yard.run(["init", "--policy", &format!("{folder}/samebits.toml"), "--ledger", url])
        };
        let ran = init(&number.to_string()).exits(0);
        assert!(ran.stdout.contains(url.as_str()), "{}", ran.stdout);
        assert!(yard.read(&at("samebits.toml")).contains(&format!("url = \"{url}\"\n")));
        assert!(!yard.path(&at(".samebits")).exists());
        yard.run(["status", "--policy", &at("samebits.toml")]).exits(0);
        // It is never overwritten, and no keys are left behind that are those of no ledger.
        if number > 0 {
            let again = init("again").exits(2);
            assert!(again.stderr.contains("a ledger is never overwritten"), "{}", again.stderr);
            assert!(!yard.path("again/keys").exists() && !yard.path("again/samebits.toml").exists());
        }
    }
    yard.run(["init", "--policy", "new/samebits.toml", "--ledger", "ftp://x/y"]).exits(2);
    assert!(!yard.path("new/keys").exists());
}

/// Where it is not known whether the ledger was made, its only key stays, and is named.
#[test]
fn init_keeps_the_key_of_a_ledger_that_may_be_there() {
    let yard = Yard::empty();
    // The cache cannot be made: found out when the ledger is there already.
    yard.write(".cache", "a file");
    let url = format!("file:{}", yard.path("slots").display());
    let ran = yard.run(["init", "--policy", "new/samebits.toml", "--ledger", &url]).exits(3);
    for said in
        ["it is not known whether", url.as_str(), "new/keys/ledger.key", "verifier app.example/promotions+"]
    {
        assert!(ran.stderr.contains(said), "{said}: {}", ran.stderr);
    }
    assert!(!ran.stderr.contains("nothing was written"), "{}", ran.stderr);
    assert!(yard.path("new/keys/ledger.key").exists() && !yard.path("new/samebits.toml").exists());
    assert!(std::fs::read_dir(yard.path("slots")).unwrap().next().is_some());
    // Nothing that answers: who knows.
    let nowhere = "git+file:///nowhere/at/all.git#ledger";
    yard.run(["init", "--policy", "other/samebits.toml", "--ledger", nowhere]).exits(3);
    assert!(yard.path("other/keys/ledger.key").exists());
}

#[test]
fn a_yes_a_no_and_what_becomes_of_them() {
    let yard = Yard::new();
    same(&yard.run(["status"]).exits(0).stdout, &[], file!["status-empty.txt"]);
    assert!(yard.run(["status", "-o", "json"]).json()["next"].is_string());
    let image = yard.build("1.4.2", "first");
    let first = [("FIRST", &image)];

    // 1. Yes into staging.
    let yes = yard.promote("oci:registry/shop:1.4.2", "staging").exits(0);
    same(&both(&yes), &first, file!["promote-yes.txt"]);
    assert_eq!(yes.stdout, format!("{}\n", at("staging", &image)));

    // 2. No into production: it never ran.
    let staging = "oci:registry/staging/shop:staging";
    let no = yard.promote(staging, "production").exits(1);
    same(&both(&no), &first, file!["promote-no.txt"]);
    let check = yard.run(["check", staging, "--to", "production", "-o", "json"]).exits(1);
    same(&check.stdout, &first, file!["check-no.json.txt"]);
    check.json();

    // 3. It runs in staging, and says so.
    let recorded = yard.deployed_in_staging(&image).exits(0);
    same(&recorded.stdout, &first, file!["deployed.txt"]);
    let again = yard.run([
        "deployed",
        &at("staging", &image),
        "--in",
        "staging",
        "--key",
        "keys/staging.key",
        "-o",
        "json",
    ]);
    assert!(again.exits(0).json()["notes"][0].as_str().unwrap().contains("recorded before"));

    // 4. Yes into production.
    let key = ["--key", "keys/release.key", "-o", "json"];
    let check = yard.run(["check", staging, "--to", "production"]).exits(0);
    same(&check.stdout, &first, file!["check-yes.txt"]);
    let promote = ["promote", staging, "--to", "production"].into_iter().chain(key);
    let yes = yard.run(promote).exits(0);
    same(&yes.stdout, &first, file!["promote-yes.json.txt"]);
    assert_eq!(yes.json()["promoted"], at("production", &image));
    assert_eq!(yes.stderr, "");

    // 5. The same again changes nothing.
    let again = yard.promote(staging, "production").exits(0);
    assert_eq!(again.stdout, format!("{}\n", at("production", &image)));
    assert!(again.stderr.contains("promoted before"), "{}", again.stderr);
    assert_eq!(yard.phases(&image, "production"), ["refused", "intent", "commit"]);

    // 6. A rebuild under the same tag is another image.
    let rebuild = yard.build("1.4.2", "second");
    let images = [("FIRST", &image), ("SECOND", &rebuild)];
    let no = yard.promote("oci:registry/shop:1.4.2", "production").exits(1);
    same(&both(&no), &images, file!["promote-rebuild.txt"]);

    // 7. Looking back.
    same(&yard.run(["status"]).exits(0).stdout, &images, file!["status.txt"]);
    same(&yard.run(["log"]).exits(0).stdout, &images, file!["log.txt"]);
    let digest = image.digest.to_string();
    same(&yard.run(["show", &digest]).exits(0).stdout, &images, file!["show.txt"]);
    same(&yard.run(["verify", "oci:registry/shop:1.4.2"]).exits(0).stdout, &images, file!["verify.txt"]);
    same(&yard.run(["ledger", "verify"]).exits(0).stdout, &images, file!["ledger-verify.txt"]);
    for args in [
        &["status", "-o", "json"][..],
        &["log", "-o", "json"],
        &["show", &digest, "-o", "json"],
        &["verify", "oci:registry/shop:1.4.2", "-o", "json"],
        &["ledger", "verify", "-o", "json"],
    ] {
        yard.run(args.iter().copied()).exits(0).json();
    }
    let nothing = yard.run(["show", &samebits::digest::Digest::of(b"never").to_string()]).exits(1);
    assert!(nothing.stdout.starts_with("no record is about"), "{}", nothing.stdout);

    // 8. And it is gone.
    let removed = ["removed", &at("staging", &image), "--in", "staging", "--key", "keys/staging.key"];
    yard.run(removed.into_iter().chain(["-o", "json"])).exits(0).json();
    let status = yard.run(["status", "-o", "json"]).json();
    assert_eq!(status["cells"][0]["agreement"], "not-deployed");
    assert_eq!(yard.replays_the_same(), 6);
}

/// A yard where production wants the approval of `ana`, and an image that runs in staging.
fn wants_approval() -> (Yard, samebits::reference::Image) {
    let yard = Yard::new();
    yard.edit_policy(|text| {
        text.replace("[services.shop]", "[signers.ana]\npublic-key = \"keys/ana.pub\"\n[services.shop]")
            + "approvals = { count = 1, from = [\"ana\"], not-from = [\"requester\"] }\n"
    });
    let ana = samebits::key::PrivateKey::generate(samebits::key::Algorithm::Ed25519).unwrap();
    yard.write("keys/ana.pub", ana.public().to_pem());
    yard.write("keys/ana.key", ana.to_pem());
    let image = yard.build("1", "first");
    yard.promote("oci:registry/shop:1", "staging").exits(0);
    yard.deployed_in_staging(&image).exits(0);
    (yard, image)
}

/// The same, and she approved; the image in staging.
pub(crate) fn approved() -> (Yard, String) {
    let (yard, image) = wants_approval();
    let there = at("staging", &image);
    yard.run(["approve", &there, "--to", "production", "-q", "--key", "keys/ana.key"]).exits(0);
    (yard, there)
}

#[test]
fn an_approval_is_asked_for_given_and_taken_back() {
    let (yard, image) = wants_approval();
    let there = at("staging", &image);
    let no = yard.run(["check", &there, "--to", "production"]).exits(1);
    same(&no.stdout, &[("FIRST", &image)], file!["approval-missing.txt"]);
    let approve = ["approve", &there, "--to", "production", "-q", "--key"];
    let wrong = yard.run(approve.into_iter().chain(["keys/release.key"])).exits(2);
    assert!(wrong.stderr.contains("expected `ana`, found `release`"), "{}", wrong.stderr);
    let ours = || approve.into_iter().chain(["keys/ana.key", "-o", "json"]);
    yard.run(ours()).exits(0).json();
    yard.run(["check", &there, "--to", "production"]).exits(0);
    yard.run(ours().chain(["--reject", "--comment", "not today"])).exits(0).json();
    yard.run(["check", &there, "--to", "production"]).exits(1);
}

#[test]
fn text_json_and_files_go_where_they_were_sent() {
    let yard = Yard::new();
    yard.build("1", "first");
    let ask = ["check", "oci:registry/shop:1", "--to", "staging"];
    let plain = yard.run(ask).exits(0);
    // A file is written as well; stdout stays what it was.
    for more in [&["-o", "json=out.json"][..], &["-o", "json=out.json", "-o", "text", "-o", "text=out.txt"]] {
        let ran = yard.run(ask.into_iter().chain(more.iter().copied())).exits(0);
        assert_eq!(ran.stdout, plain.stdout);
        crate::cli::valid(&serde_json::from_str(&yard.read("out.json")).unwrap());
    }
    assert_eq!(yard.read("out.txt"), plain.stdout);
    // A file never keeps the answer to an earlier question.
    let trouble =
        yard.run(["check", "oci:registry/none:1", "--to", "staging", "-o", "json=out.json"]).exits(3);
    let document = serde_json::from_str(&yard.read("out.json")).unwrap();
    crate::cli::valid(&document);
    assert_eq!((&document["kind"], trouble.stdout.as_str()), (&"undecided".into(), ""));
    // One that cannot be written is said before anything is done.
    yard.run(["promote", "oci:registry/shop:1", "--to", "staging", "-o", "json=no/such/folder"]).exits(2);
    yard.run(ask.into_iter().chain(["-o", "json", "-o", "text"])).exits(2);
    assert_eq!(yard.records().len(), 0);

    // Colour is for who asks for it.
    assert!(!plain.stdout.contains('\u{1b}'));
    let coloured = yard.run(ask.into_iter().chain(["--color", "always"])).exits(0);
    assert!(coloured.stdout.contains("\u{1b}[1m\u{1b}[32myes"), "{:?}", coloured.stdout);
    assert_eq!(anstream::adapter::strip_str(&coloured.stdout).to_string(), plain.stdout);
}

#[test]
fn help_teaches_at_80_columns() {
    let yard = Yard::empty();
    same(&yard.run(["--help"]).exits(0).stdout, &[], file!["help.txt"]);
    same(&yard.run(["help", "promote"]).exits(0).stdout, &[], file!["help-promote.txt"]);
    let verbs = [
        "init", "check", "promote", "deployed", "removed", "approve", "verify", "status", "log", "show",
        "ledger",
    ];
    for verb in verbs {
        let help = yard.run(["help", verb]).exits(0).stdout;
        // The examples are in the verb's own words.
        for line in help.lines().filter(|line| line.starts_with("  samebits ")) {
            let example = line.trim().strip_prefix("samebits ").unwrap();
            assert!(example.starts_with(verb), "{verb}: {example}");
        }
    }
    let none: Inline = snapbox::str![""];
    assert_data_eq!(yard.run([]).exits(2).stdout, none);
}
