//! The record that a permit rests on: does the log of the policy have it, and does it say what the permit says?
//!
//! Guarantees: nothing is read of a record that the policy's log was not shown to have, and no check is taken for met that
//! was not made: each step ends in a refusal where the next one has nothing to look at. Whoever signs a permit without
//! asking the gate has such a record only of what was once promoted there under the same rules.
//! Never does: believe the permit's word for it; or see what the log says after the record.
//!
//! Start at [`recorded`].

use jiff::Timestamp;

use super::{Question, SKEW, finding};
use crate::digest::shorten;
use crate::gate::{Code, Finding, either, known_as};
use crate::record::{Logged, Phase, Position, Promotion, Record, SignedPermit};
use crate::tlog::{Included, Quorum, SignedCheckpoint, TlogError, TlogPolicy, Vkey};

/// Everything that is asked of the record, in order.
pub(super) fn recorded(question: &Question<'_>, shown: &SignedPermit, now: Timestamp) -> Vec<Finding> {
    let mut findings = Vec::new();
    // 1. It carries one.
    let Some(logged) = carried(question, shown, &mut findings) else { return findings };
    // 2. With a checkpoint that this very log signed: a log of the same name has another key.
    let Some((vkey, head)) = checkpoint(question, logged, &mut findings) else { return findings };
    // 3. Which the witnesses saw whom the lock names.
    findings.extend(question.log.witnesses.and_then(|policy| witnessed(question, policy, &head, now)));
    // 4. The log has it, where the permit says.
    let Some(entry) = included(question, shown, (logged, &vkey, &head), &mut findings) else {
        return findings;
    };
    // 5. It is the commit of a promotion.
    let Some(record) = commit(question, &entry, &mut findings) else { return findings };
    if let Some(promotion) = record.promotion() {
        // 6. By whom the reader's own policy lets promote there.
        findings.push(signer(question, &record));
        // 7. And it is about the same: whatever is said twice is said alike.
        findings.push(agrees(question, shown, &record, promotion));
    }
    findings
}

fn carried<'p>(
    question: &Question<'_>,
    shown: &'p SignedPermit,
    findings: &mut Vec<Finding>,
) -> Option<&'p Logged> {
    let logged = shown.permit().logged.as_ref();
    if logged.is_none() {
        let found = "none: whoever signed it did not show that the promotion was recorded".to_owned();
        let expected = "with the record that it rests on, and the proof".to_owned();
        findings.push(finding(question, false, Code::PermitUnrecorded, expected, found));
    }
    logged
}

fn checkpoint(
    question: &Question<'_>,
    logged: &Logged,
    findings: &mut Vec<Finding>,
) -> Option<(Vkey, SignedCheckpoint)> {
    let ledger = question.policy.ledger();
    let opened = ledger.verifier().parse::<Vkey>();
    let opened = opened.and_then(|vkey| vkey.open(logged.proof.note()).map(|head| (vkey, head)));
    let found = match &opened {
        Ok((_, head)) => format!("of {} records, signed by it", head.size()),
        Err(error) => error.to_string(),
    };
    let expected = format!("with a checkpoint by the key of `{}`", ledger.origin());
    findings.push(finding(question, opened.is_ok(), Code::PermitLedger, expected, found));
    opened.ok()
}

/// None where no witness has to have seen it.
fn witnessed(
    question: &Question<'_>,
    policy: &TlogPolicy,
    head: &SignedCheckpoint,
    now: Timestamp,
) -> Option<Finding> {
    let until = now.saturating_add(SKEW).unwrap_or(Timestamp::MAX).as_second();
    let (is, found) = match policy.quorum(head, u64::try_from(until).unwrap_or(0)) {
        Ok(Quorum::NotRequired) => return None,
        Ok(Quorum::Reached(by)) => (true, format!("by {}", by.witnesses().join(", "))),
        Ok(Quorum::Missed { missing }) => (false, format!("nothing by {}", missing.join(", "))),
        Err(error) => (false, error.to_string()),
    };
    let expected = "cosigned by the witnesses that the lock names".to_owned();
    let finding = finding(question, is, Code::PermitUnwitnessed, expected, found);
    Some(match is {
        true => finding,
        false => finding.fix(vec![
            "where the ledger is: samebits ledger cosign".to_owned(),
            "then promote again, which gives a new permit; if it has them, read the lock from the same commit \
             in both jobs"
                .to_owned(),
        ]),
    })
}

fn included(
    question: &Question<'_>,
    shown: &SignedPermit,
    (logged, vkey, head): (&Logged, &Vkey, &SignedCheckpoint),
    findings: &mut Vec<Finding>,
) -> Option<Included> {
    let Position { index, leaf_hash } = shown.permit().record;
    let proved: Result<Included, TlogError> = logged.proof.verify(vkey, logged.entry.clone().into_bytes());
    let (is, found) = match &proved {
        Ok(entry) if (entry.index(), entry.leaf()) == (index, leaf_hash) => (true, "it is".to_owned()),
        Ok(entry) => (false, format!("another is proved, record {}, {}", entry.index(), entry.leaf())),
        Err(error) => (false, error.to_string()),
    };
    let expected = format!("record {index}, {leaf_hash}, is among those {}", head.size());
    findings.push(finding(question, is, Code::PermitUnproved, expected, found));
    proved.ok().filter(|_| is)
}

fn commit(question: &Question<'_>, entry: &Included, findings: &mut Vec<Finding>) -> Option<Record> {
    let record = Record::read(entry, question.log.trust);
    let (is, found) = match &record {
        Ok(record) => match record.promotion() {
            Some(Promotion { phase: Phase::Commit, .. }) => (true, "it is".to_owned()),
            Some(Promotion { phase, .. }) => (false, format!("it is that of a promotion: {phase}")),
            None => (false, format!("it is a record of another kind: {}", record.body().kind())),
        },
        Err(error) => (false, super::whole(error)),
    };
    let expected = "that record is the commit of a promotion".to_owned();
    findings.push(finding(question, is, Code::PermitRecord, expected, found));
    record.ok().filter(|_| is)
}

fn signer(question: &Question<'_>, record: &Record) -> Finding {
    let Question { policy, service, environment, .. } = question;
    let who = policy.who(record.author(), service.name());
    let promoter = who.iter().find(|name| environment.promoters().contains(name));
    let found = match promoter {
        Some(name) => format!("`{name}`"),
        None => known_as(policy, service.name(), record.author()),
    };
    let expected = format!(
        "the record is signed by a promoter of `{}`: {}",
        environment.name(),
        either(environment.promoters())
    );
    finding(question, promoter.is_some(), Code::PermitRecordSigner, expected, found)
}

fn agrees(question: &Question<'_>, shown: &SignedPermit, record: &Record, promotion: &Promotion) -> Finding {
    let (permit, image) = (shown.permit(), &record.subjects().image);
    let mut other = Vec::new();
    if *image != shown.subjects().image {
        other.push(format!("it promoted {image}"));
    }
    let platforms = |of: &crate::record::Subjects| {
        of.platforms.iter().map(|(digest, _)| *digest).collect::<std::collections::BTreeSet<_>>()
    };
    if platforms(record.subjects()) != platforms(shown.subjects()) {
        other.push("it has other platforms".to_owned());
    }
    if promotion.service != permit.service {
        other.push(format!("it is of `{}`", promotion.service));
    }
    if promotion.to.environment.as_ref() != Some(&permit.environment) {
        let to = promotion.to.environment.as_ref().map_or("nowhere".to_owned(), |name| format!("`{name}`"));
        other.push(format!("it is into {to}"));
    }
    if promotion.to.uri != permit.repository {
        other.push(format!("it is to {}", promotion.to.uri));
    }
    if promotion.kind != permit.kind {
        other.push("it is in the other direction".to_owned());
    }
    let (made, given) = (&promotion.policy, &permit.policy);
    if (made.digest, &made.keys) != (given.digest, &given.keys) {
        other.push(format!("it was made under {} {} or other keys", shorten(&made.uri), made.digest.0));
    }
    let found = if other.is_empty() { "it does".to_owned() } else { other.join("; ") };
    let expected = "the record says what the permit says".to_owned();
    finding(question, other.is_empty(), Code::PermitContradiction, expected, found)
}
