//! The bytes of what a decision names, for whoever records it (`ATTACKS.md` B5).

use std::collections::BTreeSet;

use super::Finding;
use crate::evidence::{Evidence, Kept, Target};
use crate::record::Resource;

/// What the closure was made from, what the requirements rely on, the policy and what it names. Of a refusal too only
/// what was found good, and what the right signer says otherwise: what else was looked at, anybody may attach.
pub(super) fn kept(target: &Target<'_>, evidence: &Evidence, findings: &[Finding]) -> Kept {
    let mut kept = Kept::default();
    target.closure().documents().for_each(|bytes| kept.keep(bytes));
    let relied_on: BTreeSet<&Resource> = findings.iter().flat_map(Finding::relied_on).collect();
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
