//! Who signed, and what else is proved of them.

use std::collections::BTreeMap;

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
    claims: Option<Box<Claims>>,
    dated: Dated,
}

/// Under which roots a log or a timestamp authority vouches for a signature, and the earliest time each proves: a
/// log of the second version vouches, and tells no time.
pub(super) type Vouched = BTreeMap<RootName, Option<Timestamp>>;

/// How it is known when something was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Dated {
    /// By its place: a record in the ledger, or one about to be made; or by what a permit says of itself.
    Place,
    /// By a log or a timestamp authority.
    Vouched(Vouched),
    /// By nothing: a key alone says who, never when.
    Nothing(Box<Reason>),
}

impl Author {
    /// Whose signature it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What the certificate says of the signing workload; a key says nothing.
    pub fn claims(&self) -> Option<&Claims> {
        self.claims.as_deref()
    }

    /// When it had been signed at the latest, as a log or a timestamp authority vouches; of several times the
    /// earliest.
    pub fn time(&self) -> Option<Timestamp> {
        match &self.dated {
            Dated::Vouched(under) => under.values().flatten().min().copied(),
            Dated::Place | Dated::Nothing(_) => None,
        }
    }

    /// Whether something says when this was signed: a log or a timestamp authority of this root, or a place in the
    /// ledger.
    ///
    /// # Errors
    /// Why nothing does.
    pub fn is_dated(&self, root: &RootName) -> Result<(), Undated<'_>> {
        match &self.dated {
            Dated::Place => Ok(()),
            Dated::Vouched(under) if under.contains_key(root) => Ok(()),
            Dated::Vouched(_) => Err(Undated::ElsewhereOnly),
            Dated::Nothing(why) => Err(Undated::Because(why)),
        }
    }

    /// What a Fulcio certificate says of whoever holds its key, and until when it is good: for its holder, who is
    /// about to sign. Nothing of it is proved here; under `root` it will be, with what is signed.
    ///
    /// # Errors
    /// [`Reason`] when it is none that verification would take.
    pub fn of_certificate(der: &[u8], root: RootName) -> Result<(Self, Timestamp), Reason> {
        let (identity, claims, until) = keyless::announced(der, root)?;
        Ok((Self { identity, claims: Some(Box::new(claims)), dated: Dated::Place }, until))
    }

    /// The signer of a statement that nothing dates yet.
    pub(super) fn of_key(identity: Identity) -> Self {
        Self { identity, claims: None, dated: Dated::Nothing(Box::new(Reason::Undated)) }
    }

    /// The same, dated by what lies beside the signature.
    pub(super) fn vouched(self, by: Result<Vouched, Reason>) -> Self {
        let dated = match by {
            Ok(under) => Dated::Vouched(under),
            Err(why) => Dated::Nothing(Box::new(why)),
        };
        Self { dated, ..self }
    }

    /// The same, dated by a place in the ledger.
    pub(super) fn placed(self) -> Self {
        match self.dated {
            // What a certificate proves is more.
            Dated::Vouched(_) => self,
            Dated::Place | Dated::Nothing(_) => Self { dated: Dated::Place, ..self },
        }
    }
}

/// Why nothing says when something was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undated<'a> {
    /// Something of another root does.
    ElsewhereOnly,
    /// What there is does not count, or there is nothing.
    Because(&'a Reason),
}

/// Whoever is about to sign a record, and of whom nothing but the identity is known: whoever holds a key. The record's
/// place will date it.
impl From<Identity> for Author {
    fn from(identity: Identity) -> Self {
        Self { identity, claims: None, dated: Dated::Place }
    }
}

impl From<Proof> for Author {
    fn from(Proof { identity, claims, time }: Proof) -> Self {
        let under = match &identity {
            Identity::Keyless { root, .. } => Vouched::from([(root.clone(), Some(time))]),
            Identity::Key { .. } => Vouched::new(),
        };
        Self { identity, claims: Some(Box::new(claims)), dated: Dated::Vouched(under) }
    }
}
