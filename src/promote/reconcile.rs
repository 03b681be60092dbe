//! What interrupted and overtaken runs left, and how it is mended: `samebits reconcile`.
//!
//! Guarantees: everything is derived from the ledger, nothing is decided anew; what is looked at and what is mended are
//! two steps ([`Walk::left`], [`Walk::mend`]), and the second does what the first said. Never does: copy bytes, commit,
//! or take a tag away: that needs a decision. Of what was revoked since nothing is published, and no tag is set to it.
//!
//! | a run ended after | the ledger has | left | mended by |
//! | --- | --- | --- | --- |
//! | the intent, or the copy | an open intent | [`Left::Intent`] | the same `promote` again, or an abort once it is stale |
//! | the commit | the commit | [`Left::Record`], [`Left::Summary`], [`Left::Tag`] | publishing |
//! | the record, the summary | the commit | [`Left::Tag`] | setting the tag |

use jiff::Timestamp;

use super::publish::{summarise, without_summary};
use super::{Standing, Walk, WalkError};
use crate::collect::Look;
use crate::digest::Digest;
use crate::evidence::Control;
use crate::gate::control::in_force;
use crate::ledger::protocol::{abort_stale, stale};
use crate::ledger::target::{Current, History, State};
use crate::policy::{Environment, Service, ServiceName};
use crate::record::{Position, Promotion, Record, Subjects, Summary};
use crate::reference::{Image, Repository, Tag};
use crate::verify::{Author, Identity, Sign, Verified};

/// How many of the newest commits of a target are looked at; what was published of those before them is theirs.
pub const DEPTH: usize = 10;

/// Something that is not as the ledger says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// The bytes of a promoted image are not all at its destination: nothing brings them back but a promotion.
    Bytes {
        /// The image there.
        image: Image,
        /// Its commit.
        commit: Position,
    },
    /// The record of a commit does not lie on its image.
    Record {
        /// The image.
        image: Image,
        /// The commit.
        commit: Position,
    },
    /// Manifests of a promoted image have no summary (VSA).
    Summary {
        /// The image.
        image: Image,
        /// The commit.
        commit: Position,
        /// The manifests.
        on: Vec<Digest>,
    },
    /// The tag is not the last commit.
    Tag {
        /// The tag.
        tag: Tag,
        /// What it has to mean.
        image: Image,
        /// The last commit.
        commit: Position,
        /// What it means.
        found: Option<Digest>,
    },
    /// There is a tag, and nothing was validly promoted there: who set it has to take it away.
    TagOfNothing {
        /// The tag.
        tag: Tag,
        /// Where.
        repository: Repository,
        /// What it means.
        found: Digest,
    },
    /// An intent that nobody closed.
    Intent {
        /// The image.
        image: Image,
        /// The intent.
        intent: Position,
        /// Whose.
        by: Identity,
        /// Since when, by their clock.
        since: Timestamp,
        /// Whether anybody may abort it by now; else it is under way, or has just been interrupted.
        stale: bool,
    },
}

/// What became of something that was left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mended {
    /// It is as the ledger says.
    Done,
    /// Nothing was done, and why.
    Not(&'static str),
}

/// A commit and the intent that it closed.
struct Committed {
    current: Current,
    commit: Promotion,
    subjects: Subjects,
    since: Timestamp,
    content: Digest,
}

impl Walk<'_> {
    /// What is not as the ledger says, of a service in an environment; in the order in which it is mended.
    ///
    /// # Errors
    /// [`WalkError`] when the ledger or the registry could not be read.
    pub async fn left(&self, service: &Service, environment: &Environment) -> Result<Vec<Left>, WalkError> {
        let name = service.name();
        let now = (self.clock)();
        let Some(place) = environment.repository(name) else { return Ok(Vec::new()) };
        let (committed, current, open) = self.derive(name, environment, |history, state, _| {
            (committed(history, state, place), state.current.clone(), open(state, now))
        })?;
        let mut left = Vec::new();
        // 1. Each image once, by its newest commit.
        for committed in &committed {
            left.extend(self.unpublished(name, environment, committed).await?);
        }
        // 2. The tag, only of what is there.
        left.extend(self.tag_left(name, environment, place, current).await?);
        // 3. Nobody's lock.
        left.extend(open);
        Ok(left)
    }

    async fn unpublished(
        &self,
        service: &ServiceName,
        environment: &Environment,
        committed: &Committed,
    ) -> Result<Vec<Left>, WalkError> {
        let Current { image, commit, .. } = committed.current.clone();
        let Some(closure) = self.registries.closure_if_whole(&image).await? else {
            return Ok(vec![Left::Bytes { image, commit }]);
        };
        if self.revoked_by(service, environment, &closure)?.is_some() {
            return Ok(Vec::new());
        }
        let there = self.lies_on(service, &image, &closure, Look::Referrers).await.map_err(|error| *error)?;
        let mut left = Vec::new();
        if !there.items.iter().any(|item| item.on == image.digest && item.digest == committed.content) {
            left.push(Left::Record { image: image.clone(), commit });
        }
        let summary = committed.summary(environment);
        // By the identity alone: when a key signed it is asked of evidence, and this is none.
        let promoter = |identity: &Identity| {
            let promoters = environment.promoters().iter().filter_map(|name| self.policy.signer(name));
            promoters.into_iter().any(|signer| signer.could_be(identity, service))
        };
        let by_a_promoter =
            |found: &Verified<_>| summary.is_about_the_same(found) && promoter(found.identity());
        let on = without_summary(&there, &closure, &summary, by_a_promoter);
        if !on.is_empty() {
            left.push(Left::Summary { image, commit, on });
        }
        Ok(left)
    }

    async fn tag_left(
        &self,
        service: &ServiceName,
        environment: &Environment,
        place: &Repository,
        current: Option<Current>,
    ) -> Result<Option<Left>, WalkError> {
        let Some(tag) = environment.tag() else { return Ok(None) };
        // What was promoted elsewhere, before the policy moved it here, says nothing of the tag here.
        if current.as_ref().is_some_and(|current| current.image.repository != *place) {
            return Ok(None);
        }
        // No tag is set to what was revoked; one that is there is told by `revoke` and `status`.
        if let Some(current) = &current {
            let closure = self.registries.closure_if_whole(&current.image).await?;
            let by = closure.map(|closure| self.revoked_by(service, environment, &closure)).transpose()?;
            if by.flatten().is_some() {
                return Ok(None);
            }
        }
        let found = self.registries.tagged(place, tag).await?;
        let (tag, repository) = (tag.clone(), place.clone());
        Ok(match (current, found) {
            (Some(Current { image, .. }), Some(found)) if image.digest == found => None,
            (Some(Current { image, commit, .. }), found) => Some(Left::Tag { tag, image, commit, found }),
            (None, Some(found)) => Some(Left::TagOfNothing { tag, repository, found }),
            (None, None) => None,
        })
    }

    fn promotes(&self, service: &ServiceName, environment: &Environment, author: &Author) -> bool {
        self.policy.who(author, service).iter().any(|name| environment.promoters().contains(name))
    }

    /// Makes something that was left what the ledger says. An intent is aborted if it is stale; to abort is the caller's
    /// choice.
    ///
    /// # Errors
    /// [`WalkError`] when it could not be done; doing it again is safe.
    pub async fn mend(
        &mut self,
        service: &Service,
        environment: &Environment,
        left: &Left,
        signer: &dyn Sign,
    ) -> Result<Mended, WalkError> {
        let name = service.name();
        let author = signer.author();
        let (promotes, revoked) = (
            self.promotes(name, environment, &author),
            self.derive(name, environment, |_, _, control| {
                self.revoked(name, environment, control, &author)
            })?,
        );
        let signs = match (promotes, revoked) {
            (true, false) => None,
            (_, true) => Some(Mended::Not("who signs here is revoked")),
            (false, false) => Some(Mended::Not("who signs here is no promoter of the environment")),
        };
        if let Left::Record { image, .. } | Left::Summary { image, .. } | Left::Tag { image, .. } = left {
            let closure = self.registries.closure(image).await?;
            if self.revoked_by(name, environment, &closure)?.is_some() {
                return Ok(Mended::Not("the image was revoked since"));
            }
        }
        match (left, signs) {
            (Left::Bytes { .. }, _) => Ok(Mended::Not("only a promotion brings the bytes back")),
            (Left::TagOfNothing { .. }, _) => {
                Ok(Mended::Not("nothing was promoted there: take the tag away"))
            }
            (Left::Record { image, commit }, _) => {
                let closure = self.registries.closure(image).await?;
                let record = self.record_on(image, &closure, commit.index)?;
                self.put((name, image), *commit, &[record]).await?;
                Ok(Mended::Done)
            }
            (Left::Tag { image, commit, .. }, _) => {
                let commit = (*commit, Standing::Known);
                self.set_tag(name, environment, (image, None), commit).await?;
                Ok(Mended::Done)
            }
            (Left::Intent { stale: false, .. }, _) => Ok(Mended::Not("it may be under way")),
            (Left::Summary { .. } | Left::Intent { .. }, Some(not)) => Ok(not),
            (Left::Summary { image, commit, on }, None) => {
                let place = &image.repository;
                let found =
                    self.derive(name, environment, |history, state, _| committed(history, state, place))?;
                // Voided since it was looked at: nothing is said of it any more.
                let Some(committed) = found.iter().find(|it| it.current.commit == *commit) else {
                    return Ok(Mended::Not("the ledger no longer says so"));
                };
                let closure = self.registries.closure(image).await?;
                let mut summary = committed.summary(environment);
                let platforms = closure.platforms().filter(|(digest, _)| *digest != image.digest);
                summary.subjects.platforms =
                    platforms.map(|(digest, platform)| (digest, Some(platform.clone()))).collect();
                let said = (committed.content, &summary);
                let summaries = summarise(image, &closure, commit.index, said, on, signer)?;
                self.put((name, image), *commit, &summaries).await?;
                Ok(Mended::Done)
            }
            (Left::Intent { intent, .. }, None) => {
                let now = (self.clock)();
                let mut writer = self.writer(signer);
                abort_stale(&mut writer, name, environment, *intent, now)?;
                Ok(Mended::Done)
            }
        }
    }

    fn revoked(
        &self,
        service: &ServiceName,
        environment: &Environment,
        control: &Control,
        author: &Author,
    ) -> bool {
        let in_force = in_force(self.policy, service, control);
        in_force.of_identity(environment.name(), author.identity()).is_some()
    }
}

impl Committed {
    /// What the run that committed it would have published.
    fn summary<'s>(&'s self, environment: &'s Environment) -> Summary<'s> {
        Summary {
            subjects: self.subjects.clone(),
            environment: environment.name(),
            policy: &self.commit.policy,
            evidence: &self.commit.evidence,
            level: self.commit.level,
            verified_on: self.since,
        }
    }
}

/// The newest commits there, of each image the newest, oldest first. A record names any place its author likes: nobody is
/// sent elsewhere than to the environment's own.
fn committed(history: &History, state: &State<'_>, place: &Repository) -> Vec<Committed> {
    let at = |position: Position| history.records.iter().find(|record| record.position() == position);
    let mut newest: Vec<Committed> = Vec::new();
    for current in state.commits.iter().rev().filter(|current| current.image.repository == *place) {
        if newest.len() == DEPTH {
            break;
        }
        if newest.iter().any(|it| it.current.image == current.image) {
            continue;
        }
        let found = at(current.commit).and_then(|record| {
            Some(Committed {
                current: current.clone(),
                commit: record.promotion()?.clone(),
                subjects: record.subjects().clone(),
                since: at(current.intent)?.promotion()?.decided_on,
                content: record.digest(),
            })
        });
        newest.extend(found);
    }
    newest.reverse();
    newest
}

fn open(state: &State<'_>, now: Timestamp) -> Vec<Left> {
    let left = |record: &Record| {
        let promotion = record.promotion()?;
        Some(Left::Intent {
            image: record.subjects().image.clone(),
            intent: record.position(),
            by: record.identity().clone(),
            since: promotion.decided_on,
            stale: stale(promotion, now),
        })
    };
    state.open.iter().filter_map(|open| left(open.record)).collect()
}
