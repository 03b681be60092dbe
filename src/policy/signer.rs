//! Signers: who an identity is, by equality, or by a pattern from end to end.

use super::claims::ClaimRules;
use super::names::{ServiceName, SignerName};
use super::pattern::Pattern;
use super::template::Template;
use crate::key::PublicKey;
use crate::verify::{Author, Identity, RootName};

/// One identity, or several under one name.
#[derive(Clone, Debug)]
pub struct Signer {
    pub(super) name: SignerName,
    pub(super) any_of: Vec<Matcher>,
}

/// How an identity is recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matcher {
    /// This key.
    Key {
        /// The file, as written.
        file: String,
        /// What it holds.
        key: PublicKey,
        /// What has to say when it signed.
        time: KeyTime,
    },
    /// This issuer and this identity, proved under this root.
    Keyless {
        /// The OIDC issuer.
        issuer: String,
        /// The identity in the certificate.
        identity: Subject,
        /// The root of trust it must have been proved under.
        root: RootName,
        /// What else the certificate must say.
        claims: Box<ClaimRules>,
    },
}

/// What has to say when a key signed something that is not in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyTime {
    /// A log entry or a timestamp, under this root.
    Vouched {
        /// The root.
        root: RootName,
    },
    /// Nothing: `time = "not-required"`. Whoever has the key, at any time, may have signed.
    NotRequired,
}

/// How the identity in a certificate is recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// By equality, after `{service}` is filled in.
    Exactly(Template),
    /// By a pattern from end to end.
    Pattern(Pattern),
}

impl Subject {
    /// The text as written.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Exactly(template) => template.as_str(),
            Self::Pattern(pattern) => pattern.as_str(),
        }
    }

    /// Whether an identity in a certificate is this one when it speaks about a service.
    pub(super) fn is(&self, found: &str, service: &ServiceName) -> bool {
        match self {
            Self::Exactly(template) => template.fill(service) == found,
            Self::Pattern(pattern) => pattern.matches(found, service),
        }
    }
}

impl Matcher {
    /// Whether the author is this one when they speak about a service.
    ///
    /// Where something is asked of a certificate that is not at hand, the answer is no; and so it is where nothing says
    /// when a key signed that has to be dated.
    fn matches(&self, author: &Author, service: &ServiceName) -> bool {
        let said = match self {
            Self::Key { time: KeyTime::NotRequired, .. } => true,
            Self::Key { time: KeyTime::Vouched { root }, .. } => author.is_dated(root).is_ok(),
            Self::Keyless { claims, .. } => claims.wrong(author.claims(), service).is_empty(),
        };
        said && self.names(author.identity(), service)
    }

    /// Whether the identity is the one named, whatever else its certificate has to say.
    fn names(&self, identity: &Identity, service: &ServiceName) -> bool {
        match (self, identity) {
            (Self::Key { key, .. }, Identity::Key { id }) => key.id() == *id,
            (Self::Key { .. }, Identity::Keyless { .. }) | (Self::Keyless { .. }, Identity::Key { .. }) => {
                false
            }
            (
                Self::Keyless { issuer, identity, root, claims: _ },
                Identity::Keyless { issuer: found_issuer, subject, root: found_root },
            ) => issuer == found_issuer && root == found_root && identity.is(subject, service),
        }
    }

    /// Whether a log or timestamp of the public root has to say when this key signed.
    pub(super) fn is_dated_by_the_public(&self) -> bool {
        match self {
            Self::Key { time: KeyTime::Vouched { root }, .. } => *root == RootName::PublicGood,
            Self::Key { time: KeyTime::NotRequired, .. } | Self::Keyless { .. } => false,
        }
    }

    /// Whether the identity differs from service to service.
    pub fn names_service(&self) -> bool {
        match self {
            Self::Key { .. } => false,
            Self::Keyless { identity: Subject::Exactly(template), .. } => template.names_service(),
            Self::Keyless { identity: Subject::Pattern(pattern), .. } => pattern.names_service(),
        }
    }
}

impl Signer {
    /// Its name.
    pub fn name(&self) -> &SignerName {
        &self.name
    }

    /// Its identities; at least one.
    pub fn any_of(&self) -> &[Matcher] {
        &self.any_of
    }

    /// Whether an author is this signer when they speak about a service: by identity, and by what else the
    /// certificate says where that is asked for.
    pub fn is(&self, author: &Author, service: &ServiceName) -> bool {
        self.any_of.iter().any(|matcher| matcher.matches(author, service))
    }

    /// Whether an identity could be this signer's, whatever else its certificate has to say: for rules that shut
    /// somebody out, where [`Signer::is`] would let pass whoever is known by more than the identity.
    pub fn could_be(&self, identity: &Identity, service: &ServiceName) -> bool {
        self.any_of.iter().any(|matcher| matcher.names(identity, service))
    }

    /// Whether every identity differs from service to service: then the identity alone says which service.
    pub fn names_service(&self) -> bool {
        self.any_of.iter().all(Matcher::names_service)
    }

    /// The public keys among its identities.
    pub fn keys(&self) -> impl Iterator<Item = &PublicKey> {
        self.any_of.iter().filter_map(|matcher| match matcher {
            Matcher::Key { key, .. } => Some(key),
            Matcher::Keyless { .. } => None,
        })
    }
}
