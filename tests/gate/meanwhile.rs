//! What is written to the ledger while evidence is read: a yes is one by what the ledger says when it is given.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use samebits::collect::Files;
use samebits::gate::Decision;
use samebits::ledger::protocol::ProtocolError;
use samebits::promote::{Answer, Request, WalkError};
use samebits::record::Phase;

use super::protocol::{block_on, ready_with, state};
use super::registry::{Fake, MANIFEST, Reply};
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

/// What was read for a decision that came too late counts for that decision alone.
#[test]
fn e9_after_it_was_overtaken_a_promotion_is_decided_on_what_lies_on_the_image_by_then() {
    let fake = Fake::start();
    let policy = with(&[
        ("registry.example/shop", &format!("{}/shop", fake.host())),
        ("registry.example/api", "oci:build/api"),
        ("registry.example/staging/{service}", "oci:staging/{service}"),
        ("registry.example/prod/{service}", "oci:prod/{service}"),
        (APPROVALS, "[environments.production.require]\nsigned-by = \"build\"\n"),
        ("\"1h\"", "\"10m\""),
    ]);
    let (mut world, image, request) = ready_with(&policy);
    // The rival's comes from staging, so that it asks nobody who is being asked.
    let (next, staging) = (Built::shop("2"), world.repository("shop", Some("staging")));
    block_on(async {
        let pushed = world.push(&next, "v2").await;
        world.attach(&pushed, "build").await;
        let closure = world.registries.closure(&pushed).await.unwrap();
        let from = world.registries.reading(&pushed.repository).unwrap();
        world.registries.copy(&closure, &from, &staging).await.unwrap();
    });
    world.staged(&next);
    world.wait(10);
    let rival = pinned(&staging, &next, "production", "run 2");
    // What refers to the index is listed first. When it is the platform's turn somebody else promotes, and takes away what
    // the index was signed with.
    let [platform, index] = [image.child("linux/amd64"), image.root].map(|it| format!("/referrers/{it}"));
    let (hook, mut overtaken) = (Mutex::new(world.hook()), false);
    fake.watch(Box::new(move |_, path, _| {
        if path.contains(&platform) && !overtaken {
            hook.lock().unwrap().promote(&rival, "release-2");
            overtaken = true;
        }
        let none =
            br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
        (overtaken && path.contains(&index)).then(|| Reply::Bytes(none.to_vec()))
    }));
    let answer = block_on(world.promote(&request, "release")).unwrap();
    assert!(matches!(answer, Answer::Denied { .. }), "{answer:?}");
    assert_eq!(state(&world), (0, vec![next.root]));
}

/// What stands may be superseded any moment by whoever holds the lock: nobody is told that there is nothing to do.
#[test]
fn e9_what_stands_is_not_called_done_while_another_promotion_is_under_way() {
    let (mut world, image, request) = ready_with(&on_disk());
    assert!(matches!(block_on(world.promote(&request, "release")).unwrap(), Answer::Promoted(_)));
    world.forge("release-2", &Built::shop("2"), Phase::Intent, None);
    let error = block_on(world.promote(&request, "release")).unwrap_err();
    assert!(matches!(error, WalkError::Protocol(ProtocolError::Busy { .. })), "{error:?}");
    assert_eq!(state(&world), (1, vec![image.root]));
}

/// Between the last look at the ledger and the tag another promotion is recorded: the tag is set again, to that one's image.
#[test]
fn e9_a_tag_that_is_set_too_late_is_set_to_what_the_ledger_says_by_then() {
    let fake = Fake::start();
    let policy = with(&[
        ("registry.example/shop", "oci:build/shop"),
        ("registry.example/api", "oci:build/api"),
        ("registry.example/staging/{service}", "oci:staging/{service}"),
        ("registry.example/prod/{service}", &format!("{}/prod/{{service}}", fake.host())),
        (APPROVALS, ""),
        ("\"1h\"", "\"10m\""),
    ]);
    let (mut world, image, request) = ready_with(&policy);
    // Its bytes are there; whoever brought them has not come to the tag.
    let (next, production) = (Built::shop("2"), world.repository("shop", Some("production")));
    block_on(async {
        let pushed = world.push(&next, "v2").await;
        let closure = world.registries.closure(&pushed).await.unwrap();
        let from = world.registries.reading(&pushed.repository).unwrap();
        world.registries.copy(&closure, &from, &production).await.unwrap();
    });
    let (hook, rival, mut overtaken) = (Mutex::new(world.hook()), Built::shop("2"), false);
    fake.watch(Box::new(move |method, path, _| {
        if method == "PUT" && path.ends_with("/manifests/production") && !overtaken {
            hook.lock().unwrap().forge("release-2", &rival);
            overtaken = true;
        }
        None
    }));
    let answer = block_on(world.promote(&request, "release")).unwrap();
    assert!(matches!(answer, Answer::Promoted(_)), "{answer:?}");
    assert_eq!(fake.tagged("prod/shop", "production"), Some(next.root.to_string()));
    assert_eq!(state(&world), (0, vec![image.root, next.root]));
}
