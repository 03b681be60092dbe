//! Where the reports go: the files that were named, and those of the runner.

use std::cell::OnceCell;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::log::{Log, blobs};
use super::{
    Asked, Facts, PolicyFile, View, Word, annotations, buildkite, dotenv, github, junit, sarif, summary,
};
use crate::args::{Format, Output};
use crate::report::say;
use crate::session::{now, variable};

/// Switches off what is done without being asked for: `off`. `auto` is the default.
const SWITCH: &str = "SAMEBITS_CI";

/// Everything that is written for CI systems.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    asked: Option<Asked>,
    github: Option<Github>,
    /// Whether to tell Buildkite.
    buildkite: bool,
    /// The log that has a place of its own for the verdict.
    log: Option<Log>,
    /// Whether a yes is not worth a word.
    quiet: bool,
    policy: OnceCell<PolicyFile>,
}

/// The files of a runner of GitHub Actions.
#[derive(Debug)]
struct Github {
    output: Option<PathBuf>,
    summary: Option<PathBuf>,
    /// Whether it was asked for, so that it is trouble when it cannot be written.
    demanded: bool,
}

impl Reports {
    /// Finds out what is wanted, and that it can be written, before anything is done.
    pub(crate) fn open(outputs: &[Output], asked: Option<Asked>, quiet: bool) -> anyhow::Result<Self> {
        let formats = outputs.iter().map(|output| output.format);
        if asked.is_none()
            && let Some(format) = formats.clone().find(|format| format.is_for_ci())
        {
            anyhow::bail!(
                "`--output {}` is not for this verb: expected text or json; it is for check, promote, permit verify, \
                 deployed, removed and approve",
                format.name()
            );
        }
        let unasked = outputs.is_empty() && asked.is_some() && is_on()?;
        let github = match formats.clone().any(|format| format == Format::Github) {
            true => Some(Github::demanded()?),
            false if unasked => Github::found(),
            false => None,
        };
        let buildkite = unasked && buildkite::is_here(variable);
        // Reports in files are what such a job is made of; a result on stdout that was asked for is somebody else's.
        let log = match outputs.iter().all(|output| output.file.is_some()) && asked.is_some() && is_on()? {
            true => log(),
            false => None,
        };
        Ok(Self { asked, github, buildkite, log, quiet, policy: OnceCell::new() })
    }

    /// For a command line that was not understood, or outputs that cannot be: as much of it as can be.
    pub(crate) fn of_words(words: &[String], outputs: &[Output]) -> Self {
        let unasked = outputs.is_empty() && is_on().unwrap_or(false);
        let github = match outputs.iter().any(|output| output.format == Format::Github) {
            true => Github::demanded().ok(),
            false if unasked => Github::found(),
            false => None,
        };
        let buildkite = unasked && buildkite::is_here(variable);
        let files = outputs.iter().all(|output| output.file.is_some());
        let log = if files && is_on().unwrap_or(false) { log() } else { None };
        Self { asked: Asked::of_words(words), github, buildkite, log, quiet: false, policy: OnceCell::new() }
    }

    /// Whether the verb has something to tell.
    pub(crate) fn is_wanted(&self) -> bool {
        self.asked.is_some()
    }

    /// The policy file is known from here on.
    pub(crate) fn read_policy(&self, file: &Path, text: &str) {
        if self.asked.is_some() {
            let roots = ["GITHUB_WORKSPACE", "CI_PROJECT_DIR", "BUILDKITE_BUILD_CHECKOUT_PATH", "WORKSPACE"];
            let root = roots.into_iter().find_map(variable);
            // A second one would be another command.
            let _ = self.policy.set(PolicyFile::new(file, text, root.as_deref().map(Path::new)));
        }
    }

    /// One document; none of the formats that are not.
    pub(crate) fn document(&self, format: Format, facts: &Facts<'_>) -> anyhow::Result<Option<String>> {
        let (Some(asked), run) = (&self.asked, run()) else { return Ok(None) };
        let view = View { asked, facts, policy: self.policy.get(), run: run.as_deref() };
        Ok(match format {
            Format::Text | Format::Json | Format::Github => None,
            Format::Dotenv => Some(dotenv::render(&view)?),
            Format::Junit => Some(junit::render(&view)),
            Format::Annotations => Some(annotations::render(&view, blobs(variable).as_deref())),
            Format::Sarif => Some(sarif::render(&view)),
        })
    }

    /// Tells the runner of GitHub Actions, the agent of Buildkite or who reads the log, where there is one.
    pub(crate) fn tell(&self, facts: &Facts<'_>) -> anyhow::Result<()> {
        let Some(asked) = &self.asked else { return Ok(()) };
        let view = View { asked, facts, policy: self.policy.get(), run: None };
        if self.buildkite
            && let Err(error) = buildkite::tell(&view, variable("BUILDKITE_STEP_KEY").as_deref())
        {
            say(format_args!("warning: {error:#}"));
        }
        if let Some(log) = &self.log
            && !(self.quiet && matches!(facts.word, Word::Approved | Word::Recorded))
        {
            let name = random().unwrap_or_default();
            // Not by `anstream`: a marker is no colour.
            let _ = std::io::stderr().write_all(log.render(&view, now().as_second(), &name).as_bytes());
        }
        let Some(github) = &self.github else { return Ok(()) };
        let _ = anstream::stderr().write_all(github::annotations(&view).as_bytes());
        let told = github.write(&view);
        match told {
            Err(error) if !github.demanded => {
                say(format_args!("warning: {error:#}"));
                Ok(())
            }
            told => told,
        }
    }
}

impl<'a> Facts<'a> {
    /// What is known where there is no answer.
    pub(crate) fn trouble(causes: &'a [String], hint: Option<&'a str>, at: Option<usize>) -> Self {
        Self {
            word: Word::Undecided,
            service: String::new(),
            image: String::new(),
            pinned: None,
            permit: None,
            digest: None,
            codes: Vec::new(),
            requirements: &[],
            notes: &[],
            record: None,
            record_url: None,
            causes,
            hint,
            at,
        }
    }
}

impl Github {
    fn demanded() -> anyhow::Result<Self> {
        let output = variable("GITHUB_OUTPUT").map(PathBuf::from);
        let output = output.context(
            "`--output github` is for a step of GitHub Actions: expected the file for its outputs in GITHUB_OUTPUT",
        )?;
        let summary = variable("GITHUB_STEP_SUMMARY").map(PathBuf::from);
        for file in [Some(&output), summary.as_ref()].into_iter().flatten() {
            append(file, "")?;
        }
        Ok(Self { output: Some(output), summary, demanded: true })
    }

    fn found() -> Option<Self> {
        let file = |name| variable(name).map(PathBuf::from);
        let github = variable("GITHUB_ACTIONS").is_some_and(|value| value == "true");
        github.then(|| Self {
            output: file("GITHUB_OUTPUT"),
            summary: file("GITHUB_STEP_SUMMARY"),
            demanded: false,
        })
    }

    /// Both files are tried, whatever becomes of the first.
    fn write(&self, view: &View<'_>) -> anyhow::Result<()> {
        let outputs =
            self.output.as_deref().map_or(Ok(()), |file| append(file, &github::outputs(view, &random()?)));
        let summary = self.summary.as_deref().map_or(Ok(()), |file| {
            let taken = std::fs::metadata(file).map_or(0, |metadata| metadata.len());
            append(file, &summary::render(view, taken))
        });
        outputs.and(summary)
    }
}

/// The log that this is written to. GitLab shows colours, though it is no terminal.
fn log() -> Option<Log> {
    let plain = anstream::ColorChoice::global() == anstream::ColorChoice::Never;
    Log::found(!plain && variable("NO_COLOR").is_none(), variable)
}

/// Whether what nobody asked for may be done.
fn is_on() -> anyhow::Result<bool> {
    match variable(SWITCH).as_deref() {
        None | Some("auto") => Ok(true),
        Some("off") => Ok(false),
        Some(other) => anyhow::bail!("{SWITCH} is `{}`: expected off or auto", other.escape_default()),
    }
}

/// The page of this run, where the CI system says it.
fn run() -> Option<String> {
    let github = || {
        let (server, repository) = (variable("GITHUB_SERVER_URL")?, variable("GITHUB_REPOSITORY")?);
        Some(format!("{server}/{repository}/actions/runs/{}", variable("GITHUB_RUN_ID")?))
    };
    // GitLab, Buildkite, Jenkins.
    let others = || ["CI_JOB_URL", "BUILDKITE_BUILD_URL", "BUILD_URL"].into_iter().find_map(variable);
    github().or_else(others)
}

/// 128 bits that nobody can know who wrote a value.
fn random() -> anyhow::Result<String> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| anyhow::anyhow!("the system gives no random bytes"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Others have written into it, and will.
fn append(file: &Path, text: &str) -> anyhow::Result<()> {
    let opened = OpenOptions::new().append(true).create(true).open(file);
    opened.and_then(|mut opened| opened.write_all(text.as_bytes())).with_context(|| cannot_write(file))
}

pub(crate) fn cannot_write(file: &Path) -> String {
    format!("the output file {} cannot be written", file.display())
}
