//! What Buildkite is told: an annotation of the build, and meta-data for the steps that come after. Both go through
//! `buildkite-agent` (Buildkite Agent 3, `annotate` and `meta-data set`), where that is on the PATH.

use std::io::{ErrorKind, Write as _};
use std::process::{Command, Stdio};

use anyhow::Context as _;

use super::{View, Word, summary};

const AGENT: &str = "buildkite-agent";

/// Of what was not let in. An empty value is refused by the agent, and none would leave that of an earlier answer.
const NONE: &str = "none";

/// Whether this is a step of Buildkite, by what its agent sets.
pub(super) fn is_here(variable: impl Fn(&str) -> Option<String>) -> bool {
    variable("BUILDKITE").is_some_and(|value| value == "true")
}

/// Tells it; nothing where there is no agent, as inside of a container that was not given one. `step` is the key of the step.
/// Meta-data comes first: that of an earlier answer must not outlive a page that is not taken.
pub(super) fn tell(view: &View<'_>, step: Option<&str>) -> anyhow::Result<()> {
    for (name, value) in meta_data(view, step) {
        if !agent(&["meta-data", "set", &name, &value], "")? {
            return Ok(());
        }
    }
    let annotate = ["annotate", "--style", style(view), "--context", &context(view, step)];
    agent(&annotate, &summary::render(view, 0)).map(drop)
}

fn style(view: &View<'_>) -> &'static str {
    match view.facts.word {
        Word::Approved | Word::Recorded => "success",
        Word::Denied => "error",
        Word::Undecided => "warning",
    }
}

/// An answer takes the place of an earlier one to the same question.
fn context(view: &View<'_>, step: Option<&str>) -> String {
    format!("samebits-{}-{}", view.asked.verb, step.unwrap_or(&view.asked.environment))
}

/// What `promote` has to say to later steps: by the key of its step, for several services may enter an environment in one
/// build; by its environment where the step has none.
fn meta_data(view: &View<'_>, step: Option<&str>) -> Vec<(String, String)> {
    let name = step.unwrap_or(&view.asked.environment);
    if view.asked.verb != "promote" || name.is_empty() {
        return Vec::new();
    }
    let image = view.facts.pinned.clone().unwrap_or_else(|| NONE.to_owned());
    let decision = view.facts.word.said().to_owned();
    let values = [("image", image), ("decision", decision)];
    values.map(|(what, value)| (format!("samebits-{name}-{what}"), value)).into()
}

/// Runs the agent, with `text` to read; `false` where there is none. Its complaints go to the log.
fn agent(arguments: &[&str], text: &str) -> anyhow::Result<bool> {
    let mut command = Command::new(AGENT);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = match command.spawn() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        child => child.with_context(|| format!("{AGENT} cannot be run"))?,
    };
    // One that reads nothing is known by how it ends.
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(text.as_bytes());
    }
    let status = child.wait().with_context(|| format!("{AGENT} cannot be waited for"))?;
    anyhow::ensure!(status.success(), "{AGENT} {} failed ({status}): what it said is above", arguments[0]);
    Ok(true)
}
