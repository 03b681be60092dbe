//! Errors and warnings with the line they are about.
//!
//! Guarantees: whatever the file holds, what is printed has no control character, no line longer than a screen
//! is wide, and never more than [`SHOWN`] errors.

use std::fmt;
use std::ops::Range;

use super::problem::{Problem, Remark, neutral};
use crate::digest::shorten;

/// Errors shown, and kept: the rest is counted.
pub(super) const SHOWN: usize = 100;

/// Columns of a source line that are shown.
const WIDTH: usize = 140;

/// Bytes of the file, start and end.
pub(super) type Span = Range<usize>;

/// One thing wrong with a policy file.
#[derive(Debug)]
pub struct PolicyError {
    span: Option<Span>,
    problem: Problem,
}

impl PolicyError {
    /// The bytes of the file it is about; absent when it is about the whole file.
    pub fn span(&self) -> Option<Range<usize>> {
        self.span.clone()
    }

    /// What is wrong.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }
}

/// Everything wrong with a policy file, in the order of its lines.
#[derive(Debug)]
pub struct PolicyErrors {
    file: String,
    text: String,
    errors: Vec<PolicyError>,
    more: usize,
}

impl PolicyErrors {
    /// One error about the file as a whole, without its text.
    pub(super) fn whole(file: &str, problem: Problem) -> Self {
        let error = PolicyError { span: None, problem };
        Self { file: file.to_owned(), text: String::new(), errors: vec![error], more: 0 }
    }

    /// The name of the file, as it was given.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The errors; at least one.
    pub fn errors(&self) -> &[PolicyError] {
        &self.errors
    }
}

impl std::error::Error for PolicyErrors {}

impl fmt::Display for PolicyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            let label = error.problem.label();
            let snippet = Snippet { file: &self.file, text: &self.text, span: error.span.as_ref(), label };
            write!(f, "error: {}\n{snippet}", error.problem)?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "\n\nerror: and {more} more errors"),
        }
    }
}

/// Something that is allowed and probably not meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    pub(super) remark: Remark,
    pub(super) rendered: String,
}

impl Warning {
    /// What was found.
    pub fn remark(&self) -> &Remark {
        &self.remark
    }

    pub(super) fn new(file: &str, text: &str, span: &Span, remark: Remark) -> Self {
        let snippet = Snippet { file, text, span: Some(span), label: None };
        let rendered = format!("warning: {remark}\n{snippet}");
        Self { remark, rendered }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rendered)
    }
}

/// Errors kept while reading; a file with more is answered without looking up what else each might have meant.
const KEPT: usize = 500;

/// Errors in the making.
#[derive(Default)]
pub(super) struct Errors {
    errors: Vec<PolicyError>,
    /// Errors beyond [`KEPT`], only counted.
    more: usize,
}

impl Errors {
    pub(super) fn push(&mut self, span: &Span, problem: Problem) {
        self.push_lazily(span, || problem);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    pub(super) fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.errors.iter().map(|error| &error.problem)
    }

    /// An error about the file as a whole.
    pub(super) fn push_whole(&mut self, problem: Problem) {
        self.errors.push(PolicyError { span: None, problem });
    }

    /// An error that takes time and memory to describe.
    pub(super) fn push_lazily(&mut self, span: &Span, problem: impl FnOnce() -> Problem) {
        match self.errors.len() < KEPT {
            true => self.errors.push(PolicyError { span: Some(span.clone()), problem: problem() }),
            false => self.more += 1,
        }
    }

    /// Keeps the good value, or the error at `span`.
    pub(super) fn keep<T, E>(
        &mut self,
        span: &Span,
        result: Result<T, E>,
        problem: impl FnOnce(E) -> Problem,
    ) -> Option<T> {
        result.map_err(|error| self.push(span, problem(error))).ok()
    }

    /// Nothing, or everything that was pushed, in the order of the lines.
    pub(super) fn finish(self, file: &str, text: &str) -> Result<(), PolicyErrors> {
        let mut errors = self.errors;
        if errors.is_empty() {
            return Ok(());
        }
        errors.sort_by_key(|error| error.span.as_ref().map(|span| (span.start, span.end)));
        let more = self.more + errors.len().saturating_sub(SHOWN);
        errors.truncate(SHOWN);
        Err(PolicyErrors { file: file.to_owned(), text: text.to_owned(), errors, more })
    }
}

/// A place in the file, the way rustc shows it.
struct Snippet<'a> {
    file: &'a str,
    text: &'a str,
    span: Option<&'a Span>,
    label: Option<String>,
}

impl fmt::Display for Snippet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = self.label.as_deref().unwrap_or_default();
        let file = shorten(self.file);
        let Some(span) = self.span else {
            write!(f, " --> {file}")?;
            return match label {
                "" => Ok(()),
                label => write!(f, "\n  = {label}"),
            };
        };
        // 1. The line that holds the start of the span. A span at the end of the file is on its last line.
        let start = floor(self.text, span.start.min(self.text.trim_end().len()));
        let end = floor(self.text, span.end.max(start));
        let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = self.text[start..].find('\n').map_or(self.text.len(), |at| start + at);
        let number = self.text[..line_start].matches('\n').count() + 1;
        let column = self.text[line_start..start].chars().count() + 1;
        let line = self.text[line_start..line_end].trim_end();
        // 2. What is before, under and behind the carets, each without anything a terminal would obey.
        let split = |at: usize| (at - line_start).min(line.len());
        let before = neutral(&line[..split(start)]);
        let under = neutral(&line[split(start)..split(end)]);
        let behind = neutral(&line[split(end)..]);
        // 3. A window of it, when the line is too long; the start of the span is in it.
        let cut = before.chars().count().saturating_sub(WIDTH / 2);
        let lead = if cut > 0 { "…" } else { "" };
        let before: String = before.chars().skip(cut).collect();
        let indent = before.chars().count() + lead.chars().count();
        let mut shown: String = format!("{before}{under}{behind}").chars().take(WIDTH).collect();
        if before.chars().count() + under.chars().count() + behind.chars().count() > WIDTH {
            shown.push('…');
        }
        let carets = under.chars().count().clamp(1, WIDTH.saturating_sub(indent).max(1));
        let gutter = number.to_string().len();
        writeln!(f, "{:gutter$}--> {file}:{number}:{column}", "")?;
        writeln!(f, "{:gutter$} |", "")?;
        writeln!(f, "{number} | {lead}{shown}")?;
        write!(f, "{:gutter$} | {:indent$}{}", "", "", "^".repeat(carets))?;
        match label {
            "" => Ok(()),
            label => write!(f, " {label}"),
        }
    }
}

/// The nearest character boundary at or below `at`.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str, span: Span) -> String {
        let mut errors = Errors::default();
        errors.push(&span, Problem::EmptyText);
        errors.finish("samebits.toml", text).unwrap_err().to_string()
    }

    #[test]
    fn an_error_shows_its_line_like_rustc_does() {
        assert_eq!(
            shown("version = 1\nname = \"\"\n", 19..21),
            "error: an empty string\n --> samebits.toml:2:8\n  |\n2 | name = \"\"\n  |        ^^ an unset variable?"
        );
    }

    #[test]
    fn what_steers_a_terminal_is_spelled_out() {
        let text = shown("# \u{1b}[31m\u{202e}\rx \u{9b}", 2..3);
        assert!(!text.contains(['\u{1b}', '\u{202e}', '\r', '\u{9b}']), "{text:?}");
        assert!(text.contains("\\u{1b}[31m\\u{202e}"), "{text}");
    }

    #[test]
    fn a_long_line_is_cut_around_the_error() {
        let text = format!("{} = 1 # {}", "k".repeat(500), "c".repeat(5000));
        let shown = shown(&text, 503..504);
        assert!(shown.lines().all(|line| line.chars().count() < 200), "{shown}");
        let (line, carets) = (shown.lines().nth(3).unwrap(), shown.lines().nth(4).unwrap());
        assert_eq!(line.chars().nth(carets.chars().position(|c| c == '^').unwrap()), Some('1'));
    }

    #[test]
    fn more_errors_than_anybody_reads_are_counted() {
        let mut errors = Errors::default();
        (0..2500).for_each(|_| errors.push(&(0..1), Problem::EmptyText));
        let errors = errors.finish("f", "x").unwrap_err();
        assert_eq!(errors.errors().len(), SHOWN);
        assert!(errors.to_string().ends_with("error: and 2400 more errors"));
    }

    proptest! {
        #[test]
        fn any_span_of_any_text_can_be_shown(text: String, start in 0usize..100, length in 0usize..100) {
            let shown = shown(&text, start..start + length);
            prop_assert!(shown.chars().all(|c| c == '\n' || !c.is_control()));
        }
    }
}
