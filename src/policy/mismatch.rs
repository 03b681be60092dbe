//! Why somebody is not a signer, though much of them is: for explaining a refusal, never for a decision.

use std::fmt;

use super::claims::WrongClaim;
use super::names::ServiceName;
use super::problem::neutral;
use super::signer::{KeyTime, Matcher, Signer, Subject};
use crate::digest::shorten;
use crate::verify::{Author, Identity, RootName, Undated};

/// How alike two identities are at least that are told apart for the reader: 1 is equal.
const ALIKE: f64 = 0.8;

/// One thing that keeps an author from being a signer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// The identity is the signer's; a claim of the certificate is not.
    Claim(WrongClaim),
    /// The key is the signer's, and nothing says when it signed.
    Undated {
        /// Under which root something should.
        root: RootName,
        /// Why what there is does not.
        why: Option<String>,
    },
    /// The same names, proved under another root.
    Root {
        /// The signer's.
        expected: RootName,
        /// The author's.
        found: RootName,
    },
    /// The same subject by another issuer.
    Issuer {
        /// The signer's.
        expected: String,
        /// The author's.
        found: String,
    },
    /// A subject that looks much like the signer's, by the same issuer.
    Subject {
        /// The signer's.
        expected: String,
        /// The author's.
        found: String,
    },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Claim(WrongClaim { claim, expected, found }) => {
                let found = found.as_deref().map_or_else(|| "nothing".to_owned(), shorten);
                write!(f, "its certificate says {found} for {}: expected {expected}", claim.key())
            }
            Self::Undated { root, why: None } => write!(
                f,
                "without a log entry or timestamp: expected one under the root {root}, or \
                 `time = \"not-required\"` for that key"
            ),
            Self::Undated { root, why: Some(why) } => {
                write!(f, "and its log entry or timestamp does not count under the root {root}: {why}")
            }
            Self::Root { expected, found } => {
                write!(f, "it was proved under the root {found}: expected {expected}")
            }
            Self::Issuer { expected, found } => {
                write!(f, "its issuer is {}: expected {expected}", shorten(found))
            }
            Self::Subject { expected, found } => {
                // As long as the other one, about, and it is the end that tells.
                write!(f, "its identity is {}: expected {expected}", neutral(found))
            }
        }
    }
}

impl Signer {
    /// What keeps an author from being this signer, by the identity that comes closest; nothing where they are this
    /// signer, or have nothing in common.
    pub fn why_not(&self, author: &Author, service: &ServiceName) -> Vec<Mismatch> {
        if self.is(author, service) {
            return Vec::new();
        }
        let close = self.any_of().iter().map(|matcher| matcher.why_not(author, service));
        close.filter(|wrong| !wrong.is_empty()).min_by_key(|wrong| distance(wrong)).unwrap_or_default()
    }
}

/// The smaller, the closer.
fn distance(wrong: &[Mismatch]) -> (u8, usize) {
    let kind = |one: &Mismatch| match one {
        Mismatch::Claim(_) | Mismatch::Undated { .. } => 0,
        Mismatch::Root { .. } => 1,
        Mismatch::Issuer { .. } => 2,
        Mismatch::Subject { .. } => 3,
    };
    (wrong.iter().map(kind).max().unwrap_or(u8::MAX), wrong.len())
}

impl Matcher {
    fn why_not(&self, author: &Author, service: &ServiceName) -> Vec<Mismatch> {
        match (self, author.identity()) {
            (Self::Key { key, time: KeyTime::Vouched { root }, .. }, Identity::Key { id })
                if key.id() == *id =>
            {
                let why = match author.is_dated(root) {
                    Ok(()) => return Vec::new(),
                    Err(Undated::Because(crate::verify::Reason::Undated)) => None,
                    Err(Undated::Because(why)) => Some(why.to_string()),
                    Err(Undated::ElsewhereOnly) => Some("only another root's does".to_owned()),
                };
                vec![Mismatch::Undated { root: root.clone(), why }]
            }
            (Self::Key { .. }, Identity::Key { .. } | Identity::Keyless { .. })
            | (Self::Keyless { .. }, Identity::Key { .. }) => Vec::new(),
            (
                Self::Keyless { issuer, identity, root, claims },
                Identity::Keyless { issuer: found_issuer, subject: found, root: found_root },
            ) => {
                let named = identity.is(found, service);
                let mut wrong = Vec::new();
                match (issuer == found_issuer, named) {
                    (true, true) => {}
                    (false, true) => {
                        let (expected, found) = (issuer.clone(), found_issuer.clone());
                        wrong.push(Mismatch::Issuer { expected, found });
                    }
                    (true, false) if identity.resembles(found, service) => {
                        let (expected, found) = (identity.shown(service), found.clone());
                        wrong.push(Mismatch::Subject { expected, found });
                    }
                    (true | false, false) => return Vec::new(),
                }
                if root != found_root {
                    wrong.push(Mismatch::Root { expected: root.clone(), found: found_root.clone() });
                }
                let claims = claims.wrong(author.claims(), service);
                wrong.extend(claims.into_iter().map(Mismatch::Claim));
                wrong
            }
        }
    }
}

impl Subject {
    /// As a reader has to have it.
    fn shown(&self, service: &ServiceName) -> String {
        match self {
            Self::Exactly(template) => template.fill(service),
            Self::Pattern(pattern) => format!("`{}`", pattern.as_str()),
        }
    }

    fn resembles(&self, found: &str, service: &ServiceName) -> bool {
        match self {
            Self::Exactly(template) => {
                let expected = template.fill(service);
                // Quadratic in the lengths, and a certificate's may be thousands.
                found.len() <= 4 * expected.len().max(64)
                    && strsim::normalized_levenshtein(&expected, found) >= ALIKE
            }
            Self::Pattern(_) => false,
        }
    }
}
