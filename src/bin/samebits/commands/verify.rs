//! `verify`: what lies on an image, by whom, and whether it is what the policy wants.

use anyhow::anyhow;
use samebits::collect::attached;
use samebits::evidence::{Evidence, Target};
use samebits::gate::{Outcome as Stands, attestations};
use samebits::promote::{Resolved, WalkError, service};
use samebits::record::TreeHead;

use crate::Outcome;
use crate::args::Verify;
use crate::commands::block_on;
use crate::output::{EvidenceItem, RequirementStands, RootInUse, Verification, YesOrNo};
use crate::session::{self, Session};
use crate::trouble::{Trouble, undecided, usage};

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
    let registries = session.registries()?;
    let (resolved, attached) = block_on(async {
        let resolved = Resolved::resolve(&registries, &reference).await?;
        let attached = attached(&resolved.image, &resolved.closure, &registries, &session.trust).await?;
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
    let evidence = Evidence {
        attestations: attached.attestations,
        discarded: attached.discarded,
        remarks: attached.remarks,
        history: Vec::new(),
        same_layers: Vec::new(),
        ledger: TreeHead::empty(),
        now: session::now(),
    };
    let findings = attestations(&target, &evidence);
    if findings.is_empty() {
        return Err(usage(anyhow!(
            "`{}` requires neither a signature nor provenance: expected an environment that does (--to)",
            environment.name()
        )));
    }
    let refused = findings.iter().any(|finding| matches!(finding.outcome, Stands::Unmet(_)));
    let accepted = evidence.attestations.iter().map(|found| EvidenceItem {
        on: found.on,
        source: found.source.to_string(),
        digest: found.attestation.evidence(),
        accepted: true,
        predicate_type: Some(found.attestation.predicate_type().to_owned()),
        signer: Some(found.attestation.identity().clone()),
        names: policy.who(found.attestation.author(), &name).into_iter().cloned().collect(),
        rejected: None,
    });
    let rejected = evidence.discarded.iter().map(|discarded| EvidenceItem {
        on: discarded.on,
        source: discarded.source.to_string(),
        digest: discarded.rejected.evidence,
        accepted: false,
        predicate_type: discarded.rejected.claim.predicate_type.clone(),
        signer: None,
        names: Vec::new(),
        rejected: Some(discarded.rejected.to_string()),
    });
    let report = Verification {
        schema: Verification::SCHEMA,
        decision: if refused { YesOrNo::Denied } else { YesOrNo::Approved },
        image: resolved.image.clone(),
        to: environment.name().clone(),
        evidence: accepted.chain(rejected).collect(),
        requirements: findings.iter().map(RequirementStands::from).collect(),
        roots: RootInUse::all(session),
    };
    session.outputs.emit(&report).map_err(undecided)?;
    Ok(if refused { Outcome::No } else { Outcome::Yes })
}
