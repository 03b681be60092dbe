//! Text of other people on its way to a terminal, a log, a runner (D8).

use std::collections::BTreeSet;

use crate::cli::{Ran, Yard, at};

/// Moves the cursor, hides, speaks to GitHub's and Azure's runners, begins a new line.
const HOSTILE: &str =
    "x\u{1b}[2J\u{9b}1A\r\n::set-output name=a::b\n##[error]c##vso[task.complete]\u{202e}\u{2066}\u{200b}d";

#[track_caller]
fn harmless(ran: &Ran) {
    for text in [&ran.stdout, &ran.stderr] {
        let hidden = |c: &char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}');
        let control = |c: &char| c.is_control() && *c != '\n';
        let foreign: BTreeSet<char> = text.chars().filter(|c| control(c) || hidden(c)).collect();
        assert!(foreign.is_empty(), "{foreign:?} in\n{text:?}");
        for line in text.lines() {
            assert!(!line.trim_start().starts_with("::"), "{line}");
            assert!(!line.contains("##["), "{line}");
            assert!(!line.contains("##vso["), "{line}");
        }
    }
}

#[test]
fn d8_foreign_text_in_an_attestation_is_shown_and_does_nothing() {
    let yard = Yard::new();
    let image = yard.build("1", "first");
    yard.attest(&image, "build", HOSTILE);
    yard.attest(&image, "production", "::error::y");
    let text = yard.run(["verify", "oci:registry/shop:1"]).exits(0);
    harmless(&text);
    assert!(
        text.stdout.contains("x\\u{1b}[2J\\u{9b}1A\\u{d}\\u{a}::set-output name=a::b"),
        "{}",
        text.stdout
    );
    let json = yard.run(["verify", "oci:registry/shop:1", "-o", "json"]).exits(0);
    harmless(&json);
    // What the JSON means is the text itself.
    let document = json.json();
    let items = document["manifests"][0]["items"].as_array().unwrap();
    let kept = items.iter().any(|item| item["predicateType"] == HOSTILE);
    assert!(kept, "{}", json.stdout);
}

#[test]
fn d8_foreign_text_in_a_policy_file_does_nothing() {
    let yard = Yard::new();
    let good = yard.read("samebits.toml");
    for bad in [
        format!("{good}\n[{HOSTILE:?}]\n"),
        format!("{good}\n{HOSTILE}\n"),
        good.replace("entry = true", "entry = true\n\"##[error]\\u001b[2J\" = 1"),
        good.replace("public-key = \"keys/build.pub\"", "public-key = \"keys/\\u001b[2J##[x.pub\""),
        good.replace("oci:registry/staging", "oci:registry/\\u001b[2J::error::"),
        good.replace("deployers = [\"staging\"]", "deployers = [\"::error::\\u202e\"]"),
    ] {
        yard.write("samebits.toml", &bad);
        harmless(&yard.run(["status"]).exits(2));
        harmless(&yard.run(["status", "-o", "json"]).exits(2));
    }
}

#[test]
fn d8_a_reason_in_the_policy_is_a_note_and_does_nothing() {
    let yard = Yard::new();
    yard.edit_policy(|text| {
        // Staging's deployer promotes out of staging: allowed only where the file says so.
        text.replace(
            "after = [{ environment = \"staging\" }]",
            "same-identity-accepted = \"one job\\u001b[2J ##[error] \\u202e\"\nafter = [{ environment = \"staging\" }]",
        )
        .replace("deployers = [\"staging\"]", "deployers = [\"release\"]")
    });
    yard.build("1", "first");
    for output in ["text", "json"] {
        let no = yard.run(["check", "oci:registry/shop:1", "--to", "production", "-o", output]).exits(1);
        harmless(&no);
        assert!(no.stdout.contains("one job"), "{}", no.stdout);
    }
}

#[test]
fn d8_foreign_text_in_a_record_does_nothing() {
    let yard = Yard::new();
    let image = yard.build("1", "first");
    yard.promote("oci:registry/shop:1", "staging").exits(0);
    let there = at("staging", &image);
    let said = ["deployed", &there, "--in", "staging", "--key", "keys/staging.key"];
    let ran = yard.run(said.into_iter().chain(["--name", HOSTILE, "--url", HOSTILE]));
    // Whether such a name is taken or refused, it does nothing.
    harmless(&ran);
    for verb in [&["log"][..], &["status"], &["show", &image.digest.to_string()], &["ledger", "verify"]] {
        harmless(&yard.run(verb.iter().copied()).exits(0));
        harmless(&yard.run(verb.iter().copied().chain(["-o", "json"])).exits(0));
    }
}

#[test]
fn d8_what_was_typed_comes_back_as_text() {
    let yard = Yard::new();
    for args in [
        &["check", "oci:registry/shop:1", "--to", HOSTILE][..],
        &["check", "oci:registry/shop:1", "--to", "staging", "--service", HOSTILE],
        &["check", HOSTILE, "--to", "staging"],
        &["status", "--ledger", HOSTILE],
        &["status", "--policy", HOSTILE],
        &["status", "--key", HOSTILE, "--service", HOSTILE],
        &["status", "-o", HOSTILE],
        &["show", HOSTILE],
        &[HOSTILE],
    ] {
        let ran = yard.run(args.iter().copied());
        assert!(matches!(ran.code, Some(2 | 3)), "{ran:?}");
        harmless(&ran);
    }
}

/// Not even UTF-8.
#[cfg(unix)]
#[test]
fn f7_arguments_that_are_not_text_are_refused() {
    use std::os::unix::ffi::OsStrExt;
    let yard = Yard::new();
    let odd = std::ffi::OsStr::from_bytes(b"oci:registry/\xff:1");
    for first in [&["check", "--to", "staging"][..], &["status", "--policy"], &["show"], &[]] {
        let mut command = yard.command(first.iter().copied());
        crate::cli::ran(command.arg(odd)).exits(2);
    }
}
