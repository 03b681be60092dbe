//! The walk, whole: resolve, collect, decide, record the intent, copy, record the commit, publish, set the tag.
//!
//! Guarantees: every step takes what the step before it returned, so that none can be skipped or reordered;
//! nothing has an effect before its intent is durable; the tag moves last and is derived from the ledger.
//! `check` is `promote` stopped after the first decision: same code, same verdict.
//!
//! Start at [`Walk::check`] and [`Walk::promote`]; what an interrupted run left is mended in [`reconcile`].

mod asking;
mod elsewhere;
mod error;
mod permit;
mod publish;
pub mod reconcile;
mod resolved;
#[cfg(test)]
pub(crate) mod tests;

use jiff::Timestamp;

use crate::closure::Closure;
use crate::collect::{Files, Look, recall};
use crate::digest::Digest;
use crate::evidence::{Evidence, Target, TargetError};
use crate::gate::{Approved, Decision, Denied, Verdict, decide};
use crate::ledger::Ledger;
use crate::ledger::protocol::{Intent, ProtocolError, Writer, idempotency_key};
use crate::policy::{Environment, Policy, ServiceName};
use crate::record::{Permit, Position, Summary};
use crate::reference::{Image, Reference, Repository, Tag};
use crate::registry::{CopyReport, Reading, Registries};
use crate::verify::{Attestation, Author, Sign, Trust, Verified};
use crate::witness::Client;
pub use error::WalkError;
pub use permit::uncosigned;
pub use resolved::Resolved;

use asking::Before;
use elsewhere::kept;
use permit::is_under;
use publish::{Published, summarise, without_summary};

/// How often a decision is made again because another promotion was committed meanwhile.
const OVERTAKEN: u32 = 8;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Request {
    /// The image, as typed.
    pub reference: Reference,
    /// The environment it is to enter.
    pub environment: String,
    /// The service, where the repository does not say it.
    pub service: Option<String>,
    /// The CI run without the attempt number; empty at a terminal.
    pub run: String,
    /// Evidence that the registry does not keep, and repositories that do; often none.
    pub files: Files,
    /// Whether a permit is wanted, to deploy what was promoted.
    pub permit: bool,
}

/// Where a promotion is, for whoever watches; never part of the answer.
#[derive(Clone, Debug)]
pub enum Stage<'a> {
    /// The reference is resolved.
    Resolve(&'a Reference),
    /// Evidence on the image is collected.
    Collect(&'a Image),
    /// The intent is recorded; true where it is that of an interrupted run.
    Intent(Position, bool),
    /// The bytes are copied to this place.
    Copy(&'a Image),
    /// The commit is recorded.
    Commit(Position),
    /// The record is put beside the image, and the tag set.
    Publish(&'a Image),
}

/// Everything the walk works with.
pub struct Walk<'a> {
    /// The rules.
    pub policy: &'a Policy,
    /// The keys the rules name.
    pub trust: &'a Trust,
    /// The registries.
    pub registries: &'a Registries,
    /// The log.
    pub ledger: &'a mut Ledger,
    /// The clock.
    pub clock: &'a dyn Fn() -> Timestamp,
    /// Asks the witnesses of the ledger to cosign what a permit rests on; without it, what they cosigned before has to do.
    pub witnesses: Option<&'a Client>,
}

/// The answer to a promotion.
#[must_use = "the answer says whether anything may run"]
#[derive(Debug)]
pub enum Answer {
    /// Yes, and the bytes are there.
    Promoted(Box<Promotion>),
    /// The bytes are there, and the same question is a no by now: the permit that was asked for is not given.
    Withheld {
        /// What was promoted.
        promotion: Box<Promotion>,
        /// Why there is no permit.
        denied: Box<Denied>,
    },
    /// No.
    Denied {
        /// Why.
        denied: Box<Denied>,
        /// The record of the refusal, if one was written.
        record: Option<Position>,
    },
}

/// Bytes that were copied under an intent. Only the copy makes one.
#[must_use = "copied bytes are not promoted before the commit is recorded"]
#[derive(Debug)]
pub struct Copied {
    intent: Intent,
    report: CopyReport,
}

impl Copied {
    /// What was copied.
    pub fn report(&self) -> &CopyReport {
        &self.report
    }
}

/// A promotion whose commit is in the log. Only the commit makes one.
#[must_use = "a promotion has to be published"]
#[derive(Debug)]
pub struct Promotion {
    verdict: Verdict,
    commit: Position,
    report: Option<CopyReport>,
    standing: Standing,
    /// What is published of it, where that was looked at.
    published: Option<Published>,
    tag_moved: Option<(Tag, Digest)>,
    permit: Option<Given>,
    uncosigned: Option<Vec<String>>,
}

/// A permit that was given.
#[derive(Clone, Debug)]
pub struct Given {
    /// What it says.
    pub permit: Permit,
    /// What was signed: a Sigstore bundle, on one line.
    pub bytes: Vec<u8>,
}

/// What can have been published of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Nothing: this run wrote it.
    New,
    /// Some or all, by the run that wrote it.
    Known,
    /// Some or all; and the tag means its image.
    Tagged,
}

impl Promotion {
    /// What led to it.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// The pinned reference to deploy.
    pub fn destination(&self) -> &Image {
        &self.verdict.destination
    }

    /// Its commit.
    pub fn commit(&self) -> Position {
        self.commit
    }

    /// What was copied; `None` when everything had been there before.
    pub fn report(&self) -> Option<&CopyReport> {
        self.report.as_ref()
    }

    /// The tag that was typed and what it means now, where that is no longer what was promoted (A1).
    pub fn tag_moved(&self) -> Option<&(Tag, Digest)> {
        self.tag_moved.as_ref()
    }

    /// The permit to deploy it; none where none was asked for.
    pub fn permit(&self) -> Option<&Given> {
        self.permit.as_ref()
    }

    /// Why some witnesses did not cosign; `None` where the walk asked nobody, which it does for a permit only.
    pub fn uncosigned(&self) -> Option<&[String]> {
        self.uncosigned.as_deref()
    }
}

/// A promotion with this commit, before anything was published of it.
fn recorded(verdict: Verdict, commit: Position, report: Option<CopyReport>, standing: Standing) -> Promotion {
    let (published, tag_moved, permit, uncosigned) = (None, None, None, None);
    Promotion { verdict, commit, report, standing, published, tag_moved, permit, uncosigned }
}

impl Walk<'_> {
    /// Decides, changes nothing.
    ///
    /// # Errors
    /// [`WalkError`] when it could not tell.
    pub async fn check(
        &mut self,
        request: &Request,
        requester: Option<Author>,
    ) -> Result<Decision, WalkError> {
        let reading = self.registries.reading(request.reference.repository())?;
        let resolved = Resolved::resolve_ahead(self.registries, &request.reference, &reading).await?;
        let target = self.target(request, &resolved, requester)?;
        let (remembered, looked) = self.begin(&target, &reading, &request.files).await?;
        let (evidence, decision) = self.ask(&target, remembered, looked, &reading, &request.files).await?;
        self.still(&target, evidence, decision).map(|(_, decision)| decision)
    }

    /// Decides, and on yes does everything that follows.
    ///
    /// # Errors
    /// [`WalkError`] when it could not tell, or could not finish; running the same request again goes on from there.
    pub async fn promote(&mut self, request: &Request, signer: &dyn Sign) -> Result<Answer, WalkError> {
        self.promote_watched(request, signer, &|_| ()).await
    }

    /// [`Walk::promote`], telling `watch` what is about to be done or is recorded.
    ///
    /// # Errors
    /// Those of [`Walk::promote`].
    pub async fn promote_watched(
        &mut self,
        request: &Request,
        signer: &dyn Sign,
        watch: &dyn Fn(Stage<'_>),
    ) -> Result<Answer, WalkError> {
        // 1. Resolve, once.
        watch(Stage::Resolve(&request.reference));
        let mut reading = self.registries.reading(request.reference.repository())?;
        let resolved = Resolved::resolve_ahead(self.registries, &request.reference, &reading).await?;
        let target = self.target(request, &resolved, Some(signer.author()))?;
        let mut overtaken = 0;
        let (mut promotion, mut evidence) = loop {
            // 2. Collect.
            watch(Stage::Collect(&resolved.image));
            // 3. Decide.
            let asked = self.ask_whether_already(&target, &reading, &request.files).await?;
            let (mut evidence, approved, already) = match asked {
                (evidence, Decision::Approved(approved), already) => (evidence, approved, already),
                (_, Decision::Denied(denied), _) => return self.refuse(denied, request, signer),
            };
            if let Some(Before { commit, standing, published }) = already
                && (!request.permit || is_under(&evidence, commit, &approved.verdict().policy))
            {
                let before = recorded(approved.verdict().clone(), commit, None, standing);
                break (Promotion { published: Some(published), ..before }, evidence);
            }
            match self.act(&target, &mut evidence, approved, &reading, request, signer, watch).await {
                Ok(Ok(promotion)) => break (promotion, evidence),
                Ok(Err(answer)) => return Ok(answer),
                // Something else was promoted there while we decided: decide again on what the ledger says now.
                Err(WalkError::Protocol(ProtocolError::Overtaken { .. })) if overtaken < OVERTAKEN => {
                    overtaken += 1;
                    reading = self.reading(&target)?;
                }
                Err(error) => return Err(error),
            }
        };
        // 8. Publish, the tag last.
        watch(Stage::Publish(promotion.destination()));
        self.publish(&target, &promotion, &evidence, signer).await?;
        // 9. Has the tag that was typed moved meanwhile? Not where nothing was done since it was read.
        if promotion.standing == Standing::New || promotion.report.is_some() {
            promotion.tag_moved = self.moved(&request.reference, &resolved.image).await?;
        }
        // 10. The permit, if the answer is still yes; witnesses take their time, so they are asked before it is asked again.
        if request.permit {
            promotion.uncosigned = self.ask_witnesses(promotion.commit).await?;
            match self.permit(&target, &mut evidence, &promotion, signer)? {
                Ok(given) => promotion.permit = Some(given),
                Err(denied) => return Ok(Answer::Withheld { promotion: Box::new(promotion), denied }),
            }
        }
        Ok(Answer::Promoted(Box::new(promotion)))
    }

    fn target<'t>(
        &self,
        request: &Request,
        resolved: &'t Resolved,
        requester: Option<Author>,
    ) -> Result<Target<'t>, WalkError>
    where
        Self: 't,
    {
        let service = service(self.policy, request.service.as_deref(), &resolved.image.repository)?;
        Ok(Target::new(
            self.policy,
            service.as_str(),
            &request.environment,
            resolved.image.clone(),
            &resolved.closure,
            resolved.tag.clone(),
            requester,
        )?)
    }

    fn refuse(&mut self, denied: Denied, request: &Request, signer: &dyn Sign) -> Result<Answer, WalkError> {
        let idempotency = idempotency_key(denied.verdict(), &request.run);
        let record = self.writer(signer).refuse(&denied, idempotency)?;
        Ok(Answer::Denied { denied: Box::new(denied), record })
    }

    fn writer<'w>(&'w mut self, signer: &'w dyn Sign) -> Writer<'w> {
        Writer { ledger: self.ledger, policy: self.policy, trust: self.trust, signer }
    }

    /// Intent, second look, copy, commit.
    #[allow(clippy::too_many_arguments, reason = "the middle of one story; what each step returned, once")]
    async fn act(
        &mut self,
        target: &Target<'_>,
        evidence: &mut Evidence,
        approved: Approved,
        reading: &Reading,
        request: &Request,
        signer: &dyn Sign,
        watch: &dyn Fn(Stage<'_>),
    ) -> Result<Result<Promotion, Answer>, WalkError> {
        let environment = target.environment();
        let idempotency = idempotency_key(approved.verdict(), &request.run);
        // 4. The intent; nothing has an effect before it is durable.
        let now = (self.clock)();
        let intent = Intent::open(&mut self.writer(signer), approved, environment, idempotency, now)?;
        watch(Stage::Intent(intent.position(), intent.resumed()));
        // 5. Ledger and control are read again up to it; a no turns the intent into an abort.
        recall(evidence, target, self.ledger, self.trust, (self.clock)())?;
        if let Decision::Denied(denied) = decide(target, evidence) {
            let record = intent.abort(&mut self.writer(signer), environment, &denied)?;
            return Ok(Err(Answer::Denied { denied: Box::new(denied), record: Some(record) }));
        }
        // 6. Copy by digest.
        watch(Stage::Copy(&intent.verdict().destination));
        let copied = match self.copy(intent, target.closure(), reading).await {
            Ok(copied) => copied,
            Err(failed) => {
                let (intent, error) = *failed;
                return self.given_up(intent, error, target, request, signer).await.map(Err);
            }
        };
        // 7. Commit.
        let promotion = self.commit(copied, environment, signer)?;
        watch(Stage::Commit(promotion.commit));
        Ok(Ok(promotion))
    }

    /// The bytes, read back; and the evidence that the decision relies on is among them: the same bytes, so that what was
    /// verified holds there too.
    async fn copy(
        &self,
        intent: Intent,
        closure: &Closure,
        reading: &Reading,
    ) -> Result<Copied, Box<(Intent, WalkError)>> {
        match self.bring(&intent, closure, reading).await {
            Ok(report) => Ok(Copied { intent, report }),
            Err(error) => Err(Box::new((intent, error))),
        }
    }

    /// After a copy that did not end well. Where the evidence did not come along and by what lies there now the answer is
    /// no, the intent is closed, so that nobody waits for it; so it is where the policy has to be changed first; else it stays open.
    async fn given_up(
        &mut self,
        intent: Intent,
        error: WalkError,
        target: &Target<'_>,
        request: &Request,
        signer: &dyn Sign,
    ) -> Result<Answer, WalkError> {
        let hopeless = if let WalkError::SubjectRefused { .. } = error {
            Some("the destination refuses what is attached to images")
        } else if let WalkError::ReadBack { source, .. } = &error
            && source.is_about_what_lies_there()
        {
            Some("what lies on the image at its destination cannot be read")
        } else {
            None
        };
        if let Some(why) = hopeless {
            let now = (self.clock)();
            intent.give_up(&mut self.writer(signer), target.environment(), why, now)?;
            return Err(error);
        }
        let WalkError::Evidence { .. } = error else { return Err(error) };
        let reading = self.reading(target)?;
        let (remembered, looked) = self.begin(target, &reading, &request.files).await?;
        let asked = self.ask(target, remembered, looked, &reading, &request.files).await;
        let Ok((_, Decision::Denied(denied))) = asked else { return Err(error) };
        let record = intent.abort(&mut self.writer(signer), target.environment(), &denied)?;
        Ok(Answer::Denied { denied: Box::new(denied), record: Some(record) })
    }

    fn commit(
        &mut self,
        copied: Copied,
        environment: &Environment,
        signer: &dyn Sign,
    ) -> Result<Promotion, WalkError> {
        let Copied { intent, report } = copied;
        let now = (self.clock)();
        let (commit, fresh) = intent.commit(&mut self.writer(signer), environment, now)?;
        let (verdict, report) = (intent.verdict().clone(), Some(report));
        let standing = if fresh { Standing::New } else { Standing::Known };
        Ok(recorded(verdict, commit, report, standing))
    }

    /// The record, the summary for other tools and what was given with the question, beside the image; then the tag: derived
    /// from the ledger, set and read again until both agree.
    async fn publish(
        &mut self,
        target: &Target<'_>,
        promotion: &Promotion,
        evidence: &Evidence,
        signer: &dyn Sign,
    ) -> Result<(), WalkError> {
        let (image, commit, verdict) = (promotion.destination(), promotion.commit, promotion.verdict());
        let (service, environment) = (target.service().name(), target.environment());
        let closure = target.closure();
        // Since the second look.
        if let Some(by) = self.revoked_by(service, environment, closure)? {
            return Err(WalkError::ImageRevoked { image: image.digest, by });
        }
        let summary = Summary {
            subjects: verdict.subjects(),
            environment: &verdict.environment,
            policy: &verdict.policy,
            evidence: &verdict.evidence(),
            level: verdict.level(),
            verified_on: verdict.decided_on,
        };
        let record = self.record_on(image, closure, commit.index)?;
        let published = match (promotion.standing, promotion.published.clone()) {
            (Standing::New, _) => Published::default(),
            (Standing::Known | Standing::Tagged, Some(published)) => published,
            // An earlier run may have published it.
            (Standing::Known | Standing::Tagged, None) => {
                self.published(service, image, (&record, &summary.subjects)).await?
            }
        };
        let mut on = published.unsummarised(&summary);
        if promotion.standing != Standing::New && !on.is_empty() {
            let there = self.lies_on(service, image, closure, Look::Referrers).await;
            let there = there.map_err(|error| *error)?;
            let author = signer.author();
            let is = |found: &Verified<Attestation>| summary.is_published_as(found, author.identity());
            on = without_summary(&there, closure, &summary, is);
        }
        let of = Digest::of(&record.bytes);
        let mut attachments = summarise(image, closure, commit.index, (of, &summary), &on, signer)?;
        if !published.record {
            attachments.push(record);
        }
        attachments.extend(kept(verdict, closure, evidence, commit.index)?);
        self.put((service, image), commit, &attachments).await?;
        self.set_tag(service, environment, (image, Some(closure)), (commit, promotion.standing)).await
    }

    async fn moved(&self, reference: &Reference, image: &Image) -> Result<Option<(Tag, Digest)>, WalkError> {
        let Some(tag) = reference.tag() else { return Ok(None) };
        let now = self.registries.tagged(&image.repository, tag).await?;
        Ok(now.filter(|now| *now != image.digest).map(|now| (tag.clone(), now)))
    }
}

/// The service a repository belongs to, or the one that was named.
///
/// # Errors
/// [`WalkError::NoService`] when the repository is nobody's and no service was named.
pub fn service(
    policy: &Policy,
    named: Option<&str>,
    repository: &Repository,
) -> Result<ServiceName, WalkError> {
    if let Some(named) = named {
        return Ok(policy.find_service(named).map_err(TargetError::from)?.name().clone());
    }
    let service = policy.service_of(repository);
    let service = service.ok_or_else(|| WalkError::NoService { repository: repository.clone() })?;
    Ok(service.name().clone())
}
