//! Simple Verification Result v0.1 (in-toto/attestation, `spec/predicates/svr.md`).

use jiff::Timestamp;

use super::read::Place;
use super::{PredicateError, SVR};
use crate::digest::shorten;
use crate::verify::Attestation;

/// What somebody else verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Svr {
    /// `verifier.id`.
    pub verifier: String,
    /// `timeCreated`.
    pub created: Timestamp,
    /// `properties`: what passed.
    pub properties: Vec<String>,
}

impl Svr {
    /// Reads a simple verification result.
    ///
    /// # Errors
    /// [`PredicateError`] when it is of another kind, or a required field is missing.
    pub fn read(attestation: &Attestation) -> Result<Self, PredicateError> {
        if attestation.predicate_type() != SVR {
            let found = shorten(attestation.predicate_type());
            return Err(PredicateError::PredicateType {
                found,
                expected: "a simple verification result v0.1",
            });
        }
        let root = Place::root(attestation.predicate());
        Ok(Self {
            verifier: root.need("verifier")?.need("id")?.text()?.to_owned(),
            created: root.need("timeCreated")?.time()?,
            properties: root.need("properties")?.texts()?,
        })
    }
}
