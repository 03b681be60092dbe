//! What is written to the ledger while evidence is read: a yes is one by what the ledger says when it is given.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use samebits::collect::Files;
use samebits::gate::Decision;
use samebits::promote::{Answer, Request};

use super::protocol::{block_on, ready_with, state};
use super::registry::{Fake, MANIFEST};
use super::world::*;

/// The same question, with one more repository to look into, and something that happens when that is first asked.
fn meanwhile(
    world: &World,
    request: &Request,
    fake: &Fake,
    happens: impl Fn(&Hook) + Send + 'static,
) -> Request {
    fake.seed_manifest("elsewhere", MANIFEST, b"{}");
    let hook = Arc::new(Mutex::new(world.hook()));
    let done = AtomicBool::new(false);
    fake.watch(Box::new(move |_, _, _| {
        if !done.swap(true, Ordering::SeqCst) {
            happens(&hook.lock().unwrap());
        }
        None
    }));
    let there = format!("{}/elsewhere", fake.host()).parse().unwrap();
    Request { files: Files::default().and_from([there]), ..request.clone() }
}

fn freeze(hook: &Hook) {
    hook.freeze("duty", &Freezes::everything());
}

#[test]
fn e4_a_freeze_while_evidence_is_read_is_seen() {
    let (mut world, _, request) = ready_with(&freezable(&guarded(&on_disk())));
    assert!(matches!(block_on(world.check(&request, "release")).unwrap(), Decision::Approved(_)));
    let fake = Fake::start();
    let asked = meanwhile(&world, &request, &fake, freeze);
    let answer = block_on(world.check(&asked, "release")).unwrap();
    assert!(matches!(answer, Decision::Denied(_)), "check");
}

/// Where nothing is left to do, no intent is written and no second look follows.
#[test]
fn e4_a_freeze_while_evidence_of_a_repeated_promotion_is_read_is_seen() {
    let (mut world, _, request) = ready_with(&freezable(&guarded(&on_disk())));
    for _ in 0..2 {
        assert!(matches!(block_on(world.promote(&request, "release")).unwrap(), Answer::Promoted(_)));
    }
    let fake = Fake::start();
    let asked = meanwhile(&world, &request, &fake, freeze);
    let answer = block_on(world.promote(&asked, "release")).unwrap();
    assert!(matches!(answer, Answer::Denied { .. }), "promote");
}

/// The deployer is revoked first, and what he says is read after that: at no moment was that a yes.
#[test]
fn a_signer_who_is_revoked_while_evidence_is_read_does_not_count() {
    let (mut world, _, request) = ready_with(&freezable(&guarded(&on_disk())));
    let fake = Fake::start();
    let deployer = world.identity("staging");
    let asked = meanwhile(&world, &request, &fake, move |hook| {
        hook.revoke("security", &Revokes::signer(deployer.clone()));
    });
    let answer = block_on(world.check(&asked, "release")).unwrap();
    assert!(matches!(answer, Decision::Denied(_)));
}

/// What stood when the question was asked stands no more when it is answered: it is promoted again, and not called done.
#[test]
fn e9_a_promotion_that_is_superseded_while_evidence_is_read_is_made_again() {
    let (mut world, image, request) = ready_with(&guarded(&on_disk()));
    assert!(matches!(block_on(world.promote(&request, "release")).unwrap(), Answer::Promoted(_)));
    let (next, repository) = (Built::shop("2"), world.repository("shop", None));
    block_on(async {
        let pushed = world.push(&next, "v2").await;
        world.attach(&pushed, "build").await;
    });
    world.staged(&next);
    world.wait(10);
    let rival = pinned(&repository, &next, "production", "run 2");
    let fake = Fake::start();
    let asked = meanwhile(&world, &request, &fake, move |hook| hook.promote(&rival, "release-2"));
    let answer = block_on(world.promote(&asked, "release")).unwrap();
    assert!(matches!(answer, Answer::Promoted(_)), "{answer:?}");
    assert_eq!(state(&world), (0, vec![image.root, next.root, image.root]));
}
