//! Roots of trust as they are printed.

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use samebits::digest::Digest;
use samebits::policy::spell_duration;
use samebits::roots::{InUse, Origin, Unreached};
use samebits::verify::{Keys, RootName};
use schemars::JsonSchema;
use serde::Serialize;

use crate::session::{self, Session};

/// A root of trust and where it came from.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RootInUse {
    /// Its name.
    pub(crate) name: RootName,
    /// The digest of its `trusted_root.json`.
    pub(crate) digest: Digest,
    /// Where it came from.
    pub(crate) source: RootOrigin,
    /// The file, as the policy names it, or the URL of the TUF repository.
    pub(crate) location: Option<String>,
    /// The day an embedded root, or a file, was taken from its keeper; none for a file whose day the policy leaves out.
    pub(crate) taken_on: Option<Date>,
    /// When its TUF repository was last seen to stand by it.
    pub(crate) refreshed_on: Option<Timestamp>,
    /// When what was refreshed can no longer be used.
    pub(crate) good_until: Option<Timestamp>,
    /// Its age in whole days; none where it is not known.
    pub(crate) age_in_days: Option<i64>,
    #[serde(skip)]
    age: Option<SignedDuration>,
    /// Why the repository was not asked, or what came instead of an answer; only where it gave none now.
    pub(crate) unreached: Option<String>,
}

/// Where a root of trust came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RootOrigin {
    /// The program.
    Embedded,
    /// A file.
    File,
    /// A TUF repository.
    Tuf,
}

/// The answer of `roots`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RootsTable {
    /// `https://samebits.dev/schema/roots.schema.json`
    pub(crate) schema: &'static str,
    /// Every root that the policy uses, by name.
    pub(crate) roots: Vec<RootStands>,
    /// What a reader has to know beside it.
    pub(crate) notes: Vec<String>,
}

/// A root of trust and how it stands.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RootStands {
    /// The root.
    #[serde(flatten)]
    pub(crate) root: RootInUse,
    /// The age from which on the policy forbids it.
    pub(crate) max_age: Option<String>,
    /// Why it may not be used.
    pub(crate) refused: Option<String>,
    /// What it knows, and how much of that is of today.
    pub(crate) keys: Keys,
}

impl RootsTable {
    pub(crate) const SCHEMA: &str = "https://samebits.dev/schema/roots.schema.json";
}

impl RootInUse {
    /// Those of a session.
    pub(crate) fn all(session: &Session<'_>) -> Vec<Self> {
        let now = session::now();
        session.roots.iter().map(|root| Self::new(root, now)).collect()
    }

    fn new(root: &InUse, now: Timestamp) -> Self {
        let age = root.age(now);
        let (source, location, taken_on, refreshed_on, good_until) = match root.origin() {
            Origin::Embedded { taken_on } => (RootOrigin::Embedded, None, *taken_on, None, None),
            Origin::File { file, taken_on } => (RootOrigin::File, Some(file.clone()), *taken_on, None, None),
            Origin::Tuf { url, refreshed_on, expires, .. } => {
                (RootOrigin::Tuf, Some(url.clone()), None, Some(*refreshed_on), Some(*expires))
            }
        };
        Self {
            name: root.root().name().clone(),
            digest: root.root().digest(),
            source,
            location,
            taken_on,
            refreshed_on,
            good_until,
            age_in_days: age.map(|age| age.as_hours().div_euclid(24)),
            age,
            unreached: unreached(root.origin()),
        }
    }

    /// Where it came from and how old it is, in a few words.
    pub(crate) fn said(&self) -> String {
        let age = self.age.map_or_else(|| "age unknown".to_owned(), spell_age);
        let place = self.location.as_deref().unwrap_or_default();
        match self.source {
            RootOrigin::Embedded => format!("embedded, {age} old"),
            RootOrigin::File if self.age.is_none() => format!("from {place}, {age}"),
            RootOrigin::File => format!("from {place}, {age} old"),
            RootOrigin::Tuf => format!("refreshed {age} ago from {place}"),
        }
    }
}

impl RootStands {
    pub(crate) fn new(root: &InUse, now: Timestamp) -> Self {
        Self {
            root: RootInUse::new(root, now),
            max_age: root.max_age().map(spell_duration),
            refused: root.checked(now).err().map(|error| error.to_string()),
            keys: root.root().keys(now),
        }
    }
}

fn unreached(origin: &Origin) -> Option<String> {
    match origin {
        Origin::Tuf { unreached: Some(Unreached::Offline), .. } => Some("offline".to_owned()),
        Origin::Tuf { unreached: Some(Unreached::Unreachable { cause }), .. } => Some(cause.clone()),
        Origin::Tuf { unreached: None, .. } | Origin::Embedded { .. } | Origin::File { .. } => None,
    }
}

/// An age as people say it: in days, else in hours, else in minutes.
fn spell_age(age: SignedDuration) -> String {
    let (days, hours, minutes) = (age.as_hours() / 24, age.as_hours(), age.as_mins());
    match (days, hours) {
        (1, _) => "1 day".to_owned(),
        (2.., _) => format!("{days} days"),
        (_, 1..) => format!("{hours}h"),
        (..=0, _) => format!("{}m", minutes.max(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_said_in_words() {
        for (minutes, said) in [
            (-5, "0m"),
            (0, "0m"),
            (59, "59m"),
            (60, "1h"),
            (24 * 60 - 1, "23h"),
            (24 * 60, "1 day"),
            (29 * 24 * 60, "29 days"),
        ] {
            assert_eq!(spell_age(SignedDuration::from_mins(minutes)), said);
        }
    }
}
