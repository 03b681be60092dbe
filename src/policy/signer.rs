//! Signers: who an identity is, by equality, or by a pattern from end to end.

use super::names::{ServiceName, SignerName};
use super::pattern::Pattern;
use super::template::Template;
use crate::key::PublicKey;
use crate::verify::{Author, Claims, Identity, RootName};

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

/// How the identity in a certificate is recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// By equality, after `{service}` is filled in.
    Exactly(Template),
    /// By a pattern from end to end.
    Pattern(Pattern),
}

/// What a certificate must say beside its identity; all of it, by equality, after `{service}` is filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClaimRules {
    pub(super) source_repository: Option<Template>,
    pub(super) source_ref: Option<Template>,
    pub(super) workflow_trigger: Option<Template>,
    pub(super) runner_environment: Option<Template>,
}

impl ClaimRules {
    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn hold(&self, claims: &Claims, service: &ServiceName) -> bool {
        let rules = [
            (&self.source_repository, &claims.source_repository_uri),
            (&self.source_ref, &claims.source_repository_ref),
            (&self.workflow_trigger, &claims.build_trigger),
            (&self.runner_environment, &claims.runner_environment),
        ];
        // A claim that is absent is not the one that was asked for.
        rules.into_iter().all(|(rule, found)| match rule {
            Some(rule) => found.as_ref() == Some(&rule.fill(service)),
            None => true,
        })
    }
}

impl Subject {
    /// The text as written.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Exactly(template) => template.as_str(),
            Self::Pattern(pattern) => pattern.as_str(),
        }
    }
}

impl Matcher {
    /// Whether the author is this one when they speak about a service.
    ///
    /// Where something is asked of a certificate that is not at hand, the answer is no.
    fn matches(&self, author: &Author, service: &ServiceName) -> bool {
        let said = match self {
            Self::Key { .. } => true,
            Self::Keyless { claims: rules, .. } => {
                rules.is_empty() || author.claims().is_some_and(|claims| rules.hold(claims, service))
            }
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
            ) => {
                let named = match identity {
                    Subject::Exactly(template) => template.fill(service) == *subject,
                    Subject::Pattern(pattern) => pattern.matches(subject, service),
                };
                issuer == found_issuer && root == found_root && named
            }
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
