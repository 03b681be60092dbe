//! `docs/commands/`: a page for each verb, from the same help as the terminal shows. They are golden files:
//! `SAMEBITS_BLESS=1 cargo test --bin samebits pages` writes them anew, and what stands on them is parsed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Arg, Command, CommandFactory as _, Parser as _};
use samebits::digest::Digest;

use crate::args::Cli;
use crate::manual::{Notes, verbs};

/// A verifier key of the right form.
const VKEY: &str = "+ff885bf5+AQ3dFGfrCTNzGYdKLtL5zBwnPNq0N7kYfTx2rCj3FT2H";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/commands")
}

/// `samebits ledger verify`.
fn name(verb: &Command) -> &str {
    verb.get_bin_name().unwrap_or_else(|| verb.get_name())
}

/// `ledger-verify.md`; the program's own is the index.
fn file(verb: &Command) -> String {
    match name(verb).split_once(' ') {
        Some((_, below)) => format!("{}.md", below.replace(' ', "-")),
        None => "README.md".to_owned(),
    }
}

/// The first line of `text`, in a cell of a table.
fn about(verb: &Command) -> String {
    verb.get_about().map(ToString::to_string).unwrap_or_default().replace('|', "\\|")
}

fn is_of_every_verb(arg: &Arg) -> bool {
    arg.get_help_heading().is_some()
}

fn is_own(arg: &Arg) -> bool {
    !arg.is_hide_set() && !is_of_every_verb(arg) && !["help", "version"].contains(&arg.get_id().as_str())
}

/// One option or argument: how it is typed, what it means, what it is by default.
fn option(arg: &Arg) -> String {
    let values: String = match arg.get_action().takes_values() {
        true => arg.get_value_names().unwrap_or_default().iter().map(ToString::to_string).collect(),
        false => String::new(),
    };
    let long = arg.get_long().map(|long| format!("--{long}"));
    let short = arg.get_short().map(|short| format!("-{short}"));
    let typed: Vec<String> = short.into_iter().chain(long).collect();
    let typed = match (typed.join(", "), values.as_str()) {
        (flag, "") => flag,
        (flag, values) if flag.is_empty() => values.to_owned(),
        (flag, values) if arg.is_require_equals_set() => format!("{flag}[={values}]"),
        (flag, values) => format!("{flag} {values}"),
    };
    let help = arg.get_long_help().or_else(|| arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut text = format!("- `{typed}`: {}", help.replace("\n\n", " "));
    let mut also = Vec::new();
    if arg.is_required_set() {
        also.push("required".to_owned());
    }
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if arg.get_action().takes_values() && !defaults.is_empty() {
        also.push(format!("by default `{}`", defaults.join("`, `")));
    }
    if let Some(variable) = arg.get_env() {
        also.push(format!("or in the environment variable `{}`", variable.to_string_lossy()));
    }
    let possible: Vec<_> =
        arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    if arg.get_action().takes_values() && !possible.is_empty() {
        also.push(format!("one of `{}`", possible.join("`, `")));
    }
    if !also.is_empty() {
        let _ = write!(text, "{} _({})_", if text.ends_with('.') { "" } else { "." }, also.join("; "));
    }
    text + "\n"
}

/// A page of `verb`, of all `verbs`.
fn page(verb: &Command, all: &[Command]) -> String {
    let mut text = format!("# {}\n\n", name(verb));
    let long =
        verb.get_long_about().or_else(|| verb.get_about()).map(ToString::to_string).unwrap_or_default();
    let _ = writeln!(text, "{long}{}\n", if long.ends_with('.') { "" } else { "." });
    let usage = verb.clone().render_usage().to_string();
    let _ = writeln!(text, "```text\n{}\n```", usage.strip_prefix("Usage: ").unwrap_or(&usage).trim_end());
    let notes = Notes::of(verb);
    for paragraph in &notes.prose {
        let _ = write!(text, "\n{paragraph}\n");
    }
    for (heading, lines) in notes.sections.iter().filter(|(heading, _)| heading.starts_with("EXAMPLE")) {
        let heading = if heading == "EXAMPLE" { "Example" } else { "Examples" };
        let _ = write!(text, "\n## {heading}\n\n```sh\n{}\n```\n", lines.join("\n"));
    }
    let below =
        all.iter().filter(|other| name(other).rsplit_once(' ').is_some_and(|(up, _)| up == name(verb)));
    let below: Vec<&Command> = below.collect();
    if !below.is_empty() {
        text += "\n## Verbs\n\n| Verb | Does |\n| --- | --- |\n";
        for other in below {
            let _ = writeln!(text, "| [`{}`]({}) | {} |", name(other), file(other), about(other));
        }
    }
    let (arguments, options): (Vec<&Arg>, Vec<&Arg>) =
        verb.get_arguments().filter(|arg| is_own(arg)).partition(|arg| arg.is_positional());
    for (heading, args) in [("Arguments", arguments), ("Options", options)] {
        if !args.is_empty() {
            let _ = write!(text, "\n## {heading}\n\n");
            text.extend(args.into_iter().map(option));
        }
    }
    if file(verb) == "README.md" {
        text += "\n## Options of every verb\n\n";
        text.extend(
            verb.get_arguments().filter(|arg| is_of_every_verb(arg) && !arg.is_hide_set()).map(option),
        );
    } else {
        text += "\nAnd the [options of every verb](README.md#options-of-every-verb).\n";
    }
    let program = all.first().map(Notes::of).unwrap_or_default();
    for (_, codes) in program.sections.iter().filter(|(heading, _)| heading == "EXIT CODES") {
        text += "\n## Exit codes\n\n| Code | Means |\n| --- | --- |\n";
        for (code, means) in codes.iter().filter_map(|line| line.split_once("  ")) {
            let _ = writeln!(text, "| {code} | {means} |");
        }
    }
    text + "\n<!-- Made from the command line by the tests of the binary; SAMEBITS_BLESS=1 makes it anew. -->\n"
}

fn pages() -> BTreeMap<String, String> {
    let all = verbs(Cli::command().term_width(100));
    all.iter().map(|verb| (file(verb), page(verb, &all))).collect()
}

#[test]
fn the_pages_are_current() {
    let pages = pages();
    #[allow(clippy::disallowed_methods, reason = "a test may be told to rewrite its golden files")]
    if std::env::var_os("SAMEBITS_BLESS").is_some() {
        let _ = std::fs::remove_dir_all(folder());
        std::fs::create_dir_all(folder()).unwrap();
        for (file, text) in &pages {
            std::fs::write(folder().join(file), text).unwrap();
        }
    }
    for (file, text) in &pages {
        let kept = std::fs::read_to_string(folder().join(file)).unwrap_or_default();
        assert_eq!(
            &kept, text,
            "docs/commands/{file} is stale: SAMEBITS_BLESS=1 cargo test --bin samebits pages"
        );
    }
    let there = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name());
    let there: Vec<String> = there.map(|name| name.into_string().unwrap()).collect();
    let extra: Vec<&String> = there.iter().filter(|name| !pages.contains_key(*name)).collect();
    assert_eq!(extra, Vec::<&String>::new(), "pages of no verb");
}

/// What is typed in the blocks of shell of a page: whole lines, and the words of every call of samebits on them.
fn calls(page: &str) -> Vec<Vec<String>> {
    let blocks = page.split("```").skip(1).step_by(2);
    let blocks =
        blocks.filter_map(|block| block.strip_prefix("sh\n").or_else(|| block.strip_prefix("console\n")));
    let text: String = blocks.map(|block| block.replace("\\\n", " ")).collect();
    text.lines().flat_map(calls_of).collect()
}

/// Words as a shell splits them, as far as examples go; a call ends where the shell's own words begin.
fn calls_of(line: &str) -> Vec<Vec<String>> {
    let mut calls: Vec<Vec<String>> = vec![vec![]];
    let mut word: Option<String> = None;
    let mut quote = None;
    for letter in line.chars().chain([';']) {
        match (quote, letter) {
            (Some(open), close) if open == close => quote = None,
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, ' ') => calls.last_mut().unwrap().extend(word.take()),
            (None, '|' | '&' | ';' | '(' | ')' | '>') => {
                calls.last_mut().unwrap().extend(word.take());
                calls.push(vec![]);
            }
            (None | Some(_), _) => word.get_or_insert_default().push(letter),
        }
    }
    calls.retain(|words| words.first().is_some_and(|word| word == "samebits"));
    calls
}

/// What stands for something long, made whole.
fn whole(word: &str) -> String {
    let digest = Digest::of(b"").to_string();
    word.replace("sha256:…", &digest).replace("+…", VKEY).replace("$image", "registry.example/shop:1")
}

#[test]
fn every_command_on_the_pages_is_understood() {
    let mut tried = 0;
    for (file, text) in pages() {
        for call in calls(&text) {
            let words: Vec<String> = call.iter().map(|word| whole(word)).collect();
            let parsed = Cli::try_parse_from(&words);
            assert!(parsed.is_ok(), "docs/commands/{file}: {}\n{}", call.join(" "), parsed.unwrap_err());
            tried += 1;
        }
    }
    assert!(tried > 40, "{tried} examples");
}

/// The same of what is written by hand.
#[test]
fn every_command_in_the_other_docs_is_understood() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = ["docs", "docs/reasons"].map(|folder| std::fs::read_dir(root.join(folder)).unwrap());
    let docs = docs.into_iter().flatten().map(|entry| entry.unwrap().path());
    let docs = docs.filter(|path| path.extension().is_some_and(|kind| kind == "md"));
    for path in docs.chain([root.join("README.md")]) {
        for call in calls(&std::fs::read_to_string(&path).unwrap()) {
            let words: Vec<String> = call.iter().map(|word| whole(word)).collect();
            let parsed = Cli::try_parse_from(&words);
            assert!(parsed.is_ok(), "{}: {}\n{}", path.display(), call.join(" "), parsed.unwrap_err());
        }
    }
}

#[test]
fn a_page_with_a_command_that_does_not_parse_is_noticed() {
    let page = "```sh\nx=$(samebits promote \\\n  'a b' --two) && samebits status | head\n```\n```text\nsamebits no\n```\n";
    let words = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(calls(page), [words("samebits,promote,a b,--two"), words("samebits,status")]);
    assert!(Cli::try_parse_from(words("samebits,promote,a b,--two")).is_err());
}
