//! Shell scripts, read as far as it takes to see whose exit code counts (POSIX.1-2024, Shell Command Language, 2.10).
//!
//! Guarantees: every command is found that the shell would find, as far as its text says; expressions of a CI system
//! (`${{ … }}`) are text. What is no shell is read as commands that nobody knows. Nothing is expanded.

mod word;

/// How deep commands may stand in commands.
const DEPTH: usize = 32;

/// Pipelines with `&&` and `||` between them, up to `;`, `&` or the end of the line.
#[derive(Debug, Default)]
pub(super) struct List {
    pub(super) pipelines: Vec<Pipeline>,
    /// What stands behind each pipeline but the last.
    pub(super) joins: Vec<Join>,
    pub(super) background: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Join {
    And,
    Or,
}

#[derive(Debug, Default)]
pub(super) struct Pipeline {
    pub(super) negated: bool,
    pub(super) commands: Vec<Command>,
}

#[derive(Debug)]
pub(super) enum Command {
    Simple(Simple),
    Group {
        /// Whether it has a shell of its own: `( … )`.
        subshell: bool,
        /// What `if`, `while` and `until` ask.
        conditions: Vec<Vec<List>>,
        bodies: Vec<Vec<List>>,
    },
}

#[derive(Debug, Default)]
pub(super) struct Simple {
    pub(super) line: usize,
    /// `NAME=value` before the command, or alone.
    pub(super) assignments: Vec<Word>,
    pub(super) words: Vec<Word>,
}

/// A word without its quotes; what is to be expanded stands in it as written.
#[derive(Debug, Default)]
pub(super) struct Word {
    pub(super) text: String,
    /// The commands in `$(…)`, backquotes, `<(…)`.
    pub(super) inner: Vec<Vec<List>>,
    quoted: bool,
}

/// A script that was read.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) lists: Vec<List>,
    /// Whether something was nested deeper than anybody writes: then not everything is here.
    pub(super) lost: bool,
}

/// Reads a script whose first line is line `line`.
pub(super) fn read(text: &str, line: usize) -> Script {
    nested(text, line, 0)
}

fn nested(text: &str, line: usize, depth: usize) -> Script {
    let mut reader =
        Reader { text: text.chars().collect(), at: 0, line, depth, lost: false, heredocs: Vec::new() };
    let mut lists = Vec::new();
    // What closes nothing, a `)` or `done` too many, is passed over.
    while reader.at < reader.text.len() {
        lists.extend(reader.lists(&[]));
        reader.at += 1;
    }
    Script { lists, lost: reader.lost }
}

struct Reader {
    text: Vec<char>,
    at: usize,
    line: usize,
    depth: usize,
    lost: bool,
    /// Delimiters of here-documents whose bodies begin on the next line, and whether tabs are stripped.
    heredocs: Vec<(String, bool)>,
}

/// Words that begin or end something, where a command may begin.
const CLOSING: [&str; 8] = ["then", "elif", "else", "fi", "do", "done", "esac", "}"];

impl Reader {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.text.get(self.at + ahead).copied()
    }

    fn is(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(ahead, c)| self.peek(ahead) == Some(c))
    }

    fn take(&mut self) -> Option<char> {
        let c = self.peek(0)?;
        self.at += 1;
        if c == '\n' {
            self.line += 1;
        }
        Some(c)
    }

    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            self.take();
        }
    }

    /// Blanks and continued lines.
    fn blanks(&mut self) {
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some(' ' | '\t' | '\r'), _) => self.skip(1),
                (Some('\\'), Some('\n')) => self.skip(2),
                (Some('#'), _) => {
                    while self.peek(0).is_some_and(|c| c != '\n') {
                        self.at += 1;
                    }
                }
                _ => return,
            }
        }
    }

    /// A line break, with the here-documents behind it.
    fn line_break(&mut self) {
        self.skip(1);
        for (delimiter, tabs) in std::mem::take(&mut self.heredocs) {
            while self.at < self.text.len() {
                let rest = self.text[self.at..].iter();
                let line: String = rest.take_while(|c| **c != '\n').collect();
                self.skip(line.chars().count() + 1);
                let line = line.trim_end_matches('\r');
                if (if tabs { line.trim_start_matches('\t') } else { line }) == delimiter {
                    break;
                }
            }
        }
    }

    /// Everything between commands.
    fn separators(&mut self) {
        loop {
            self.blanks();
            match self.peek(0) {
                Some('\n') => self.line_break(),
                Some(';') if self.peek(1) != Some(';') => self.skip(1),
                _ => return,
            }
        }
    }

    /// The unquoted word that begins here, if it is one that could be a reserved word.
    fn reserved(&self) -> String {
        let ends = |c: char| c.is_whitespace() || matches!(c, ';' | '&' | '|' | '(' | ')' | '<' | '>');
        let word: String = self.text[self.at..].iter().take(9).take_while(|c| !ends(**c)).collect();
        word
    }

    fn eat(&mut self, word: &str) -> bool {
        self.blanks();
        let found = self.reserved() == word;
        if found {
            self.skip(word.chars().count());
        }
        found
    }

    /// Commands up to one of these words, a `)`, a `;;` or the end; what ends them is not eaten.
    fn lists(&mut self, until: &[&str]) -> Vec<List> {
        let mut lists = Vec::new();
        if self.depth >= DEPTH {
            // Passed over, quickly and whole: what is deeper is not looked at.
            self.lost = true;
            self.at = self.text.len();
            return lists;
        }
        self.depth += 1;
        loop {
            self.separators();
            let word = self.reserved();
            let closed = matches!(self.peek(0), None | Some(')')) || self.is(";;");
            if closed || until.contains(&word.as_str()) || CLOSING.contains(&word.as_str()) {
                break;
            }
            let before = self.at;
            lists.push(self.list());
            if self.at == before {
                self.skip(1);
            }
        }
        self.depth -= 1;
        lists
    }

    fn list(&mut self) -> List {
        let mut list = List::default();
        loop {
            list.pipelines.push(self.pipeline());
            self.blanks();
            let join = match (self.is("&&"), self.is("||")) {
                (true, _) => Join::And,
                (_, true) => Join::Or,
                (false, false) => break,
            };
            self.skip(2);
            list.joins.push(join);
            while {
                self.blanks();
                self.peek(0) == Some('\n')
            } {
                self.line_break();
            }
        }
        if self.peek(0) == Some('&') {
            self.skip(1);
            list.background = true;
        }
        list
    }

    fn pipeline(&mut self) -> Pipeline {
        let mut pipeline = Pipeline { negated: self.eat("!"), commands: Vec::new() };
        loop {
            pipeline.commands.push(self.command());
            self.blanks();
            match self.peek(0) {
                Some('|') if self.peek(1) != Some('|') => {
                    self.skip(if self.peek(1) == Some('&') { 2 } else { 1 });
                    while {
                        self.blanks();
                        self.peek(0) == Some('\n')
                    } {
                        self.line_break();
                    }
                }
                _ => return pipeline,
            }
        }
    }

    fn command(&mut self) -> Command {
        self.blanks();
        let group = |conditions, bodies| Command::Group { subshell: false, conditions, bodies };
        let word = self.reserved();
        match word.as_str() {
            "if" => {
                let (mut conditions, mut bodies) = (Vec::new(), Vec::new());
                self.skip(2);
                loop {
                    conditions.push(self.lists(&["then"]));
                    self.eat("then");
                    bodies.push(self.lists(&["elif", "else", "fi"]));
                    if !self.eat("elif") {
                        break;
                    }
                }
                if self.eat("else") {
                    bodies.push(self.lists(&["fi"]));
                }
                self.eat("fi");
                self.redirections();
                group(conditions, bodies)
            }
            "while" | "until" => {
                self.skip(5);
                let condition = self.lists(&["do"]);
                let body = self.body();
                group(vec![condition], vec![body])
            }
            "for" | "select" => {
                self.skip(word.len());
                while !matches!(self.peek(0), None | Some(';' | '\n')) {
                    if self.word().text.is_empty() {
                        self.skip(1);
                    }
                    self.blanks();
                }
                self.separators();
                let body = self.body();
                group(Vec::new(), vec![body])
            }
            "case" => self.case(),
            "{" => {
                self.skip(1);
                let body = self.lists(&["}"]);
                self.eat("}");
                self.redirections();
                group(Vec::new(), vec![body])
            }
            "function" => {
                self.skip(8);
                self.blanks();
                self.word();
                self.parentheses();
                self.separators();
                self.function()
            }
            "[[" => self.test(),
            _ if self.is("((") => {
                self.balanced();
                Command::Simple(Simple { line: self.line, ..Simple::default() })
            }
            _ if self.peek(0) == Some('(') => {
                self.skip(1);
                let body = self.lists(&[]);
                self.skip(usize::from(self.peek(0) == Some(')')));
                self.redirections();
                Command::Group { subshell: true, conditions: Vec::new(), bodies: vec![body] }
            }
            _ => self.simple(),
        }
    }

    fn function(&mut self) -> Command {
        match self.depth >= DEPTH {
            true => {
                self.lost = true;
                Command::Simple(Simple::default())
            }
            false => {
                self.depth += 1;
                let body = self.command();
                self.depth -= 1;
                body
            }
        }
    }

    fn body(&mut self) -> Vec<List> {
        self.eat("do");
        let body = self.lists(&["done"]);
        self.eat("done");
        self.redirections();
        body
    }

    fn case(&mut self) -> Command {
        self.skip(4);
        self.blanks();
        self.word();
        self.separators();
        self.eat("in");
        let mut bodies = Vec::new();
        loop {
            self.separators();
            if self.at >= self.text.len() || self.eat("esac") {
                break;
            }
            while self.peek(0).is_some_and(|c| c != ')') {
                if self.word().text.is_empty() {
                    self.skip(1);
                }
            }
            self.skip(1);
            bodies.push(self.lists(&["esac"]));
            while matches!(self.peek(0), Some(';' | '&')) {
                self.skip(1);
            }
            if self.peek(0) == Some(')') {
                self.skip(1);
            }
            let word = self.reserved();
            if CLOSING.contains(&word.as_str()) && word != "esac" {
                break;
            }
        }
        self.redirections();
        Command::Group { subshell: false, conditions: Vec::new(), bodies }
    }

    /// `[[ … ]]`, whose operators are its own.
    fn test(&mut self) -> Command {
        let mut simple = Simple { line: self.line, ..Simple::default() };
        while self.at < self.text.len() && !self.is("]]") {
            let word = self.word();
            match word.text.is_empty() && word.inner.is_empty() && !word.quoted {
                true => self.skip(1),
                false => simple.words.push(word),
            }
            if self.peek(0) == Some('\n') && simple.words.len() > 1000 {
                break;
            }
        }
        self.skip(2);
        Command::Simple(simple)
    }

    fn simple(&mut self) -> Command {
        let mut simple = Simple { line: self.line, ..Simple::default() };
        loop {
            self.blanks();
            if self.redirection(&mut simple) {
                continue;
            }
            match self.peek(0) {
                None | Some('\n' | ';' | '&' | '|' | ')') => return Command::Simple(simple),
                Some('(') if simple.words.len() == 1 && simple.assignments.is_empty() => {
                    self.parentheses();
                    self.separators();
                    return self.function();
                }
                Some('(') => self.balanced(),
                Some(_) => {
                    let word = self.word();
                    match simple.words.is_empty() && is_assignment(&word.text) {
                        true => simple.assignments.push(word),
                        false => simple.words.push(word),
                    }
                }
            }
        }
    }

    fn parentheses(&mut self) {
        self.blanks();
        if self.peek(0) == Some('(') {
            self.skip(1);
            self.blanks();
            self.skip(usize::from(self.peek(0) == Some(')')));
        }
    }

    fn redirections(&mut self) {
        let mut unused = Simple::default();
        loop {
            self.blanks();
            if !self.redirection(&mut unused) {
                return;
            }
        }
    }

    /// A redirection with its target, if one stands here.
    fn redirection(&mut self, simple: &mut Simple) -> bool {
        let digits = self.text[self.at..].iter().take_while(|c| c.is_ascii_digit()).count();
        let both = self.is("&>");
        if !both && !matches!(self.peek(digits), Some('<' | '>')) {
            return false;
        }
        self.skip(if both { 1 } else { digits });
        if matches!(self.peek(1), Some('(')) {
            let word = self.word();
            simple.words.push(word);
            return true;
        }
        let heredoc = self.is("<<") && !self.is("<<<");
        while matches!(self.peek(0), Some('<' | '>' | '&' | '|')) {
            self.skip(1);
        }
        let tabs = heredoc && self.peek(0) == Some('-');
        self.skip(usize::from(tabs));
        self.blanks();
        let target = self.word();
        if heredoc {
            self.heredocs.push((target.text, tabs));
        } else if !target.inner.is_empty() {
            simple.words.push(target);
        }
        true
    }
}

/// `NAME=…` or `NAME+=…` (2.9.1).
pub(super) fn is_assignment(text: &str) -> bool {
    let Some((name, _)) = text.split_once('=') else { return false };
    let name = name.strip_suffix('+').unwrap_or(name);
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests;
