//! That a registry takes images, and does not take what refers to them.

use super::{Asked, Complaint, RegistryError};
use crate::digest::Digest;

/// That a registry does not take a manifest that refers to something, for what it is.
pub(in crate::registry) struct Refusal {
    asked: Box<Asked>,
    status: u16,
    complaint: Complaint,
    tries: u32,
    logged_in: bool,
}

impl Refusal {
    /// Asked of the answer to such a manifest, written by digest to where its subject is.
    ///
    /// # Errors
    /// The error itself, where it says anything else: who asks, how often, and what is not there is another matter.
    pub(in crate::registry) fn of(error: RegistryError) -> Result<Self, RegistryError> {
        match error {
            // Not Implemented among them: the one status of a server's own that says it never will.
            RegistryError::Status {
                asked,
                status: status @ (400 | 405 | 406 | 415 | 422 | 501),
                complaint,
                tries,
                logged_in,
            } if !complaint.is_about_something_else() => {
                Ok(Self { asked, status, complaint, tries, logged_in })
            }
            other => Err(other),
        }
    }

    pub(in crate::registry) fn of_these(self, referrers: Vec<Digest>) -> RegistryError {
        let Self { asked, status, complaint, .. } = self;
        RegistryError::SubjectRefused { asked, status, complaint, referrers }
    }

    /// Of this manifest alone: others that refer to something were taken.
    pub(in crate::registry) fn of_this(self) -> RegistryError {
        let Self { asked, status, complaint, tries, logged_in } = self;
        RegistryError::Status { asked, status, complaint, tries, logged_in }
    }
}
