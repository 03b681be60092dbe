//! The decision for everybody else's tools: a SLSA Verification Summary Attestation.
//!
//! Guarantees: exactly the fields of the standard (SLSA v1.1, verification_summary/v1), bound to one environment by
//! `resourceUri`, its repository. Never does: count as evidence for a later decision of ours; only the ledger does.

use jiff::Timestamp;
use serde_json::json;

use super::{DraftError, PolicyVersion, Resource, Subjects, sign};
use crate::policy::EnvironmentName;
use crate::reference::{Location, Repository};
use crate::verify::provenance::level::Level;
use crate::verify::{Attestation, Identity, Sign, Verified};

/// The predicate type.
pub const SUMMARY: &str = "https://slsa.dev/verification_summary/v1";

/// The `verifier.id`: consumers accept a summary by the pair of its signer and this.
pub const VERIFIER: &str = "https://samebits.dev/gate";

/// A summary about to be signed.
#[derive(Clone, Debug)]
pub struct Summary<'a> {
    /// What was let in: the image and its platform manifests, where they lie now.
    pub subjects: Subjects,
    /// Where.
    pub environment: &'a EnvironmentName,
    /// The rules.
    pub policy: &'a PolicyVersion,
    /// Everything the decision relied on.
    pub evidence: &'a [Resource],
    /// The SLSA Build level that the decision found justified by builder and signer; none where none was looked at.
    pub level: Option<Level>,
    /// When.
    pub verified_on: Timestamp,
}

impl Summary<'_> {
    /// The signed bytes, as for a record.
    ///
    /// # Errors
    /// [`DraftError`] when there is no signature.
    pub fn sign(&self, signer: &dyn Sign) -> Result<Vec<u8>, DraftError> {
        let predicate = json!({
            "verifier": { "id": VERIFIER, "version": { "samebits": env!("CARGO_PKG_VERSION") } },
            "timeVerified": self.verified_on,
            "resourceUri": resource_uri(&self.subjects.image.repository),
            "policy": { "uri": self.policy.uri, "digest": self.policy.digest },
            "inputAttestations": self.evidence,
            "verificationResult": "PASSED",
            "verifiedLevels": self.levels(),
            "slsaVersion": "1.1",
        });
        sign(&self.subjects, SUMMARY, predicate, signer)
    }

    /// What was verified (SLSA v1.1, `SlsaResult`): the Build level, where there is one, and the environment.
    fn levels(&self) -> Vec<String> {
        let environment = self.environment.as_str().replace('-', "_").to_uppercase();
        let level = self.level.map(|level| level.result().to_owned());
        level.into_iter().chain([format!("SAMEBITS_{environment}")]).collect()
    }

    /// Whether an attestation is the summary that `identity` would publish for this repository and policy.
    pub fn is_published_as(&self, attestation: &Verified<Attestation>, identity: &Identity) -> bool {
        attestation.identity() == identity
            && self.is_about_the_same(attestation)
            && attestation.predicate().get("verifiedLevels") == Some(&json!(self.levels()))
    }

    /// Whether an attestation is a summary of this image, repository and policy, by whomever and of whatever level.
    pub fn is_about_the_same(&self, attestation: &Verified<Attestation>) -> bool {
        let field = |name: &str| attestation.predicate().get(name);
        attestation.predicate_type() == SUMMARY
            && attestation.subjects().iter().any(|subject| subject.digest == self.subjects.image.digest)
            && field("resourceUri") == Some(&json!(resource_uri(&self.subjects.image.repository)))
            && field("policy") == Some(&json!({ "uri": self.policy.uri, "digest": self.policy.digest }))
            && field("verificationResult") == Some(&json!("PASSED"))
    }
}

/// The repository as a URI.
fn resource_uri(repository: &Repository) -> String {
    match repository.location() {
        Location::Registry { host, path } => format!("oci://{host}/{path}"),
        Location::Layout { .. } => repository.to_string(),
    }
}
