//! A JUnit report: a test case for each requirement, so that a merge request shows which one is not met. Denied is a
//! failure, undecided an error; a requirement that only warns for now passes, and says so.

use std::fmt::Write as _;

use super::text::{line, xml};
use super::{View, Word};
use crate::output::{RequirementStands, Status};

/// The document. Its elements are those of Jenkins' `jenkins-junit.xsd`, which GitLab and Buildkite read.
pub(super) fn render(view: &View<'_>) -> String {
    let facts = view.facts;
    let undecided = facts.word == Word::Undecided;
    let failures = facts.requirements.iter().filter(|stands| stands.status == Status::Unmet).count();
    let errors = usize::from(undecided);
    let tests = facts.requirements.len() + errors;
    let counts = format!("tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\"");
    let name = xml(&format!("{} {} {}", view.asked.verb, view.asked.image, view.asked.environment));
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(text, "<testsuites name=\"samebits\" {counts}>");
    let _ = writeln!(text, "<testsuite name=\"{name}\" {counts} skipped=\"0\">");
    properties(&mut text, view);
    for stands in facts.requirements {
        case(&mut text, view, stands);
    }
    if undecided {
        let message = xml(facts.causes.first().map(String::as_str).unwrap_or_default());
        let said = xml(&view.trouble());
        let _ = writeln!(
            text,
            "{}<error type=\"undecided\" message=\"{message}\">{said}</error></testcase>",
            open(view, "decision")
        );
    }
    text.push_str("</testsuite>\n</testsuites>\n");
    text
}

fn properties(text: &mut String, view: &View<'_>) {
    let facts = view.facts;
    let properties = [
        ("decision", view.asked.decides.then(|| facts.word.said().to_owned())),
        ("image", Some(view.image().to_owned())),
        ("promoted", facts.pinned.clone()),
        ("record", facts.record.map(|index| index.to_string())),
        ("record-url", view.record_url().map(str::to_owned)),
        ("run", view.run.map(str::to_owned)),
    ];
    text.push_str("<properties>\n");
    for (name, value) in properties {
        if let Some(value) = value {
            let _ = writeln!(text, "<property name=\"{name}\" value=\"{}\"/>", xml(&value));
        }
    }
    text.push_str("</properties>\n");
}

fn open(view: &View<'_>, name: &str) -> String {
    let class = ["samebits", &view.facts.service, &view.asked.environment];
    let class: Vec<&str> = class.into_iter().filter(|part| !part.is_empty()).collect();
    let file = view.file().map(|file| format!(" file=\"{}\"", xml(file))).unwrap_or_default();
    format!("<testcase classname=\"{}\" name=\"{}\"{file}>", xml(&class.join(".")), xml(name))
}

fn case(text: &mut String, view: &View<'_>, stands: &RequirementStands) {
    // Several attestations are several cases, under names of their own.
    text.push_str(&open(view, &line(&format!("{}: {}", stands.requirement, stands.expected))));
    let code = stands.code.map(|code| code.to_string()).unwrap_or_default();
    match stands.status {
        Status::Met => {}
        Status::Unmet => {
            let message = xml(&format!("found {}", stands.found));
            let said = parts(view, stands);
            let _ = write!(text, "<failure type=\"{code}\" message=\"{message}\">{said}</failure>");
        }
        Status::Warned => {
            let until = stands.warn_until.as_deref().unwrap_or_default();
            let until = xml(until);
            let said = parts(view, stands);
            let _ = write!(text, "<system-out>{code} (refuses after {until})&#10;{said}</system-out>");
        }
    }
    text.push_str("</testcase>\n");
}

/// Each part is cut by itself, so that a long one leaves room for the next.
fn parts(view: &View<'_>, stands: &RequirementStands) -> String {
    let mut said = format!("wanted  {}&#10;found   {}", xml(&stands.expected), xml(&stands.found));
    for (label, steps) in [("nearest", &stands.nearest), ("to fix ", &stands.fix)] {
        for step in steps {
            let _ = write!(said, "&#10;{label} {}", xml(step));
        }
    }
    if let Some(url) = view.record_url() {
        let _ = write!(said, "&#10;record  {}", xml(url));
    }
    said
}
