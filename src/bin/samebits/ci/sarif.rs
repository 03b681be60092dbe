//! SARIF 2.1.0 (OASIS): one result for each requirement that is not met, at the line of the policy file that asks for it.

use serde_json::{Value, json};

use super::text::{line, lines, percent};
use super::{View, Word};
use crate::output::{RequirementStands, Status};

/// The document.
pub(super) fn render(view: &View<'_>) -> String {
    let facts = view.facts;
    let unmet: Vec<&RequirementStands> =
        facts.requirements.iter().filter(|stands| stands.status != Status::Met).collect();
    let mut rules: Vec<String> = unmet.iter().filter_map(|stands| Some(stands.code?.to_string())).collect();
    rules.sort_unstable();
    rules.dedup();
    let decided = facts.word != Word::Undecided;
    // 3.20.21: what kept the tool from an answer.
    let trouble = match decided {
        true => Vec::new(),
        false => vec![json!({ "level": "error", "message": { "text": lines(&view.trouble()) } })],
    };
    let document = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "samebits",
                "version": env!("CARGO_PKG_VERSION"),
                "informationUri": env!("CARGO_PKG_REPOSITORY"),
                "rules": rules.iter().map(|rule| json!({ "id": rule })).collect::<Vec<_>>(),
            } },
            "invocations": [{ "executionSuccessful": decided, "toolExecutionNotifications": trouble }],
            "results": unmet.iter().map(|stands| result(view, stands)).collect::<Vec<_>>(),
        }],
    });
    format!("{document:#}\n")
}

fn result(view: &View<'_>, stands: &RequirementStands) -> Value {
    let level = match stands.status {
        Status::Unmet => "error",
        Status::Met | Status::Warned => "warning",
    };
    let mut said = vec![
        format!("{} → {}: {}", line(view.image()), line(&view.asked.environment), stands.requirement),
        format!("wanted {}", line(&stands.expected)),
        format!("found {}", line(&stands.found)),
    ];
    said.extend(stands.nearest.iter().map(|nearest| format!("nearest: {}", line(nearest))));
    said.extend(stands.fix.iter().map(|step| format!("to fix: {}", line(step))));
    let mut place = json!({ "artifactLocation": { "uri": percent(view.file().unwrap_or("samebits.toml")) } });
    if let Some(line) = view.line(stands) {
        place["region"] = json!({ "startLine": line });
    }
    said.extend(view.record_url().map(|url| format!("record: {url}")));
    let mut result = json!({
        "ruleId": stands.code.map(|code| code.to_string()),
        "level": level,
        "message": { "text": said.join("\n") },
        "locations": [{ "physicalLocation": place }],
    });
    // 3.27, `hostedViewerUri`: where it can be viewed.
    if let Some(url) = view.record_url() {
        result["hostedViewerUri"] = json!(url);
    }
    result
}
