//! What GitHub's steps and GitLab's jobs have in common: scripts with the gate in them, or a deployment.

use std::collections::BTreeMap;

use super::deploy::{Deploys, deploys, mutable};
use super::script::{Commands, Options, Ran, commands};
use super::yaml::{Node, Value};
use super::{Code, File, Finding, Place, Skipped};
use crate::digest::shorten;

/// Verbs whose exit code is a verdict.
pub(super) const VERDICTS: [&str; 4] = ["check", "promote", "verify", "permit"];

/// Flags of the program that take a value in the next word.
const VALUED: [&str; 8] =
    ["--policy", "--ledger", "--key", "--key-password-file", "--signing-config", "-o", "--output", "--color"];

/// The verb of a command that asks the gate; none of any other command.
pub(super) fn verdict(words: &[String]) -> Option<&str> {
    let program = words.first()?.rsplit('/').next()?;
    if program != "samebits" && program != "samebits.exe" {
        return None;
    }
    let mut rest = words[1..].iter();
    while let Some(word) = rest.next() {
        if VALUED.contains(&word.as_str()) {
            rest.next();
        } else if !word.starts_with('-') {
            return VERDICTS.contains(&word.as_str()).then_some(word.as_str());
        }
    }
    None
}

/// The policy file that a command names.
pub(super) fn policy_of(words: &[String]) -> Option<&str> {
    let at = words.iter().position(|word| word == "--policy");
    let next = at.and_then(|at| words.get(at + 1));
    let joined = || words.iter().find_map(|word| word.strip_prefix("--policy="));
    next.map(String::as_str).or_else(joined)
}

/// A script: its commands, and where they stand.
pub(super) struct Steps {
    pub(super) commands: Commands,
}

/// Reads the scalars of a script, one after the other in one shell.
pub(super) fn read(nodes: &[&Node], options: Options) -> Steps {
    let mut pieces = Vec::new();
    for node in nodes {
        if let Value::Scalar { text, literal, .. } = &node.value {
            // Each line of a literal block is a line of the file; of other scalars that cannot be told.
            match literal {
                true => pieces.push((text.clone(), node.line)),
                false => pieces.push((text.replace('\n', " \\\n"), node.line)),
            }
        }
    }
    Steps { commands: commands(&pieces, options) }
}

impl Steps {
    /// The commands that ask the gate.
    pub(super) fn gates(&self) -> impl Iterator<Item = &Ran> {
        self.commands.ran.iter().filter(|ran| verdict(&ran.words).is_some())
    }

    /// Whether it deploys, as far as is known here.
    pub(super) fn deploys(&self) -> bool {
        self.commands.ran.iter().any(|ran| deploys(&ran.words).is_some())
    }

    /// Exit codes of the gate that are lost, and deployments by tag.
    pub(super) fn findings(&self, file: &File, variables: &[&BTreeMap<String, String>]) -> Vec<Finding> {
        let mut findings = Vec::new();
        for ran in &self.commands.ran {
            if let (Some(verb), Some(lost)) = (verdict(&ran.words), &ran.lost) {
                let found = format!("`samebits {verb}`: {}", lost.found());
                let expected = "its exit code ends the script: 0 is yes, anything else is not".to_owned();
                let place = line(file, ran.line);
                findings.push(Finding { place, code: Code::ExitCodeLost, found, expected, fix: lost.fix() });
            }
            if let Some(deploys) = deploys(&ran.words) {
                let mut known = vec![&*ran.variables];
                known.extend(variables);
                findings.extend(
                    mutable(&deploys, &known).iter().map(|image| by_tag(line(file, ran.line), image)),
                );
            }
        }
        findings
    }

    /// What is said of a script that could not be read whole.
    pub(super) fn untold(&self, file: &File, at: &Node) -> Option<Skipped> {
        self.commands.incomplete.then(|| Skipped {
            what: format!("{}:{}", file.name, at.line),
            why: "the script is longer or deeper than is read".to_owned(),
        })
    }
}

/// A deployment of something that can become something else.
pub(super) fn by_tag(place: Place, image: &str) -> Finding {
    Finding {
        place,
        code: Code::MutableTag,
        found: format!("`{}` is deployed by a tag, which may mean other bytes by then", shorten(image)),
        expected: "REPOSITORY@sha256:…, as the gate prints it on yes".to_owned(),
        fix:
            "GitHub: ${{ steps.ID.outputs.image }} of the gate's step; GitLab: \"$SAMEBITS_IMAGE\"; a shell: \
              image=$(samebits promote …), then \"$image\""
                .to_owned(),
    }
}

/// The images of an action's input, one a line.
pub(super) fn input(text: &str) -> Deploys {
    let images = text.split(['\n', ',']).map(str::trim).filter(|image| !image.is_empty());
    Deploys { images: images.map(str::to_owned).collect(), tags: Vec::new() }
}

/// The beginning of a line.
fn line(file: &File, line: usize) -> Place {
    Place::File { file: file.name.clone(), line, column: 1 }
}

/// Where a value begins.
pub(super) fn place(file: &File, node: &Node) -> Place {
    Place::File { file: file.name.clone(), line: node.line, column: node.column }
}

/// Names with their values, of a map of scalars (GitLab's may say `value`).
pub(super) fn variables(map: Option<&Node>) -> BTreeMap<String, String> {
    let entries = map.map(Node::entries).unwrap_or_default();
    let entry = |(key, value): &(Node, Node)| {
        let value = value.get("value").unwrap_or(value);
        Some((key.text()?.to_owned(), value.text().filter(|text| text.len() <= 512)?.to_owned()))
    };
    entries.iter().filter_map(entry).take(1000).collect()
}

/// A gate whose failure is none.
pub(super) fn ignored(place: Place, found: String, fix: &str) -> Finding {
    let expected = "what comes after a no does not run".to_owned();
    Finding { place, code: Code::FailureIgnored, found, expected, fix: fix.to_owned() }
}

/// A deployment that runs after a no.
pub(super) fn after_no(place: Place, condition: &str, fix: &str) -> Finding {
    Finding {
        place,
        code: Code::DeploysAfterNo,
        found: format!("`{}` deploys although the gate before it failed", shorten(condition)),
        expected: "a deployment runs after a yes alone".to_owned(),
        fix: fix.to_owned(),
    }
}

/// A gate with rules that the change under test brings along (E8).
pub(super) fn from_change(place: Place, found: String, fix: &str) -> Finding {
    Finding {
        place,
        code: Code::PolicyFromChange,
        found,
        expected: "the policy file of a protected branch: whoever edits the policy decides".to_owned(),
        fix: fix.to_owned(),
    }
}

/// A program that somebody else can replace; `reference` is what follows the `@`. A release of GitLab's catalogue is
/// as good as a commit where the caller says so: only its own project can make another of that name.
pub(super) fn unpinned(place: Place, used: &str, reference: &str, releases: bool) -> Option<Finding> {
    let commit = reference.len() >= 40 && reference.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let release = releases && reference.split('.').count() == 3 && reference.split('.').all(number);
    (!commit && !release).then(|| Finding {
        place,
        code: Code::GateNotPinned,
        found: format!("`{}` is another program when `{}` moves", shorten(used), shorten(reference)),
        expected: "a whole commit: it pins the program too".to_owned(),
        fix: "write the 40 digits of the commit behind the `@`, the version in a comment".to_owned(),
    })
}
