//! What is typed wrong, is not there, or is not the one that was meant: exit 2 and 3, and never a word on stdout.

use crate::cli::{Yard, at};

/// Runs and fails unless the exit code is `code`, stdout is empty and stderr has all of `said`.
#[track_caller]
fn refused(yard: &Yard, args: &[&str], code: i32, said: &[&str]) {
    let ran = yard.run(args.iter().copied()).exits(code);
    assert_eq!(ran.stdout, "", "{args:?}");
    for word in said {
        assert!(ran.stderr.contains(word), "{args:?} did not say {word:?}:\n{}", ran.stderr);
    }
    let lines: Vec<&str> = ran.stderr.lines().filter(|line| line.starts_with("error: error:")).collect();
    assert!(lines.is_empty(), "{lines:?}");
}

const IMAGE: &str = "oci:registry/shop:1";
const KEY: &str = "keys/release.key";

#[test]
fn e12_empty_values_are_errors_wherever_they_are_given() {
    let yard = Yard::new();
    yard.build("1", "first");
    let digest = samebits::digest::Digest::of(b"x").to_string();
    let pinned = format!("oci:registry/staging/shop@{digest}");
    let with_flags: &[&[&str]] = &[
        &["check", "", "--to", "staging"],
        &["check", IMAGE, "--to", ""],
        &["check", IMAGE, "--to", " \t"],
        &["check", IMAGE, "--to", "staging", "--service", ""],
        &["check", IMAGE, "--to", "staging", "--key", ""],
        &["check", IMAGE, "--to", "staging", "--key-password-file", ""],
        &["check", IMAGE, "--to", "staging", "--policy", ""],
        &["check", IMAGE, "--to", "staging", "--ledger", ""],
        &["check", IMAGE, "--to", "staging", "-o", ""],
        &["check", IMAGE, "--to", "staging", "-o", "json="],
        &["check", IMAGE, "--to", "staging", "--color", ""],
        &["promote", IMAGE, "--to", ""],
        &["promote", "", "--to", "staging"],
        &["promote", "", "--to", ""],
        &["deployed", &pinned, "--in", ""],
        &["deployed", "", "--in", "staging"],
        &["deployed", &pinned, "--in", "staging", "--name", ""],
        &["deployed", &pinned, "--in", "staging", "--started", ""],
        &["deployed", &pinned, "--in", "staging", "--observed", ""],
        &["deployed", &pinned, "--in", "staging", "--url", ""],
        &["deployed", &pinned, "--in", "staging", "--observed", &digest, "--platform", ""],
        &["deployed", &pinned, "--in", "staging", "--observed", &digest, "--replicas", ""],
        &["removed", "", "--in", "staging"],
        &["removed", &pinned, "--in", ""],
        &["approve", "", "--to", "production"],
        &["approve", &pinned, "--to", ""],
        &["approve", &pinned, "--to", "production", "--comment", ""],
        &["approve", &pinned, "--to", "production", "--valid-for", ""],
        &["verify", ""],
        &["verify", IMAGE, "--to", ""],
        &["status", "--service", ""],
        &["log", "--in", ""],
        &["log", "--service", ""],
        &["log", "--limit", ""],
        &["show", ""],
        &["init", "--service", ""],
        &["init", "--registry", ""],
        &["init", "--origin", ""],
        &[""],
    ];
    for args in with_flags {
        refused(&yard, args, 2, &["error: "]);
    }
    for name in ["SAMEBITS_KEY", "SAMEBITS_LEDGER_KEY"] {
        let mut command = yard.command(["check", IMAGE, "--to", "staging"]);
        let ran = crate::cli::ran(command.env(name, "")).exits(2);
        assert!(ran.stderr.contains("it is empty"), "{name}: {}", ran.stderr);
    }
    assert_eq!(yard.records().len(), 0);
}

#[test]
fn c4_only_names_of_the_policy_and_the_nearest_is_named() {
    let yard = Yard::new();
    yard.build("1", "first");
    for (typed, meant) in [
        ("stagng", "staging"),
        ("Staging", "staging"),
        ("staging ", "staging"),
        ("st\u{430}ging", "staging"),
        ("prod uction", "production"),
    ] {
        let hint = format!("hint: did you mean `{meant}`?");
        for verb in ["check", "promote"] {
            let args = [verb, IMAGE, "--to", typed];
            refused(&yard, &args, 2, &["is not an environment of this policy", &hint]);
        }
        refused(&yard, &["log", "--in", typed], 2, &[&hint]);
    }
    let args = ["check", IMAGE, "--to", "staging", "--service", "shp"];
    refused(&yard, &args, 2, &["`shp` is not a service", "did you mean `shop`?"]);
    refused(&yard, &["status", "--service", "x"], 2, &["expected `shop`"]);
    refused(&yard, &["promte"], 2, &["'promote'"]);
    assert_eq!(yard.records().len(), 0);
}

#[test]
fn exit_2_is_for_what_was_typed_and_exit_3_for_what_could_not_be_read() {
    let yard = Yard::new();
    let image = yard.build("1", "first");
    let ask = ["check", IMAGE, "--to", "staging"];
    let and = |more: &[&'static str]| ask.iter().chain(more).copied().collect::<Vec<_>>();
    // The command line.
    refused(&yard, &and(&["--bogus"]), 2, &["--bogus"]);
    refused(&yard, &and(&["-q", "-v"]), 2, &["cannot be used with"]);
    refused(&yard, &and(&["-o", "yaml"]), 2, &["expected one of text, json, github"]);
    refused(&yard, &["check", "registry.example/shop", "--to", "staging"], 2, &["no tag is implied"]);
    refused(&yard, &["check", "shop:1", "--to", "staging"], 2, &["names no registry"]);
    refused(
        &yard,
        &["check", "oci:registry/other:1", "--to", "staging", "-o", "text"],
        3,
        &["no OCI layout"],
    );
    refused(&yard, &["removed", IMAGE, "--in", "staging"], 2, &["names a tag"]);
    refused(
        &yard,
        &["deployed", IMAGE, "--in", "staging"],
        2,
        &["expected an image in oci:registry/staging/shop"],
    );
    refused(&yard, &["approve", IMAGE, "--to", "production"], 2, &["asks for no approvals"]);
    refused(&yard, &["show", "sha256:abc"], 2, &["64 lowercase"]);
    // Keys.
    refused(&yard, &["promote", IMAGE, "--to", "staging"], 2, &["--key FILE or SAMEBITS_KEY"]);
    refused(&yard, &and(&["--key", "none.key"]), 2, &["the key none.key cannot be read\n  because "]);
    refused(&yard, &and(&["--key", "samebits.toml"]), 2, &["not a PEM file"]);
    refused(&yard, &and(&["--key", "keys/release.pub"]), 2, &["expected `PRIVATE KEY`"]);
    refused(&yard, &and(&["--key", "keys"]), 2, &["it is not a regular file"]);
    yard.promote(IMAGE, "staging").exits(0);
    let there = at("staging", &image);
    let wrong = ["deployed", &there, "--in", "staging", "--key", KEY];
    refused(&yard, &wrong, 2, &["expected `staging`, found `release`"]);
    // The ledger.
    refused(&yard, &and(&["--ledger", "nope"]), 3, &["hint: write `url = "]);
    refused(&yard, &and(&["--ledger", "sqlite:none.db"]), 3, &["there is no ledger at", "hint: "]);
    refused(&yard, &and(&["--ledger", "sqlite:registry"]), 3, &["is not a samebits ledger"]);
    refused(&yard, &and(&["--ledger", "sqlite:samebits.toml"]), 3, &["is not a samebits ledger"]);
    // The image.
    refused(
        &yard,
        &["check", "oci:registry/shop:9", "--to", "staging"],
        3,
        &["no image", "hint: check the name"],
    );
    // Every trouble has a JSON face too, on stdout if that is where JSON was wanted.
    for (args, kind) in [
        (and(&["--key", "keys", "-o", "json"]), "usage"),
        (and(&["--ledger", "sqlite:none.db", "-o", "json"]), "undecided"),
    ] {
        let document = yard.run(args).json();
        assert_eq!(document["kind"], kind, "{document:#}");
    }
}

#[test]
fn an_unreadable_policy_is_shown_with_line_and_caret_once() {
    let yard = Yard::new();
    let good = yard.read("samebits.toml");
    yard.write("samebits.toml", good.replace("entry = true", "entry = treu"));
    let ran = yard.run(["status"]).exits(2);
    let line = good.lines().position(|line| line == "entry = true").unwrap() + 1;
    let expected = format!(
        "error: not valid TOML (1.1)\n  --> samebits.toml:{line}:9\n   |\n{line} | entry = treu\n   |         ^^^^ \
         invalid boolean, expected `true`\n"
    );
    assert_eq!(ran.stderr, expected);
    yard.write("samebits.toml", good.replace("deployers = [\"staging\"]", "deployers = [\"stagin\"]"));
    refused(&yard, &["status"], 2, &["did you mean `staging`"]);
    yard.write("samebits.toml", b"version = 1\n\xff");
    refused(&yard, &["status"], 2, &["it is not UTF-8 text"]);
    yard.write("samebits.toml", "#".repeat((1 << 20) + 1));
    refused(&yard, &["status"], 2, &["it has 1048577 bytes: expected at most 1048576"]);
    std::fs::remove_file(yard.path("samebits.toml")).unwrap();
    refused(&yard, &["status"], 2, &["no samebits.toml in", "`samebits init`"]);
    refused(&yard, &["status", "--policy", "keys"], 2, &["it is not a regular file"]);
    yard.write("samebits.toml", &good);
    std::fs::remove_file(yard.path("keys/build.pub")).unwrap();
    refused(&yard, &["status"], 2, &["keys/build.pub", " --> samebits.toml:"]);
}

/// A device or a pipe has no end, or no beginning.
#[cfg(unix)]
#[test]
fn f4_neither_policy_nor_key_is_read_from_what_has_no_end() {
    let yard = Yard::new();
    refused(&yard, &["status", "--policy", "/dev/zero"], 2, &["it is not a regular file"]);
    refused(
        &yard,
        &["check", IMAGE, "--to", "staging", "--key", "/dev/zero"],
        2,
        &["it is not a regular file"],
    );
}

#[cfg(unix)]
#[test]
fn f8_a_key_that_others_can_read_is_worth_a_warning_and_is_never_shown() {
    use std::os::unix::fs::PermissionsExt;
    let yard = Yard::new();
    yard.build("1", "first");
    let warned = |args: &[&str]| yard.run(args.iter().copied()).exits(0).stderr.contains("is open to others");
    let ask = ["check", IMAGE, "--to", "staging", "--key", KEY];
    assert!(!warned(&ask));
    let mode = |mode| std::fs::set_permissions(yard.path(KEY), PermissionsExt::from_mode(mode)).unwrap();
    mode(0o640);
    assert!(warned(&ask));
    assert!(!warned(&["check", IMAGE, "--to", "staging", "--key", KEY, "-q"]));
    let secret = yard.read(KEY).lines().nth(1).unwrap().to_owned();
    let said = yard.run(["promote", IMAGE, "--to", "staging", "--key", KEY, "-v", "-o", "json"]).exits(0);
    assert!(!said.stderr.contains(&secret) && !said.stdout.contains(&secret));
}

/// A yard whose `staging` has a key that cosign encrypted, an image that `deployed` can speak of, and what to type.
fn with_an_encrypted_key(private: &str, public: &str) -> (Yard, Vec<String>) {
    let yard = Yard::new();
    let image = yard.build("1", "first");
    yard.promote(IMAGE, "staging").exits(0);
    yard.write("keys/staging.key", private);
    yard.write("keys/staging.pub", public);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let owner = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(yard.path("keys/staging.key"), owner).unwrap();
    }
    let there = at("staging", &image);
    let args = ["deployed", &there, "--in", "staging", "--key", "keys/staging.key"];
    (yard, args.map(str::to_owned).to_vec())
}

const COSIGN_KEY: &str = include_str!("../vectors/keys/cosign/p256.key");
const COSIGN_PUB: &str = include_str!("../vectors/keys/cosign/p256.pub");
const PASSWORD_FILE: &str = include_str!("../vectors/keys/cosign/password.txt");

#[test]
fn f8_an_encrypted_key_signs_with_its_password_from_a_variable_or_a_file() {
    let (yard, args) = with_an_encrypted_key(COSIGN_KEY, COSIGN_PUB);
    let password = PASSWORD_FILE.trim_end();
    yard.write("password", PASSWORD_FILE);
    yard.write("password.crlf", format!("{password}\r\n"));
    let run = |more: &[&str], variables: &[(&str, &str)]| {
        let mut command = yard.command(args.iter().map(String::as_str).chain(more.iter().copied()));
        let ran = crate::cli::ran(command.envs(variables.iter().copied()).arg("-v"));
        assert!(!ran.stderr.contains(password) && !ran.stdout.contains(password), "{ran:?}");
        ran
    };
    // The file that was typed before our variable, ours before cosign's.
    run(&[], &[("SAMEBITS_KEY_PASSWORD", password), ("COSIGN_PASSWORD", "hunter2")]).exits(0);
    run(&[], &[("COSIGN_PASSWORD", password)]).exits(0);
    run(&["--key-password-file", "password"], &[("SAMEBITS_KEY_PASSWORD", "hunter2")]).exits(0);
    run(&["--key-password-file", "password.crlf"], &[]).exits(0);
    let records = yard.records();
    let deployments = records.iter().filter(|record| record["kind"] == "deployment").count();
    assert_eq!(deployments, 1, "{records:?}");

    let (before, nothing) = (yard.records(), |ran: crate::cli::Ran, words: &[&str]| {
        let ran = ran.exits(2);
        assert_eq!(ran.stdout, "");
        assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
        for word in words {
            assert!(ran.stderr.contains(word), "no `{word}` in\n{}", ran.stderr);
        }
    });
    nothing(
        run(&[], &[]),
        &[
            "the key keys/staging.key cannot be used without its password",
            "hint: set SAMEBITS_KEY_PASSWORD or COSIGN_PASSWORD to its password, or give --key-password-file",
        ],
    );
    let wrong = "the password is wrong, or the file was changed";
    nothing(run(&[], &[("SAMEBITS_KEY_PASSWORD", "hunter2")]), &["from SAMEBITS_KEY_PASSWORD", wrong]);
    nothing(run(&[], &[("COSIGN_PASSWORD", "hunter2")]), &["from COSIGN_PASSWORD", wrong]);
    nothing(run(&["--key-password-file", "keys/release.pub"], &[]), &["keys/release.pub", wrong]);
    nothing(run(&["--key-password-file", "none"], &[]), &["the password file none cannot be read"]);
    nothing(run(&["--key-password-file", "keys"], &[]), &["it is not a regular file"]);
    assert_eq!(yard.records(), before);
}

#[test]
fn e12_an_empty_password_is_one_for_cosign_only() {
    let (private, public) =
        (include_str!("../vectors/keys/cosign/empty.key"), include_str!("../vectors/keys/cosign/empty.pub"));
    let (yard, args) = with_an_encrypted_key(private, public);
    let run = |more: &[&str], variables: &[(&str, &str)]| {
        let mut command = yard.command(args.iter().map(String::as_str).chain(more.iter().copied()));
        crate::cli::ran(command.envs(variables.iter().copied()))
    };
    run(&[], &[("COSIGN_PASSWORD", "")]).exits(0);
    let empty = [("SAMEBITS_KEY_PASSWORD", ""), ("COSIGN_PASSWORD", "")];
    let ran = run(&[], &empty).exits(2);
    assert!(ran.stderr.contains("SAMEBITS_KEY_PASSWORD is empty: expected the password"), "{}", ran.stderr);
    for text in ["", "\n", "\r\n"] {
        yard.write("password", text);
        let ran = run(&["--key-password-file", "password"], &[("COSIGN_PASSWORD", "")]).exits(2);
        assert!(ran.stderr.contains("the password file password is empty"), "{}", ran.stderr);
    }
    run(&["--key-password-file", ""], &[("COSIGN_PASSWORD", "")]).exits(2);
    // A key that is not encrypted needs none, whatever the variables say.
    let check = ["check", IMAGE, "--to", "staging", "--key", KEY];
    crate::cli::ran(yard.command(check).envs(empty)).exits(0);
}

#[test]
fn e14_stdout_has_the_pinned_reference_on_yes_and_nothing_on_no() {
    let yard = Yard::new();
    let image = yard.build("1", "first");
    let promote = |to: &'static str| ["promote", IMAGE, "--to", to, "--key", KEY];
    for more in [&[][..], &["-q"], &["-v"], &["-o", "json=out.json"], &["-o", "text", "--color", "always"]] {
        let no = yard.run(promote("production").into_iter().chain(more.iter().copied())).exits(1);
        assert_eq!(no.stdout, "", "{more:?}");
        assert!(no.stderr.contains("never-deployed"), "{more:?}");
        let yes = yard.run(promote("staging").into_iter().chain(more.iter().copied())).exits(0);
        assert_eq!(yes.stdout, format!("{}\n", at("staging", &image)), "{more:?}");
    }
    let quiet = yard.run(promote("staging").into_iter().chain(["-q"])).exits(0);
    assert_eq!(quiet.stderr, "");
    // JSON says the same on both; only a yes has the reference.
    let json = ["-o", "json"];
    let no = yard.run(promote("production").into_iter().chain(json)).exits(1).json();
    let yes = yard.run(promote("staging").into_iter().chain(json)).exits(0).json();
    assert_eq!((&no["promoted"], &no["decision"]), (&serde_json::Value::Null, &"denied".into()));
    assert_eq!((&yes["promoted"], &yes["decision"]), (&at("staging", &image).into(), &"approved".into()));
    let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&no), keys(&yes));
}

/// A reader that goes away is not a panic and changes no verdict; a full disk is no yes.
#[cfg(unix)]
#[test]
fn e14_a_closed_stdout_and_a_full_one() {
    use std::process::Stdio;
    let yard = Yard::new();
    yard.build("1", "first");
    let ran = |args: &[&str], stdout: Stdio| {
        let child = yard.command(args.iter().copied()).stdout(stdout).stderr(Stdio::piped()).spawn();
        let output = child.unwrap().wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let closed = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        Stdio::from(writer)
    };
    for (args, code) in [
        (&["log"][..], 0),
        (&["--help"], 0),
        (&["check", IMAGE, "--to", "staging"], 0),
        (&["check", IMAGE, "--to", "production", "-o", "json"], 1),
        (&["promote", IMAGE, "--to", "production", "--key", KEY], 1),
        (&["promote", IMAGE, "--to", "staging", "--key", KEY, "-q"], 0),
    ] {
        let (found, stderr) = ran(args, closed());
        assert_eq!(found, Some(code), "{args:?}: {stderr}");
        assert!(!stderr.contains("panicked") && !stderr.contains("Broken pipe"), "{args:?}: {stderr}");
    }
    if let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") {
        let (found, stderr) = ran(&["promote", IMAGE, "--to", "staging", "--key", KEY], full.into());
        assert_eq!(found, Some(3), "{stderr}");
        assert!(stderr.contains("the result cannot be written to stdout"), "{stderr}");
    }
}

/// `repository:tag@digest`: the tag still has to mean the digest.
#[test]
fn a1_a_tag_that_no_longer_means_what_was_expected_is_a_no() {
    let yard = Yard::new();
    let image = yard.build("1", "first");
    let expected = format!("oci:registry/shop:1@{}", image.digest);
    yard.run(["check", &expected, "--to", "staging"]).exits(0);
    yard.build("1", "second");
    let no = yard.run(["check", &expected, "--to", "staging", "-o", "json"]).exits(1);
    assert_eq!(no.json()["codes"], serde_json::json!(["tag-moved"]));
    let no = yard.promote(&expected, "staging").exits(1);
    assert!(no.stdout.is_empty() && no.stderr.contains("tag-moved"), "{}", no.stderr);
    assert_eq!(yard.tagged_if_there("oci:registry/staging/shop", "staging"), None);
}

#[test]
fn a_layout_typed_in_a_folder_below_is_meant_from_there() {
    let yard = Yard::new();
    yard.build("1", "first");
    std::fs::create_dir(yard.path("below")).unwrap();
    let from_below = |image: &str| {
        let mut command = yard.command(["check", image, "--to", "staging"]);
        crate::cli::ran(command.current_dir(yard.path("below")))
    };
    let ran = from_below("oci:../registry/shop:1").exits(0);
    assert!(ran.stdout.contains("oci:registry/shop@sha256:"), "{}", ran.stdout);
    assert!(from_below(IMAGE).exits(3).stderr.contains("below/registry/shop"));
    let absolute = format!("oci:{}:1", yard.path("registry/shop").display());
    from_below(&absolute).exits(0);
}

#[test]
fn verbose_says_what_is_done_and_quiet_says_nothing() {
    let yard = Yard::new();
    let image = yard.build("1", "first");
    let ran = yard.run(["promote", IMAGE, "--to", "staging", "--key", KEY, "-v"]).exits(0);
    let order = [
        "policy ",
        "ledger ",
        "resolving ",
        "collecting ",
        "recorded the intent as 0",
        "copying ",
        "recorded the promotion as 1",
        "publishing ",
    ];
    let mut from = 0;
    for word in order {
        let place = ran.stderr[from..].find(word).unwrap_or_else(|| panic!("no {word:?} in {}", ran.stderr));
        from += place;
    }
    assert_eq!(ran.stdout, format!("{}\n", at("staging", &image)));
    for args in [&["status"][..], &["log"], &["ledger", "verify"], &["verify", IMAGE]] {
        let said = |flag: &str| yard.run(args.iter().copied().chain([flag])).exits(0).stderr;
        assert!(said("-v").contains("policy "), "{args:?}");
        assert_eq!(said("-q"), "", "{args:?}");
    }
}
