//! What CI systems are told: pure functions from one view of the answer to the text each of them reads.
//!
//! Guarantees: the pinned reference is told only on yes, and only by `promote` and
//! `permit verify`; nothing foreign leaves the cell, line or
//! element it is in; what cannot be written whole is not written; no exit code comes from here, but for a report that was
//! asked for and cannot be written. Start at [`View`]; [`Reports`] does the input and output.

mod annotations;
mod buildkite;
mod dotenv;
mod github;
mod junit;
mod log;
mod policy;
mod reports;
mod sarif;
mod summary;
#[cfg(test)]
mod tests;
mod text;

pub(crate) use self::policy::PolicyFile;
pub(crate) use self::reports::{Reports, cannot_write};
use self::text::is_link;
use crate::args::{Command, PermitCommand, Promote};
use crate::output::RequirementStands;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// Yes.
    Approved,
    /// No.
    Denied,
    /// Neither: exit 2 or 3.
    Undecided,
    /// It was no question: a record was made.
    Recorded,
}

impl Word {
    fn said(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Undecided => "undecided",
            Self::Recorded => "recorded",
        }
    }

    /// In a word, as people are told.
    fn short(self) -> &'static str {
        match self {
            Self::Approved => "yes",
            Self::Denied => "no",
            Self::Undecided | Self::Recorded => self.said(),
        }
    }
}

/// What was typed, known before anything else is.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    verb: &'static str,
    image: String,
    environment: String,
    /// Whether the answer is yes or no.
    decides: bool,
}

impl Asked {
    /// None of the verbs that have nothing to tell a CI system.
    pub(crate) fn of(command: &Command) -> Option<Self> {
        let asked = |verb, image: &dyn std::fmt::Display, environment: &str, decides| {
            Some(Self { verb, image: image.to_string(), environment: environment.to_owned(), decides })
        };
        match command {
            Command::Check(ask) => asked("check", &ask.image, &ask.to, true),
            Command::Promote(Promote { ask, .. }) => asked("promote", &ask.image, &ask.to, true),
            Command::Permit(PermitCommand::Verify(args)) => {
                asked("permit verify", &args.image, &args.environment, true)
            }
            Command::Deployed(args) => asked("deployed", &args.image, &args.environment, false),
            Command::Removed(args) => asked("removed", &args.image, &args.environment, false),
            Command::Approve(args) => asked("approve", &args.image, &args.to, false),
            Command::Init(_)
            | Command::Revoke(_)
            | Command::Freeze(_)
            | Command::Thaw(_)
            | Command::Reconcile(_)
            | Command::Copy(_)
            | Command::Verify(_)
            | Command::Status(_)
            | Command::Log(_)
            | Command::Show(_)
            | Command::Replay(_)
            | Command::Roots(_)
            | Command::Ledger(_)
            | Command::Explain(_)
            | Command::VerifyFile(_)
            | Command::Doctor(_)
            | Command::Completions(_)
            | Command::Man(_) => None,
        }
    }

    /// A command line that was not understood, if it looks like one of these verbs.
    pub(crate) fn of_words(words: &[String]) -> Option<Self> {
        let verbs = [
            ("check", "check", true),
            ("promote", "promote", true),
            ("permit", "permit verify", true),
            ("deployed", "deployed", false),
            ("removed", "removed", false),
            ("approve", "approve", false),
        ];
        let typed = words.iter().find_map(|word| verbs.into_iter().find(|(typed, ..)| typed == word));
        typed.map(|(_, verb, decides)| Self {
            verb,
            image: String::new(),
            environment: String::new(),
            decides,
        })
    }
}

/// What a report has to say.
pub(crate) struct Facts<'a> {
    pub(crate) word: Word,
    /// The service; empty where it is not known.
    pub(crate) service: String,
    /// The image it is about; empty where it is only known what was typed.
    pub(crate) image: String,
    /// The reference to deploy: only on yes, and only from `promote` and `permit verify`.
    pub(crate) pinned: Option<String>,
    /// The permit to deploy it: only from `promote`, where one was asked for.
    pub(crate) permit: Option<String>,
    pub(crate) digest: Option<String>,
    pub(crate) codes: Vec<String>,
    pub(crate) requirements: &'a [RequirementStands],
    pub(crate) notes: &'a [String],
    pub(crate) record: Option<u64>,
    /// Where that can be read, where the policy says it.
    pub(crate) record_url: Option<&'a str>,
    /// Why there is no answer, outermost first.
    pub(crate) causes: &'a [String],
    pub(crate) hint: Option<&'a str>,
    /// The byte of the policy file that is to blame for that.
    pub(crate) at: Option<usize>,
}

/// One answer, with all that is known around it.
struct View<'a> {
    asked: &'a Asked,
    facts: &'a Facts<'a>,
    policy: Option<&'a PolicyFile>,
    /// The page of this run.
    run: Option<&'a str>,
}

impl View<'_> {
    fn image(&self) -> &str {
        match self.facts.image.as_str() {
            "" => &self.asked.image,
            image => image,
        }
    }

    /// Where the record can be read: a link, or nothing.
    fn record_url(&self) -> Option<&str> {
        self.facts.record_url.filter(|url| is_link(url))
    }

    fn file(&self) -> Option<&str> {
        self.policy.map(PolicyFile::shown)
    }

    /// The line of the policy file that asks for it.
    fn line(&self, stands: &RequirementStands) -> Option<usize> {
        let same = self.facts.requirements.iter().filter(|other| other.requirement == stands.requirement);
        let same: Vec<_> = same.collect();
        let which = same.iter().position(|other| std::ptr::eq(*other, stands))?;
        let (service, environment) = (&self.facts.service, &self.asked.environment);
        self.policy?.line(&stands.requirement, (which, same.len()), service, environment)
    }

    /// Why there is no answer, and what to do.
    fn trouble(&self) -> String {
        let hint = self.facts.hint.map(|hint| format!("hint: {hint}"));
        let lines: Vec<&str> = self.facts.causes.iter().map(String::as_str).chain(hint.as_deref()).collect();
        lines.join("\n")
    }
}
