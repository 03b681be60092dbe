//! Who may revoke and freeze, and that nobody can lift what stops him.

use super::*;
use crate::policy::Control;

impl Check<'_> {
    /// `[control]`, where there is one.
    pub(super) fn control(&mut self, environments: &[Checked<'_>]) -> Option<Control> {
        let raw = self.draft.raw.control.as_ref()?;
        let revokers = self.signer_list(&raw.revokers);
        let freezers = raw.freezers.as_ref().map(|list| self.signer_list(list)).unwrap_or_default();
        let roles =
            revokers.iter().map(|it| ("revoker", it)).chain(freezers.iter().map(|it| ("freezer", it)));
        let roles: Vec<_> = roles.collect();
        let mut shared = false;
        for environment in environments {
            let promoters = environment.promoters.iter().map(|(name, _)| name.clone());
            let others: Vec<SignerName> = promoters.chain(environment.deployers.iter().cloned()).collect();
            for (role, (name, span)) in &roles {
                let Some((other, identity)) = self.shared(name, &others) else { continue };
                if raw.same_identity_accepted.is_none() && !shared {
                    let (name, environment) = (name.clone(), environment.name.clone());
                    let problem = Problem::ControlActs { identity, role, name, other, environment };
                    self.errors.push(span, problem);
                }
                shared = true;
            }
        }
        if let (Some(reason), false) = (&raw.same_identity_accepted, shared) {
            self.errors.push(&reason.span, Problem::ControlActsUnused);
        }
        let same_identity_accepted = raw.same_identity_accepted.as_ref().map(|at| at.value.clone());
        let names = |list: Vec<(SignerName, _)>| list.into_iter().map(|(name, _)| name).collect();
        let (revokers, freezers) = (names(revokers), names(freezers));
        Some(Control { revokers, freezers, same_identity_accepted })
    }
}
