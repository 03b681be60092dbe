//! Who signed, and what else is proved of them.

use jiff::Timestamp;

use super::keyless::{self, Claims, Proof};
use super::{Identity, Reason, RootName};

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
    /// None before anything was signed.
    time: Option<Timestamp>,
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
        self.certified.as_ref().and_then(|certified| certified.time)
    }
}

impl Author {
    /// What a Fulcio certificate says of whoever holds its key, and until when it is good: for its holder, who is
    /// about to sign. Nothing of it is proved here; under `root` it will be, with what is signed.
    ///
    /// # Errors
    /// [`Reason`] when it is none that verification would take.
    pub fn of_certificate(der: &[u8], root: RootName) -> Result<(Self, Timestamp), Reason> {
        let (identity, claims, until) = keyless::announced(der, root)?;
        let certified = Some(Box::new(Certified { claims, time: None }));
        Ok((Self { identity, certified }, until))
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
        Self { identity, certified: Some(Box::new(Certified { claims, time: Some(time) })) }
    }
}
