//! The permit: what a deploy job shows to say that the gate said yes.
//!
//! Guarantees: it is given last, when everything else is done, and only where the same question is answered with yes once
//! more, by both lanes of the ledger as they are then, and the image is what is promoted there. A promotion that was made
//! before is asked no less.

use super::{Given, Promotion, Walk, WalkError, current};
use crate::collect::recall;
use crate::evidence::{Evidence, Target};
use crate::gate::{Decision, Denied, decide};
use crate::record::{Direction, Permit, PermitDraft};
use crate::verify::Sign;

impl Walk<'_> {
    /// The permit, or why the answer is no by now.
    pub(super) fn permit(
        &self,
        target: &Target<'_>,
        evidence: &mut Evidence,
        promotion: &Promotion,
        signer: &dyn Sign,
    ) -> Result<Result<Given, Box<Denied>>, WalkError> {
        let (image, commit) = (Box::new(promotion.destination().clone()), promotion.commit.index);
        // 1. The third look: what was revoked or frozen since the second.
        recall(evidence, target, self.ledger, self.trust, (self.clock)())?;
        let approved = match decide(target, evidence) {
            Decision::Denied(denied) => return Ok(Err(Box::new(denied))),
            Decision::Approved(approved) => approved,
        };
        // 2. Nothing else was promoted there meanwhile. The same bytes once more are the same.
        let now = current(target, evidence).0;
        let Some(current) = now.as_ref().filter(|current| current.image == *image) else {
            return Ok(Err(Box::new(approved.superseded(now.as_ref().map(|current| &current.image)))));
        };
        let verdict = approved.verdict();
        // 3. Good from when it was looked, not from when a service signed it.
        let issued_on = evidence.now;
        let valid_until = issued_on.saturating_add(target.environment().permit_for()).unwrap_or(issued_on);
        let permit = Permit {
            service: verdict.service.clone(),
            environment: verdict.environment.clone(),
            repository: image.repository.clone(),
            kind: Direction::Promote,
            record: current.commit,
            origin: self.policy.ledger().origin().to_owned(),
            policy: verdict.policy.clone(),
            issued_on,
            valid_until,
        };
        let draft = PermitDraft { subjects: verdict.subjects(), permit };
        match draft.sign(signer) {
            Ok(bytes) => Ok(Ok(Given { permit: draft.permit, bytes })),
            Err(source) => Err(WalkError::Permit { image, commit, source }),
        }
    }
}
