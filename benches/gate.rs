//! The gate alone: `decide` with a hundred attestations on the image and a hundred deployments in its history.
//!
//! Run `cargo bench --bench gate`. Target: less than 100 us, so that a decision is never what anybody waits for.

#![allow(clippy::unwrap_used, reason = "a benchmark may stop")]

use std::hint::black_box;

use criterion::Criterion;
use samebits::gate::{Decision, decide};
use samebits::record::Status;
use samebits::verify::{COSIGN_SIGN, provenance};
use serde_json::json;

#[allow(dead_code, reason = "shared with tests")]
#[path = "../tests/support/world.rs"]
mod world;

use world::*;

/// Signature, provenance, soak and an approval: everything there is to look at.
fn policy() -> String {
    with(&[(
        APPROVALS,
        "[environments.production.require]
signed-by = \"build\"
approvals = { count = 1, from = [\"managers\"] }
[environments.production.require.provenance]
signer = \"build\"
builder = \"https://ci.example/builder\"
source = \"https://git.example/acme/{service}\"
ref = \"refs/heads/main\"
",
    )])
}

fn main() {
    let mut world = World::new(&policy());
    let images: Vec<Built> = (0..10).map(|number| Built::shop(&number.to_string())).collect();
    let image = &images[9];
    // Ninety attestations by the wrong signer or from the wrong source, ten that count.
    let about = [("registry.example/shop", image.root)];
    let attestations: Vec<_> = (0..100)
        .map(|number| match number % 10 {
            0 | 1 => world.attest("release", COSIGN_SIGN, json!({ "number": number }), &about),
            2 => world.attest("build", COSIGN_SIGN, json!({ "number": number }), &about),
            _ => {
                let source = if number == 99 { SOURCE } else { "https://git.example/acme/fork" };
                world.attest("build", provenance::V1, slsa(source), &about)
            }
        })
        .collect();
    // A hundred deployments of ten images in two regions, the last of them the image's.
    for number in 0..100 {
        let status = if number % 7 == 3 { Status::Removed } else { Status::Succeeded };
        let name = if number % 2 == 0 { "eu" } else { "us" };
        let said = world.deployment("staging", &images[number / 10]).name(name).status(status);
        world.record("staging", &said);
        world.wait(1);
    }
    let approval = world.approval("ana", image);
    world.approve("ana", &approval);
    world.wait(60);

    let question = world.question(image);
    let target = question.target("production");
    let evidence = question.evidence(&target, &attestations);
    assert_eq!((evidence.attestations.len(), evidence.history.len()), (100, 101));
    let decision = decide(&target, &evidence);
    assert!(matches!(decision, Decision::Approved(_)), "{}", story(decision.verdict()));
    let mut attested = evidence.clone();
    attested.history.clear();
    let mut deployed = evidence.clone();
    deployed.attestations.clear();
    let mut nothing = deployed.clone();
    nothing.history.clear();

    let mut criterion = Criterion::default().configure_from_args();
    for (name, evidence) in [
        ("decide: 100 attestations, 100 deployments", &evidence),
        ("decide: 100 attestations", &attested),
        ("decide: 100 deployments", &deployed),
        ("decide: nothing", &nothing),
    ] {
        criterion.bench_function(name, |bench| {
            bench.iter(|| decide(black_box(&target), black_box(evidence)));
        });
    }
    criterion.final_summary();
}
