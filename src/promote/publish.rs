//! What a commit puts beside its image, and the tag: all of it derived from the ledger, so that the run that committed,
//! the next one, and [`super::reconcile`] do the same.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures_util::future::try_join_all;

use super::{Standing, Walk, WalkError};
use crate::closure::{Closure, Descriptor};
use crate::collect::{Attached, BUNDLE};
use crate::digest::Digest;
use crate::evidence::{Control, Found};
use crate::gate::control::{in_force, not_understood};
use crate::ledger::LedgerError;
use crate::ledger::protocol::{ProtocolError, judged};
use crate::ledger::target::{History, Rules, State, history};
use crate::policy::{Environment, ServiceName};
use crate::record::{Kind, Position, SUMMARY, Subjects, Summary};
use crate::reference::Image;
use crate::registry::{Attachment, RegistryError, Subject};
use crate::verify::{Attestation, MESSAGE_SIGNATURE, Sign, Verified};

/// Of which record a summary says the same to other tools: the digest of its bundle, on the referrer.
const RECORD: &str = "dev.samebits.record";

/// How often the tag is set again because the ledger moved on while it was being set.
pub(super) const TAG_ATTEMPTS: u32 = 8;

/// What a listing says of a commit is there. Who may write there can make it say so and keep others from publishing, as
/// they can take away what was published; [`super::reconcile`] looks into it.
#[derive(Clone, Debug, Default)]
pub(super) struct Published {
    /// The record.
    pub(super) record: bool,
    /// The summary, on these.
    on: BTreeSet<Digest>,
}

impl Published {
    /// The manifests of the summary that none is listed on.
    pub(super) fn unsummarised(&self, summary: &Summary<'_>) -> Vec<Digest> {
        summary.subjects.digests().filter(|digest| !self.on.contains(digest)).collect()
    }
}

impl Walk<'_> {
    /// What is listed on an image at its destination of what its commit publishes.
    pub(super) async fn published(
        &self,
        service: &ServiceName,
        image: &Image,
        (record, subjects): (&Attachment, &Subjects),
    ) -> Result<Published, WalkError> {
        let (of, referrer) = (Digest::of(&record.bytes).to_string(), record.digest());
        let has_record =
            |on, listed: &[Descriptor]| on == image.digest && listed.iter().any(|it| it.digest == referrer);
        let has_summary =
            |listed: &[Descriptor]| listed.iter().any(|it| it.annotations.get(RECORD) == Some(&of));
        let looks = subjects.digests().map(|on| {
            let there = Image::new(image.repository.clone(), on);
            let all = move |listed: &[Descriptor]| {
                has_summary(listed) && (on != image.digest || has_record(on, listed))
            };
            async move { Ok::<_, RegistryError>((on, self.listed(service, &there, all).await?)) }
        });
        let mut published = Published::default();
        for (on, listed) in try_join_all(looks).await? {
            published.record |= has_record(on, &listed);
            if has_summary(&listed) {
                published.on.insert(on);
            }
        }
        Ok(published)
    }

    /// What the records of a target add up to, at the newest heads of both lanes.
    pub(super) fn derive<T>(
        &self,
        service: &ServiceName,
        environment: &Environment,
        read: impl FnOnce(&History, &State<'_>, &Control) -> T,
    ) -> Result<T, WalkError> {
        let at = self.ledger.tip()?;
        let lane = self.ledger.control()?;
        let rules = (self.policy, self.trust);
        let history = history(self.ledger, &at, &lane, rules, service, environment.name())?;
        let control = Control::read(&lane, self.trust);
        // What is not understood may be the word that takes somebody's.
        if let Some(unread) = not_understood(self.policy, service, &control) {
            let (index, why) = (unread.index, unread.why.to_string());
            return Err(WalkError::ControlUnknown { index, why });
        }
        // So may a promotion that nobody here can judge.
        judged(self.policy, service, environment.name(), &control, &history)?;
        let rules = Rules { policy: self.policy, service, environment, control: &control };
        let state = State::replay(&history.records, &rules);
        Ok(read(&history, &state, &control))
    }

    /// What the ledger says is promoted there: this commit, or one that came after it. A ledger that knows nothing of
    /// it any more is not the one it was recorded in.
    fn current(
        &self,
        service: &ServiceName,
        environment: &Environment,
        commit: Position,
    ) -> Result<Digest, WalkError> {
        let index = commit.index;
        self.derive(service, environment, |history, state, control| {
            let known = state.commits.iter().any(|it| it.commit == commit);
            match (state.current.as_ref(), state.taken(commit).and_then(|taken| taken.by)) {
                (Some(current), _) if known => {
                    let record = history.records.iter().find(|record| record.position() == current.commit);
                    let of =
                        |digest| record.is_some_and(|it| it.subjects().digests().any(|one| one == digest));
                    let image = current.image.digest;
                    match in_force(self.policy, service, control).of_digests(environment.name(), of) {
                        None => Ok(image),
                        Some((holds, _)) => {
                            Err(WalkError::ImageRevoked { image, by: holds.record.position().index })
                        }
                    }
                }
                (_, Some(by)) => Err(ProtocolError::Revoked { index, by }.into()),
                (_, None) => {
                    Err(LedgerError::RecordMissing { place: self.ledger.place().clone(), index }.into())
                }
            }
        })?
    }

    /// The control record by which an image that was promoted, or anything it is made of, is revoked by now: nothing more
    /// is published of it.
    pub(super) fn revoked_by(
        &self,
        service: &ServiceName,
        environment: &Environment,
        closure: &Closure,
    ) -> Result<Option<u64>, WalkError> {
        self.derive(service, environment, |_, _, control| {
            let in_force = in_force(self.policy, service, control);
            in_force.of_image(environment.name(), closure).map(|(holds, _)| holds.record.position().index)
        })
    }

    /// The record of the commit, as it lies beside the image.
    pub(super) fn record_on(
        &self,
        image: &Image,
        closure: &Closure,
        commit: u64,
    ) -> Result<Attachment, WalkError> {
        let at = self.ledger.tip()?;
        let entry = self.ledger.read(&at, commit)?;
        let subject = subject(image, closure, commit, image.digest)?;
        Ok(bundle(subject, Kind::Promotion.predicate_type(), Bytes::copy_from_slice(entry.bytes())))
    }

    /// The tag, set and read again until it is what the ledger says.
    pub(super) async fn set_tag(
        &self,
        service: &ServiceName,
        environment: &Environment,
        (image, closure): (&Image, Option<&Closure>),
        (commit, standing): (Position, Standing),
    ) -> Result<(), WalkError> {
        let Some(tag) = environment.tag() else { return Ok(()) };
        let repository = &image.repository;
        for attempt in 0..TAG_ATTEMPTS {
            let current = Image::new(repository.clone(), self.current(service, environment, commit)?);
            let trouble = unpublished(&current, commit.index);
            // To a new image it is not set yet, whatever it means; what it was just seen to mean is not asked again.
            let means = match (standing, attempt) {
                (Standing::New, 0) => None,
                (Standing::Tagged, 0) => Some(image.digest),
                (Standing::New | Standing::Known | Standing::Tagged, _) => {
                    self.registries.tagged(repository, tag).await.map_err(&trouble)?
                }
            };
            if means != Some(current.digest) {
                let set = match closure {
                    Some(closure) if closure.root() == current.digest => {
                        self.registries.set_tag_of(repository, closure, tag).await
                    }
                    Some(_) | None => self.registries.set_tag(&current, tag).await,
                };
                match set {
                    Ok(()) => {}
                    // Another promotion sets it too, perhaps to a later commit: the ledger says.
                    Err(RegistryError::TagNotSet { found: Some(_), .. }) => continue,
                    Err(error) => return Err(trouble(error)),
                }
            }
            if self.current(service, environment, commit)? == current.digest {
                return Ok(());
            }
        }
        Err(WalkError::TagContention { repository: repository.clone(), tag: tag.clone() })
    }
}

/// A SLSA VSA on each of these manifests.
pub(super) fn summarise(
    image: &Image,
    closure: &Closure,
    commit: u64,
    (record, summary): (Digest, &Summary<'_>),
    on: &[Digest],
    signer: &dyn Sign,
) -> Result<Vec<Attachment>, WalkError> {
    if on.is_empty() {
        return Ok(Vec::new());
    }
    let bytes = Bytes::from(summary.sign(signer).map_err(ProtocolError::from)?);
    let attach = |on: &Digest| {
        let mut attachment = bundle(subject(image, closure, commit, *on)?, SUMMARY, bytes.clone());
        attachment.annotations.insert(RECORD.to_owned(), record.to_string());
        Ok(attachment)
    };
    on.iter().map(attach).collect()
}

/// As cosign attaches a bundle, so that its readers find it.
pub(super) fn bundle(subject: Subject, predicate_type: &str, bytes: Bytes) -> Attachment {
    let annotation = |name: &str, value: &str| (format!("dev.sigstore.bundle.{name}"), value.to_owned());
    let annotations = match predicate_type {
        MESSAGE_SIGNATURE => BTreeMap::from([annotation("content", "message-signature")]),
        other => BTreeMap::from([annotation("content", "dsse-envelope"), annotation("predicateType", other)]),
    };
    let media_type = BUNDLE[0].to_owned();
    Attachment {
        subject,
        artifact_type: media_type.clone(),
        layer_media_type: media_type,
        bytes,
        annotations,
    }
}

/// A manifest of the image, to refer to.
pub(super) fn subject(
    image: &Image,
    closure: &Closure,
    commit: u64,
    digest: Digest,
) -> Result<Subject, WalkError> {
    let absent = || {
        let wanted = Image::new(image.repository.clone(), digest).to_string();
        unpublished(image, commit)(RegistryError::NoSuchImage { wanted })
    };
    closure.manifest(digest).map(Subject::from).ok_or_else(absent)
}

/// The manifests of the summary that have none that `is` it.
pub(super) fn without_summary(
    there: &Attached,
    closure: &Closure,
    summary: &Summary<'_>,
    is: impl Fn(&Verified<Attestation>) -> bool,
) -> Vec<Digest> {
    let (attestations, ..) = there.evidence(closure);
    let here = |found: &Found, digest| found.on == digest && is(&found.attestation);
    let mut digests: Vec<Digest> = summary.subjects.digests().collect();
    digests.retain(|digest| !attestations.iter().any(|found| here(found, *digest)));
    digests
}

pub(super) fn unpublished(image: &Image, commit: u64) -> impl Fn(RegistryError) -> WalkError {
    let image = image.clone();
    move |source| WalkError::Publish { image: image.clone(), commit, source: Box::new(source) }
}
