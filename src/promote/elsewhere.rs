//! A registry that takes the image and refuses what is attached to it: evidence and records then live in the evidence store
//! that the policy names for the service.
//!
//! Guarantees: without a store nothing is committed, and the intent is closed; what the decision relies on is read where it
//! is now, and verified again, before the commit. Never does: use a store that the policy does not name.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::publish::{bundle, subject, unpublished};
use super::{Walk, WalkError};
use crate::closure::{Closure, Descriptor, OCI_EMPTY};
use crate::collect::{Attached, CollectError, Content, Files, Look, attached_or_stored};
use crate::digest::Digest;
use crate::evidence::{Evidence, Found, Source};
use crate::gate::{Carried, Verdict};
use crate::ledger::protocol::Intent;
use crate::policy::{Service, ServiceName};
use crate::record::Position;
use crate::reference::{Image, Repository};
use crate::registry::{
    Attachment, CopyError, CopyReport, Reading, Referrers, RegistryError, Side, Subject, Suffix,
};

/// The artifact type of what is attached to find out whether anything can be.
const PROBE: &str = "application/vnd.samebits.probe.v0.1+json";

impl Walk<'_> {
    /// Where evidence on images of a service may live beside the registries that they are in.
    pub(super) fn store_of(&self, service: &ServiceName) -> Option<&Repository> {
        self.policy.service(service).and_then(Service::evidence_store)
    }

    /// The bytes and the evidence that the decision relies on, read back: at the destination, or in the store.
    pub(super) async fn bring(
        &self,
        intent: &Intent,
        closure: &Closure,
        reading: &Reading,
    ) -> Result<CopyReport, WalkError> {
        let verdict = intent.verdict();
        let to = &verdict.destination.repository;
        let store = self.store_of(&verdict.service);
        // 1. What is there and what refers to it.
        let copied = self.registries.copy_or_store(closure, reading, (to, store)).await;
        let nothing =
            || subject(&verdict.destination, closure, intent.position().index, closure.root()).map(probe);
        let report = match copied {
            Ok(report) => report,
            // It takes what refers to the image, and does not take this: a word about this, and not about the registry.
            Err(error)
                if is_refusal(intent, &error) && self.registries.takes(to, &nothing()?).await.is_ok() =>
            {
                let (destination, index) = (verdict.destination.clone(), intent.position().index);
                return Err(WalkError::Copy { destination, intent: index, source: Box::new(error) });
            }
            Err(error) => return Err(not_copied(intent, error)),
        };
        // 2. What is published after the commit has to have a place. Nothing was refused where nothing was attached. Tried
        // with what says nothing: nothing that anybody signed may lie there before the commit.
        if store.is_none() && !report.took_subject {
            self.registries.takes(to, &nothing()?).await.map_err(|error| not_taken(intent, error))?;
        }
        // 3. The evidence that the decision relies on: read where it is now, and verified again.
        let lost = self.lost(verdict, closure).await;
        let lost = lost.map_err(|source| {
            let (destination, index) = (verdict.destination.clone(), intent.position().index);
            WalkError::ReadBack { destination: Box::new(destination), intent: index, source }
        })?;
        match lost {
            None => Ok(report),
            Some(Carried { on, resource, source, .. }) => {
                let suffix = match source {
                    Source::SignatureTag => Some(Suffix::Sig),
                    Source::AttestationTag => Some(Suffix::Att),
                    Source::Referrer | Source::Store | Source::File | Source::Given | Source::Ledger => None,
                };
                let kept = suffix.and_then(|suffix| suffix.tag(*on).ok());
                Err(WalkError::Evidence {
                    destination: Box::new(verdict.destination.clone()),
                    intent: intent.position().index,
                    evidence: resource.digest.0,
                    on: *on,
                    kept: kept.filter(|tag| report.legacy_kept.contains(tag)),
                })
            }
        }
    }

    /// Evidence that the decision relies on and that is neither at the destination nor in the store. What was given with the
    /// question is attached once the commit is recorded.
    async fn lost<'v>(
        &self,
        verdict: &'v Verdict,
        closure: &Closure,
    ) -> Result<Option<&'v Carried>, Box<CollectError>> {
        let carried = verdict.findings.iter().flat_map(|finding| &finding.carried);
        let relied = carried.filter(|carried| match carried.source {
            Source::Referrer | Source::SignatureTag | Source::AttestationTag | Source::Store => true,
            Source::File | Source::Given | Source::Ledger => false,
        });
        let relied: Vec<&Carried> = relied.collect();
        if relied.is_empty() {
            return Ok(None);
        }
        let mut lost = None;
        // What else lies there, under tags too, is looked at only where something is missing without.
        for look in [Look::Referrers, Look::Evidence] {
            let there = self.lies_on(&verdict.service, &verdict.destination, closure, look).await?;
            lost = relied.iter().copied().find(|carried| !is_in(&there, carried));
            if lost.is_none() {
                break;
            }
        }
        Ok(lost)
    }

    /// Puts things beside the image of a commit, or where the policy says.
    pub(super) async fn put(
        &self,
        (service, image): (&ServiceName, &Image),
        commit: Position,
        attachments: &[Attachment],
    ) -> Result<(), WalkError> {
        let places = (&image.repository, self.store_of(service));
        let put = self.registries.attach_all(places, attachments).await;
        put.map_err(unpublished(image, commit.index))
    }

    /// What is listed on a digest, at the destination and in the store; no further than to where `wanted` is listed.
    pub(super) async fn listed(
        &self,
        service: &ServiceName,
        on: &Image,
        wanted: impl Fn(&[Descriptor]) -> bool,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let mut all = Vec::new();
        for place in std::iter::once(&on.repository).chain(self.store_of(service)) {
            let there = Image::new(place.clone(), on.digest);
            match self.registries.referrers_with(&there, &wanted).await {
                Ok(Referrers::Listed(listed)) => all.extend(listed),
                Ok(Referrers::Unsupported) => {}
                // A store that was never written.
                Err(error) if error.is_absence() && *place != on.repository => {}
                Err(error) => return Err(error),
            }
            if wanted(&all) {
                break;
            }
        }
        Ok(all)
    }

    /// Everything that lies on an image at its destination, and on the same bytes in the store.
    pub(super) async fn lies_on(
        &self,
        service: &ServiceName,
        image: &Image,
        closure: &Closure,
        look: Look,
    ) -> Result<Attached, Box<CollectError>> {
        let wrong = |source| CollectError::Registry { on: Box::new(image.clone()), source: Box::new(source) };
        let (none, reading) = (Files::default(), self.registries.reading(&image.repository).map_err(wrong)?);
        let places = (self.registries, &reading, self.store_of(service));
        Ok(attached_or_stored(image, closure, places, &none, self.trust, look).await?)
    }
}

/// Evidence that was given with the question, and that counted, goes where the image went: the next environment may not be
/// given it. Only bundles do: of older formats a part of the proof lies outside of what is attached.
pub(super) fn kept(
    verdict: &Verdict,
    closure: &Closure,
    evidence: &Evidence,
    record: u64,
) -> Result<Vec<Attachment>, WalkError> {
    let carried = verdict.findings.iter().flat_map(|finding| &finding.carried);
    let given = carried.filter(|carried| match carried.source {
        Source::File | Source::Given => true,
        Source::Referrer | Source::SignatureTag | Source::AttestationTag | Source::Store | Source::Ledger => {
            false
        }
    });
    let kept = given.filter_map(|Carried { resource, on, source, .. }| {
        let is_it = |found: &&Found| {
            (found.on, found.source) == (*on, *source) && Digest::of(found.raw.bytes()) == resource.digest.0
        };
        let found = evidence.attestations.iter().find(is_it).filter(|found| found.raw.is_whole())?;
        let on = subject(&verdict.destination, closure, record, *on);
        Some(on.map(|on| bundle(on, &resource.uri, found.raw.bytes().clone())))
    });
    kept.collect()
}

/// Nothing, as a referrer.
fn probe(subject: Subject) -> Attachment {
    Attachment {
        subject,
        artifact_type: PROBE.to_owned(),
        layer_media_type: OCI_EMPTY.to_owned(),
        bytes: Bytes::from_static(b"{}"),
        annotations: BTreeMap::new(),
    }
}

/// Whether the destination refused what refers to the image.
fn is_refusal(intent: &Intent, error: &CopyError) -> bool {
    matches!(*error.source, RegistryError::SubjectRefused { .. })
        && error.repository == intent.verdict().destination.repository
}

fn not_copied(intent: &Intent, error: CopyError) -> WalkError {
    if is_refusal(intent, &error) {
        return refused(intent, error.source);
    }
    let (destination, index) = (intent.verdict().destination.clone(), intent.position().index);
    WalkError::Copy { destination, intent: index, source: Box::new(error) }
}

fn not_taken(intent: &Intent, error: RegistryError) -> WalkError {
    match error {
        RegistryError::SubjectRefused { .. } => refused(intent, Box::new(error)),
        error => {
            let (side, repository) = (Side::Destination, intent.verdict().destination.repository.clone());
            not_copied(intent, CopyError { side, repository, source: Box::new(error) })
        }
    }
}

fn refused(intent: &Intent, source: Box<RegistryError>) -> WalkError {
    let verdict = intent.verdict();
    WalkError::SubjectRefused {
        destination: Box::new(verdict.destination.clone()),
        service: verdict.service.clone(),
        intent: intent.position().index,
        source,
    }
}

/// The same evidence, verified again.
fn is_in(there: &Attached, Carried { on, resource, layer, .. }: &Carried) -> bool {
    there.items.iter().any(|item| match &item.content {
        Content::Accepted(_, raw, _) => {
            let found = raw.descriptor().map(|descriptor| Digest::of(descriptor));
            item.on == *on
                && Digest::of(raw.bytes()) == resource.digest.0
                && found == layer.as_ref().map(|layer| layer.digest.0)
        }
        Content::Rejected(_) | Content::Other(_) => false,
    })
}
