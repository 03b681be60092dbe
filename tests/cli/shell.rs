//! Completions and manual pages, read by whom they are for. There is no PowerShell here: of its script is only looked at
//! that it is one.

use std::process::Command;

use crate::cli::Yard;
use crate::peer::{alone, is_installed, said};

/// A folder with the script for `shell` in it.
fn completions(shell: &str) -> (Yard, String) {
    let yard = Yard::empty();
    let script = yard.run(["completions", shell]).exits(0).stdout;
    yard.write("script", &script);
    (yard, script)
}

fn text(command: &mut Command) -> String {
    String::from_utf8(said(command).unwrap()).unwrap()
}

#[test]
fn bash_completes_verbs_options_and_values() {
    let (yard, _) = completions("bash");
    let completes = |line: &str| {
        let script = format!(
            "source ./script; COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _samebits samebits \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD - 1]}}\"; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        text(alone("bash", &yard.path("")).args(["--noprofile", "--norc", "-c", &script]))
    };
    assert_eq!(completes("samebits prom"), "promote\n");
    assert_eq!(completes("samebits ledger witness s"), "serve\n");
    assert_eq!(completes("samebits promote --serv"), "--service\n");
    assert_eq!(completes("samebits --color n"), "never\n");
    assert_eq!(completes("samebits completions p"), "powershell\n");
}

#[test]
fn zsh_reads_its_completions() {
    if !is_installed("zsh") {
        return;
    }
    let (yard, script) = completions("zsh");
    assert!(script.starts_with("#compdef samebits\n"));
    said(alone("zsh", &yard.path("")).args(["-f", "-n", "script"])).unwrap();
    let load = "autoload -U compinit && compinit -u -D && source ./script && print -r -- $_comps[samebits]";
    assert_eq!(text(alone("zsh", &yard.path("")).args(["-f", "-c", load])), "_samebits\n");
}

#[test]
fn fish_completes_verbs() {
    if !is_installed("fish") {
        return;
    }
    let (yard, _) = completions("fish");
    said(alone("fish", &yard.path("")).args(["--no-config", "--no-execute", "script"])).unwrap();
    let ask = "source script; complete -C 'samebits prom'";
    let found = text(alone("fish", &yard.path("")).args(["--no-config", "-c", ask]));
    assert!(found.starts_with("promote\t"), "{found}");
    assert_eq!(found.lines().count(), 1, "{found}");
}

#[test]
fn powershell_has_a_script_too() {
    let (_, script) = completions("powershell");
    assert!(script.contains("Register-ArgumentCompleter -Native -CommandName 'samebits'"));
    assert!(script.contains("'samebits;promote' {"));
}

#[test]
fn another_shell_or_another_format_is_refused() {
    let yard = Yard::empty();
    for shell in ["elvish", "tcsh", "Bash", ""] {
        yard.run(["completions", shell]).exits(2);
    }
    for arguments in [&["completions", "bash", "-o", "json"][..], &["man", "-o", "text"], &["man", ""]] {
        let ran = yard.run(arguments.iter().copied()).exits(2);
        assert!(!ran.stdout.contains("compgen") && !ran.stdout.contains(".TH"), "{}", ran.stdout);
    }
    yard.write("file", "");
    yard.run(["man", "file"]).exits(3);
}

#[test]
fn every_verb_has_a_manual_page() {
    let yard = Yard::empty();
    let main = yard.run(["man"]).exits(0).stdout;
    let written = yard.run(["man", "share/man1"]).exits(0).stdout;
    let files: Vec<&str> = written.lines().collect();
    for verb in ["", "-promote", "-ledger-verify", "-ledger-witness-serve", "-roots-refresh", "-man"] {
        assert!(files.contains(&format!("share/man1/samebits{verb}.1").as_str()), "{written}");
    }
    assert_eq!(yard.read("share/man1/samebits.1"), main);
    let again = yard.run(["man", "share/man1"]).exits(0).stdout;
    assert_eq!(again, written);
    let promote = yard.read("share/man1/samebits-promote.1");
    for part in [".SH NAME\n", ".SH SYNOPSIS\n", ".SH OPTIONS\n", ".SH EXAMPLE\n.nf\n", "samebits\\-check"] {
        let there = promote.contains(part);
        assert_eq!(there, part != "samebits\\-check", "{part}\n{promote}");
    }
}

#[test]
fn manual_pages_are_understood_by_mandoc_and_groff() {
    if !is_installed("mandoc") || !is_installed("groff") {
        return;
    }
    let yard = Yard::empty();
    let written = yard.run(["man", "."]).exits(0).stdout;
    for file in written.lines() {
        assert!(yard.read(file).is_ascii(), "{file}");
        let lint =
            alone("mandoc", &yard.path("")).args(["-T", "lint", "-W", "warning", file]).output().unwrap();
        // No date, on purpose; and a line too many around lists of values, by clap_mangen.
        let lint = String::from_utf8(lint.stdout).unwrap();
        let other: Vec<&str> = lint
            .lines()
            .filter(|line| !line.contains("missing date") && !line.contains("skipping paragraph macro: br "))
            .collect();
        assert_eq!(other, Vec::<&str>::new());
        let groff =
            alone("groff", &yard.path("")).args(["-man", "-ww", "-Tutf8", "-z", file]).output().unwrap();
        assert!(
            groff.status.success() && groff.stderr.is_empty(),
            "{}",
            String::from_utf8_lossy(&groff.stderr)
        );
    }
    let shown = text(alone("mandoc", &yard.path("")).args(["-T", "ascii", "samebits-promote.1"]));
    assert!(
        shown.contains("    image=$(samebits promote registry.example/shop:1.4.2 --to staging)\n"),
        "{shown}"
    );
}
