//! Links for the page of a GitLab job, as `artifacts:reports:annotations` reads them (GitLab 16.3): the record, and the lines of the
//! policy file that refuse. GitLab shows a link as it is: each is `https` and holds no foreign text but a file's name.

use serde_json::{Value, json};

use super::View;
use super::github::SHOWN;
use super::log::link;
use super::text::line;
use crate::output::Status;

/// The document; `blobs` is where GitLab shows files of this commit. Without a link it has no list: GitLab refuses empty ones.
pub(super) fn render(view: &View<'_>, blobs: Option<&str>) -> String {
    let record = view.facts.record.zip(view.record_url());
    let record = record.map(|(index, url)| external(&format!("record {index}"), url));
    let refusing = view.facts.requirements.iter().filter(|stands| stands.status != Status::Met);
    let lines = refusing.take(SHOWN).filter_map(|stands| {
        let at = view.line(stands);
        let url = link(view, blobs?, at)?;
        let code = stands.code.map(|code| code.to_string()).unwrap_or_default();
        let place = at.map(|at| format!(" line {at}")).unwrap_or_default();
        Some(external(&format!("{code}: {}{place}", line(view.file()?)), &url))
    });
    let links: Vec<Value> = record.into_iter().chain(lines).collect();
    let document = if links.is_empty() { json!({}) } else { json!({ "samebits": links }) };
    format!("{document:#}\n")
}

fn external(label: &str, url: &str) -> Value {
    json!({ "external_link": { "label": label, "url": url } })
}
