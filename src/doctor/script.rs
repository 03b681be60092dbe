//! Scripts of jobs: whether the exit code of a command reaches the job, and what the variables are on the way.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::shell::{self, Command, Join, List, Pipeline, Simple, Word};

/// How a script is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// `set -e`.
    pub(super) errexit: bool,
    /// `set -o pipefail`.
    pub(super) pipefail: bool,
}

/// Where the exit code of a command is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// In a pipe without `pipefail`.
    Piped,
    /// To what stands behind `||`.
    Or(String),
    /// Before `&&`, where the shell goes on with the next line (POSIX.1-2024, `set -e`).
    AndMore,
    /// To the background.
    Background,
    /// In the arguments of another command.
    Inside(String),
    /// The shell goes on after errors.
    Errexit,
}

impl Lost {
    /// What happens.
    pub(super) fn found(&self) -> String {
        match self {
            Self::Piped => "the exit code is that of the last command of the pipe: a no is a success".to_owned(),
            Self::Or(handler) => format!("`|| {handler}` makes a no a success"),
            Self::AndMore => {
                "behind `&&` only what stands there is skipped; `set -e` does not mind, and the next line runs".to_owned()
            }
            Self::Background => "it runs in the background: nobody asks for its exit code".to_owned(),
            Self::Inside(command) => {
                format!("it runs inside the arguments of `{command}`, whose exit code is its own")
            }
            Self::Errexit => "the shell goes on after errors (`set +e`, or no `-e`): a no is passed over".to_owned(),
        }
    }

    /// What to write instead.
    pub(super) fn fix(&self) -> String {
        match self {
            Self::Piped => {
                "`-o json=FILE` or `-o junit=FILE` writes the report without a pipe; or begin the script with `set -euo \
                 pipefail` (GitHub: `shell: bash`)"
                    .to_owned()
            }
            Self::Or(_) => "take the `||` away; to clean up before the end, write `|| { …; exit 1; }`".to_owned(),
            Self::AndMore => "write what follows `&&` on a line of its own, with `set -e` in force".to_owned(),
            Self::Background => "take the `&` away".to_owned(),
            Self::Inside(_) => {
                "assign it first, on a line of its own: `image=$(samebits promote …)`, then use \"$image\"".to_owned()
            }
            Self::Errexit => "write `set -e` before it, or `|| exit` behind it".to_owned(),
        }
    }
}

/// A command that a script runs.
#[derive(Clone, Debug)]
pub(super) struct Ran {
    pub(super) line: usize,
    /// Without what only wraps it: `sudo`, `env`, `timeout 5m`.
    pub(super) words: Vec<String>,
    pub(super) lost: Option<Lost>,
    /// The variables that the script has set so far.
    pub(super) variables: Rc<BTreeMap<String, String>>,
}

/// Every command of a script, in the order of the text; of several pieces, one after the other in one shell.
pub(super) struct Commands {
    pub(super) ran: Vec<Ran>,
    /// Whether something was too deep to be read.
    pub(super) incomplete: bool,
}

/// How long a script may be, and how many commands it may have, to be read whole.
const SCRIPT: usize = 128 * 1024;
const COMMANDS: usize = 5_000;

/// How many variables of a script are followed; values are as long as an image may be.
const VARIABLES: usize = 32;
const VALUE: usize = 512;

pub(super) fn commands(pieces: &[(String, usize)], options: Options) -> Commands {
    let mut lists = Vec::new();
    let mut incomplete = false;
    let mut text = String::new();
    for (piece, line) in pieces {
        if text.len() + piece.len() > SCRIPT {
            incomplete = true;
            break;
        }
        let script = shell::read(piece, *line);
        incomplete |= script.lost;
        lists.extend(script.lists);
        text.push_str(piece);
        text.push('\n');
    }
    let asks_pipes = text.contains("PIPESTATUS");
    let mut walk = Walk { text: &text, asks_pipes, ran: Vec::new(), variables: Rc::default(), incomplete };
    let mut state = options;
    walk.lists(&lists, &mut state, &Around { last: true, lost: None, asked: false });
    Commands { ran: walk.ran, incomplete: walk.incomplete }
}

/// What is known of where some commands stand.
struct Around {
    /// Whether the last of them is the last of the script, whose exit code is the script's.
    last: bool,
    /// Whether whatever they say is lost.
    lost: Option<Lost>,
    /// Whether their exit code is a question: `if`, `while`.
    asked: bool,
}

struct Walk<'t> {
    text: &'t str,
    /// Whether it looks at the exit codes in a pipe itself.
    asks_pipes: bool,
    ran: Vec<Ran>,
    variables: Rc<BTreeMap<String, String>>,
    incomplete: bool,
}

impl Walk<'_> {
    fn lists(&mut self, lists: &[List], state: &mut Options, around: &Around) {
        for (at, list) in lists.iter().enumerate() {
            let last = around.last && at + 1 == lists.len();
            let looked_at = lists.get(at + 1).is_some_and(|next| mentions(next, "$?"));
            for (which, pipeline) in list.pipelines.iter().enumerate() {
                let lost = around.lost.clone().or_else(|| {
                    let asked = around.asked || pipeline.negated;
                    self.lost(list, which, *state, (last, asked, looked_at))
                });
                self.pipeline(
                    pipeline,
                    state,
                    (last && which + 1 == list.pipelines.len(), around.asked),
                    &lost,
                );
            }
        }
    }

    /// What becomes of the exit code of a pipeline in its list.
    fn lost(
        &self,
        list: &List,
        which: usize,
        state: Options,
        (last, asked, looked_at): (bool, bool, bool),
    ) -> Option<Lost> {
        if list.background {
            return Some(Lost::Background);
        }
        if asked {
            return None;
        }
        let or = (which..list.joins.len()).find(|at| list.joins[*at] == Join::Or);
        if let Some(handler) = or.and_then(|at| list.pipelines.get(at + 1)) {
            return self.is_harmless(handler).map(Lost::Or);
        }
        match which < list.joins.len() {
            _ if last || looked_at => None,
            true => Some(Lost::AndMore),
            false => (!state.errexit).then_some(Lost::Errexit),
        }
    }

    fn pipeline(
        &mut self,
        pipeline: &Pipeline,
        state: &mut Options,
        (last, asked): (bool, bool),
        lost: &Option<Lost>,
    ) {
        let count = pipeline.commands.len();
        for (at, command) in pipeline.commands.iter().enumerate() {
            let piped = at + 1 < count && !state.pipefail && !self.asks_pipes;
            let lost = if piped { Some(Lost::Piped) } else { lost.clone() };
            // In a pipe each command has a shell of its own.
            let mut own = *state;
            let state = if count > 1 { &mut own } else { &mut *state };
            match command {
                Command::Simple(simple) => self.simple(simple, state, lost),
                Command::Group { subshell, conditions, bodies } => {
                    let mut inner = *state;
                    let state = if *subshell { &mut inner } else { state };
                    for condition in conditions {
                        self.lists(condition, state, &Around { last: false, lost: None, asked: true });
                    }
                    let around = Around { last, lost, asked };
                    bodies.iter().for_each(|body| self.lists(body, state, &around));
                }
            }
        }
    }

    fn simple(&mut self, simple: &Simple, state: &mut Options, lost: Option<Lost>) {
        let texts: Vec<&str> = simple.words.iter().map(|word| word.text.as_str()).collect();
        let words = unwrapped(&texts);
        // 1. What stands in its words runs first, and only an assignment alone has its exit code.
        let inside = |_: &Word| match words.first() {
            Some(command) => Some(Lost::Inside((*command).to_owned())),
            None => lost.clone(),
        };
        for word in simple.assignments.iter().chain(&simple.words) {
            let around = Around { last: true, lost: inside(word), asked: false };
            for inner in &word.inner {
                // `set -e` is not handed down to a substitution (bash, "Command Execution Environment").
                let mut state = Options { errexit: false, ..*state };
                self.lists(inner, &mut state, &around);
            }
        }
        // 2. What it does to the shell.
        if words.is_empty() || matches!(words.first(), Some(&("export" | "local" | "readonly" | "declare"))) {
            let assigned = simple.assignments.iter().map(|word| word.text.as_str());
            let all: Vec<String> = assigned.chain(words.iter().copied()).map(str::to_owned).collect();
            all.iter().for_each(|text| self.assign(text));
        }
        if words.first() == Some(&"set") {
            set(&words[1..], state);
        }
        // 3. A script in an argument.
        if let Some((script, options)) = shell_argument(&words) {
            let script = shell::read(script, simple.line);
            self.incomplete |= script.lost;
            let around = Around { last: true, lost: lost.clone(), asked: false };
            let mut options = options;
            // No deeper: what a string in a string runs is not looked at.
            self.lists(&script.lists, &mut options, &around);
        }
        if self.ran.len() >= COMMANDS {
            self.incomplete = true;
        } else if !words.is_empty() {
            let words = words.iter().map(|word| (*word).to_owned()).collect();
            let variables = Rc::clone(&self.variables);
            self.ran.push(Ran { line: simple.line, words, lost, variables });
        }
    }

    fn assign(&mut self, text: &str) {
        let Some((name, value)) = text.split_once('=').filter(|_| shell::is_assignment(text)) else { return };
        // What is added to, or too much, is not known any more.
        let name = name.strip_suffix('+').map_or((name, true), |name| (name, false));
        match name {
            (name, true) if value.len() <= VALUE && self.variables.len() < VARIABLES => {
                Rc::make_mut(&mut self.variables).insert(name.to_owned(), value.to_owned());
            }
            (name, _) => drop(Rc::make_mut(&mut self.variables).remove(name)),
        }
    }

    /// A command behind `||` after which all is well; none for one that fails, or that nobody knows.
    fn is_harmless(&self, handler: &Pipeline) -> Option<String> {
        match handler.commands.as_slice() {
            [Command::Simple(simple)] => self.is_harmless_command(simple),
            [Command::Group { conditions, bodies, .. }] if conditions.is_empty() => {
                let commands: Vec<&Simple> = bodies.iter().flatten().filter_map(only).collect();
                let fails = |simple: &&Simple| self.is_harmless_command(simple).is_none();
                let known = commands.len() == bodies.iter().map(Vec::len).sum::<usize>();
                (known && !commands.is_empty() && !commands.iter().any(fails)).then(|| "{ … }".to_owned())
            }
            _ => None,
        }
    }

    fn is_harmless_command(&self, simple: &Simple) -> Option<String> {
        let words: Vec<&str> = simple.words.iter().map(|word| word.text.as_str()).collect();
        let harmless = match words.as_slice() {
            // Kept, to be looked at later?
            [] => simple.assignments.iter().all(|word| {
                let name = word.text.split('=').next().unwrap_or_default();
                !self.text.contains(&format!("${name}")) && !self.text.contains(&format!("${{{name}"))
            }),
            ["exit" | "return", "0"] => true,
            [first, ..] => ["true", ":", "echo", "printf", "sleep", "logger", "cat"].contains(first),
        };
        let text = simple.assignments.iter().map(|word| word.text.as_str()).chain(words).collect::<Vec<_>>();
        harmless.then(|| text.join(" "))
    }
}

/// The one command of a list that is nothing else.
fn only(list: &List) -> Option<&Simple> {
    match (list.pipelines.as_slice(), list.background) {
        ([Pipeline { commands, .. }], false) => match commands.as_slice() {
            [Command::Simple(simple)] => Some(simple),
            _ => None,
        },
        _ => None,
    }
}

/// Whether `text` stands in a command of the list itself, or in a question that it begins with.
fn mentions(list: &List, text: &str) -> bool {
    list.pipelines.iter().flat_map(|pipeline| &pipeline.commands).any(|command| match command {
        Command::Simple(simple) => {
            simple.assignments.iter().chain(&simple.words).any(|word| word.text.contains(text))
        }
        Command::Group { conditions, bodies, .. } => {
            conditions.iter().chain(bodies).flatten().next().is_some_and(|list| mentions(list, text))
        }
    })
}

/// `set -euo pipefail`, `set +e` (POSIX.1-2024, `set`).
fn set(words: &[&str], state: &mut Options) {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let on = word.starts_with('-');
        if !on && !word.starts_with('+') {
            continue;
        }
        for flag in word.chars().skip(1) {
            match flag {
                'e' => state.errexit = on,
                'o' => match words.next() {
                    Some(&"pipefail") => state.pipefail = on,
                    Some(&"errexit") => state.errexit = on,
                    Some(_) | None => {}
                },
                _ => {}
            }
        }
    }
}

/// The script of `bash -c SCRIPT`, and how it is begun.
fn shell_argument<'w>(words: &[&'w str]) -> Option<(&'w str, Options)> {
    let name = words.first()?.rsplit('/').next()?;
    if !["bash", "sh", "dash", "ash", "zsh", "ksh"].contains(&name) {
        return None;
    }
    let mut options = Options { errexit: false, pipefail: false };
    let flags: Vec<&str> =
        words[1..].iter().copied().take_while(|word| word.starts_with(['-', '+'])).collect();
    let asked = flags.iter().any(|flag| !flag.starts_with("--") && flag.contains('c'));
    let pipefail = words.windows(2).any(|two| two[0].ends_with('o') && two[1] == "pipefail");
    options.pipefail = pipefail;
    options.errexit =
        flags.iter().any(|flag| flag.starts_with('-') && !flag.starts_with("--") && flag.contains('e'));
    let script = words[1..].iter().find(|word| !word.starts_with(['-', '+']) && **word != "pipefail")?;
    asked.then_some((*script, options))
}

/// A command without what only wraps it.
fn unwrapped<'w>(words: &[&'w str]) -> Vec<&'w str> {
    let mut rest = words;
    loop {
        let Some((first, behind)) = rest.split_first() else { return Vec::new() };
        let plain = |word: &&&str| word.starts_with('-') || shell::is_assignment(word);
        let skip = behind.iter().take_while(plain).count();
        rest = match first.rsplit('/').next().unwrap_or_default() {
            "sudo" | "env" | "command" | "exec" | "time" | "nohup" | "builtin" => &behind[skip..],
            // Each takes one value.
            "timeout" | "retry" => behind.get(skip + 1..).unwrap_or_default(),
            _ => return rest.to_vec(),
        };
    }
}

/// Text with the variables that are known filled in: `$X`, `${X}`, `${{ env.X }}`.
pub(super) fn filled(text: &str, variables: &[&BTreeMap<String, String>]) -> String {
    let mut text = text.to_owned();
    // A variable may hold another; three are enough for anything that is meant to be read.
    for _ in 0..3 {
        let mut next = String::new();
        let mut rest = text.as_str();
        while let Some(at) = rest.find('$') {
            next.push_str(&rest[..at]);
            let (name, length) = variable(&rest[at..]);
            let known = name.and_then(|name| variables.iter().find_map(|variables| variables.get(name)));
            match known {
                Some(value) => next.push_str(value),
                None => next.push_str(&rest[at..at + length]),
            }
            rest = &rest[at + length..];
        }
        next.push_str(rest);
        if next == text || next.len() > VALUE {
            break;
        }
        text = next;
    }
    text
}

/// The variable that is named at the beginning of `text`, a `$`, and how long that is.
pub(super) fn variable(text: &str) -> (Option<&str>, usize) {
    let name_length =
        |text: &str| text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    if let Some(rest) = text.strip_prefix("${{") {
        let Some(end) = rest.find("}}") else { return (None, text.len()) };
        return (rest[..end].trim().strip_prefix("env."), end + 5);
    }
    if let Some(rest) = text.strip_prefix("${") {
        let Some(end) = rest.find('}') else { return (None, text.len()) };
        let name = &rest[..end];
        // `${X:?…}` is X, or the end of the script.
        let whole = name_length(name) == name.len() || name[name_length(name)..].starts_with(":?");
        return (whole.then(|| &name[..name_length(name)]), end + 3);
    }
    if text.starts_with("$(…)") {
        return (None, "$(…)".len());
    }
    match name_length(&text[1..]) {
        0 => (None, 1),
        length => (Some(&text[1..=length]), length + 1),
    }
}

#[cfg(test)]
mod tests;
