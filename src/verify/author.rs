//! Who signed, and what else is proved of them.

use jiff::Timestamp;

use super::Identity;
use super::keyless::{Claims, Proof};

/// Who signed: the identity, and beside it what a certificate says of the workload, and when.
///
/// A statement's author is proved where the statement was verified. Whoever is about to sign has one too, so that
/// the policy is asked about both in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    identity: Identity,
    certified: Option<Box<Certified>>,
}

/// What a certificate proves beside the identity.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Certified {
    claims: Claims,
    time: Timestamp,
}

impl Author {
    /// Whose signature it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What the certificate says of the signing workload; a key says nothing.
    pub fn claims(&self) -> Option<&Claims> {
        self.certified.as_ref().map(|certified| &certified.claims)
    }

    /// When it had been signed at the latest, as a log or a timestamp authority vouches; of several times the
    /// earliest. A key proves no time.
    pub fn time(&self) -> Option<Timestamp> {
        self.certified.as_ref().map(|certified| certified.time)
    }
}

/// Somebody of whom nothing but the identity is known: whoever holds a key.
impl From<Identity> for Author {
    fn from(identity: Identity) -> Self {
        Self { identity, certified: None }
    }
}

impl From<Proof> for Author {
    fn from(Proof { identity, claims, time }: Proof) -> Self {
        Self { identity, certified: Some(Box::new(Certified { claims, time })) }
    }
}
