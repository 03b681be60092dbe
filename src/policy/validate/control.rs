//! Who may revoke, and that nobody can lift what stops him.

use super::*;
use crate::policy::Control;

impl Check<'_> {
    /// `[control]`, where there is one.
    pub(super) fn control(&mut self, environments: &[Checked<'_>]) -> Option<Control> {
        let raw = self.draft.raw.control.as_ref()?;
        let revokers = self.signer_list(&raw.revokers);
        let mut shared = false;
        for environment in environments {
            let promoters = environment.promoters.iter().map(|(name, _)| name.clone());
            let others: Vec<SignerName> = promoters.chain(environment.deployers.iter().cloned()).collect();
            for (revoker, span) in &revokers {
                let Some((other, identity)) = self.shared(revoker, &others) else { continue };
                if raw.same_identity_accepted.is_none() && !shared {
                    let environment = environment.name.clone();
                    let revoker = revoker.clone();
                    self.errors.push(span, Problem::RevokerActs { identity, revoker, other, environment });
                }
                shared = true;
            }
        }
        if let (Some(reason), false) = (&raw.same_identity_accepted, shared) {
            self.errors.push(&reason.span, Problem::RevokerActsUnused);
        }
        let same_identity_accepted = raw.same_identity_accepted.as_ref().map(|at| at.value.clone());
        let revokers = revokers.into_iter().map(|(name, _)| name).collect();
        Some(Control { revokers, same_identity_accepted })
    }
}
