//! A recorded decision, made again from what was kept with it: by the same gate, and from the ledger alone.
//!
//! Guarantees: [`decide`] is the only judge; what it is given is what the record names by digest (policy, keys, roots,
//! the image's documents, the evidence it relied on), rehashed, and the two lanes as they were at the heads the gate had
//! read, shown to be the beginning of the lanes that are signed today; the clock is that of the decision. Heads that are
//! older than what whoever decided has to have seen are a difference. What is
//! missing is a [`ReplayError`] that names it, never a guess.
//! Never does: network (no module that has any is to its left), or look at the policy file, the keys and the roots of
//! today.
//!
//! What was looked at and counted for nothing was not kept. The gate is monotone: what is left out so can only turn a
//! yes into a no, and it gave no reason code. Start at [`Recorded::load`]; [`Recorded::again`] is the replay,
//! [`Recorded::under`] asks what another policy would have said.

mod compare;
mod error;
mod seen;
mod what_if;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::closure::Closure;
use crate::digest::Digest;
use crate::evidence::{
    Control, DESCRIPTOR, Discarded, Evidence, Found, Freshness, Raw, Source, TagSeen, Target, TargetError,
};
use crate::gate::decide;
use crate::key::PublicKey;
use crate::ledger::kept::{Relied, Role, relied_on};
use crate::ledger::seen::{Seen, SeenBy};
use crate::ledger::target::past;
use crate::ledger::{Ledger, LedgerError};
use crate::policy::{Draft, Policy, RootSource};
use crate::record::{Basis, ClaimedRules, Phase, Promotion, Record, RootVersion, WitnessedLane};
use crate::reference::Image;
use crate::tlog::Checkpoint;
use crate::verify::{Root, Trust};

pub use compare::{Difference, Replayed};
pub use error::{Piece, ReplayError};
pub use what_if::{Answer, WhatIf};

/// A recorded decision and everything that was kept with it.
#[derive(Debug)]
pub struct Recorded {
    record: Record,
    promotion: Promotion,
    basis: Basis,
    policy: Policy,
    trust: Trust,
    closure: Closure,
    evidence: Vec<Raw>,
}

impl Recorded {
    /// Reads record `index`: under the rules that it names itself, for those of today may have nothing to do with it.
    ///
    /// # Errors
    /// [`ReplayError`]: it is no decision, or not all of it is kept.
    pub fn load(ledger: &Ledger, index: u64) -> Result<Self, ReplayError> {
        let at = ledger.tip()?;
        if index >= at.size() {
            return Err(ReplayError::NoSuchRecord { index, size: at.size() });
        }
        let entry = ledger.read(&at, index)?;
        let kept = Pieces { ledger, index };
        // 1. The rules that it names, and who they trust.
        let rules =
            ClaimedRules::read(entry.bytes()).map_err(|found| ReplayError::NotADecision { index, found })?;
        let policy = kept.policy(&rules)?;
        let roots = rules.roots.iter().map(|root| kept.root(&policy, root)).collect::<Result<_, _>>()?;
        let trust = Trust::new(policy.keys()).with_roots(roots);
        // 2. The record, signed by somebody whom they name.
        let record = Record::read(&entry, &trust)
            .map_err(|source| ReplayError::Record { index, source: Box::new(source) })?;
        let Some(promotion) = record.promotion().cloned() else {
            let found = record.body().kind().to_string();
            return Err(ReplayError::NotADecision { index, found });
        };
        let basis = promotion.basis.clone().ok_or(ReplayError::NoBasis { index })?;
        // 3. What it relied on.
        kept.all(relied_on(&promotion, record.subjects()))?;
        let closure = Closure::again(record.subjects().image.digest, |digest| {
            kept.bytes("a document of the image", digest)
        })?;
        let evidence = kept.evidence(&promotion)?;
        Ok(Self { record, promotion, basis, policy, trust, closure, evidence })
    }

    /// The record.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// What it says.
    pub fn promotion(&self) -> &Promotion {
        &self.promotion
    }

    /// What the gate had before it.
    pub fn basis(&self) -> &Basis {
        &self.basis
    }

    /// The rules it was made by.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Whose signatures counted.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Whether the gate said yes: an intent and its commit are one decision.
    pub fn approved(&self) -> bool {
        match self.promotion.phase {
            Phase::Intent | Phase::Commit => true,
            Phase::Abort | Phase::Refused => false,
        }
    }

    /// Decides again, by the rules of then, and compares.
    ///
    /// # Errors
    /// [`ReplayError`] when it could not tell.
    pub fn again(&self, ledger: &Ledger) -> Result<Replayed, ReplayError> {
        let target = self.target(&self.policy)?;
        let evidence = self.evidence(ledger, &target, &self.trust)?;
        self.listed(&evidence)?;
        let overlooked = self.overlooked(ledger)?;
        Ok(Replayed::compare(self, decide(&target, &evidence)).with(overlooked))
    }

    /// What the gate had before it, as far as it was kept.
    fn evidence(&self, ledger: &Ledger, target: &Target<'_>, trust: &Trust) -> Result<Evidence, ReplayError> {
        self.evidence_on(ledger, target, trust, &self.basis)
    }

    /// The same at other heads of the lanes.
    fn evidence_on(
        &self,
        ledger: &Ledger,
        target: &Target<'_>,
        trust: &Trust,
        basis: &Basis,
    ) -> Result<Evidence, ReplayError> {
        let (attestations, discarded) = self.attestations(trust);
        let Basis { observed, control, decided_on, tag: _, witnessed } = basis;
        // The lanes of today continue those of then: what lies below the heads of then is what was read.
        let index = self.record.position().index;
        let at = ledger.tip()?;
        let (origin, size, root) = (at.origin().clone(), observed.size, observed.root);
        ledger.require(&Seen::claimed(Checkpoint { origin, size, root }, SeenBy::Record(index)))?;
        let (head, lane) = (*control, ledger.control()?);
        let control = Control::read_at(&lane, head, trust).ok_or(ReplayError::Control { index, head })?;
        // What the witnesses said then is what the author says that they said.
        let freshness = witnessed.as_ref().map_or(Freshness::Unwitnessed, |said| {
            let WitnessedLane { at, size, witnesses } = said.clone();
            Freshness::Cosigned { at, size, witnesses }
        });
        let control = control.with_freshness(freshness);
        let (history, unjudged) = past(ledger, &at, &lane, observed.size, trust, target)?;
        Ok(Evidence {
            attestations,
            discarded,
            remarks: Vec::new(),
            history,
            unjudged,
            control,
            same_layers: Vec::new(),
            ledger: *observed,
            now: *decided_on,
        })
    }

    /// Every record it relied on is among those that were read: what lists them is a cache, and may hide one.
    fn listed(&self, evidence: &Evidence) -> Result<(), ReplayError> {
        let read: BTreeSet<_> = evidence.history.iter().map(Record::resource).collect();
        let named = self.promotion.evidence.iter().filter(|resource| resource.uri.starts_with("ledger:"));
        match named.into_iter().find(|resource| !read.contains(resource)) {
            None => Ok(()),
            Some(hidden) => Err(ReplayError::Hidden {
                index: self.record.position().index,
                hidden: crate::digest::shorten(&hidden.uri),
            }),
        }
    }

    fn target<'t>(&'t self, policy: &'t Policy) -> Result<Target<'t>, TargetError> {
        let environment = self.promotion.to.environment.as_ref();
        let tag = self.basis.tag.as_ref();
        Target::new(
            policy,
            self.promotion.service.as_str(),
            environment.map(|name| name.as_str()).unwrap_or_default(),
            Image::new(self.promotion.from.uri.clone(), self.record.subjects().image.digest),
            &self.closure,
            tag.map(|tag| TagSeen { tag: tag.name.clone(), found: tag.found, expected: tag.expected }),
            Some(self.record.author().clone()),
        )
    }

    /// What the kept bytes prove, about whichever manifest of the image they name.
    fn attestations(&self, trust: &Trust) -> (Vec<Found>, Vec<Discarded>) {
        let root = self.closure.root();
        let platforms = self.closure.platforms().map(|(digest, _)| digest);
        let mut seen = BTreeSet::new();
        let manifests: Vec<Digest> =
            std::iter::once(root).chain(platforms).filter(|digest| seen.insert(*digest)).collect();
        let (mut found, mut discarded) = (Vec::new(), Vec::new());
        for raw in &self.evidence {
            let mut refused = None;
            let proved = manifests.iter().find_map(|on| match raw.verify(*on, trust) {
                Ok(attestation) => Some(attestation),
                Err(rejected) => {
                    refused.get_or_insert(rejected);
                    None
                }
            });
            match (proved, refused) {
                (Some(attestation), _) => {
                    let names = |digest: &&Digest| {
                        attestation.subjects().iter().any(|subject| subject.digest == **digest)
                    };
                    let on = manifests.iter().find(names).copied().unwrap_or(root);
                    found.push(Found { on, source: Source::Ledger, attestation, raw: raw.clone() });
                }
                (None, Some(rejected)) => {
                    discarded.push(Discarded { on: root, source: Source::Ledger, rejected });
                }
                (None, None) => {}
            }
        }
        (found, discarded)
    }
}

/// What was kept with one record.
struct Pieces<'l> {
    ledger: &'l Ledger,
    index: u64,
}

impl Pieces<'_> {
    /// Everything is there, or all that is not is named.
    fn all(&self, relied: Vec<Relied>) -> Result<(), ReplayError> {
        let mut pieces = Vec::new();
        for Relied { role, digest } in relied {
            match self.bytes(&words(&role), digest) {
                Ok(_) => {}
                Err(ReplayError::NotKept { pieces: missing, .. }) => pieces.extend(missing),
                Err(error) => return Err(error),
            }
        }
        match pieces.is_empty() {
            true => Ok(()),
            false => Err(ReplayError::NotKept { index: self.index, pieces }),
        }
    }

    fn bytes(&self, what: &str, digest: Digest) -> Result<Bytes, ReplayError> {
        let index = self.index;
        let missing = |changed| {
            let pieces = vec![Piece { what: what.to_owned(), digest, changed }];
            ReplayError::NotKept { index, pieces }
        };
        self.ledger.kept(index, digest).map_err(|error| match error {
            LedgerError::EvidenceGone { .. } => missing(false),
            LedgerError::EvidenceChanged { .. } => missing(true),
            error => error.into(),
        })
    }

    fn text(&self, what: &str, digest: Digest) -> Result<String, ReplayError> {
        // Bytes with this digest that are no text were never read as one: something is wrong with the record.
        let bytes = self.bytes(what, digest)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| ReplayError::Evidence { index: self.index, digest })
    }

    fn policy(&self, rules: &ClaimedRules) -> Result<Policy, ReplayError> {
        let index = self.index;
        let wrong = |source| ReplayError::Policy { index, source: Box::new(source) };
        let text = self.text("the policy file", rules.policy.digest.0)?;
        let draft = Draft::parse(&rules.policy.uri, &text).map_err(wrong)?;
        let mut files = BTreeMap::new();
        for (file, digest) in &rules.policy.keys {
            let bytes = self.bytes(&format!("the key `{}`", crate::digest::shorten(file)), *digest)?;
            // A public key was kept as its DER, a root of trust as the text of its file.
            let text = match String::from_utf8(bytes.to_vec()) {
                Ok(text) if text.trim_start().starts_with('{') => text,
                Ok(_) | Err(_) => PublicKey::from_der(&bytes)
                    .map_err(|source| ReplayError::Key { index, file: crate::digest::shorten(file), source })?
                    .to_pem(),
            };
            files.insert(file.clone(), text);
        }
        draft.validate(&files).map_err(wrong)
    }

    fn root(&self, policy: &Policy, version: &RootVersion) -> Result<Root, ReplayError> {
        let (index, name) = (self.index, &version.name);
        let json = self.text(&format!("the root of trust `{name}`"), version.digest.0)?;
        // What GitHub's own repository signs is GitHub's; of a file that has to be shown.
        let rule = policy.roots().find(|rule| rule.name() == name).map(|rule| rule.source());
        let root = match rule {
            Some(RootSource::Tuf(_)) => Root::refreshed(name.clone(), &json),
            Some(RootSource::Embedded(_) | RootSource::File { .. }) | None => {
                Root::given(name.clone(), &json)
            }
        };
        root.map_err(|source| ReplayError::Root { index, name: name.clone(), source })
    }

    /// The attestations, each with the layers that carried it.
    fn evidence(&self, promotion: &Promotion) -> Result<Vec<Raw>, ReplayError> {
        let named = promotion.evidence.iter().filter(|resource| !resource.uri.starts_with("ledger:"));
        let (layers, attested): (Vec<_>, Vec<_>) = named.partition(|resource| resource.uri == DESCRIPTOR);
        let layers: Vec<Bytes> = layers
            .into_iter()
            .map(|layer| self.bytes("the layer of evidence", layer.digest.0))
            .collect::<Result<_, _>>()?;
        let mut all = Vec::new();
        for digest in attested.into_iter().map(|resource| resource.digest.0).collect::<BTreeSet<_>>() {
            let bytes = self.bytes("the evidence", digest)?;
            let carried: Vec<Raw> =
                layers.iter().filter_map(|layer| Raw::kept(bytes.clone(), Some(layer))).collect();
            match carried.is_empty() {
                false => all.extend(carried),
                true => {
                    let raw = Raw::kept(bytes, None);
                    all.push(raw.ok_or(ReplayError::Evidence { index: self.index, digest })?);
                }
            }
        }
        Ok(all)
    }
}

fn words(role: &Role) -> String {
    match role {
        Role::Root => "the image".to_owned(),
        Role::Platform => "the platform manifest".to_owned(),
        Role::Attestation(predicate_type) => {
            format!("the evidence `{}`", crate::digest::shorten(predicate_type))
        }
        Role::Layer => "the layer of evidence".to_owned(),
        Role::Policy => "the policy file".to_owned(),
        Role::Key(file) => format!("the key `{}`", crate::digest::shorten(file)),
        Role::Trusted(name) => format!("the root of trust `{name}`"),
    }
}
