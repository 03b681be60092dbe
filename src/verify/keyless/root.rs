//! Roots of trust: a `trusted_root.json` and the rules that go with it, in one value.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sigstore_trust_root::{
    SIGSTORE_GITHUB_TRUSTED_ROOT, SIGSTORE_PRODUCTION_TRUSTED_ROOT, TimeRange, TrustedRoot,
};
use sigstore_verify::Verifier;
use x509_cert::Certificate;
use x509_cert::der::{Decode as _, Encode as _};

use super::certificate::Leaf;
use super::log::Log;
use crate::digest::{Digest, shorten};
use crate::json::{self, JsonError};

/// When the embedded roots were taken from their TUF repositories (sigstore-trust-root 0.15.1, "refresh embedded
/// TUF data"). A test holds their digests, so that new ones need a new date.
const SNAPSHOT: Date = date(2026, 10, 23);

/// The name of a root of trust; a part of every identity that was proved under it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RootName {
    /// The Sigstore project's own instance: `public-good`.
    #[default]
    PublicGood,
    /// GitHub's instance, for private repositories: `github`.
    GitHub,
    /// An instance of somebody's own.
    Private(PrivateName),
}

/// The name of a private root: 1 to 63 of `a-z`, `0-9` and `-`, and none of the two names that are taken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrivateName(String);

/// Not the name of a root.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{found}` is not a root's name: expected `public-good`, `github`, or 1 to 63 of `a-z`, `0-9` and `-`"
)]
pub struct RootNameError {
    /// What was found, neutralised.
    pub found: String,
}

impl FromStr for RootName {
    type Err = RootNameError;

    fn from_str(text: &str) -> Result<Self, RootNameError> {
        let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        match text {
            "public-good" => Ok(Self::PublicGood),
            "github" => Ok(Self::GitHub),
            name if (1..=63).contains(&name.len()) && !name.starts_with('-') && name.bytes().all(good) => {
                Ok(Self::Private(PrivateName(name.to_owned())))
            }
            found => Err(RootNameError { found: shorten(found) }),
        }
    }
}

impl RootName {
    /// The name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::PublicGood => "public-good",
            Self::GitHub => "github",
            Self::Private(name) => &name.0,
        }
    }
}

impl fmt::Display for RootName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for RootName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for RootName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for RootName {
    fn schema_name() -> Cow<'static, str> {
        "RootName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[a-z0-9][a-z0-9-]{0,62}$" })
    }
}

/// Why a `trusted_root.json` is no root.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootError {
    /// `public-good` and `github` have roots, and rules, of their own.
    #[error("the name `{name}` is taken: it has a root of its own")]
    Taken {
        /// The name.
        name: RootName,
    },
    /// Not strict JSON.
    #[error("the trusted root is not strict JSON")]
    Json(#[from] JsonError),
    /// Not what a `trusted_root.json` looks like, or a key or certificate in it cannot be used.
    #[error("the trusted root cannot be used: {detail}")]
    Unusable {
        /// What is wrong, neutralised.
        detail: String,
    },
    /// It lacks something without which nothing could be proved.
    #[error("the trusted root has no {what}")]
    Lacks {
        /// What it lacks.
        what: &'static str,
    },
    /// It is said to be GitHub's, and trusts a certificate authority that is not.
    #[error(
        "the trusted root has a certificate authority that is not one of GitHub's: GitHub's exemptions are for no other"
    )]
    NotGitHubs,
    /// It trusts a public instance's authority, and leaves out the public instance's log.
    #[error(
        "the trusted root has a certificate authority of `{of}`, but no transparency log: a weaker `{of}` is none"
    )]
    Weakened {
        /// Whose authority it is.
        of: RootName,
    },
}

/// What a root demands. There is no way to choose: the rules come with the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rules {
    /// Chain, SCT, log entry with proof and checkpoint, and a time (SET or RFC 3161).
    Logged,
    /// A private root without a log. Chain, SCT, RFC 3161 timestamp; no log entry, for nobody could check it.
    Stamped,
    /// GitHub's own root. Chain, RFC 3161 timestamp; no SCT, no log entry.
    GitHub,
}

pub(super) struct Inner {
    pub(super) name: RootName,
    pub(super) rules: Rules,
    pub(super) logs: Vec<Log>,
    pub(super) without_log: Arc<Verifier>,
    json: Bytes,
    digest: Digest,
    snapshot: Option<Date>,
    /// The DER names of its certificate authorities: the likely root is tried first, nothing else.
    authorities: Vec<Vec<u8>>,
    windows: Windows,
}

/// When what a root knows is good, kind by kind; none: for ever.
struct Windows {
    logs: Vec<Option<TimeRange>>,
    ct_logs: Vec<Option<TimeRange>>,
    authorities: Vec<Option<TimeRange>>,
    timestamp_authorities: Vec<Option<TimeRange>>,
}

/// How much of one kind a root knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Known {
    /// All of them: what was signed in their time stays signed.
    pub all: usize,
    /// Those whose time is now.
    pub current: usize,
}

/// What a root knows: keys of logs, chains of authorities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Keys {
    /// Transparency logs.
    pub logs: Known,
    /// Certificate transparency logs.
    pub ct_logs: Known,
    /// Certificate authorities.
    pub authorities: Known,
    /// Timestamp authorities.
    pub timestamp_authorities: Known,
}

/// One `trusted_root.json` (sigstore/protobuf-specs `sigstore_trustroot.proto`) with its own rules.
///
/// | root | certificate | log entry | time |
/// | --- | --- | --- | --- |
/// | [`Root::public_good`] | chain and SCT | required, with proof and checkpoint | SET or RFC 3161 |
/// | [`Root::private`] with a log | the same | the same | the same |
/// | [`Root::private`] without a log | chain and SCT | refused | RFC 3161 |
/// | [`Root::github`] | chain, no SCT | refused | RFC 3161 |
///
/// [`Root::given`] takes a file in the place of an embedded one, with the rules of its name. GitHub's exemptions are
/// for GitHub's own certificate authorities: those embedded, or those GitHub's own TUF repository lists.
#[derive(Clone)]
pub struct Root(pub(super) Arc<Inner>);

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Root")
            .field("name", &self.0.name)
            .field("digest", &self.0.digest)
            .finish_non_exhaustive()
    }
}

impl Root {
    /// The Sigstore project's instance, from the snapshot in this binary.
    ///
    /// # Errors
    /// [`RootError`] if the snapshot cannot be read; a test reads it.
    pub fn public_good() -> Result<Self, RootError> {
        Self::new(RootName::PublicGood, Rules::Logged, SIGSTORE_PRODUCTION_TRUSTED_ROOT, Some(SNAPSHOT))
    }

    /// GitHub's instance, from the snapshot in this binary.
    ///
    /// # Errors
    /// [`RootError`] if the snapshot cannot be read; a test reads it.
    pub fn github() -> Result<Self, RootError> {
        Self::new(RootName::GitHub, Rules::GitHub, SIGSTORE_GITHUB_TRUSTED_ROOT, Some(SNAPSHOT))
    }

    /// The instance of that name from a `trusted_root.json` that somebody keeps, with the rules of the name: a file for
    /// `public-good` needs a transparency log like any, one for `github` none but GitHub's certificate authorities.
    ///
    /// # Errors
    /// [`RootError`] with the first thing that is wrong; [`RootError::NotGitHubs`] when an authority is not embedded
    /// here as GitHub's.
    pub fn given(name: RootName, json: &str) -> Result<Self, RootError> {
        match name {
            RootName::PublicGood => Self::logged(name, json),
            RootName::GitHub => {
                let theirs = read(SIGSTORE_GITHUB_TRUSTED_ROOT)?.fulcio_certs();
                match read(json)?.fulcio_certs().iter().all(|mine| theirs.contains(mine)) {
                    true => Self::stamped_by_github(json),
                    false => Err(RootError::NotGitHubs),
                }
            }
            RootName::Private(_) => Self::private(name, json),
        }
    }

    /// As [`Root::given`], from the TUF repository of the instance itself: what GitHub's repository signs is GitHub's,
    /// authorities that are newer than this program too. `crate::roots` alone may say so.
    pub(crate) fn refreshed(name: RootName, json: &str) -> Result<Self, RootError> {
        match name {
            RootName::GitHub => Self::stamped_by_github(json),
            RootName::PublicGood | RootName::Private(_) => Self::given(name, json),
        }
    }

    fn stamped_by_github(json: &str) -> Result<Self, RootError> {
        if read(json)?.timestamp_authorities.is_empty() {
            return Err(RootError::Lacks { what: "timestamp authority" });
        }
        Self::new(RootName::GitHub, Rules::GitHub, json, None)
    }

    fn logged(name: RootName, json: &str) -> Result<Self, RootError> {
        let root = read(json)?;
        if root.ctlogs.is_empty() {
            return Err(RootError::Lacks { what: "certificate transparency log" });
        }
        if root.tlogs.is_empty() {
            return Err(RootError::Lacks { what: "transparency log" });
        }
        Self::new(name, Rules::Logged, json, None)
    }

    /// An instance of somebody's own, from its `trusted_root.json`, with the rules of the public one.
    ///
    /// It needs a certificate authority, a certificate transparency log, and a transparency log; one without a
    /// transparency log needs a timestamp authority and proves by timestamps alone.
    ///
    /// # Errors
    /// [`RootError`] with the first thing that is wrong.
    pub fn private(name: RootName, json: &str) -> Result<Self, RootError> {
        let RootName::Private(_) = name else {
            return Err(RootError::Taken { name });
        };
        let root = read(json)?;
        if root.ctlogs.is_empty() || !root.tlogs.is_empty() {
            return Self::logged(name, json);
        }
        if root.timestamp_authorities.is_empty() {
            return Err(RootError::Lacks { what: "transparency log and no timestamp authority" });
        }
        let embedded = [
            (RootName::PublicGood, SIGSTORE_PRODUCTION_TRUSTED_ROOT),
            (RootName::GitHub, SIGSTORE_GITHUB_TRUSTED_ROOT),
        ];
        for (of, theirs) in embedded {
            let theirs = read(theirs)?.fulcio_certs();
            if root.fulcio_certs().iter().any(|mine| theirs.contains(mine)) {
                return Err(RootError::Weakened { of });
            }
        }
        Self::new(name, Rules::Stamped, json, None)
    }

    fn new(name: RootName, rules: Rules, json: &str, snapshot: Option<Date>) -> Result<Self, RootError> {
        let mut root = read(json)?;
        if root.certificate_authorities.is_empty() {
            return Err(RootError::Lacks { what: "certificate authority" });
        }
        let subject = |der: &[u8]| {
            let certificate = Certificate::from_der(der).ok()?;
            certificate.tbs_certificate.subject.to_der().ok()
        };
        let authorities = root.fulcio_certs().iter().filter_map(|one| subject(one.as_bytes())).collect();
        let windows = Windows {
            logs: root.tlogs.iter().map(|log| log.public_key.valid_for).collect(),
            ct_logs: root.ctlogs.iter().map(|log| log.public_key.valid_for).collect(),
            authorities: root.certificate_authorities.iter().map(|authority| authority.valid_for).collect(),
            timestamp_authorities: root
                .timestamp_authorities
                .iter()
                .map(|authority| authority.valid_for)
                .collect(),
        };
        // The whole root first: what is wrong with one of its logs is wrong with the root.
        super::verifier(&root)?;
        let all = std::mem::take(&mut root.tlogs);
        let without_log = super::verifier(&root)?;
        let mut logs = Vec::new();
        for log in all {
            let id = log.log_id.key_id.clone();
            root.tlogs = vec![log];
            logs.push(Log::new(&id, &root)?);
        }
        let json = Bytes::copy_from_slice(json.as_bytes());
        let digest = Digest::of(&json);
        let inner = Inner { name, rules, logs, without_log, json, digest, snapshot, authorities, windows };
        Ok(Self(Arc::new(inner)))
    }

    /// Its name: identities proved under it carry it.
    pub fn name(&self) -> &RootName {
        &self.0.name
    }

    /// The digest of its `trusted_root.json`.
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// Its `trusted_root.json`.
    pub fn json(&self) -> &Bytes {
        &self.0.json
    }

    /// The day an embedded root was taken from its repository; a given one has its own keeper.
    pub fn snapshot(&self) -> Option<Date> {
        self.0.snapshot
    }

    /// What it knows, and how much of that is of today: an instance without a log whose time is now signs nothing new.
    pub fn keys(&self, now: Timestamp) -> Keys {
        let known = |windows: &[Option<TimeRange>]| Known {
            all: windows.len(),
            current: windows.iter().filter(|one| one.is_none_or(|one| one.contains(now))).count(),
        };
        let Windows { logs, ct_logs, authorities, timestamp_authorities } = &self.0.windows;
        Keys {
            logs: known(logs),
            ct_logs: known(ct_logs),
            authorities: known(authorities),
            timestamp_authorities: known(timestamp_authorities),
        }
    }

    /// How many days ago that was (UTC); a stale root refuses what is newer than it knows, never the reverse.
    pub fn days_old(&self, now: Timestamp) -> Option<i32> {
        let today = now.to_zoned(TimeZone::UTC).date();
        Some((today - self.0.snapshot?).get_days())
    }
}

impl Inner {
    pub(super) fn could_have_issued(&self, leaf: &Leaf) -> bool {
        leaf.issuers.iter().any(|issuer| self.authorities.contains(issuer))
    }
}

/// Strict JSON first: what is read twice must mean one thing.
fn read(json: &str) -> Result<TrustedRoot, RootError> {
    json::parse(json.as_bytes(), json::Limits::default())?;
    TrustedRoot::from_json(json).map_err(|error| RootError::Unusable { detail: shorten(&error.to_string()) })
}

#[cfg(test)]
mod github;

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> RootName {
        text.parse().unwrap()
    }

    /// The embedded root, changed.
    fn changed(change: impl FnOnce(&mut serde_json::Value)) -> String {
        let mut root = serde_json::from_str(SIGSTORE_PRODUCTION_TRUSTED_ROOT).unwrap();
        change(&mut root);
        root.to_string()
    }

    #[test]
    fn f11_the_embedded_roots_are_these_and_this_old() {
        let (public, github) = (Root::public_good().unwrap(), Root::github().unwrap());
        assert_eq!(public.digest().to_string(), PUBLIC_GOOD);
        assert_eq!(github.digest().to_string(), GITHUB);
        assert_eq!(public.snapshot(), Some(SNAPSHOT));
        let now = "2026-11-21T08:00:00Z".parse().unwrap();
        assert_eq!((public.days_old(now), github.days_old(now)), (Some(29), Some(29)));
        assert_eq!((public.0.logs.len(), github.0.logs.len()), (2, 0));
        let own = Root::private(name("own"), SIGSTORE_PRODUCTION_TRUSTED_ROOT).unwrap();
        assert_eq!((own.days_old(now), own.digest()), (None, public.digest()));
        assert_eq!(own.0.rules, Rules::Logged);
    }

    // A new snapshot needs a new SNAPSHOT.
    const PUBLIC_GOOD: &str = "sha256:6494e21ea73fa7ee769f85f57d5a3e6a08725eae1e38c755fc3517c9e6bc0b66";
    const GITHUB: &str = "sha256:484cdfe1a7c65479c5ba2a22193d1be90f0020db1997de696ab207434c62fbb7";

    #[test]
    fn b6_githubs_exemptions_are_githubs() {
        // Its root under another name lacks what a private root needs.
        let refused = Root::private(name("own"), SIGSTORE_GITHUB_TRUSTED_ROOT).unwrap_err();
        assert_eq!(refused, RootError::Lacks { what: "certificate transparency log" });
        // Nor can its name be taken, or the public one's.
        for taken in ["github", "public-good"] {
            let refused = Root::private(name(taken), SIGSTORE_PRODUCTION_TRUSTED_ROOT).unwrap_err();
            assert_eq!(refused, RootError::Taken { name: name(taken) });
        }
        // A public instance without its log is not a private instance.
        let weaker = changed(|root| root["tlogs"] = serde_json::json!([]));
        let refused = Root::private(name("own"), &weaker).unwrap_err();
        assert_eq!(refused, RootError::Weakened { of: RootName::PublicGood });
    }

    #[test]
    fn f11_a_given_root_has_the_rules_of_its_name() {
        let given = |text: &str, json: &str| Root::given(name(text), json);
        let public = given("public-good", SIGSTORE_PRODUCTION_TRUSTED_ROOT).unwrap();
        assert_eq!((public.name(), public.0.rules), (&RootName::PublicGood, Rules::Logged));
        assert_eq!((public.snapshot(), public.digest().to_string()), (None, PUBLIC_GOOD.to_owned()));
        // Its log cannot be left out, nor can its name be had with another instance's laxness.
        let unlogged = changed(|root| root["tlogs"] = serde_json::json!([]));
        assert_eq!(
            given("public-good", &unlogged).unwrap_err(),
            RootError::Lacks { what: "transparency log" }
        );
        let lacks = given("public-good", SIGSTORE_GITHUB_TRUSTED_ROOT).unwrap_err();
        assert_eq!(lacks, RootError::Lacks { what: "certificate transparency log" });
        assert_eq!(given("acme", SIGSTORE_PRODUCTION_TRUSTED_ROOT).unwrap().0.rules, Rules::Logged);
    }

    #[test]
    fn b6_a_given_github_root_is_githubs_or_none() {
        let given = |json: &str| Root::given(RootName::GitHub, json);
        assert_eq!(given(SIGSTORE_GITHUB_TRUSTED_ROOT).unwrap().0.rules, Rules::GitHub);
        // Another instance, and GitHub's with one authority more.
        assert_eq!(given(SIGSTORE_PRODUCTION_TRUSTED_ROOT).unwrap_err(), RootError::NotGitHubs);
        let mut more: serde_json::Value = serde_json::from_str(SIGSTORE_GITHUB_TRUSTED_ROOT).unwrap();
        let public: serde_json::Value = serde_json::from_str(SIGSTORE_PRODUCTION_TRUSTED_ROOT).unwrap();
        let theirs = public["certificateAuthorities"][0].clone();
        more["certificateAuthorities"].as_array_mut().unwrap().push(theirs);
        assert_eq!(given(&more.to_string()).unwrap_err(), RootError::NotGitHubs);
        let mut timeless: serde_json::Value = serde_json::from_str(SIGSTORE_GITHUB_TRUSTED_ROOT).unwrap();
        timeless["timestampAuthorities"] = serde_json::json!([]);
        let lacks = given(&timeless.to_string()).unwrap_err();
        assert_eq!(lacks, RootError::Lacks { what: "timestamp authority" });
        timeless["certificateAuthorities"] = serde_json::json!([]);
        assert!(given(&timeless.to_string()).is_err());
    }

    #[test]
    fn f11_what_a_root_knows_is_counted_by_its_time() {
        let root = changed(|root| {
            root["tlogs"][0]["publicKey"]["validFor"]["end"] = "2026-01-01T00:00:00Z".into();
        });
        let root = Root::private(name("own"), &root).unwrap();
        let logs = |now: &str| root.keys(now.parse().unwrap()).logs;
        assert_eq!(logs("2026-01-01T00:00:00Z"), Known { all: 2, current: 2 });
        assert_eq!(logs("2026-01-01T00:00:01Z"), Known { all: 2, current: 1 });
        assert_eq!(logs("2000-01-01T00:00:00Z"), Known { all: 2, current: 0 });
        let public = Root::public_good().unwrap().keys("2026-11-21T08:00:00Z".parse().unwrap());
        assert!(public.authorities.current >= 1 && public.ct_logs.current >= 1, "{public:?}");
    }

    #[test]
    fn what_is_no_root_is_refused_for_what_it_is() {
        let lacks = |member: &str| {
            let root = changed(|root| root[member] = serde_json::json!([]));
            Root::private(name("own"), &root).unwrap_err()
        };
        assert_eq!(lacks("ctlogs"), RootError::Lacks { what: "certificate transparency log" });
        assert_eq!(lacks("certificateAuthorities"), RootError::Lacks { what: "certificate authority" });
        let nothing = changed(|root| {
            root["tlogs"] = serde_json::json!([]);
            root["timestampAuthorities"] = serde_json::json!([]);
        });
        assert!(matches!(Root::private(name("own"), &nothing), Err(RootError::Lacks { .. })));
        for wrong in ["", "{}", "[]", "{\"a\":1,\"a\":1}"] {
            assert!(Root::private(name("own"), wrong).is_err(), "{wrong}");
        }
        let rubbish = changed(|root| root["tlogs"][0]["publicKey"]["rawBytes"] = "AAAA".into());
        assert!(matches!(Root::private(name("own"), &rubbish), Err(RootError::Unusable { .. })));
    }

    #[test]
    fn a_name_has_one_spelling() {
        for good in ["public-good", "github", "acme", "a-1"] {
            assert_eq!(name(good).to_string(), good);
            assert_eq!(serde_json::to_value(name(good)).unwrap(), good);
        }
        for wrong in ["", "Public-Good", "-a", "a b", "a_b", "ä", &"a".repeat(64)] {
            assert!(wrong.parse::<RootName>().is_err(), "{wrong}");
        }
    }
}
