//! What can go wrong with the `git` program and with what it talks to.

use std::path::PathBuf;

/// Why a branch could not be read or pushed to. What git said is shortened, and is not a message of ours.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is no `git`.
    #[error("there is no program `git`: expected it in the PATH")]
    NoProgram,
    /// It could not be run, or not be talked to.
    #[error("the program `git` cannot be run")]
    Run {
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The folder of what was fetched.
    #[error("{} cannot be used", folder.display())]
    Cache {
        /// The folder.
        folder: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The repository cannot be reached, or may not be read.
    #[error("the repository cannot be fetched from: {said}")]
    Unreachable {
        /// What git said.
        said: String,
    },
    /// The repository does not take the push, whoever is faster.
    #[error("the repository refused the push: {said}")]
    Refused {
        /// What git said.
        said: String,
    },
    /// What was on the branch is not there any more, or is something else.
    #[error("the branch was rewritten: `{name}` is not what was fetched before")]
    Rewritten {
        /// One of the slots that vanished or were changed.
        name: String,
    },
    /// It was ended because it took too long.
    #[error("`git {command}` was ended after {seconds} seconds: expected it to be done by then")]
    TooLong {
        /// The command.
        command: &'static str,
        /// How long it had.
        seconds: u64,
    },
    /// It was ended because of what it wrote or printed.
    #[error("`git {command}` was ended: expected at most {limit} bytes of it, and there was no end")]
    TooMuch {
        /// The command.
        command: &'static str,
        /// How much it may be.
        limit: u64,
    },
    /// The push ended without an answer.
    #[error("the push ended without an answer: {said}")]
    Open {
        /// What git said.
        said: String,
    },
    /// Others were faster every time.
    #[error("others pushed {attempts} times while this was about to be")]
    Contention {
        /// How often.
        attempts: u32,
    },
    /// What git does with its own files went wrong.
    #[error("`git {command}` failed on what was fetched: {said}")]
    Local {
        /// The command.
        command: &'static str,
        /// What git said.
        said: String,
    },
}

impl GitError {
    /// Whether nothing was done, and trying again is of no use.
    pub(in crate::ledger::slots) fn is_final(&self) -> bool {
        match self {
            Self::NoProgram
            | Self::Run { .. }
            | Self::Cache { .. }
            | Self::Unreachable { .. }
            | Self::Refused { .. }
            | Self::Rewritten { .. }
            | Self::TooLong { .. }
            | Self::TooMuch { .. }
            | Self::Local { .. } => true,
            Self::Open { .. } | Self::Contention { .. } => false,
        }
    }

    /// What the reader of the error can do.
    pub(in crate::ledger::slots) fn hint(&self) -> &'static str {
        match self {
            Self::NoProgram => "install git, 2.30 or later",
            Self::Run { .. } => "see that this user may run git",
            Self::Cache { .. } => "make the folder writable for this user",
            Self::Unreachable { .. } => {
                "see that `git ls-remote` reads it without asking: credentials are those of git's own helpers; nothing \
                 was appended"
            }
            Self::Refused { .. } => {
                "the login has to be allowed to push to the branch, and no rule or hook to be in the way; nothing was \
                 appended"
            }
            Self::Rewritten { .. } => {
                "keep both, the branch and the copy in the cache folder, where refs/samebits/seen is the commit that was \
                 seen; nothing was appended"
            }
            Self::TooLong { .. } => {
                "see whether the server answers at all (`git ls-remote`); nothing was appended"
            }
            Self::TooMuch { .. } => {
                "see what is on the branch: a ledger of that size belongs into another kind of store (samebits ledger \
                 copy); nothing was appended"
            }
            Self::Open { .. } | Self::Contention { .. } => {
                "run the command again: what was appended is found, and nothing is appended twice"
            }
            Self::Local { .. } => {
                "delete the folder of what was fetched, below the cache: it is fetched again"
            }
        }
    }
}
