//! Properties of `decide` over random evidence: total, deterministic, monotone in positive evidence.

use std::collections::BTreeSet;

use proptest::prelude::*;
use samebits::evidence::{Evidence, Found, Target};
use samebits::gate::{Decision, Outcome, Requirement, decide};
use samebits::policy::EvidenceClass;
use samebits::record::{Position, Record, Revoked, Runtime, Status, Verdict};
use samebits::verify::predicate::{OPENVEX, TEST_RESULT, VULNS_V0_2};
use samebits::verify::{COSIGN_SIGN, provenance};
use serde_json::{Value, json};

use super::world::*;

/// Approvals, signature, provenance, tests, a scan with VEX, and soak, all for production.
fn policy() -> String {
    with(&[(
        APPROVALS,
        "[environments.production.require]
signed-by = \"build\"
attestations = [
  { type = \"test-result\", signer = \"build\", after-deployment = \"staging\" },
  { type = \"vulns\", signer = \"build\", at-most = { high = 0 }, vex = \"staging\", max-age = \"1h\" },
]
approvals = { count = 1, from = [\"managers\", \"release\"] }
[environments.production.require.provenance]
signer = \"build\"
builder = \"https://ci.example/builder\"
source = \"https://git.example/acme/{service}\"
ref = \"refs/heads/main\"
",
    )])
}

/// Something that is written down or attached.
#[derive(Clone, Debug)]
enum Event {
    Wait(i64),
    Attest {
        who: usize,
        kind: usize,
        about: usize,
        name: usize,
        source: usize,
    },
    Deploy {
        who: usize,
        image: usize,
        environment: usize,
        name: usize,
        status: usize,
        says: usize,
        bare: bool,
        ago: i64,
    },
    Approve {
        who: usize,
        image: usize,
        verdict: usize,
        environment: usize,
        hours: i64,
        stale: bool,
    },
}

/// The honest choice is the likely one, so that a good part of the worlds is close to a yes.
fn likely(others: usize) -> impl Strategy<Value = usize> {
    prop_oneof![6 => Just(0), 3 => 0..=others]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => prop_oneof![Just(1_i64), Just(30), Just(60), Just(61)].prop_map(Event::Wait),
        3 => (likely(2), 0..8_usize, likely(3), likely(2), likely(1))
            .prop_map(|(who, kind, about, name, source)| Event::Attest { who, kind, about, name, source }),
        6 => (likely(2), likely(3), likely(1), likely(1), likely(2), likely(6), any::<bool>(), likely(2))
            .prop_map(|(who, image, environment, name, status, says, bare, ago)| {
                let ago = [0, 40, -10][ago];
                Event::Deploy { who, image, environment, name, status, says, bare, ago }
            }),
        3 => (likely(3), likely(1), likely(2), likely(1), likely(1), prop::bool::weighted(0.15))
            .prop_map(|(who, image, verdict, environment, hours, stale)| {
                let hours = [48, 1][hours];
                Event::Approve { who, image, verdict, environment, hours, stale }
            }),
    ]
}

/// The target; one that shares its amd64 manifest; one with the same children; another.
fn images() -> [Built; 4] {
    let children = [("linux/amd64", "1"), ("linux/arm64", "1")];
    [
        Built::shop("1"),
        Built::index(&[("linux/amd64", "1"), ("linux/arm64", "2")]),
        Built::index_with(&children, json!({ "written": "again" })),
        Built::shop("3"),
    ]
}

/// A predicate; `other` is what counts against it.
fn said(world: &World, image: &Built, kind: usize, other: usize) -> (&'static str, Value) {
    let source = [SOURCE, "https://git.example/acme/api"][other];
    let tested = |result: &str| {
        // After the last record there is.
        let question = world.question(image);
        let history = question.evidence(&question.target("production"), &[]).history;
        let last = history.last().map_or(image.root, |record| record.resource().digest.0);
        json!({ "result": result, "configuration": [{ "digest": { "sha256": last.hex() } }] })
    };
    let scan = |findings: Value| {
        let finished = world.now() - jiff::SignedDuration::from_mins([0, 50][other]);
        let metadata = json!({ "scanFinishedOn": finished });
        json!({ "scanner": { "uri": "pkg:x", "result": findings }, "metadata": metadata })
    };
    let bad = json!([{ "id": "CVE-1", "severity": [{ "method": "nvd", "score": "critical" }] }]);
    match kind {
        0 => (COSIGN_SIGN, json!({})),
        1 => (provenance::V1, slsa(source)),
        2 => (TEST_RESULT, tested(["PASSED", "FAILED"][other])),
        3 => (TEST_RESULT, tested("FAILED")),
        4 => (VULNS_V0_2, scan(json!([]))),
        5 => (VULNS_V0_2, scan(bad)),
        _ => {
            // Each document is newer than the one before, and says that it does harm, or that it does none.
            let status = if kind == 6 { "not_affected" } else { "affected" };
            let statement = json!({
                "vulnerability": { "name": "CVE-1" }, "status": status, "justification": "component_not_present",
            });
            (
                OPENVEX,
                json!({
                    "@context": OPENVEX, "@id": "https://x", "author": "x", "timestamp": world.now(),
                    "statements": [statement],
                }),
            )
        }
    }
}

/// Plays the events; what was attached comes back, what was recorded is in the ledger.
fn play(world: &mut World, images: &[Built; 4], events: &[Event]) -> Vec<Found> {
    let mut attached = Vec::new();
    for event in events {
        match event.clone() {
            Event::Wait(minutes) => world.wait(minutes),
            Event::Attest { who, kind, about, name, source } => {
                let image = &images[0];
                // VEX is staging's to sign, everything else the build's.
                let who = match kind {
                    6.. => ["staging", "build", "release"][who],
                    _ => ["build", "staging", "release"][who],
                };
                let digest =
                    [image.root, image.child("linux/amd64"), image.child("linux/arm64"), images[3].root]
                        [about];
                let name = ["registry.example/shop", "registry.example/api", ""][name];
                let (kind, predicate) = said(world, image, kind, source);
                attached.push(world.attest(who, kind, predicate, &[(name, digest)]));
            }
            Event::Deploy { who, image, environment, name, status, says, bare, ago } => {
                let image = &images[image];
                let environment = ["staging", "production"][environment];
                let status = [Status::Succeeded, Status::Removed, Status::Failed][status];
                let mut said =
                    world.deployment(environment, image).name(["default", "eu"][name]).status(status);
                said.began = world.now() - jiff::SignedDuration::from_mins(ago);
                said.ended = said.began;
                said = match says {
                    0 => said,
                    1 => said.asserted(),
                    2 => said.runtime(image.child("linux/amd64"), None),
                    3 => said.runtime(image.root, Some("linux/arm64")),
                    4 => said.runtime(images[3].root, None),
                    5 => {
                        let (observed_digest, platform) = (image.root, None);
                        said.runtime = Some(Runtime { observed_digest, platform, replicas: Some(0) });
                        said
                    }
                    _ => {
                        said.class = EvidenceClass::Observed;
                        said.runtime = None;
                        said
                    }
                };
                let said = if bare { said.bare() } else { said };
                world.record(["staging", "release", "stranger"][who], &said);
            }
            Event::Approve { who, image, verdict, environment, hours, stale } => {
                let who = ["ana", "ben", "release", "build"][who];
                let mut approval = world.approval(who, &images[image]);
                approval.1.decision = [Verdict::Approved, Verdict::Rejected, Verdict::Withdrawn][verdict];
                approval.1.approved_for.environment = ["production", "staging"][environment].parse().unwrap();
                approval.1.valid_until = world.now() + jiff::SignedDuration::from_hours(hours);
                if stale {
                    approval.1.approved_for.keys.clear();
                }
                world.approve(who, &approval);
            }
        }
    }
    attached
}

/// Positive evidence. Exactly: every attestation; every approval that says `approved`; every record of a deployment
/// that succeeded, of an image whose digest is the target's, unless its runtime says that nothing runs (no replica)
/// or names a digest that is not of this image. The rest says, or may say, that something is *not* so: what was
/// removed, failed, replaced, rejected, withdrawn; a promotion says when something was known. Removing those may
/// help, removing positive evidence may not.
fn positive(record: &Record, target: &Target<'_>) -> bool {
    if let Some(approval) = record.approval() {
        return approval.decision == Verdict::Approved;
    }
    record.deployment().is_some_and(|said| {
        let runs = said.runtime.as_ref().is_none_or(|runtime| {
            runtime.replicas != Some(0) && target.closure().contains(runtime.observed_digest)
        });
        said.status == Status::Succeeded && record.subjects().image.digest == target.closure().root() && runs
    })
}

/// The requirements that do not refuse, by their place.
fn met(decision: &Decision) -> BTreeSet<usize> {
    let findings = decision.verdict().findings.iter().enumerate();
    findings
        .filter(|(_, found)| !matches!(found.outcome, Outcome::Unmet(_)))
        .map(|(place, _)| place)
        .collect()
}

/// The evidence without the positive pieces whose number is not in `kept`.
fn without(evidence: &Evidence, target: &Target<'_>, kept: impl Fn(usize) -> bool) -> Evidence {
    let mut number = 0..;
    let mut next = move || number.next().unwrap();
    let mut less = evidence.clone();
    less.attestations.retain(|_| kept(next()));
    less.history.retain(|record| !positive(record, target) || kept(next()));
    less
}

/// A revocation that somebody may write: who, what, since when, where.
fn revocation() -> impl Strategy<Value = (usize, usize, usize, usize)> {
    (likely(3), 0..9_usize, likely(2), likely(3))
}

fn revoke(world: &mut World, images: &[Built; 4], (who, what, since, scope): (usize, usize, usize, usize)) {
    let who = ["security", "security-2", "release", "stranger"][who];
    let signers = ["build", "staging", "ana", "release", "security"];
    let size = world.ledger.tip().unwrap().size();
    let said = match what {
        0 => Revokes::digest(images[0].root),
        1 => Revokes::digest(images[1].child("linux/amd64")),
        2 => Revokes::digest(images[3].root),
        3 => {
            let at = world.ledger.tip().unwrap();
            if size == 0 {
                return;
            }
            let index = size / 2;
            let leaf_hash = world.ledger.read(&at, index).unwrap().leaf();
            Revokes::of(Revoked::Record(Position { index, leaf_hash }))
        }
        signer => {
            let said = Revokes::signer(world.identity(signers[signer - 4]));
            match since {
                0 => said,
                1 => said.since(size / 2, world.now()),
                _ => said.since(size, world.now()),
            }
        }
    };
    let (service, environment) =
        [(None, None), (Some("shop"), None), (Some("api"), None), (None, Some("production"))][scope];
    world.revoke(who, &said.scope(service, environment));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is revoked, by whomever, of whatever: nothing that was not met before is met then.
    #[test]
    fn b13_a_revocation_never_turns_a_no_into_a_yes(
        events in prop::collection::vec(event(), 4..22),
        revocations in prop::collection::vec(revocation(), 1..8),
        staging in any::<bool>(),
    ) {
        let images = images();
        let mut world = World::new(&guarded(&policy()));
        let attached = play(&mut world, &images, &events);
        let environment = if staging { "staging" } else { "production" };
        let mut before = met(&world.ask(environment, &images[0], &attached));
        for revocation in revocations {
            revoke(&mut world, &images, revocation);
            let decision = world.ask(environment, &images[0], &attached);
            let now = met(&decision);
            prop_assert!(
                now.is_subset(&before),
                "{revocation:?} met more: {:?} of {:?}\n{}", now, before, story(decision.verdict())
            );
            before = now;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 160, max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn decide_is_total_deterministic_and_monotone(
        events in prop::collection::vec(event(), 4..22),
        masks in prop::collection::vec(any::<u64>(), 6),
        requester in likely(2),
        staging in any::<bool>(),
    ) {
        let images = images();
        let mut world = World::new(&policy());
        let attached = play(&mut world, &images, &events);
        let who = [Some("release"), None, Some("staging")][requester];
        let environment = if staging { "staging" } else { "production" };
        let question = world.question(&images[0]).by(who);
        let target = question.target(environment);
        let evidence = question.evidence(&target, &attached);

        // Total: every requirement, once, in order.
        let decision = decide(&target, &evidence);
        let mut expected = vec![
            Requirement::Repository, Requirement::Platforms, Requirement::Promoter, Requirement::SignedBy,
            Requirement::Provenance,
        ];
        if !staging {
            expected.extend([Requirement::Attestation, Requirement::Attestation]);
            expected.extend([Requirement::Deployed, Requirement::Approvals]);
        }
        let found: Vec<_> =
            decision.verdict().findings.iter().map(|finding| finding.requirement.clone()).collect();
        prop_assert_eq!(found, expected.clone());
        let approved = matches!(decision, Decision::Approved(_));
        prop_assert_eq!(approved, met(&decision).len() == expected.len());
        prop_assert_eq!(approved, decision.verdict().codes().is_empty());

        // Deterministic.
        prop_assert_eq!(format!("{decision:?}"), format!("{:?}", decide(&target, &evidence)));

        // Monotone, requirement by requirement: each piece alone, then random heaps, then everything.
        let full = met(&decision);
        let singles = (0..attached.len() + evidence.history.len()).map(|gone| u64::MAX ^ 1 << gone);
        for mask in singles.chain(masks).chain([0]) {
            let less = decide(&target, &without(&evidence, &target, |number| mask >> number & 1 == 1));
            let less_met = met(&less);
            prop_assert!(
                less_met.is_subset(&full),
                "less evidence ({mask:b}) met more: {:?} of {:?}\n{}", less_met, full, story(decision.verdict())
            );
        }
    }
}
