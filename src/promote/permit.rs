//! The permit: what a deploy job shows to say that the gate said yes.
//!
//! Guarantees: it is given last, when everything else is done, and only where the same question is answered with yes once
//! more, by both lanes of the ledger as they are then, and the image is what is promoted there. A promotion that was made
//! before is asked no less. It carries the record of the promotion and the proof that the log has it, cosigned where the
//! lock asks for that; where the proof cannot be had there is no permit.

use super::asking::current;
use super::{Given, Promotion, Walk, WalkError};
use crate::collect::recall;
use crate::evidence::{Evidence, Target};
use crate::gate::{Decision, Denied, decide};
use crate::ledger::LedgerError;
use crate::record::{Direction, Logged, Permit, PermitDraft, PolicyVersion, Position};
use crate::verify::Sign;
use crate::witness::{Asked, cosign};

impl Walk<'_> {
    /// Asks the witnesses, where a proof takes them and they did not cosign a checkpoint with the record yet: why some did
    /// not. `None` where nobody was asked.
    pub(super) async fn ask_witnesses(&self, commit: Position) -> Result<Option<Vec<String>>, WalkError> {
        let (Some(client), Some(policy)) = (self.witnesses, self.ledger.witnesses()) else { return Ok(None) };
        if self.ledger.vouched(commit.index, (self.clock)())?.is_ok() {
            return Ok(None);
        }
        // What cannot be asked is missing afterwards, and said then.
        Ok(Some(match cosign(self.ledger, policy, client).await {
            Ok(asked) => uncosigned(&asked),
            Err(error) => vec![error.to_string()],
        }))
    }

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
        // 3. The record, and the proof.
        let logged = match self.logged(current.commit, evidence) {
            Ok(Ok(logged)) => Some(logged),
            Ok(Err(missing)) => {
                let why = promotion.uncosigned.clone().unwrap_or_default();
                return Err(WalkError::Uncosigned { image, commit, missing, why });
            }
            Err(source) => return Err(WalkError::Unproved { image, commit, source: Box::new(source) }),
        };
        let verdict = approved.verdict();
        // 4. Good from when it was looked, not from when a service signed it.
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
            logged,
        };
        let draft = PermitDraft { subjects: verdict.subjects(), permit };
        match draft.sign(signer) {
            Ok(bytes) => Ok(Ok(Given { permit: draft.permit, bytes })),
            Err(source) => Err(WalkError::Permit { image, commit, source }),
        }
    }

    /// The record as the log has it, or the witnesses without whom it is not proved.
    fn logged(
        &self,
        commit: Position,
        evidence: &Evidence,
    ) -> Result<Result<Logged, Vec<String>>, LedgerError> {
        let at = match self.ledger.vouched(commit.index, evidence.now)? {
            Ok(at) => at,
            Err(missing) => return Ok(Err(missing)),
        };
        let entry = self.ledger.read(&at, commit.index)?;
        Ok(Ok(Logged::new(&entry, self.ledger.proof(&at, commit.index)?)))
    }
}

/// Whether a commit was made under these rules, file and keys. A permit says that it was: where they have changed since,
/// the promotion is recorded once more before one is given.
pub(super) fn is_under(evidence: &Evidence, commit: Position, rules: &PolicyVersion) -> bool {
    let record = evidence.history.iter().find(|record| record.position() == commit);
    let made = record.and_then(|record| record.promotion()).map(|promotion| &promotion.policy);
    made.is_some_and(|made| (made.digest, &made.keys) == (rules.digest, &rules.keys))
}

/// Why witnesses did not cosign.
pub fn uncosigned(asked: &[Asked]) -> Vec<String> {
    asked.iter().filter_map(|asked| asked.cosigned.as_ref().err()).map(ToString::to_string).collect()
}
