//! Where a result goes: stdout, the files that were named, and what a CI system reads.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;

use super::{Report, json};
use crate::args::{Command, Common, Format, Output, outputs_in};
use crate::ci::{Asked, Reports, cannot_write};

/// Where the result goes: stdout, and every file that was named.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    /// Whether stdout is for a program; else it has text.
    json: bool,
    files: Vec<(Format, PathBuf)>,
    ci: Reports,
}

/// The answer was given, and a report of it, or stdout, could not be written.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct Unwritten(anyhow::Error);

impl Outputs {
    /// For a command line that is wrong: text on stdout, and every report that can be written.
    pub(crate) fn of_words(words: &[String]) -> Self {
        let asked = outputs_in(words);
        let ci = Reports::of_words(words, &asked);
        let files = asked.into_iter().filter_map(|output| Some((output.format, output.file?)));
        let files = files.filter(|(_, file)| ci.is_wanted() && std::fs::write(file, "").is_ok()).collect();
        Self { json: false, files, ci }
    }

    /// Checks every `--output` before anything is done: the files are emptied, so that none is left with an answer
    /// to an earlier question.
    pub(crate) fn open(common: &Common, command: &Command) -> anyhow::Result<Self> {
        let asked = &common.output;
        let ci = Reports::open(asked, Asked::of(command), common.quiet)?;
        let mut stdout = None;
        let mut files = Vec::new();
        for Output { format, file } in asked {
            match (file, format) {
                (None, Format::Text | Format::Json) if stdout.is_some_and(|other| other != *format) => {
                    anyhow::bail!(
                        "stdout takes one format: expected the other with a file, as in `--output json=FILE`"
                    );
                }
                (None, Format::Text | Format::Json) => stdout = Some(*format),
                (
                    None,
                    Format::Github | Format::Dotenv | Format::Junit | Format::Annotations | Format::Sarif,
                ) => {}
                (Some(file), _) => {
                    std::fs::write(file, "").with_context(|| cannot_write(file))?;
                    files.push((*format, file.clone()));
                }
            }
        }
        Ok(Self { json: stdout == Some(Format::Json), files, ci })
    }

    /// Whether stdout is for a program, so that nothing of the result is said to people.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// What CI systems are told.
    pub(crate) fn ci(&self) -> &Reports {
        &self.ci
    }

    /// Writes a result everywhere. What cannot be written keeps nothing else from being written.
    pub(crate) fn emit(&self, report: &impl Report) -> anyhow::Result<()> {
        let reported = self.report(report);
        let shown = match self.json {
            false => to_stdout(&report.text()),
            true => json(report).map_err(anyhow::Error::from).and_then(|json| to_stdout(&json)),
        };
        reported.and(shown).map_err(|error| Unwritten(error).into())
    }

    /// As [`Outputs::emit`], but text on stdout is only `line`, and the rest is said on stderr unless `quiet`. The
    /// line is written last, so that whoever reads it knows that everything else was tried; it is written even if a
    /// file was not, for what it says has happened.
    pub(crate) fn emit_line(
        &self,
        report: &impl Report,
        line: Option<&str>,
        quiet: bool,
    ) -> anyhow::Result<()> {
        if self.json {
            return self.emit(report);
        }
        if !quiet {
            let _ = anstream::stderr().write_all(report.text().as_bytes());
        }
        let reported = self.report(report);
        let shown = match line {
            Some(line) => to_stdout(&format!("{line}\n")),
            None => Ok(()),
        };
        reported.and(shown).map_err(|error| Unwritten(error).into())
    }

    /// Writes why there is no result, wherever a program may read it; people were told on stderr.
    pub(crate) fn trouble(&self, trouble: &impl Report) -> anyhow::Result<()> {
        let shown = match self.json {
            true => json(trouble).map_err(anyhow::Error::from).and_then(|json| to_stdout(&json)),
            false => Ok(()),
        };
        self.report(trouble).and(shown)
    }

    /// Every file, and what the CI system reads: each is tried, and the first that failed is the error.
    fn report(&self, report: &impl Report) -> anyhow::Result<()> {
        let mut told = Ok(());
        for (format, file) in &self.files {
            let written = self
                .render(*format, report)
                .and_then(|text| std::fs::write(file, text).map_err(anyhow::Error::from))
                .with_context(|| cannot_write(file));
            told = told.and(written);
        }
        match report.facts() {
            Some(facts) => told.and(self.ci.tell(&facts)),
            None => told,
        }
    }

    fn render(&self, format: Format, report: &impl Report) -> anyhow::Result<String> {
        match format {
            Format::Text => Ok(anstream::adapter::strip_str(&report.text()).to_string()),
            Format::Json => Ok(json(report)?),
            Format::Github | Format::Dotenv | Format::Junit | Format::Annotations | Format::Sarif => {
                match report.facts() {
                    Some(facts) => Ok(self.ci.document(format, &facts)?.unwrap_or_default()),
                    None => Ok(String::new()),
                }
            }
        }
    }
}

/// A reader that has gone away has read enough (`samebits log | head`).
pub(crate) fn to_stdout(text: &str) -> anyhow::Result<()> {
    let mut stdout = anstream::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("the result cannot be written to stdout"),
    }
}
