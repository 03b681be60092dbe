//! `verify`: what lies on an image, by whom, and whether it is what the policy wants.

use std::collections::BTreeMap;

use anyhow::anyhow;
use samebits::closure::Closure;
use samebits::collect::{Content, Item, Look, Place, attached_or_stored};
use samebits::digest::Digest;
use samebits::evidence::{Control, Evidence, Target};
use samebits::gate::{Finding, Outcome as Stands, attestations};
use samebits::policy::Service;
use samebits::promote::{Resolved, WalkError, service};
use samebits::record::TreeHead;
use samebits::registry::Suffix;
use samebits::verify::{Attestation, Author, Verified};

use crate::Outcome;
use crate::args::Verify;
use crate::commands::block_on;
use crate::output::{RequirementStands, RootInUse};
use crate::session::{self, Session};
use crate::trouble::{Trouble, undecided, usage};
use crate::verification::{
    EvidenceItem, FoundAt, FoundIn, Judged, ManifestNode, Status, Verification, media_words, predicate_words,
};

pub(crate) fn verify(session: &Session<'_>, args: &Verify) -> Result<Outcome, Trouble> {
    let policy = &session.policy;
    let reference = session.reference(&args.image)?;
    let name = service(policy, args.service.as_deref(), reference.repository())?;
    let environment = match &args.to {
        Some(to) => policy.find_environment(to).map_err(usage)?,
        None => policy
            .environments()
            .iter()
            .find(|environment| environment.entry())
            .ok_or_else(|| usage(anyhow!("the policy has no entry environment")))?,
    };
    let files = session.files(&args.evidence)?;
    let registries = session.registries()?;
    let (resolved, attached) = block_on(async {
        let resolved = Resolved::resolve(&registries, &reference).await?;
        let (image, closure) = (&resolved.image, &resolved.closure);
        let (reading, look) = (registries.reading(&image.repository)?, Look::Everything);
        let places = (&registries, &reading, policy.service(&name).and_then(Service::evidence_store));
        let attached = attached_or_stored(image, closure, places, &files, &session.trust, look).await?;
        Ok::<_, WalkError>((resolved, attached))
    })??;
    let target = Target::new(
        policy,
        name.as_str(),
        environment.name().as_str(),
        resolved.image.clone(),
        &resolved.closure,
        resolved.tag.clone(),
        None,
    )
    .map_err(usage)?;
    let (found, discarded, notes) = attached.evidence(&resolved.closure);
    let evidence = Evidence {
        attestations: found,
        discarded,
        remarks: Vec::new(),
        history: Vec::new(),
        unjudged: Vec::new(),
        control: Control::not_looked_at(),
        same_layers: Vec::new(),
        ledger: TreeHead::empty(),
        now: session::now(),
    };
    let findings = attestations(&target, &evidence);
    let refused = findings.iter().any(|finding| matches!(finding.outcome, Stands::Unmet(_)));
    let (decision, outcome) = match (findings.is_empty(), refused) {
        // A yes that nobody asked for anything would be read as one.
        (true, _) => (Judged::NothingRequired, Outcome::NothingAsked),
        (false, true) => (Judged::Denied, Outcome::No),
        (false, false) => (Judged::Approved, Outcome::Yes),
    };
    let tree = Tree { target: &target, findings: &findings };
    let report = Verification {
        schema: Verification::SCHEMA,
        decision,
        image: resolved.image.clone(),
        to: environment.name().clone(),
        manifests: tree.manifests(&resolved.closure, &attached.items),
        requirements: findings.iter().map(RequirementStands::from).collect(),
        roots: RootInUse::all(session),
        notes,
    };
    session.outputs.emit(&report).map_err(undecided)?;
    if decision == Judged::NothingRequired {
        session.warn(format_args!(
            "nothing was judged: `{}` requires neither signatures nor attestations, expected an environment that does \
             (--to)",
            environment.name()
        ));
    }
    Ok(outcome)
}

/// What is needed to say of a thing what it is worth.
struct Tree<'a> {
    target: &'a Target<'a>,
    findings: &'a [Finding],
}

impl Tree<'_> {
    fn manifests(&self, closure: &Closure, items: &[Item]) -> Vec<ManifestNode> {
        let mut platforms: BTreeMap<Digest, Vec<_>> = BTreeMap::new();
        let mut order = vec![closure.root()];
        for (digest, platform) in closure.platforms() {
            platforms.entry(digest).or_default().push(platform.clone());
            if !order.contains(&digest) {
                order.push(digest);
            }
        }
        let node = |digest| ManifestNode {
            digest,
            index: digest == closure.root() && closure.is_index(),
            platforms: platforms.get(&digest).cloned().unwrap_or_default(),
            items: self.items(digest, items, true),
        };
        order.into_iter().map(node).collect()
    }

    /// What lies on one digest; one level below, what lies on that.
    fn items(&self, on: Digest, items: &[Item], deeper: bool) -> Vec<EvidenceItem> {
        let mut last = None;
        let mut all: Vec<EvidenceItem> = Vec::new();
        for item in items.iter().filter(|item| item.on == on) {
            let mut said = self.item(item);
            if let (Some(manifest), true) = (item.place.referrer(), deeper)
                // Under the first thing that one manifest carries.
                && last != Some(manifest)
            {
                said.beneath = self.items(manifest, items, false);
                last = Some(manifest);
            }
            all.push(said);
        }
        all
    }

    fn item(&self, item: &Item) -> EvidenceItem {
        let mut said = EvidenceItem {
            what: media_words(&item.media_type),
            found: found_at(&item.place),
            media_type: item.media_type.clone(),
            digest: item.digest,
            size: item.size,
            status: Status::NotEvidence,
            code: None,
            reason: None,
            predicate_type: None,
            subjects: Vec::new(),
            signer: None,
            names: Vec::new(),
            time: None,
            log_index: None,
            meets: Vec::new(),
            beneath: Vec::new(),
        };
        match &item.content {
            Content::Accepted(attestation, _, log_index) => {
                self.accepted(&mut said, item, attestation);
                said.log_index = *log_index;
            }
            Content::Rejected(rejected) => {
                said.status = Status::Rejected;
                said.code = Some(rejected.reason.code().to_owned());
                said.reason = Some(rejected.reason.whole());
                said.predicate_type = rejected.claim.predicate_type.clone();
                if let Some(claimed) = &said.predicate_type {
                    said.what = predicate_words(claimed);
                }
            }
            Content::Other(words) => said.reason = Some(words.clone()),
        }
        said
    }

    fn accepted(&self, said: &mut EvidenceItem, item: &Item, attestation: &Verified<Attestation>) {
        let (policy, service) = (self.target.policy(), self.target.service().name());
        said.what = predicate_words(attestation.predicate_type());
        said.predicate_type = Some(attestation.predicate_type().to_owned());
        said.subjects = attestation.subjects().iter().map(|subject| subject.digest).collect();
        said.signer = Some(attestation.identity().clone());
        said.names = policy.who(attestation.author(), service).into_iter().cloned().collect();
        said.time = attestation.author().time();
        // Signed, and about something else: it lies there and says nothing of what it lies on.
        let about = |digest: &Digest| *digest == item.on || self.target.closure().contains(*digest);
        match said.subjects.iter().find(|digest| about(digest)) {
            Some(_) if !said.names.is_empty() => said.status = Status::Accepted,
            // Truly signed, by somebody whose word is nothing here.
            Some(_) => {
                said.status = Status::Rejected;
                said.code = Some("not-a-signer".to_owned());
                said.reason = Some(self.nobody(attestation.author()));
            }
            None => {
                said.status = Status::Rejected;
                said.code = Some("artifact-mismatch".to_owned());
                let other = said.subjects.first().map_or_else(String::new, Digest::to_string);
                said.reason = Some(format!("it is about something else: {other}"));
            }
        }
        said.meets = self.met_by(item, attestation);
    }

    /// Why the policy has no name for an author.
    fn nobody(&self, author: &Author) -> String {
        let (policy, service) = (self.target.policy(), self.target.service().name());
        match policy.signers().find(|signer| signer.could_be(author.identity(), service)) {
            None => "the policy names no such signer".to_owned(),
            Some(signer) => {
                let wrong = policy.why_not(signer.name(), author, service);
                let wrong: Vec<String> = wrong.iter().map(ToString::to_string).collect();
                format!("it would be `{}`: {}", signer.name(), wrong.join("; "))
            }
        }
    }

    fn met_by(&self, item: &Item, attestation: &Verified<Attestation>) -> Vec<String> {
        let relies = |finding: &&Finding| {
            finding.carried.iter().any(|carried| {
                (carried.on, Some(carried.source)) == (item.on, item.place.source())
                    && carried.resource.digest.0 == attestation.evidence()
                    && carried.resource.uri == attestation.predicate_type()
                    && carried.signer == *attestation.identity()
            })
        };
        let met = |finding: &&Finding| matches!(finding.outcome, Stands::Met(_));
        self.findings
            .iter()
            .filter(met)
            .filter(relies)
            .map(|finding| format!("{} ({})", finding.requirement, finding.expected))
            .collect()
    }
}

fn found_at(place: &Place) -> FoundAt {
    let at = |source| FoundAt { source, manifest: None, tag: None, file: None, store: None };
    match place {
        Place::Referrer(manifest) => FoundAt { manifest: Some(*manifest), ..at(FoundIn::Referrer) },
        Place::Tag(tag, suffix) => {
            let source = match suffix {
                Suffix::Sig => FoundIn::SignatureTag,
                Suffix::Att => FoundIn::AttestationTag,
                Suffix::Sbom => FoundIn::SbomTag,
            };
            FoundAt { tag: Some(tag.to_string()), ..at(source) }
        }
        Place::File(file) => FoundAt { file: Some(file.clone()), ..at(FoundIn::File) },
        Place::Index => at(FoundIn::Index),
        Place::Stored(store, place) | Place::Given(store, place) => {
            FoundAt { store: Some(store.clone()), ..found_at(place) }
        }
    }
}
