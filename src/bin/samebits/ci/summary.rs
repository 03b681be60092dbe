//! The summary of a step: verdict, what was wanted and found, the shortest path to yes, the record.
//!
//! Raw HTML in a Markdown file: nothing in it is read as Markdown, and each foreign text is in an element of its own.

use super::text::html;
use super::{View, Word};
use crate::output::{RequirementStands, Status};

/// Bytes that a step's summary may have by us. Over 1 MiB GitHub shows none of it.
const LIMIT: usize = 900_000;
/// Bytes that the end of a cut page takes.
const RESERVED: usize = 600;
/// Bytes from which on not even a word is added.
const FULL: u64 = 1_000_000;
const CUT: &str =
    "<p><b>Cut here:</b> the summary of this step is full. The log of the step has everything.</p>\n";

/// The page, behind `taken` bytes that the file has already.
pub(super) fn render(view: &View<'_>, taken: u64) -> String {
    let room = LIMIT.saturating_sub(usize::try_from(taken).unwrap_or(usize::MAX));
    let mut page = Page { text: String::new(), room: room.saturating_sub(RESERVED), cut: false };
    page.push(&heading(view));
    match view.facts.word {
        Word::Approved | Word::Recorded => yes(&mut page, view),
        Word::Denied => no(&mut page, view),
        Word::Undecided => undecided(&mut page, view),
    }
    match (page.cut, room >= RESERVED) {
        (true, true) => page.text + CUT,
        (false, true) => page.text,
        // Little is left that GitHub would show: a word, or nothing, so that what others wrote is shown.
        (_, false) if taken < FULL => CUT.to_owned(),
        (_, false) => String::new(),
    }
}

/// Whole pieces, as long as there is room.
struct Page {
    text: String,
    room: usize,
    cut: bool,
}

impl Page {
    fn push(&mut self, piece: &str) {
        self.cut = self.cut || self.text.len() + piece.len() > self.room;
        if !self.cut {
            self.text.push_str(piece);
        }
    }

    /// `pieces` between two tags; the second is in the reserve.
    fn within(&mut self, open: &str, pieces: impl Iterator<Item = String>, close: &str) {
        let before = self.text.len();
        self.push(open);
        if self.text.len() == before {
            return;
        }
        pieces.for_each(|piece| self.push(&piece));
        self.text.push_str(close);
    }
}

fn heading(view: &View<'_>) -> String {
    let word = view.facts.word.short();
    let glyph = match view.facts.word {
        Word::Approved | Word::Recorded => "✅",
        Word::Denied => "❌",
        Word::Undecided => "⚠️",
    };
    let (verb, environment) = (view.asked.verb, html(&view.asked.environment));
    let service = match view.facts.service.is_empty() {
        true => String::new(),
        false => format!(" <code>{}</code>", html(&view.facts.service)),
    };
    format!("<h3>{glyph} {word}: samebits {verb}{service} → <code>{environment}</code></h3>\n")
}

fn yes(page: &mut Page, view: &View<'_>) {
    let image = view.facts.pinned.as_deref().unwrap_or(view.image());
    page.push(&format!("<p><code>{}</code></p>\n", html(image)));
    page.push(&record(view));
    let warned = |stands: &&RequirementStands| stands.status == Status::Warned;
    if view.facts.requirements.iter().any(|stands| warned(&stands)) {
        table(page, view.facts.requirements.iter().filter(warned));
    }
}

fn no(page: &mut Page, view: &View<'_>) {
    page.push(&format!("<p><code>{}</code></p>\n", html(view.image())));
    page.push(&record(view));
    table(page, view.facts.requirements.iter());
    let unmet = view.facts.requirements.iter().filter(|stands| stands.status == Status::Unmet);
    let steps = steps(unmet.flat_map(|stands| &stands.fix));
    let steps = steps.iter().map(|step| format!("<li>{step}</li>\n"));
    page.within("<p><b>Shortest path to yes</b></p>\n<ol>\n", steps, "</ol>\n");
    let codes: Vec<String> = view.facts.codes.iter().map(|code| html(code)).collect();
    if !codes.is_empty() {
        page.push(&format!("<p>More: <code>samebits explain {}</code></p>\n", codes.join(" ")));
    }
    let policy = view.file().map(|file| format!("policy file <code>{}</code>", html(file)));
    let notes = policy.into_iter().chain(view.facts.notes.iter().map(|note| code(note)));
    let evidence = view.facts.requirements.iter().flat_map(|stands| &stands.evidence);
    let evidence = evidence.map(|relied| {
        let digest = html(&relied.digest.0.to_string());
        format!("<code>{}</code> <code>{digest}</code>", html(&relied.uri))
    });
    let items = notes.chain(evidence).map(|item| format!("<li>{item}</li>\n"));
    page.within("<details><summary>Evidence and notes</summary><ul>\n", items, "</ul></details>\n");
}

/// What to do; a command stands below the words that lead to it.
fn steps<'a>(fix: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut steps: Vec<String> = Vec::new();
    for step in fix {
        match steps.last_mut().filter(|_| step.starts_with("samebits ")) {
            Some(words) => *words += &format!("<br>{}", code(step)),
            None => steps.push(code(step)),
        }
    }
    steps
}

fn undecided(page: &mut Page, view: &View<'_>) {
    page.push(&format!("<p><code>{}</code></p>\n", html(view.image())));
    let causes = view.facts.causes.iter().map(|cause| format!("<li>{}</li>\n", code(cause)));
    page.within("<ul>\n", causes, "</ul>\n");
    if let Some(hint) = view.facts.hint {
        page.push(&format!("<p><b>Hint:</b> {}</p>\n", code(hint)));
    }
}

fn table<'a>(page: &mut Page, requirements: impl Iterator<Item = &'a RequirementStands>) {
    let head = "<table>\n<tr><th></th><th>Requirement</th><th>Expected</th><th>Found</th></tr>\n";
    page.within(head, requirements.map(row), "</table>\n");
}

fn row(stands: &RequirementStands) -> String {
    let glyph = match stands.status {
        Status::Met => "✓",
        Status::Unmet => "❌",
        Status::Warned => "⚠️",
    };
    let code_of = stands.code.map(|code| format!("<br><b>{code}</b>")).unwrap_or_default();
    let nearest: String =
        stands.nearest.iter().map(|nearest| format!("<br>nearest: {}", code(nearest))).collect();
    format!(
        "<tr><td>{glyph}</td><td>{}{code_of}</td><td>{}</td><td>{}{nearest}</td></tr>\n",
        stands.requirement,
        code(&stands.expected),
        code(&stands.found)
    )
}

fn record(view: &View<'_>) -> String {
    match view.facts.record {
        Some(index) => format!("<p>Recorded as <b>{}</b>{}</p>\n", numbered(view, index), ways(view, index)),
        // It only asks, and nothing is recorded by it.
        None if view.asked.verb == "permit verify" => String::new(),
        None if view.asked.verb == "check" => {
            "<p>Only asked: nothing was recorded, nothing was copied.</p>\n".to_owned()
        }
        None => "<p>Not recorded.</p>\n".to_owned(),
    }
}

/// The number of a record, and the way to it where there is one.
fn numbered(view: &View<'_>, index: u64) -> String {
    match view.record_url() {
        Some(url) => format!("<a href=\"{}\">{index}</a>", html(url)),
        None => index.to_string(),
    }
}

/// How to look at a record with the program.
fn ways(view: &View<'_>, index: u64) -> String {
    let shown = view.facts.digest.as_ref().map(|digest| code(&format!("samebits show {digest}")));
    let again = view.asked.decides.then(|| format!("<code>samebits replay {index}</code> decides it again"));
    let shown = shown.map(|shown| format!("{shown} tells the life of these bytes"));
    let ways: Vec<String> = again.into_iter().chain(shown).collect();
    if ways.is_empty() { String::new() } else { format!(": {}", ways.join(", ")) }
}

fn code(text: &str) -> String {
    format!("<code>{}</code>", html(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_stands_below_the_words_that_lead_to_it() {
        let fix = ["let it in:", "samebits promote <x>", "wait", "samebits status"].map(str::to_owned);
        let html = steps(fix.iter());
        assert_eq!(
            html,
            [
                "<code>let it in:</code><br><code>samebits promote &#60;x&#62;</code>",
                "<code>wait</code><br><code>samebits status</code>"
            ]
        );
        assert_eq!(steps(fix[1..2].iter()), ["<code>samebits promote &#60;x&#62;</code>"]);
    }
}
