//! The deploy job's side: may this image be deployed there, by the permit that is shown?
//!
//! Guarantees: total (every check that fails is reported), and a yes only where a promoter of the environment signed, within
//! the time that the reader's own policy allows, that exactly these bytes of exactly this service may be deployed from
//! exactly this repository into exactly this environment, under this very policy file, keys and log, and where that log was
//! shown to have the record of it, cosigned where the reader's lock asks for that. What the permit says of itself widens
//! nothing.
//! Never does: I/O, clock; or look at a ledger: what was revoked, frozen or superseded since the permit was given is not
//! seen here, which is why it is short-lived.
//!
//! Start at [`admit`]; the record is [`mod@recorded`]'s.

mod recorded;

use jiff::{SignedDuration, Timestamp};

use super::{Code, Finding, Requirement, either, known_as, tag};
use crate::digest::shorten;
use crate::evidence::{TagSeen, TargetError};
use crate::policy::{Environment, Policy, Service, spell_duration};
use crate::record::{BARE_PERMIT, PERMIT, Permit, RecordError, SignedPermit};
use crate::reference::{Image, Repository};
use crate::tlog::TlogPolicy;
use crate::verify::Trust;
use recorded::recorded;

/// By how much a clock may be behind that of whoever gave the permit. Less than elsewhere: what is good for a minute must
/// not be taken for five more.
const SKEW: SignedDuration = SignedDuration::from_secs(60);

/// What the record in a permit is judged by, beside the policy: that names the log and its key.
#[derive(Clone, Copy, Debug)]
pub struct Log<'a> {
    /// Whose cosignatures its checkpoint needs, where the lock beside the policy asks for any.
    pub witnesses: Option<&'a TlogPolicy>,
    /// The keys and roots that records are read with.
    pub trust: &'a Trust,
}

/// What is asked: may this image of this service be deployed there?
#[derive(Clone, Debug)]
pub struct Question<'a> {
    policy: &'a Policy,
    log: Log<'a>,
    service: &'a Service,
    environment: &'a Environment,
    repository: &'a Repository,
    image: Image,
    tag: Option<TagSeen>,
}

impl<'a> Question<'a> {
    /// A question about `image`, for a service and an environment of the policy; `tag` is what it was named by, if it was.
    ///
    /// # Errors
    /// [`TargetError`] when a name is not in the policy.
    pub fn new(
        policy: &'a Policy,
        log: Log<'a>,
        service: &str,
        environment: &str,
        image: Image,
        tag: Option<TagSeen>,
    ) -> Result<Self, TargetError> {
        let service = policy.find_service(service)?;
        let environment = policy.find_environment(environment)?;
        let repository = environment
            .repository(service.name())
            .ok_or_else(|| TargetError::NoRepository { environment: environment.name().to_string() })?;
        Ok(Self { policy, log, service, environment, repository, image, tag })
    }

    /// What to do to have one.
    fn again(&self) -> Vec<String> {
        vec![
            "in the job that promotes, and hand its permit on to this one:".to_owned(),
            format!("samebits promote IMAGE --to {} --permit FILE", self.environment.name()),
        ]
    }
}

/// What was shown.
#[derive(Clone, Debug)]
pub enum Shown {
    /// Nothing, and where it was looked for, in words.
    Nothing(String),
    /// What its bytes are.
    Permit(Box<SignedPermit>),
    /// No permit that can be read and was signed, and why.
    Unread(Box<RecordError>),
}

impl From<Result<SignedPermit, RecordError>> for Shown {
    fn from(read: Result<SignedPermit, RecordError>) -> Self {
        match read {
            Ok(permit) => Self::Permit(Box::new(permit)),
            Err(error) => Self::Unread(Box::new(error)),
        }
    }
}

/// The answer. Only [`admit`] makes one.
#[must_use = "the answer says whether anything may be deployed"]
#[derive(Clone, Debug)]
pub struct Admission {
    findings: Vec<Finding>,
    image: Image,
}

impl Admission {
    /// The pinned reference that may be deployed; none where the answer is no.
    pub fn granted(&self) -> Option<&Image> {
        let refused = self.findings.is_empty() || self.findings.iter().any(Finding::refuses);
        (!refused).then_some(&self.image)
    }

    /// Everything that was checked, in order.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The distinct codes of what refuses, in order.
    pub fn codes(&self) -> Vec<Code> {
        let mut codes = Vec::new();
        for finding in self.findings.iter().filter(|finding| finding.refuses()) {
            codes.extend(finding.code().filter(|code| !codes.contains(code)));
        }
        codes
    }
}

/// May it be deployed? Everything is looked at, in order, whatever the rest says; of what nobody signed, nothing is.
pub fn admit(question: &Question<'_>, shown: &Shown, now: Timestamp) -> Admission {
    let mut findings: Vec<Finding> =
        tag(question.tag.as_ref(), &question.image.repository).into_iter().collect();
    match shown {
        Shown::Nothing(looked) => findings.push(missing(question, looked)),
        Shown::Unread(error) => findings.push(unread(question, error)),
        Shown::Permit(shown) => {
            let permit = shown.permit();
            findings.extend([
                signer(question, shown),
                digest(question, shown),
                environment(question, permit),
                service(question, permit),
                repository(question, permit),
                policy(question, permit),
                ledger(question, permit),
                length(question, shown),
                time(question, permit, now),
            ]);
            findings.extend(recorded(question, shown, now));
        }
    }
    Admission { findings, image: Image::new(question.repository.clone(), question.image.digest) }
}

/// The finding of one check.
fn finding(question: &Question<'_>, met: bool, code: Code, expected: String, found: String) -> Finding {
    match met {
        true => Finding::met(Requirement::Permit, expected, found, Vec::new()),
        false => Finding::unmet(Requirement::Permit, code, expected, found).fix(question.again()),
    }
}

fn signed_by(question: &Question<'_>) -> String {
    let environment = question.environment;
    format!("a permit signed by a promoter of `{}`: {}", environment.name(), either(environment.promoters()))
}

fn missing(question: &Question<'_>, looked: &str) -> Finding {
    let found =
        format!("none, {looked}: the gate was not asked, or it said no, or its permit was not handed on");
    finding(question, false, Code::PermitMissing, signed_by(question), found)
}

fn unread(question: &Question<'_>, error: &RecordError) -> Finding {
    let (code, found) = match error {
        RecordError::Rejected(rejected) if rejected.reason.is_form() => (Code::PermitMalformed, whole(error)),
        RecordError::Rejected(_) => (Code::PermitSigner, whole(error)),
        RecordError::Kind(kind) if kind == BARE_PERMIT => {
            let found =
                format!("a permit without a record, of an older samebits (`{kind}`): expected `{PERMIT}`");
            (Code::PermitType, found + ", by the same version in both jobs")
        }
        RecordError::Kind(kind) => {
            (Code::PermitType, format!("a statement of the type `{kind}`, expected `{PERMIT}`"))
        }
        RecordError::Predicate(_)
        | RecordError::Spelling(_)
        | RecordError::Subjects(_)
        | RecordError::Actor { .. }
        | RecordError::Origin { .. }
        | RecordError::Order
        | RecordError::Contradiction(_) => (Code::PermitMalformed, whole(error)),
    };
    finding(question, false, code, signed_by(question), found)
}

/// All of why something is no record or permit.
fn whole(error: &RecordError) -> String {
    match error {
        RecordError::Rejected(rejected) => rejected.reason.whole(),
        RecordError::Kind(_)
        | RecordError::Predicate(_)
        | RecordError::Spelling(_)
        | RecordError::Subjects(_)
        | RecordError::Actor { .. }
        | RecordError::Origin { .. }
        | RecordError::Order
        | RecordError::Contradiction(_) => error.to_string(),
    }
}

fn signer(question: &Question<'_>, shown: &SignedPermit) -> Finding {
    let Question { policy, service, environment, .. } = question;
    let who = policy.who(shown.author(), service.name());
    let promoter = who.iter().find(|name| environment.promoters().contains(name));
    let found = match promoter {
        Some(name) => format!("`{name}`"),
        None => known_as(policy, service.name(), shown.author()),
    };
    finding(question, promoter.is_some(), Code::PermitSigner, signed_by(question), found)
}

fn digest(question: &Question<'_>, shown: &SignedPermit) -> Finding {
    let (wanted, subjects) = (question.image.digest, shown.subjects());
    let is = subjects.image.digest == wanted;
    let found = format!("for {}", subjects.image.digest);
    let finding = finding(question, is, Code::PermitDigest, format!("for {wanted}"), found);
    match !is && subjects.contain(wanted) {
        true => finding.near(vec![format!(
            "{wanted} is a platform of it: deploy the image that was promoted, {}",
            subjects.image
        )]),
        false => finding,
    }
}

fn environment(question: &Question<'_>, permit: &Permit) -> Finding {
    let wanted = question.environment.name();
    let is = permit.environment == *wanted;
    let found = format!("into `{}`", permit.environment);
    finding(question, is, Code::PermitEnvironment, format!("into `{wanted}`"), found)
}

fn service(question: &Question<'_>, permit: &Permit) -> Finding {
    let wanted = question.service.name();
    let is = permit.service == *wanted;
    let found = format!("of `{}`", permit.service);
    finding(question, is, Code::PermitService, format!("of `{wanted}`"), found)
}

/// The image as it was named lies where the environment pulls from, and the permit is for that place.
fn repository(question: &Question<'_>, permit: &Permit) -> Finding {
    let (wanted, named) = (question.repository, &question.image.repository);
    let is = permit.repository == *wanted && named == wanted;
    let found = match named == wanted {
        true => format!("from {}", permit.repository),
        false => format!("from {}; the image is named in {named}", permit.repository),
    };
    let finding = finding(question, is, Code::PermitRepository, format!("from {wanted}"), found);
    match named == wanted {
        true => finding,
        false => finding.fix(vec![format!(
            "name the image where it was promoted to: {}",
            Image::new(wanted.clone(), question.image.digest)
        )]),
    }
}

fn policy(question: &Question<'_>, permit: &Permit) -> Finding {
    let (policy, given) = (question.policy, &permit.policy);
    let (file, keys) = (given.digest.0 == policy.digest(), given.keys == *policy.key_digests());
    let found = match (file, keys) {
        (false, _) => format!("under {} {}", shorten(&given.uri), given.digest.0),
        (true, false) => "under the same file and other keys".to_owned(),
        (true, true) => "under it".to_owned(),
    };
    let expected = format!("under the policy file that is read here, {} {}", policy.file(), policy.digest());
    let mut fix = vec!["read the policy file and its keys from the same commit in both jobs; or:".to_owned()];
    fix.extend(question.again());
    finding(question, file && keys, Code::PermitPolicy, expected, found).fix(fix)
}

fn ledger(question: &Question<'_>, permit: &Permit) -> Finding {
    let wanted = question.policy.ledger().origin();
    let is = permit.origin == wanted;
    let found = format!("on record {} of `{}`", permit.record.index, shorten(&permit.origin));
    finding(question, is, Code::PermitLedger, format!("resting on a record of `{wanted}`"), found)
}

/// For how long it is good, from when it says that it was given or, where that is earlier, from when it is proved to have
/// been signed: nobody is given one today that begins next week.
fn length(question: &Question<'_>, shown: &SignedPermit) -> Finding {
    let (permit, limit) = (shown.permit(), question.environment.permit_for());
    let said = permit.valid_until.duration_since(permit.issued_on);
    let proved = shown.author().time().map(|signed| permit.valid_until.duration_since(signed) - SKEW);
    let length = std::time::Duration::try_from(proved.map_or(said, |proved| proved.max(said)));
    // It ends after it began: whatever is no length is not short either.
    let (is, found) = match length {
        Ok(length) => (length <= limit, format!("good for {}", spell_duration(length))),
        Err(_) => (false, "good for no time".to_owned()),
    };
    let expected = format!("good for {} at most", spell_duration(limit));
    finding(question, is, Code::PermitTooLong, expected, found)
}

/// Whether it is good now. A clock that is behind that of the gate takes it for that much longer, and for a minute at most:
/// further behind, it has not been given yet.
fn time(question: &Question<'_>, permit: &Permit, now: Timestamp) -> Finding {
    let (from, until) = (permit.issued_on, permit.valid_until);
    let early = from.duration_since(now) > SKEW;
    let code = if early { Code::PermitNotYet } else { Code::PermitExpired };
    let found = format!("from {from:.0} until {until:.0}");
    let finding = finding(question, !early && now < until, code, format!("good now, at {now:.0}"), found);
    match early {
        true => finding.fix(vec!["see that the clocks of both machines are right".to_owned()]),
        false => finding,
    }
}
