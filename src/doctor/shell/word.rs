//! Words: quotes taken away, substitutions found (POSIX.1-2024, 2.2 and 2.6).

use super::{Reader, Word, nested};

impl Reader {
    /// A word, up to a blank or an operator; empty if one stands here.
    pub(super) fn word(&mut self) -> Word {
        let mut word = Word::default();
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some('<' | '>'), Some('(')) => {
                    self.skip(1);
                    self.substitution(&mut word);
                }
                (None, _) | (Some(' ' | '\t' | '\r' | '\n' | ';' | '&' | '|' | '(' | ')' | '<' | '>'), _) => {
                    return word;
                }
                (Some('\\'), Some('\n')) => self.skip(2),
                (Some('\\'), _) => {
                    self.skip(1);
                    word.text.extend(self.take());
                }
                (Some('\''), _) => {
                    word.quoted = true;
                    self.skip(1);
                    while let Some(c) = self.take().filter(|c| *c != '\'') {
                        word.text.push(c);
                    }
                }
                (Some('"'), _) => self.double_quoted(&mut word),
                (Some('$'), Some('\'' | '"')) => self.skip(1),
                (Some('$' | '`'), _) => self.expansion(&mut word),
                (Some(c), _) => {
                    word.text.push(c);
                    self.skip(1);
                }
            }
        }
    }

    fn double_quoted(&mut self, word: &mut Word) {
        word.quoted = true;
        self.skip(1);
        loop {
            match (self.peek(0), self.peek(1)) {
                (None, _) => return,
                (Some('"'), _) => return self.skip(1),
                (Some('\\'), Some('\n')) => self.skip(2),
                (Some('\\'), Some('"' | '\\' | '$' | '`')) => {
                    self.skip(1);
                    word.text.extend(self.take());
                }
                (Some('$' | '`'), _) => self.expansion(word),
                (Some(c), _) => {
                    word.text.push(c);
                    self.skip(1);
                }
            }
        }
    }

    fn expansion(&mut self, word: &mut Word) {
        let start = self.at;
        if self.is("${{") {
            while self.at < self.text.len() && !self.is("}}") {
                self.skip(1);
            }
            self.skip(2);
        } else if self.is("${") {
            let mut open = 0_usize;
            while let Some(c) = self.take() {
                match c {
                    '{' => open += 1,
                    '}' if open == 1 => break,
                    '}' => open -= 1,
                    _ => {}
                }
            }
        } else if self.is("$((") {
            self.skip(1);
            self.balanced();
        } else if self.is("$(") {
            self.skip(1);
            self.substitution(word);
            word.text.push_str("$(…)");
            return;
        } else if self.peek(0) == Some('`') {
            self.backquoted(word);
            word.text.push_str("$(…)");
            return;
        } else {
            self.skip(1);
            if self
                .peek(0)
                .is_some_and(|c| c.is_ascii_digit() || matches!(c, '?' | '@' | '*' | '#' | '!' | '$' | '-'))
            {
                self.skip(1);
            }
        }
        let end = self.at.min(self.text.len());
        word.text.extend(&self.text[start.min(end)..end]);
    }

    /// What stands in `( … )`, as commands.
    fn substitution(&mut self, word: &mut Word) {
        self.skip(1);
        let waiting = std::mem::take(&mut self.heredocs);
        let lists = self.lists(&[]);
        while self.peek(0).is_some_and(|c| c != ')') {
            self.skip(1);
        }
        self.skip(1);
        self.heredocs = waiting;
        word.inner.push(lists);
    }

    fn backquoted(&mut self, word: &mut Word) {
        let line = self.line;
        self.skip(1);
        let mut inner = String::new();
        while let Some(c) = self.take() {
            match c {
                '`' => break,
                '\\' => inner.extend(self.take()),
                c => inner.push(c),
            }
        }
        let script = nested(&inner, line, self.depth + 1);
        self.lost |= script.lost;
        word.inner.push(script.lists);
    }

    /// Past `( … )`, whatever it is.
    pub(super) fn balanced(&mut self) {
        let mut open = 0_usize;
        while let Some(c) = self.take() {
            match c {
                '(' => open += 1,
                ')' if open <= 1 => return,
                ')' => open -= 1,
                _ => {}
            }
        }
    }
}
