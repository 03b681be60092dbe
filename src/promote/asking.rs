//! The question: what there is to decide by, and whether the same was promoted before.
//!
//! Guarantees: what is done by a yes, and a yes that is the answer, rests on what the ledger says after the evidence was read.
//! Never does: write.

use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::future::{Either, LocalBoxFuture, join, poll_immediate, ready, select};

use super::publish::Published;
use super::{Standing, Walk, WalkError};
use crate::collect::{Attached, CollectError, Files, Look, collect, found, look_at, recall, remember};
use crate::evidence::{Evidence, Target};
use crate::gate::{Decision, decide};
use crate::ledger::target::{Current, Rules, State};
use crate::record::{Position, Record};
use crate::registry::Reading;

/// How long a look may be on its way while nobody waits for it: far below what a registry gets for one answer.
const UNATTENDED: Duration = Duration::from_secs(1);

/// What lies beside an image, as soon as it was read.
pub(super) type Looked<'l> = LocalBoxFuture<'l, Result<Attached, CollectError>>;

/// A promotion that was made before.
pub(super) struct Before {
    pub(super) commit: Position,
    pub(super) standing: Standing,
    pub(super) published: Published,
}

impl Walk<'_> {
    /// A yes by what the ledger says now: it was read before the evidence was, and what was revoked or frozen since would
    /// not be seen.
    pub(super) fn still(
        &self,
        target: &Target<'_>,
        mut evidence: Evidence,
        decision: Decision,
    ) -> Result<(Evidence, Decision), WalkError> {
        if let Decision::Denied(_) = decision {
            return Ok((evidence, decision));
        }
        recall(&mut evidence, target, self.ledger, self.trust, (self.clock)())?;
        let decision = decide(target, &evidence);
        Ok((evidence, decision))
    }

    /// Nothing is read yet of where the image is.
    pub(super) fn reading(&self, target: &Target<'_>) -> Result<Reading, WalkError> {
        Ok(self.registries.reading(&target.image().repository)?)
    }

    /// What the ledger says, read while the first look at what lies beside the image is on its way.
    pub(super) async fn begin<'l>(
        &'l self,
        target: &'l Target<'_>,
        reading: &'l Reading,
        files: &'l Files,
    ) -> Result<(Evidence, Looked<'l>), WalkError> {
        let from = (self.registries, reading);
        let begun = || Box::pin(look_at(target, from, files, self.trust, Look::Referrers));
        let (mut look, since) = (begun(), Instant::now());
        let looked = poll_immediate(&mut look).await;
        let remembered = remember(target, self.ledger, self.trust, (self.clock)())?;
        let looked: Looked<'l> = match looked {
            Some(looked) => Box::pin(ready(looked)),
            None if since.elapsed() < UNATTENDED => look,
            // Its time may be up by now, whatever was answered: another one.
            None => begun(),
        };
        Ok((remembered, looked))
    }

    /// The rest of the evidence, and what the gate says to it. More of it never turns a yes into a no: what older tools have
    /// put under tags is looked at only where there is no yes without.
    pub(super) async fn ask(
        &self,
        target: &Target<'_>,
        mut evidence: Evidence,
        looked: Looked<'_>,
        reading: &Reading,
        files: &Files,
    ) -> Result<(Evidence, Decision), WalkError> {
        let from = (self.registries, reading);
        let (ledger, trust) = (&*self.ledger, self.trust);
        found(&mut evidence, target, looked.await?);
        if let Decision::Approved(approved) = decide(target, &evidence)
            // What only warns until a day may be met by more.
            && approved.verdict().findings.iter().all(|finding| finding.code().is_none())
        {
            return Ok((evidence, Decision::Approved(approved)));
        }
        let look = (Look::Evidence, (self.clock)());
        let evidence = collect(target, from, files, ledger, trust, look).await?;
        let decision = decide(target, &evidence);
        Ok((evidence, decision))
    }

    /// [`Walk::ask`]; and where the answer is yes, whether the same was promoted before. That is looked up at the same time,
    /// and given up where the answer is no.
    pub(super) async fn ask_whether_already(
        &self,
        target: &Target<'_>,
        reading: &Reading,
        files: &Files,
    ) -> Result<(Evidence, Decision, Option<Before>), WalkError> {
        let (remembered, looked) = self.begin(target, reading, files).await?;
        let commit = standing(target, &remembered);
        let asked = pin!(self.ask(target, remembered, looked, reading, files));
        let before = pin!(self.already(target, commit.as_ref()));
        let ((evidence, decision), before) = match select(asked, before).await {
            Either::Left((answer, before)) => (answer?, Either::Left(before)),
            Either::Right((before, asked)) => (asked.await?, Either::Right(ready(before))),
        };
        // What is done by this yes is preceded by a second look; where nothing is left to do, this is it. What did not stand
        // at first and stands now was read after the evidence.
        let (evidence, decision) = match &commit {
            Some(_) => self.still(target, evidence, decision)?,
            None => (evidence, decision),
        };
        // The ledger may have been read again.
        let now = standing(target, &evidence);
        let is_it = now.as_ref().map(Record::position) == commit.as_ref().map(Record::position);
        let already = match &decision {
            Decision::Denied(_) => None,
            Decision::Approved(_) if is_it => before.await?,
            Decision::Approved(_) => self.already(target, now.as_ref()).await?,
        };
        Ok((evidence, decision, already))
    }

    /// An earlier promotion of the same bytes, by its commit, if nothing of them is missing; and what is published of it.
    async fn already(
        &self,
        target: &Target<'_>,
        commit: Option<&Record>,
    ) -> Result<Option<Before>, WalkError> {
        let Some(committed) = commit else { return Ok(None) };
        let (image, closure, commit) = (target.destination(), target.closure(), committed.position());
        let place = &image.repository;
        let whole = async {
            // What the tag means was read, and need not be asked for again.
            let tagged = match target.environment().tag() {
                Some(tag) => self.registries.tagged(place, tag).await? == Some(image.digest),
                None => false,
            };
            Ok::<_, WalkError>(match tagged {
                true => (Standing::Tagged, self.registries.has_below(place, closure).await?),
                false => (Standing::Known, self.registries.has_closure(place, closure).await?),
            })
        };
        let record = self.record_on(&image, closure, commit.index)?;
        let published = self.published(target.service().name(), &image, (&record, committed.subjects()));
        let (whole, published) = join(whole, published).await;
        // What lists nothing may be what has nothing any more.
        Ok(match whole? {
            (standing, missing) if missing.is_empty() => {
                Some(Before { commit, standing, published: published? })
            }
            _ => None,
        })
    }
}

/// What the evidence says is promoted where the image would enter, and whether a promotion is under way there.
pub(super) fn current(target: &Target<'_>, evidence: &Evidence) -> (Option<Current>, bool) {
    let environment = target.environment();
    let here = |record: &&Record| record.body().environment() == Some(environment.name());
    let records: Vec<_> = evidence.history.iter().filter(here).cloned().collect();
    let (policy, service, control) = (target.policy(), target.service().name(), &evidence.control);
    let state = State::replay(&records, &Rules { policy, service, environment, control });
    let busy = state.holder().is_some();
    (state.current, busy)
}

/// The commit of an earlier promotion of the same bytes that still stands, as the ledger says.
fn standing(target: &Target<'_>, evidence: &Evidence) -> Option<Record> {
    let (current, busy) = current(target, evidence);
    let is_this = |current: &Current| !busy && current.image == target.destination();
    let commit = current.filter(is_this)?.commit;
    evidence.history.iter().find(|record| record.position() == commit).cloned()
}
