//! The order of the modules, enforced: a module uses only modules to its left; left of the bar there is no I/O, no
//! clock, no environment and no async; only the binary prints.
//!
//! Reads `src/` as text: comments, strings and whatever stands under `#[cfg(test)]` are blanked first, so that a
//! word in a sentence is no violation and tests may use what they like. What the compiler can check it does (who may
//! build what is `tests/compile.rs`); which room talks to which it cannot.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::fmt;
use std::path::{Path, PathBuf};

/// The total order, which is the reading order; `bin` comes last and may use all of them.
const ORDER: [&str; 23] = [
    "digest",
    "json",
    "reference",
    "key",
    "closure",
    "tlog",
    "verify",
    "policy",
    "record",
    "evidence",
    "gate",
    "doctor", // pure
    "ledger",
    "replay",
    "archive",
    "export",
    "registry",
    "roots",
    "witness",
    "forge",
    "signing",
    "collect",
    "promote",
];

/// The last module left of the bar.
const LAST_PURE: &str = "doctor";

/// What a pure module may not name. Addresses (`std::net::IpAddr`) are values; sockets are not.
const IMPURE: [&str; 20] = [
    "std::fs",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "std::net::ToSocketAddrs",
    "std::os",
    "std::env",
    "std::process",
    "std::thread",
    "std::io::stdin",
    "std::time::SystemTime",
    "std::time::Instant",
    "Timestamp::now",
    "Zoned::now",
    "tokio",
    "reqwest",
    "rusqlite",
    "futures_util",
    "docker_credential",
    "async",
];

/// What only the binary may name.
const PRINTING: [&str; 7] =
    ["println!", "print!", "eprintln!", "eprint!", "dbg!", "io::stdout", "io::stderr"];

#[derive(Debug, PartialEq, Eq)]
enum Violation {
    /// `from` uses `to`, which is not to its left.
    Upwards { from: String, to: String },
    /// A module that is not in [`ORDER`].
    Unknown(String),
    /// A pure module names something of the world outside.
    Impure(&'static str),
    /// A library module prints.
    Prints(&'static str),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upwards { from, to } => write!(f, "`{from}` uses `{to}`, which is not to its left"),
            Self::Unknown(module) => write!(f, "`{module}` is not in the order of modules"),
            Self::Impure(word) => write!(f, "a pure module names `{word}`"),
            Self::Prints(word) => write!(f, "only the binary prints, and this names `{word}`"),
        }
    }
}

fn rank(module: &str) -> Option<usize> {
    ORDER.iter().position(|name| *name == module)
}

/// Judges one file. `path` is its module path without `crate`: `["ledger", "sqlite"]`.
fn judge(path: &[&str], source: &str) -> Vec<Violation> {
    let code = untested(&blanked(source));
    let module = path[0];
    let Some(own) = rank(module) else { return vec![Violation::Unknown(module.to_owned())] };
    let mut violations = Vec::new();
    for to in uses(path, &code) {
        match rank(&to) {
            None => violations.push(Violation::Unknown(to)),
            Some(rank) if rank > own => {
                violations.push(Violation::Upwards { from: module.to_owned(), to });
            }
            Some(_) => {}
        }
    }
    if rank(LAST_PURE).is_some_and(|last| own <= last) {
        let flat = flattened(&code);
        let named = |word: &&str| has_word(&code, word) || flat.iter().any(|path| has_word(path, word));
        violations.extend(IMPURE.into_iter().filter(named).map(Violation::Impure));
    }
    violations.extend(PRINTING.into_iter().filter(|word| has_word(&code, word)).map(Violation::Prints));
    violations
}

/// The top-level modules of this crate that `code` names, each once: `crate::x`, and `super::…::x` where the chain is
/// long enough to leave the file's own folder. Inside `mod inner { … }` such a chain may still name something of the
/// file itself: there only the names of modules count.
fn uses(path: &[&str], code: &str) -> Vec<String> {
    let starts = |at: usize| !code[..at].ends_with(|c: char| is_name(c) || c == ':' || c == '$');
    let mut found: Vec<String> = Vec::new();
    for (at, root) in code.match_indices("crate::").filter(|(at, _)| starts(*at)) {
        found.extend(names(&code[at + root.len()..]));
    }
    for (at, root) in code.match_indices("super::").filter(|(at, _)| starts(*at)) {
        let rest = code[at..].trim_start_matches(root);
        if code[at..].len() - rest.len() >= root.len() * path.len() {
            found.extend(names(rest).into_iter().filter(|name| rank(name).is_some()));
        }
    }
    found.sort();
    found.dedup();
    found
}

/// The first segment of what follows `crate::`: one name, or those of a group.
fn names(rest: &str) -> Vec<String> {
    let word = |text: &str| text.trim_start().chars().take_while(|c| is_name(*c)).collect::<String>();
    let Some(group) = rest.strip_prefix('{') else {
        return vec![if rest.starts_with('*') { "*".to_owned() } else { word(rest) }];
    };
    let (mut depth, mut start, mut names) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' | ',' if depth == 0 => {
                names.push(word(&group[start..at]));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// Every path that a `use std::{…}` group stands for, so that `use std::{env, fs}` is seen.
fn flattened(code: &str) -> Vec<String> {
    fn walk(prefix: &str, tree: &str, all: &mut Vec<String>) {
        let Some(open) = tree.find('{') else {
            all.push(format!("{prefix}{}", tree.trim()));
            return;
        };
        let prefix = format!("{prefix}{}", tree[..open].trim());
        let inside = tree[open + 1..].trim_end().trim_end_matches('}');
        // One brace too many may be gone at the end of a nested group; it closes nothing that is read below.
        let (mut depth, mut start) = (0_i32, 0);
        for (at, c) in inside.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    walk(&prefix, &inside[start..at], all);
                    start = at + 1;
                }
                _ => {}
            }
        }
        walk(&prefix, &inside[start..], all);
    }
    let mut all = Vec::new();
    for (at, _) in code.match_indices("use ") {
        let tree: String = code[at + 4..].chars().take_while(|c| *c != ';').collect();
        walk("", &tree.split_whitespace().collect::<Vec<_>>().join(" "), &mut all);
    }
    all
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether `word` stands in `code` as a whole: `async` is not in `asynchronous`.
fn has_word(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !before.is_some_and(is_name) && (word.ends_with('!') || !after.is_some_and(is_name))
    })
}

/// The source with comments, strings and characters replaced by spaces of the same length.
fn blanked(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let length = match rest {
            [b'/', b'/', ..] => rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len()),
            [b'/', b'*', ..] => comment(rest),
            [b'"', ..] => string(rest),
            [b'r', b'"' | b'#', ..]
                if at == 0 || !is_name(char::from(bytes[at - 1])) || bytes[at - 1] == b'b' =>
            {
                raw_string(rest)
            }
            [b'\'', ..] => character(rest),
            _ => 0,
        };
        for byte in code.iter_mut().skip(at).take(length).filter(|byte| **byte != b'\n') {
            *byte = b' ';
        }
        at += length.max(1);
    }
    String::from_utf8(code).expect("only whole comments and literals were blanked")
}

fn comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn string(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != b'"' {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

fn raw_string(rest: &[u8]) -> usize {
    let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return 0; // r#name
    }
    let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let body = 2 + hashes;
    let end = rest[body..].windows(close.len()).position(|window| window == close);
    end.map_or(rest.len(), |end| body + end + close.len())
}

/// A character, or 0 for a lifetime.
fn character(rest: &[u8]) -> usize {
    match rest {
        [_, b'\\', ..] => rest.iter().skip(3).position(|byte| *byte == b'\'').map_or(0, |end| end + 4),
        _ => {
            let end = rest.iter().skip(2).take(4).position(|byte| *byte == b'\'');
            let text = end.and_then(|end| std::str::from_utf8(&rest[1..end + 2]).ok());
            match text.is_some_and(|text| text.chars().count() == 1) {
                true => end.map_or(0, |end| end + 3),
                false => 0,
            }
        }
    }
}

/// Blanked code without what stands under `#[cfg(test)]`: the item up to its `;` or its closing brace.
fn untested(code: &str) -> String {
    let mut rest = code;
    let mut kept = String::new();
    while let Some(at) = rest.find("#[cfg(test)]") {
        kept.push_str(&rest[..at]);
        let item = &rest[at..];
        let (mut depth, mut end) = (0_i32, item.len());
        for (at, c) in item.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 && matches!(c, ';' | '}') {
                end = at + 1;
                break;
            }
        }
        rest = &item[end..];
    }
    kept.push_str(rest);
    kept
}

/// The modules that a library root declares, in order; those for tests are not there.
fn declared(library: &str) -> Vec<String> {
    let code = untested(&blanked(library));
    let module = |line: &str| {
        let line = line.trim().trim_start_matches("pub ").strip_prefix("mod ")?;
        line.strip_suffix(';').map(str::to_owned)
    };
    code.lines().filter_map(module).collect()
}

/// Every file of a folder, with its module path.
fn files(folder: &Path, path: &[String], all: &mut Vec<(Vec<String>, PathBuf)>) {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for entry in entries {
        let name = entry.file_stem().unwrap().to_str().unwrap().to_owned();
        let path: Vec<String> = path.iter().cloned().chain([name]).collect();
        if entry.is_dir() {
            files(&entry, &path, all);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            all.push((path, entry));
        }
    }
}

fn source_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// A file that its parent declares under `#[cfg(test)] mod …;`, or that lies below one.
fn is_for_tests(path: &[String]) -> bool {
    (1..path.len()).any(|depth| {
        let parent = source_folder().join(path[..depth].join("/")).with_extension("rs");
        let parent = std::fs::read_to_string(parent).unwrap_or_default();
        let declaration = format!("mod {};", path[depth]);
        has_word(&blanked(&parent), declaration.trim_end_matches(';'))
            && !has_word(&untested(&blanked(&parent)), declaration.trim_end_matches(';'))
    })
}

#[test]
fn a_module_uses_only_what_is_to_its_left() {
    let mut all = Vec::new();
    files(&source_folder(), &[], &mut all);
    let (mut judged, mut violations) = (0, Vec::new());
    for (path, file) in all {
        if path[0] == "lib" || path[0] == "bin" || is_for_tests(&path) {
            continue;
        }
        judged += 1;
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let source = std::fs::read_to_string(&file).unwrap();
        violations
            .extend(judge(&path, &source).iter().map(|violation| format!("{}: {violation}", file.display())));
    }
    assert!(judged >= ORDER.len(), "only {judged} files were found");
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn the_library_declares_its_modules_in_that_order() {
    let library = std::fs::read_to_string(source_folder().join("lib.rs")).unwrap();
    assert_eq!(declared(&library), ORDER);
}

#[test]
fn a_use_to_the_right_is_found_in_every_spelling() {
    let upwards = |from: &str, to: &str| vec![Violation::Upwards { from: from.into(), to: to.into() }];
    for source in [
        "use crate::gate::decide;",
        "pub use crate::gate;",
        "use crate::{digest::Digest, gate::{Approved, Denied}};",
        "use crate::{\n    digest::{self, Digest},\n    gate,\n};",
        "fn f() -> crate::gate::Verdict { todo!() }",
        "use super::gate::Verdict;",
        "mod inner { use super::super::gate::Verdict; }",
        "use super::{digest::Digest, gate};",
        "fn f<'a>(c: char) -> bool { c == '\"' || crate::gate::g('\\'', '{', 'é') }",
        "const A: &str = r#\"\"#; use crate::gate;",
        "#[cfg(test)] mod tests { fn f() { let _ = '}'; } } use crate::gate;",
        "#[cfg(test)] use crate::promote; use crate::gate;",
    ] {
        assert_eq!(judge(&["verify"], source), upwards("verify", "gate"), "{source}");
    }
    assert_eq!(judge(&["verify", "dsse"], "use super::super::policy::Policy;"), upwards("verify", "policy"));
    assert_eq!(judge(&["tlog"], "use crate::{gate, digest, record};").len(), 2);
    assert_eq!(judge(&["tlog"], "use crate::helpers;"), [Violation::Unknown("helpers".into())]);
    assert_eq!(judge(&["tlog"], "use crate::*;"), [Violation::Unknown("*".into())]);
    assert_eq!(judge(&["util"], ""), [Violation::Unknown("util".into())]);
}

#[test]
fn what_is_no_use_is_not_found() {
    for source in [
        "use crate::digest::Digest; use crate::verify::Reason;",
        "use crate::{digest::Digest, key::{PublicKey, Algorithm}};",
        "//! See [`crate::gate`] and std::fs, async.\n/* crate::gate /* println! */ tokio */",
        "const A: &str = \"crate::gate std::env tokio\"; const B: &str = r##\"crate::gate \"# \"##;",
        "#[cfg(test)]\nmod tests {\n    use crate::gate::decide;\n    fn f() { println!(\"{}\", 1); }\n}\n",
        "#[cfg(test)]\nuse crate::gate;",
        "use std::net::{IpAddr, Ipv6Addr}; use std::io::Write; use std::time::Duration; fn asynchronous() {}",
        "macro_rules! m { () => { $crate::gate::decide() }; }",
        "use jiff::Timestamp; fn nowhere() { super::statement::read() }",
    ] {
        assert_eq!(judge(&["verify"], source), [], "{source}");
    }
    assert_eq!(judge(&["verify", "dsse"], "use super::gate;"), [], "`verify::gate` is a module of its own");
}

#[test]
fn a_pure_module_that_looks_outside_is_found() {
    for (source, word) in [
        ("use std::fs::File;", "std::fs"),
        ("use std::{fmt, env};", "std::env"),
        ("use std::{fmt::{self, Display}, net::{IpAddr, TcpStream}};", "std::net::TcpStream"),
        ("fn f() { let _ = std::time::SystemTime::now(); }", "std::time::SystemTime"),
        ("use std::time::{Duration, SystemTime};", "std::time::SystemTime"),
        ("fn f() -> jiff::Timestamp { jiff::Timestamp::now() }", "Timestamp::now"),
        ("async fn f() {}", "async"),
        ("use tokio::sync::Mutex;", "tokio"),
        ("fn f(c: &reqwest::Client) {}", "reqwest"),
        ("use rusqlite::Connection;", "rusqlite"),
    ] {
        assert_eq!(judge(&["gate"], source), [Violation::Impure(word)], "{source}");
        assert_eq!(judge(&["ledger"], source), [], "right of the bar: {source}");
    }
}

#[test]
fn a_library_that_prints_is_found() {
    for (source, word) in [
        ("fn f() { println!(); }", "println!"),
        ("fn f() { eprintln!(\"{}\", 1) }", "eprintln!"),
        ("fn f() { dbg!(1); }", "dbg!"),
        ("use std::io; fn f() { io::stderr(); }", "io::stderr"),
    ] {
        assert_eq!(judge(&["promote"], source), [Violation::Prints(word)], "{source}");
    }
}

#[test]
fn modules_out_of_order_are_seen() {
    let library = "//! pub mod gate;\npub mod json;\npub mod digest;\n#[cfg(test)]\nmod support;\nmod key;\n";
    assert_eq!(declared(library), ["json", "digest", "key"]);
}

/// The Sigstore crates are before 1.0: one folder knows those that verify, one those that sign, one file the TUF client.
#[test]
fn the_places_that_know_the_sigstore_crates_are_few() {
    let mut all = Vec::new();
    files(&source_folder(), &[], &mut all);
    let knows: Vec<_> = all
        .into_iter()
        .map(|(path, file)| (path.join("/"), blanked(&std::fs::read_to_string(file).unwrap_or_default())))
        .filter(|(path, _)| !path.starts_with("verify/keyless") && !path.starts_with("signing"))
        .filter(|(path, _)| !path.contains("/tests/"))
        .filter(|(path, code)| match path.as_str() {
            "roots/tuf" => code.replace("sigstore_tuf", "").contains("sigstore_"),
            _ => code.contains("sigstore_"),
        })
        .map(|(path, _)| path)
        .collect();
    assert_eq!(knows, Vec::<String>::new());
}
