//! YAML with places, for files that others wrote.
//!
//! Guarantees: an alias counts as much as what it stands for, so that no file grows beyond [`NODES`]; nothing is deeper
//! than [`DEPTH`]; a key that is there twice is an error, as it is for GitHub and GitLab. A scalar is its text: `true` is
//! a word here, and what it means is for the reader to say.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use crate::digest::shorten;

/// How many nodes a file may have, with aliases followed.
const NODES: usize = 50_000;

/// How many bytes of text they may have together.
const TEXT: usize = 4 * super::LIMIT;

/// How deep a file may go.
const DEPTH: usize = 64;

/// Why a file could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum YamlError {
    #[error("it is longer than {} bytes", super::LIMIT)]
    TooLong,
    #[error("it is no YAML: {info} (line {line})")]
    Syntax { info: String, line: usize },
    #[error("with its aliases it has more than {NODES} values or {TEXT} bytes, or is deeper than {DEPTH}")]
    TooLarge,
    #[error("the key `{key}` is there twice (line {line})")]
    Twice { key: String, line: usize },
    #[error("it is empty")]
    Empty,
}

/// A value and where it begins; a literal block (`|`) begins with its text.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) tag: Option<String>,
    pub(super) value: Value,
    /// How many nodes it is, with itself, and how many bytes of text.
    size: (usize, usize),
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Text. Of a literal block (`|`) each line of the text is a line of the file.
    Scalar {
        text: String,
        literal: bool,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// The value of a key; none where this is no map.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|(_, value)| value)
    }

    /// A key with its value.
    pub(super) fn entry(&self, key: &str) -> Option<&(Self, Self)> {
        self.entries().iter().find(|(name, _)| name.text() == Some(key))
    }

    /// The value at the end of a path of keys.
    pub(super) fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// The entries of a map; none of anything else.
    pub(super) fn entries(&self) -> &[(Self, Self)] {
        match &self.value {
            Value::Map(entries) => entries,
            Value::Scalar { .. } | Value::List(_) => &[],
        }
    }

    /// The items of a list; none of anything else.
    pub(super) fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            Value::Scalar { .. } | Value::Map(_) => &[],
        }
    }

    /// The text of a scalar.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The texts of a list of scalars, or of one alone.
    pub(super) fn texts(&self) -> Vec<&str> {
        match &self.value {
            Value::Scalar { text, .. } => vec![text],
            Value::List(items) => items.iter().filter_map(Self::text).collect(),
            Value::Map(_) => Vec::new(),
        }
    }

    /// Whether there is nothing: an empty scalar, or YAML's null.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true, .. } if matches!(text.as_str(), "" | "~" | "null"))
    }
}

/// The last document of a file: of two, the first says what a GitLab component asks for.
pub(super) fn read(text: &str) -> Result<Node, YamlError> {
    if text.len() > super::LIMIT {
        return Err(YamlError::TooLong);
    }
    let syntax =
        |error: ScanError| YamlError::Syntax { info: shorten(error.info()), line: error.marker().line() };
    let mut building = Building::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(syntax)?;
        building.take(event, span)?;
    }
    building.done.filter(|node| !node.is_null()).ok_or(YamlError::Empty)
}

/// A list or map on its way.
struct Open {
    node: Node,
    anchor: usize,
    /// The key that waits for its value.
    key: Option<Node>,
}

#[derive(Default)]
struct Building {
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    done: Option<Node>,
    /// Of all documents, and of all that aliases stand for.
    size: (usize, usize),
}

impl Building {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), YamlError> {
        let node = |tag: Option<_>, value| {
            let length = match &value {
                Value::Scalar { text, .. } => text.len(),
                Value::List(_) | Value::Map(_) => 0,
            };
            let tag = tag.map(|tag: std::borrow::Cow<'_, saphyr_parser::Tag>| tag.suffix.clone());
            Node { line: span.start.line(), column: span.start.col() + 1, tag, value, size: (1, length) }
        };
        match event {
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
            Event::Scalar(text, style, anchor, tag) => {
                let (literal, plain) = (style == ScalarStyle::Literal, style == ScalarStyle::Plain);
                let node = node(tag, Value::Scalar { text: text.into_owned(), literal, plain });
                self.keep(node, anchor)
            }
            Event::SequenceStart(anchor, tag) => self.begin(node(tag, Value::List(Vec::new())), anchor),
            Event::MappingStart(anchor, tag) => self.begin(node(tag, Value::Map(Vec::new())), anchor),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open { node, anchor, .. }) => self.put(node, anchor),
                None => Ok(()),
            },
            Event::Alias(anchor) => {
                // Known to the parser, and not here: what it stands for is not at its end yet.
                let size = self.anchors.get(&anchor).map(|node| node.size).ok_or(YamlError::TooLarge)?;
                self.grow(size.0, size.1)?;
                let node = self.anchors.get(&anchor).cloned().ok_or(YamlError::TooLarge)?;
                self.put(node, 0)
            }
        }
    }

    fn grow(&mut self, nodes: usize, text: usize) -> Result<(), YamlError> {
        self.size = (self.size.0 + nodes, self.size.1 + text);
        match self.size.0 > NODES || self.size.1 > TEXT {
            true => Err(YamlError::TooLarge),
            false => Ok(()),
        }
    }

    fn begin(&mut self, node: Node, anchor: usize) -> Result<(), YamlError> {
        self.grow(1, 0)?;
        if self.open.len() >= DEPTH {
            return Err(YamlError::TooLarge);
        }
        self.open.push(Open { node, anchor, key: None });
        Ok(())
    }

    fn keep(&mut self, node: Node, anchor: usize) -> Result<(), YamlError> {
        self.grow(node.size.0, node.size.1)?;
        self.put(node, anchor)
    }

    /// Into the list or map that is open, or as the document.
    fn put(&mut self, node: Node, anchor: usize) -> Result<(), YamlError> {
        if anchor > 0 {
            // It is kept a second time: of anchors in anchors, each with all that is in it.
            self.grow(node.size.0, node.size.1)?;
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.done = Some(node);
            return Ok(());
        };
        open.node.size = (open.node.size.0 + node.size.0, open.node.size.1 + node.size.1);
        match (&mut open.node.value, open.key.take()) {
            (Value::List(items), _) => items.push(node),
            (Value::Map(entries), Some(key)) => {
                let twice =
                    |text: &str| text != "<<" && entries.iter().any(|(old, _)| old.text() == Some(text));
                if let Some(text) = key.text().filter(|text| twice(text)) {
                    return Err(YamlError::Twice { key: shorten(text), line: key.line });
                }
                entries.push((key, node));
            }
            (Value::Map(_) | Value::Scalar { .. }, _) => open.key = Some(node),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_value_knows_its_line_and_column() {
        let file = read("on: push\njobs:\n  a:\n    run: |\n      first\n      second\n").unwrap();
        assert_eq!(file.get("on").and_then(Node::text), Some("push"));
        let run = file.at(&["jobs", "a", "run"]).unwrap();
        assert_eq!((run.line, run.text()), (5, Some("first\nsecond\n")));
        let (key, _) = file.at(&["jobs", "a"]).unwrap().entry("run").unwrap();
        assert_eq!((key.line, key.column), (4, 5));
    }

    #[test]
    fn an_alias_is_what_it_stands_for() {
        let file = read("a: &x [1, 2]\nb: *x\n").unwrap();
        assert_eq!(file.get("b").unwrap().texts(), ["1", "2"]);
    }

    #[test]
    fn f4_a_file_of_aliases_of_aliases_is_refused() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..12 {
            bomb += &format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(", "));
        }
        let error = read(&bomb).unwrap_err();
        assert!(matches!(error, YamlError::TooLarge | YamlError::Syntax { .. }), "{error}");
        // Long text, many times, is the same bomb.
        let text = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), vec!["*a"; 100].join(", "));
        assert_eq!(read(&text).unwrap_err(), YamlError::TooLarge);
        // Anchors in anchors are kept each.
        let nested: String = (0..40).map(|n| format!("&a{n} [")).collect();
        let text = format!("a: {nested}{}{}\n", "x,".repeat(20_000), "]".repeat(40));
        assert_eq!(read(&text).unwrap_err(), YamlError::TooLarge);
        // One that contains itself.
        assert!(read("a: &a [*a]\n").is_err());
    }

    #[test]
    fn f4_a_file_that_is_too_deep_or_too_long_is_refused() {
        for deep in ["[".repeat(500_000), "{a: ".repeat(100_000), "- ".repeat(100_000), "? ".repeat(100_000)]
        {
            assert!(read(&deep).is_err());
        }
        let level = |n: usize| format!("{}x{}", "[".repeat(n), "]".repeat(n));
        assert!(read(&level(DEPTH)).is_ok());
        assert_eq!(read(&level(DEPTH + 1)).unwrap_err(), YamlError::TooLarge);
        assert_eq!(read(&"#".repeat(super::super::LIMIT + 1)).unwrap_err(), YamlError::TooLong);
    }

    #[test]
    fn a_key_twice_and_a_file_of_nothing_are_errors() {
        assert!(matches!(read("a: 1\na: 2\n"), Err(YamlError::Twice { line: 2, .. })));
        for empty in ["", "# only this\n", "~\n", "---\n"] {
            assert_eq!(read(empty).unwrap_err(), YamlError::Empty, "{empty:?}");
        }
        assert!(matches!(read("a: [\n"), Err(YamlError::Syntax { .. })));
    }

    #[test]
    fn of_two_documents_the_last_counts() {
        let file = read("spec:\n  inputs: {}\n---\njob:\n  script: [a]\n").unwrap();
        assert!(file.get("job").is_some() && file.get("spec").is_none());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[-a-c:&*!|>\\[\\]{},#'\" \n]{0,200}") {
            let _ = read(&text);
        }
    }
}
