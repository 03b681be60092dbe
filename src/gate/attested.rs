//! Requirements met by attestations on the image: signatures and SLSA provenance.
//!
//! An attestation counts for the manifests it names as subjects. It covers the image if it names the root, or if
//! together with others of its kind it names every platform manifest of it (`ATTACKS.md` A4).

use super::tally::Tally;
use super::{Code, Finding, Requirement};
use crate::evidence::{Evidence, Target};
use crate::policy::SignerName;
use crate::verify::{COSIGN_SIGN, MESSAGE_SIGNATURE, SIMPLE_SIGNING};

mod provenance;

pub(super) use provenance::provenance;

/// A signature by `signer`: cosign simple signing, cosign's `sign/v1` statement, or a signature over the manifest.
pub(super) fn signed_by(target: &Target<'_>, evidence: &Evidence, signer: &SignerName) -> Finding {
    let expected = format!("a signature by `{signer}`");
    let mut tally = Tally::default();
    for found in &evidence.attestations {
        if [SIMPLE_SIGNING, COSIGN_SIGN, MESSAGE_SIGNATURE].contains(&found.attestation.predicate_type()) {
            let _counted = tally.weigh(target, evidence, found, signer, "signature", |_| Ok(Vec::new()));
        }
    }
    tally.discarded(evidence);
    let fix = vec![
        format!("sign the image as `{signer}`, for instance: cosign sign --key KEY {}", target.image()),
        "see what is on it:".to_owned(),
        format!("samebits verify {}", target.image()),
    ];
    tally.finding(target, Requirement::SignedBy, Code::NotSignedBy, expected, "none").fix(fix)
}
