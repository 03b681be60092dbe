//! The roots of trust that a policy uses, whence they come and how old they are.
//!
//! Guarantees: a root is what the policy says, or an error: what is to be refreshed and cannot be is never replaced by
//! what is embedded, and a root past its `max-age` is never handed out (F11). What comes over TUF was verified from the
//! `root.json` in this program or the policy, chain, versions and expiry included, whether it came from the network or
//! from the cache; the cache is as untrusted as the network. Only roots that a signer names are asked for.
//! Never does: judge signatures; read the clock or the environment.
//!
//! Start at [`load`]; then [`Roots::trusted`].

mod error;
mod tuf;
mod wire;

use std::path::PathBuf;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

pub use self::error::{RootsError, Wrong};
use crate::policy::{Policy, RootSource, TufSource};
use crate::registry::HttpConfig;
use crate::verify::{Root, RootName};

/// An embedded root this old is worth a warning: about as long as the public instance keeps a log's key.
pub const OLD: SignedDuration = SignedDuration::from_hours(90 * 24);

/// How far a day or time may lie ahead before it is wrong: two clocks, and all time zones.
const AHEAD: SignedDuration = SignedDuration::from_hours(24);

/// What to do about roots that are kept fresh over TUF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Refresh. What was refreshed before stands in while a repository cannot be reached, as long as its own metadata
    /// has not expired.
    Refresh,
    /// Refresh, or fail.
    Required,
    /// Ask nobody: what was refreshed before, as long as its own metadata has not expired.
    Offline,
}

/// Where and how roots are refreshed.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder of what was refreshed; one folder in it per repository.
    pub cache: Option<PathBuf>,
    /// Whether anybody is asked.
    pub network: Network,
    /// Proxies, certificate authorities, times and patience: those of the registries.
    pub http: HttpConfig,
}

/// Where a root in use came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This program.
    Embedded {
        /// The day it was taken from its repository.
        taken_on: Option<Date>,
    },
    /// A file the policy names.
    File {
        /// As written in the policy.
        file: String,
        /// The day it was taken from its keeper, if the policy says it.
        taken_on: Option<Date>,
    },
    /// A TUF repository.
    Tuf {
        /// Its URL.
        url: String,
        /// When it was last seen to be current.
        refreshed_on: Timestamp,
        /// When the metadata that says so expires.
        expires: Timestamp,
        /// Why it was not asked now, or gave no answer.
        unreached: Option<Unreached>,
    },
}

/// Why a root is one that was refreshed before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreached {
    /// Nobody was to be asked.
    Offline,
    /// The repository did not answer.
    Unreachable {
        /// The cause, in words.
        cause: String,
    },
}

/// A root in use. The root itself is handed out by [`Roots::trusted`] alone.
#[derive(Clone, Debug)]
pub struct InUse {
    root: Root,
    origin: Origin,
    max_age: Option<Duration>,
}

/// The roots of a policy.
#[derive(Clone, Debug, Default)]
pub struct Roots(Vec<InUse>);

/// Every root the policy uses, refreshed where it says so.
///
/// # Errors
/// [`RootsError`] when one cannot be had; none is left out and none is replaced.
pub async fn load(policy: &Policy, settings: &Settings, now: Timestamp) -> Result<Roots, RootsError> {
    let mut roots = Vec::new();
    // One after another: they are few, and a cache folder may be shared.
    for rule in policy.roots() {
        let (root, origin) = match rule.source() {
            RootSource::Embedded(root) => (root.clone(), Origin::Embedded { taken_on: root.snapshot() }),
            RootSource::File { file, root, taken_on } => {
                (root.clone(), Origin::File { file: file.clone(), taken_on: *taken_on })
            }
            RootSource::Tuf(source) => refreshed(rule.name(), source, settings, now).await?,
        };
        roots.push(InUse { root, origin, max_age: rule.max_age() });
    }
    Ok(Roots(roots))
}

async fn refreshed(
    name: &RootName,
    source: &TufSource,
    settings: &Settings,
    now: Timestamp,
) -> Result<(Root, Origin), RootsError> {
    let (url, bootstrap) = match source {
        TufSource::Private { url, bootstrap } => (url.as_str(), bootstrap.as_bytes()),
        TufSource::Own { mirror } => {
            let (url, bootstrap) =
                tuf::own(name).ok_or_else(|| RootsError::NoRepository { root: name.clone() })?;
            (mirror.as_deref().unwrap_or(url), bootstrap)
        }
    };
    let chain = tuf::Chain::new(name, url, bootstrap, settings)?;
    let tuf::Fetched { json, refreshed_on, expires, unreached } = chain.fetch(settings.network, now).await?;
    let root = Root::refreshed(name.clone(), &json).map_err(|source| RootsError::Root {
        root: name.clone(),
        url: url.to_owned(),
        source,
    })?;
    Ok((root, Origin::Tuf { url: url.to_owned(), refreshed_on, expires, unreached }))
}

impl Roots {
    /// All of them, for showing; in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &InUse> {
        self.0.iter()
    }

    /// All of them, for use.
    ///
    /// # Errors
    /// [`RootsError::TooOld`] when one has reached its `max-age`, [`RootsError::Ahead`] when its age cannot be true.
    pub fn trusted(&self, now: Timestamp) -> Result<Vec<Root>, RootsError> {
        self.0.iter().map(|one| one.checked(now).map(|()| one.root.clone())).collect()
    }
}

impl InUse {
    /// The name, the digest, the keys: what is said about it.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Where it came from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The age from which on it must not be used.
    pub fn max_age(&self) -> Option<Duration> {
        self.max_age
    }

    /// How old it is: since the (UTC) day it was taken, or the moment it was refreshed; `None` for a file whose day is
    /// not known.
    pub fn age(&self, now: Timestamp) -> Option<SignedDuration> {
        let since = match &self.origin {
            Origin::Embedded { taken_on } | Origin::File { taken_on, .. } => {
                (*taken_on)?.to_zoned(TimeZone::UTC).ok()?.timestamp()
            }
            Origin::Tuf { refreshed_on, .. } => *refreshed_on,
        };
        Some(now.duration_since(since))
    }

    /// Whether it may be used.
    ///
    /// # Errors
    /// Those of [`Roots::trusted`].
    pub fn checked(&self, now: Timestamp) -> Result<(), RootsError> {
        let Some(limit) = self.max_age else { return Ok(()) };
        let name = || self.root.name().clone();
        // The policy gives no limit to a file without a day; if there is one all the same, the answer is no.
        let age = self.age(now).ok_or_else(|| RootsError::AgeUnknown { root: name() })?;
        if age < -AHEAD {
            return Err(RootsError::Ahead { root: name() });
        }
        let age = Duration::try_from(age).unwrap_or(Duration::ZERO);
        match age > limit {
            true => Err(RootsError::TooOld { root: name(), age, limit, refreshed: self.is_refreshed() }),
            false => Ok(()),
        }
    }

    fn is_refreshed(&self) -> bool {
        match self.origin {
            Origin::Tuf { .. } => true,
            Origin::Embedded { .. } | Origin::File { .. } => false,
        }
    }

    /// What whoever relies on it should know: it is embedded and old, or its repository did not answer.
    pub fn remark(&self, now: Timestamp) -> Option<String> {
        let name = self.root.name();
        match &self.origin {
            Origin::Embedded { .. } => {
                let age = self.age(now).filter(|age| *age > OLD)?;
                Some(format!(
                    "the embedded root `{name}` is {} days old: what is signed with newer keys is refused; say \
                     `[roots.{name}] refresh = \"tuf\"` in the policy, or use a newer samebits",
                    age.as_hours() / 24
                ))
            }
            Origin::Tuf { url, expires, unreached: Some(Unreached::Unreachable { cause }), .. } => {
                Some(format!(
                    "the root `{name}` is the one refreshed before, good until {expires:.0}: {url} did not answer ({cause})"
                ))
            }
            Origin::Tuf { unreached: None | Some(Unreached::Offline), .. } | Origin::File { .. } => None,
        }
    }
}
