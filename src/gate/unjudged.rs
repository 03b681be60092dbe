//! Records of the main lane whose signature nobody here can judge.
//!
//! A certificate under roots that are newer or older than those here, or a clock that is behind, makes a record neither
//! good nor wrong. It may say that something was removed, rejected or is under way: it is passed over only where the
//! policy knows nobody by certificate who could have said what it says it is, or where a revoker has revoked that very
//! record, there and in what is entered. That is the one revocation that can turn a no into a yes: who may say no takes
//! back what may be one. Of an abort nobody can say so: it takes nothing but a lock, and counts whoever wrote it.

use super::control::in_force;
use super::{Code, Finding, Requirement};
use crate::evidence::{Control, Evidence, Target};
use crate::policy::{EnvironmentName, Policy, ServiceName};
use crate::record::{Kind, Phase, Revoked, Unjudged};

/// The first of `unjudged`, records of the service, that may be by somebody who may say it there, for whoever would
/// enter `environment`.
pub fn may_count<'u>(
    policy: &Policy,
    service: &ServiceName,
    environment: &EnvironmentName,
    control: &Control,
    unjudged: impl IntoIterator<Item = &'u Unjudged>,
) -> Option<&'u Unjudged> {
    let may = |it: &&Unjudged| by_certificate(policy, it);
    let mut may = unjudged.into_iter().filter(may).peekable();
    may.peek()?;
    let in_force = in_force(policy, service, control);
    may.find(|it| {
        let revoked = Revoked::Record(it.position);
        closes(it)
            || !in_force.all().iter().any(|holds| {
                holds.revocation.target == revoked
                    && holds.reaches(environment)
                    && holds.reaches(&it.environment)
            })
    })
}

/// The first of `unjudged` that may be a promotion into that environment.
pub fn may_promote<'u>(
    policy: &Policy,
    service: &ServiceName,
    environment: &EnvironmentName,
    control: &Control,
    unjudged: &'u [Unjudged],
) -> Option<&'u Unjudged> {
    let promotions = unjudged.iter().filter(|it| it.kind == Kind::Promotion);
    may_count(policy, service, environment, control, promotions)
}

/// Whether it says that it closes an intent. No revocation takes that away, or it could wake what was closed.
fn closes(unjudged: &Unjudged) -> bool {
    unjudged.kind == Kind::Promotion && unjudged.outcome == Phase::Abort.to_string()
}

/// Whether somebody who may say such a thing there is known by certificate.
fn by_certificate(policy: &Policy, unjudged: &Unjudged) -> bool {
    policy.environment(&unjudged.environment).is_some_and(|environment| match unjudged.kind {
        Kind::Deployment => policy.by_certificate(environment.deployers()),
        Kind::Promotion => policy.by_certificate(environment.promoters()),
        Kind::Approval => {
            environment.require().approvals().is_some_and(|it| policy.by_certificate(it.from()))
        }
    })
}

/// That every record of the past is judged: unmet where one is not and may be a no, else not worth a word.
pub(super) fn known(target: &Target<'_>, evidence: &Evidence) -> Option<Finding> {
    let (policy, service) = (target.policy(), target.service().name());
    let environment = target.environment().name();
    let it = may_count(policy, service, environment, &evidence.control, &evidence.unjudged)?;
    let index = it.position.index;
    let found = format!(
        "record {index} ({} in `{}`) may be by somebody who may say no, and cannot be judged here: {}",
        it.kind,
        it.environment,
        it.why.reason.whole()
    );
    let mut fix = vec![
        "see that this machine's clock is right, and refresh the roots of trust:".to_owned(),
        "samebits roots refresh".to_owned(),
    ];
    if !closes(it) {
        fix.push("if it is by nobody whom the policy names, a revoker says so:".to_owned());
        fix.push(format!("samebits revoke --record {index} --reason TEXT"));
    }
    let expected = format!("every record of `{service}` there can be judged");
    Some(Finding::unmet(Requirement::PastKnown, Code::RecordUnknown, expected, found).fix(fix))
}
