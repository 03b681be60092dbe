//! What a runner of GitHub Actions reads: step outputs and annotations.

use super::text::{message, property};
use super::{View, Word};
use crate::output::{RequirementStands, Status};

/// Annotations of one kind that a step may have, less the one that says how many more there are: GitHub shows ten.
pub(super) const SHOWN: usize = 9;

/// The step outputs, in the form with a delimiter. Every one is written every time, so that the answer to an earlier
/// question in the same step does not stay: an empty one reads as none.
pub(super) fn outputs(view: &View<'_>, delimiter: &str) -> String {
    let facts = view.facts;
    let record = facts.record.map(|index| index.to_string()).unwrap_or_default();
    let mut values = vec![("record", record)];
    if view.asked.decides {
        values.extend([
            ("decision", facts.word.said().to_owned()),
            ("image", facts.pinned.clone().unwrap_or_default()),
            ("digest", facts.digest.clone().unwrap_or_default()),
            ("reasons", facts.codes.join(",")),
            ("permit", facts.permit.clone().unwrap_or_default()),
        ]);
    }
    // It was drawn at random; should it be in a value all the same, it grows until it is not.
    let mut delimiter = format!("samebits-{delimiter}");
    while values.iter().any(|(_, value)| value.contains(&delimiter)) {
        delimiter.push('-');
    }
    values.iter().map(|(name, value)| format!("{name}<<{delimiter}\n{value}\n{delimiter}\n")).collect()
}

/// Workflow commands, one on each line. The runner reads them on stderr as on stdout.
pub(super) fn annotations(view: &View<'_>) -> String {
    let facts = view.facts;
    if facts.word == Word::Undecided {
        let line = facts.at.and_then(|at| Some(view.policy?.line_at(at)));
        // The file is to blame only where it is said what in it.
        let file = line.and_then(|_| view.file());
        return command("error", file, line, "undecided", &view.trouble());
    }
    let mut text = String::new();
    for (kind, status) in [("error", Status::Unmet), ("warning", Status::Warned)] {
        let these: Vec<&RequirementStands> =
            facts.requirements.iter().filter(|stands| stands.status == status).collect();
        for stands in these.iter().take(SHOWN) {
            let title = stands.code.map(|code| code.to_string()).unwrap_or_default();
            let line = view.line(stands);
            text.push_str(&command(kind, view.file(), line, &title, &said(view, stands)));
        }
        if these.len() > SHOWN {
            let more = format!("and {} more: see the summary and the log", these.len() - SHOWN);
            text.push_str(&command(kind, view.file(), None, "samebits", &more));
        }
    }
    text
}

fn said(view: &View<'_>, stands: &RequirementStands) -> String {
    let mut said = format!(
        "{} may not enter {}: wanted {}; found {}",
        view.facts.service, view.asked.environment, stands.expected, stands.found
    );
    for (label, texts) in [("nearest", &stands.nearest), ("to fix", &stands.fix)] {
        for text in texts {
            said.extend(["\n", label, ": ", text]);
        }
    }
    said
}

fn command(kind: &str, file: Option<&str>, line: Option<usize>, title: &str, said: &str) -> String {
    let mut properties = Vec::new();
    if let Some(file) = file {
        properties.push(format!("file={}", property(file)));
        if let Some(line) = line {
            properties.push(format!("line={line}"));
        }
    }
    properties.push(format!("title={}", property(title)));
    format!("::{kind} {}::{}\n", properties.join(","), message(said))
}
