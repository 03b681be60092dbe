//! Why a root of trust cannot be had.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use crate::policy::spell_duration;
use crate::registry::RegistryError;
use crate::verify::{RootError, RootName};

/// Why a root of trust cannot be had. None of it is ever an older or a weaker root.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// Nobody said where what is refreshed is kept.
    #[error("there is no folder to keep the root `{root}` in")]
    NoCache {
        /// The root.
        root: RootName,
    },
    /// The folder cannot be written.
    #[error("the folder {} of the root `{root}` cannot be used", .folder.display())]
    Cache {
        /// The root.
        root: RootName,
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// An instance without a repository of its own. The policy refuses it before.
    #[error("the root `{root}` has no TUF repository of its own")]
    NoRepository {
        /// The root.
        root: RootName,
    },
    /// A URL that none can be made of. The policy refuses it before.
    #[error("{url} is not the URL of a TUF repository")]
    Url {
        /// The URL.
        url: String,
    },
    /// No HTTP client can be made of the settings.
    #[error("no connection to the repository of the root `{root}` can be set up")]
    Client {
        /// The root.
        root: RootName,
        /// What is wrong with the settings.
        source: Box<RegistryError>,
    },
    /// The repository did not answer, and nothing that was refreshed before can stand in.
    #[error("the TUF repository {url} of the root `{root}` cannot be reached ({cause}){}", spell_before(.before))]
    Unreachable {
        /// The root.
        root: RootName,
        /// The repository.
        url: String,
        /// Why it cannot.
        cause: String,
        /// Why what was refreshed before does not stand in, unless it was not asked for.
        before: Option<Box<RootsError>>,
    },
    /// Offline, and nothing is there.
    #[error("the root `{root}` was never refreshed from {url} on this machine")]
    NeverRefreshed {
        /// The root.
        root: RootName,
        /// The repository.
        url: String,
    },
    /// The repository answers, and its answer is refused.
    #[error("the TUF repository {url} of the root `{root}` is refused")]
    Refused {
        /// The root.
        root: RootName,
        /// The repository.
        url: String,
        /// Why.
        source: Wrong,
    },
    /// What was refreshed before is refused.
    #[error("what was refreshed before of the root `{root}` is refused")]
    CacheRefused {
        /// The root.
        root: RootName,
        /// Where it lies.
        folder: PathBuf,
        /// Why.
        source: Wrong,
    },
    /// The repository vouches for something that is no root.
    #[error("what {url} has for the root `{root}` is no root")]
    Root {
        /// The root.
        root: RootName,
        /// The repository.
        url: String,
        /// What is wrong with it.
        source: RootError,
    },
    /// Older than the policy allows.
    #[error("the root `{root}` is {} old: the policy allows {}", spell_duration(*.age), spell_duration(*.limit))]
    TooOld {
        /// The root.
        root: RootName,
        /// How old it is.
        age: Duration,
        /// How old it may be.
        limit: Duration,
        /// Whether it is refreshed over TUF.
        refreshed: bool,
    },
    /// A limit of age, and nothing to compare with it.
    #[error("the root `{root}` may not be of any age, and nobody knows its age")]
    AgeUnknown {
        /// The root.
        root: RootName,
    },
    /// A day that has not come yet.
    #[error("the root `{root}` is of a day that is yet to come")]
    Ahead {
        /// The root.
        root: RootName,
    },
}

/// What is wrong with TUF metadata (The Update Framework specification 1.0.33, section 5, "Detailed client workflow").
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// Out of date: it says nothing about today, whatever it says.
    #[error("its {role} expired at {at:.0}")]
    Expired {
        /// The role.
        role: String,
        /// When.
        at: Timestamp,
    },
    /// Older than what was seen before.
    #[error("its {role} went back from version {seen} to {found}")]
    Rollback {
        /// The role.
        role: String,
        /// The version seen before.
        seen: u64,
        /// The version found.
        found: u64,
    },
    /// Not signed by those who may.
    #[error("its {role} has {found} of {threshold} signatures")]
    Signatures {
        /// The role.
        role: String,
        /// Signatures that count.
        found: usize,
        /// Signatures wanted.
        threshold: usize,
    },
    /// Other bytes than what is signed for.
    #[error("bytes were changed: {detail}")]
    Changed {
        /// What, neutralised.
        detail: String,
    },
    /// A file that has to be there is not.
    #[error("it has no {name}")]
    Absent {
        /// The file, neutralised.
        name: String,
    },
    /// An answer that is not a repository's.
    #[error("it answers {status} for {name}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// The file, neutralised.
        name: String,
    },
    /// More than is ever read.
    #[error("its {name} is longer than {limit} bytes")]
    TooLong {
        /// The file, neutralised.
        name: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// Anything else that the specification forbids.
    #[error("it is malformed: {detail}")]
    Malformed {
        /// What, neutralised.
        detail: String,
    },
}

fn spell_before(before: &Option<Box<RootsError>>) -> String {
    use std::error::Error as _;
    let Some(before) = before else { return String::new() };
    let why = before.source().map(|source| format!(": {source}")).unwrap_or_default();
    format!(", and {before}{why}")
}

impl RootsError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoCache { .. } => "set XDG_CACHE_HOME or HOME to an absolute path".to_owned(),
            Self::Cache { .. } => "set XDG_CACHE_HOME to a folder that can be written".to_owned(),
            Self::Unreachable { .. } => "run it again where the repository can be reached, name a mirror \
                 (`refresh = { tuf = \"https://…\" }`), or give the root as a file (`trusted-root`); the embedded root \
                 is not used in its place"
                .to_owned(),
            Self::NeverRefreshed { .. } | Self::TooOld { refreshed: true, .. } => {
                "run `samebits roots refresh` where the repository can be reached".to_owned()
            }
            Self::CacheRefused { folder, .. } => {
                format!("run `samebits roots refresh`; if that is refused too, somebody changed {}", folder.display())
            }
            Self::Refused { source, .. } => match source {
                Wrong::Expired { .. } => {
                    "the repository, or a mirror or proxy before it, is stale, or the clock here is wrong".to_owned()
                }
                Wrong::Status { .. } | Wrong::Absent { .. } => "is it the URL of a TUF repository?".to_owned(),
                Wrong::Rollback { .. }
                | Wrong::Signatures { .. }
                | Wrong::Changed { .. }
                | Wrong::TooLong { .. }
                | Wrong::Malformed { .. } => {
                    "somebody between here and the repository changes it, or it is broken: ask its keepers".to_owned()
                }
            },
            Self::TooOld { refreshed: false, .. } | Self::Ahead { .. } => {
                "take the file from its keeper again and say the day in `taken-on`".to_owned()
            }
            Self::Client { source, .. } => return source.hint(),
            Self::NoRepository { .. } | Self::Url { .. } | Self::Root { .. } | Self::AgeUnknown { .. } => return None,
        })
    }
}
