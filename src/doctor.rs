//! Where the gate is left open: by its policy file, by the workflows around it, by the environments of the forge.
//!
//! Guarantees: a finding names its place, what stands there, what should, and the fix. What could not be read is said,
//! and is never "nothing found". Whatever a file holds, reading it takes bounded time, memory and stack.
//! Never does: I/O; run, expand or fetch anything that a file names; judge what only a run would show. It looks for known
//! mistakes: no findings means none of these, not that there are no others.
//!
//! Start at [`policy`], [`callable`] and [`workflows`]; [`Code`] lists everything that can be found. docs/doctor.md has a paragraph for
//! each.

mod deploy;
mod environments;
mod github;
mod gitlab;
mod rules;
mod script;
mod shell;
mod steps;
mod yaml;

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

pub use self::environments::{Forge, Guard, environments};
pub use self::rules::{callable, policy};
use crate::digest::shorten;

/// The longest workflow file that is read, in bytes.
pub const LIMIT: usize = 1024 * 1024;

/// One thing that is left open.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Where.
    pub place: Place,
    /// What kind.
    pub code: Code,
    /// What stands there, and what that lets happen.
    pub found: String,
    /// What should stand there.
    pub expected: String,
    /// A line to write, or something to do.
    pub fix: String,
}

/// Where something was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In a file.
    File {
        /// Its path from the root of the repository.
        file: String,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// In the settings of a forge.
    Environment {
        /// Which forge.
        forge: Forge,
        /// The environment.
        name: String,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line, column } => write!(f, "{}:{line}:{column}", shorten(file)),
            Self::Environment { forge, name } => write!(f, "{forge} environment `{}`", shorten(name)),
        }
    }
}

/// Everything that can be found; stable, kebab-case, each a section of docs/doctor.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// A pattern lets in more identities than one workflow has refs.
    PatternTooWide,
    /// A production environment that images enter straight from the build.
    ProductionWithoutAfter,
    /// One identity under two names.
    IdentityShared,
    /// A promoter may be a deployer of an environment before, or a revoker one of those it watches over.
    SameIdentityAccepted,
    /// Who builds may promote, or say what runs.
    BuilderDecides,
    /// Nothing says from which source and ref an image was built.
    SourceNotRequired,
    /// A signer is a workflow that others may call, and nothing says who calls it.
    CallerNotRequired,
    /// Every branch will do.
    AnyRef,
    /// Who asks for a promotion may approve it.
    SelfApproval,
    /// A requirement that warns for longer than anybody will remember.
    WarnsTooLong,
    /// A registry, with its credentials, is spoken to without TLS.
    PlainHttp,
    /// A gate whose failure is no failure.
    FailureIgnored,
    /// A gate whose exit code the shell does not see or does not mind.
    ExitCodeLost,
    /// A deployment that goes on after a no.
    DeploysAfterNo,
    /// A deployment by tag.
    MutableTag,
    /// The policy file is that of the change under test (E8).
    PolicyFromChange,
    /// The gate's own program can be replaced.
    GateNotPinned,
    /// The forge has no environment of that name, or none that is protected.
    EnvironmentUnprotected,
    /// Any branch, or every developer, may deploy there.
    EnvironmentTooOpen,
    /// Who starts a deployment may approve it.
    EnvironmentSelfReview,
    /// Administrators may go past the protection.
    EnvironmentBypass,
}

impl Code {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::PatternTooWide,
        Self::ProductionWithoutAfter,
        Self::IdentityShared,
        Self::SameIdentityAccepted,
        Self::BuilderDecides,
        Self::SourceNotRequired,
        Self::CallerNotRequired,
        Self::AnyRef,
        Self::SelfApproval,
        Self::WarnsTooLong,
        Self::PlainHttp,
        Self::FailureIgnored,
        Self::ExitCodeLost,
        Self::DeploysAfterNo,
        Self::MutableTag,
        Self::PolicyFromChange,
        Self::GateNotPinned,
        Self::EnvironmentUnprotected,
        Self::EnvironmentTooOpen,
        Self::EnvironmentSelfReview,
        Self::EnvironmentBypass,
    ];

    /// As it is printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PatternTooWide => "pattern-too-wide",
            Self::ProductionWithoutAfter => "production-without-after",
            Self::IdentityShared => "identity-shared",
            Self::SameIdentityAccepted => "same-identity-accepted",
            Self::BuilderDecides => "builder-decides",
            Self::SourceNotRequired => "source-not-required",
            Self::CallerNotRequired => "caller-not-required",
            Self::AnyRef => "any-ref",
            Self::SelfApproval => "self-approval",
            Self::WarnsTooLong => "warns-too-long",
            Self::PlainHttp => "plain-http",
            Self::FailureIgnored => "failure-ignored",
            Self::ExitCodeLost => "exit-code-lost",
            Self::DeploysAfterNo => "deploys-after-no",
            Self::MutableTag => "mutable-tag",
            Self::PolicyFromChange => "policy-from-change",
            Self::GateNotPinned => "gate-not-pinned",
            Self::EnvironmentUnprotected => "environment-unprotected",
            Self::EnvironmentTooOpen => "environment-too-open",
            Self::EnvironmentSelfReview => "environment-self-review",
            Self::EnvironmentBypass => "environment-bypass",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A file of the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its path from the root of the repository, with `/`.
    pub name: String,
    /// What it holds.
    pub text: String,
}

/// Something that was not looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Skipped {
    /// What.
    pub what: String,
    /// Why not.
    pub why: String,
}

/// What came of looking.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// What is left open, in the order of files and lines.
    pub findings: Vec<Finding>,
    /// What was looked at.
    pub looked: Vec<String>,
    /// What there was no way to look at.
    pub skipped: Vec<Skipped>,
    /// What should have been looked at and could not be read: no answer.
    pub untold: Vec<Skipped>,
}

impl Looked {
    /// Takes up what came of looking elsewhere.
    pub fn add(&mut self, other: Self) {
        self.findings.extend(other.findings);
        self.looked.extend(other.looked);
        self.skipped.extend(other.skipped);
        self.untold.extend(other.untold);
    }
}

/// Looks through workflow files: GitHub's (`.github/workflows/`, `action.yml`), and `.gitlab-ci.yml` with what it
/// includes from the repository. What else is among the files is left alone.
pub fn workflows(files: &[File]) -> Looked {
    let mut looked = Looked::default();
    looked.add(github::look(files));
    looked.add(gitlab::look(files));
    looked.findings.sort();
    looked.findings.dedup();
    looked
}

/// The files that a `.gitlab-ci.yml`, or a file that it includes, takes from the same repository; those that cannot be
/// told are listed by [`workflows`].
pub fn includes(file: &File) -> Vec<String> {
    gitlab::local_includes(file)
}

#[cfg(test)]
mod tests;
