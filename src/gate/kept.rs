//! The bytes of what a decision names, for whoever records it (`ATTACKS.md` B5).

use std::collections::BTreeSet;

use super::{Finding, Outcome};
use crate::closure::Role;
use crate::evidence::{Evidence, Kept, Target};
use crate::record::Resource;

/// The indexes and platform manifests, what the met requirements rely on, the policy and what it names. Of a refusal
/// too only what the met requirements rely on: what was looked at and did not count, anybody may attach.
pub(super) fn kept(target: &Target<'_>, evidence: &Evidence, findings: &[Finding]) -> Kept {
    let mut kept = Kept::default();
    for manifest in target.closure().manifests() {
        match manifest.role {
            Role::Index | Role::Platform(_) => kept.keep(&manifest.bytes),
            Role::Attachment => {}
        }
    }
    let met = findings.iter().filter_map(|finding| match &finding.outcome {
        Outcome::Met(evidence) => Some(evidence),
        Outcome::Unmet(_) | Outcome::Warned(..) => None,
    });
    let relied_on: BTreeSet<&Resource> = met.flatten().collect();
    for found in &evidence.attestations {
        let layer = found.layer();
        if relied_on.contains(&found.resource()) && layer.iter().all(|layer| relied_on.contains(layer)) {
            kept.keep(found.raw.bytes());
            found.raw.descriptor().iter().for_each(|bytes| kept.keep(bytes));
        }
    }
    target.policy().sources().iter().for_each(|bytes| kept.keep(bytes));
    kept
}
