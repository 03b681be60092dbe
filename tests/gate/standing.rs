//! B13 for promotions: what a revoked promoter, or a revoked record, still does in the log. He has his key and the
//! log's key, and asks no gate.

use samebits::digest::Digest;
use samebits::ledger::LedgerError;
use samebits::ledger::protocol::ProtocolError;
use samebits::ledger::target::{State, history};
use samebits::promote::{Answer, Request, WalkError};
use samebits::record::{Phase, Position, Promotion, Revoked, Sha256, TreeHead};

use super::protocol::{
    at_moment, block_on, intact, phases, promoted, ready_with, records, rules, state, tag,
};
use super::world::*;

fn world() -> (World, Built, Built) {
    (World::new(&guarded(&on_disk())), Built::shop("evil"), Built::shop("1"))
}

/// Intent and commit of `who`.
fn both(world: &mut World, who: &str, image: &Built, change: impl Fn(&mut Promotion)) -> [Position; 2] {
    let intent = world.forge_with(who, image, Phase::Intent, None, &change);
    [intent, world.forge_with(who, image, Phase::Commit, Some(intent), &change)]
}

/// He says that he saw no revocation, or one that is not there, or every one.
fn claims(world: &World) -> Vec<TreeHead> {
    let lane = world.ledger.control().unwrap();
    let size = lane.head().size();
    let beginnings = (0..=size).map(|size| TreeHead { size, root: lane.root_at(size).unwrap() });
    let root = Sha256(Digest::of(b"made up")).0;
    beginnings.chain([TreeHead { size: size + 1, root }, TreeHead { size: 1_000, root }]).collect()
}

#[test]
fn b13_a_revoked_promoter_opens_holds_and_commits_nothing() {
    let (mut world, evil, image) = world();
    both(&mut world, "release", &image, |_| ());
    assert_eq!(state(&world), (0, vec![image.root]));
    world.revoke("security", &Revokes::signer(world.identity("release")));
    // What lay before stands; from then on nothing, whatever he says he saw.
    assert_eq!(state(&world), (0, vec![image.root]));
    for claim in claims(&world) {
        both(&mut world, "release", &evil, |body| body.ledger.control = claim);
        assert_eq!(state(&world), (0, vec![image.root]), "{claim:?}");
    }
    // He holds nothing: the other promoter goes on at once.
    let open = world.forge("release", &evil, Phase::Intent, None);
    assert_eq!(state(&world), (0, vec![image.root]));
    let next = Built::shop("2");
    both(&mut world, "release-2", &next, |_| ());
    assert_eq!(state(&world), (0, vec![image.root, next.root]));
    world.forge("release", &evil, Phase::Commit, Some(open));
    assert_eq!(state(&world), (0, vec![image.root, next.root]));
    // It is told what became of it.
    let (found, control) = (records(&world), world.control());
    let state = State::replay(&found.records, &rules(&world, &control));
    let taken = state.taken(open).unwrap();
    assert_eq!((taken.from, taken.by), (2, Some(0)));
}

/// Somebody whose word counts says that he saw a lane that is not this one: either the lane was put back, or he lies.
/// Nothing goes on until that is settled; once his word is taken, it does.
#[test]
fn d2_a_claim_of_another_control_lane_halts_while_its_author_is_believed() {
    for made_up in [0, 1] {
        let (mut world, evil, image) = world();
        both(&mut world, "release", &image, |_| ());
        world.revoke("security", &Revokes::digest(evil.root));
        let claim = claims(&world)[2 + made_up];
        world.forge_with("release", &evil, Phase::Intent, None, |body| body.ledger.control = claim);
        let (service, environment) = ("shop".parse().unwrap(), "production".parse().unwrap());
        let read = |world: &World| {
            let (at, lane) = (world.ledger.tip().unwrap(), world.ledger.control().unwrap());
            let rules = (&world.policy, &world.trust);
            history(&world.ledger, &at, &lane, rules, &service, &environment).map(|found| found.records.len())
        };
        let refused = read(&world).unwrap_err();
        assert!(matches!(refused, LedgerError::Shorter { .. }), "{refused}");
        assert!(refused.to_string().contains("the author of record 2 has seen"), "{refused}");
        world.revoke("security", &Revokes::signer(world.identity("release")).since(2, world.now()));
        assert_eq!(read(&world).unwrap(), 3);
        assert_eq!(state(&world), (0, vec![image.root]));
    }
}

/// An intent that was open when its author was revoked is none from then on: nobody waits for it, and it is not
/// committed.
#[test]
fn b13_an_intent_of_before_the_revocation_ends_with_it() {
    let (mut world, evil, image) = world();
    let open = world.forge("release", &evil, Phase::Intent, None);
    assert_eq!(state(&world).0, 1);
    world.revoke("security", &Revokes::signer(world.identity("release")));
    assert_eq!(state(&world).0, 0);
    for claim in claims(&world) {
        world.forge_with("release", &evil, Phase::Commit, Some(open), |body| body.ledger.control = claim);
    }
    assert_eq!(state(&world), (0, Vec::new()));
    both(&mut world, "release-2", &image, |_| ());
    assert_eq!(state(&world), (0, vec![image.root]));
}

/// The position counts: with a beginning, what was written from there on is void, also what was there already.
#[test]
fn b13_with_a_beginning_what_was_committed_since_is_void() {
    let (mut world, evil, image) = world();
    both(&mut world, "release", &image, |_| ());
    let [stolen, _] = both(&mut world, "release", &evil, |_| ());
    assert_eq!(state(&world).1, [image.root, evil.root]);
    let since = Revokes::signer(world.identity("release")).since(stolen.index, world.now());
    world.revoke("security", &since);
    assert_eq!(state(&world), (0, vec![image.root]));
}

/// A lift is no word for what was written meanwhile: others went on without it.
#[test]
fn b13_a_lift_wakes_nothing_that_was_void() {
    let (mut world, evil, image) = world();
    let revokes = Revokes::signer(world.identity("release"));
    let place = world.revoke("security", &revokes);
    let [intent, _] = both(&mut world, "release", &evil, |_| ());
    let waiting = world.forge("release", &evil, Phase::Intent, None);
    both(&mut world, "release-2", &image, |_| ());
    assert_eq!(state(&world), (0, vec![image.root]));
    world.revoke("security", &revokes.clone().lift(place));
    assert_eq!(state(&world), (0, vec![image.root]));
    for intent in [intent, waiting] {
        world.forge("release", &evil, Phase::Commit, Some(intent));
        assert_eq!(state(&world), (0, vec![image.root]));
    }
    // Nor does it count who cannot have seen it; who has, promotes again.
    let mut claims = claims(&world);
    claims.truncate(3);
    let all = claims.remove(2);
    for claim in claims {
        both(&mut world, "release", &evil, |body| body.ledger.control = claim);
        assert_eq!(state(&world), (0, vec![image.root]), "{claim:?}");
    }
    both(&mut world, "release", &evil, |body| body.ledger.control = all);
    assert_eq!(state(&world), (0, vec![image.root, evil.root]));
    // A lift that is none changes nothing: by somebody else, of another place.
    let (mut world, evil, _) = self::world();
    let place = world.revoke("security", &revokes_of(&world));
    world.revoke("release-2", &revokes_of(&world).lift(place));
    world.revoke("security", &revokes_of(&world).scope(Some("shop"), None).lift(place));
    both(&mut world, "release", &evil, |_| ());
    assert_eq!(state(&world), (0, Vec::new()));
}

fn revokes_of(world: &World) -> Revokes {
    Revokes::signer(world.identity("release"))
}

/// Only revokers take, only where they say, and only from whom they name.
#[test]
fn b13_a_revocation_takes_promotions_where_it_says() {
    for (who, of, service, environment, takes) in [
        ("security", "release", None, None, true),
        ("security", "release", Some("shop"), Some("production"), true),
        ("security", "release", Some("api"), None, false),
        ("security", "release", None, Some("staging"), false),
        ("security", "release-2", None, None, false),
        ("staging", "release", None, None, false),
        ("stranger", "release", None, None, false),
    ] {
        let (mut world, _, image) = world();
        let revokes = Revokes::signer(world.identity(of)).scope(service, environment);
        world.revoke(who, &revokes);
        both(&mut world, "release", &image, |_| ());
        let expected = if takes { Vec::new() } else { vec![image.root] };
        assert_eq!(state(&world), (0, expected), "{who} {of} {service:?} {environment:?}");
    }
}

/// An abort takes nothing but a lock: void, it would wake what it had closed.
#[test]
fn b13_an_abort_counts_whoever_wrote_it() {
    let (mut world, evil, image) = world();
    let zombie = world.forge("release-2", &evil, Phase::Intent, None);
    world.revoke("security", &Revokes::signer(world.identity("release")));
    let abort = world.forge("release", &evil, Phase::Abort, Some(zombie));
    both(&mut world, "release-2", &image, |_| ());
    world.revoke("security", &Revokes::of(Revoked::Record(abort)));
    world.forge("release-2", &evil, Phase::Commit, Some(zombie));
    assert_eq!(state(&world), (0, vec![image.root]));
}

#[test]
fn a_revoked_intent_or_commit_is_inert() {
    // The commit: its intent stays closed, and what was promoted before it is what is promoted.
    let (mut world, evil, image) = world();
    both(&mut world, "release", &image, |_| ());
    let [intent, commit] = both(&mut world, "release", &evil, |_| ());
    let revokes = Revokes::of(Revoked::Record(commit));
    let place = world.revoke("security", &revokes);
    assert_eq!(state(&world), (0, vec![image.root]));
    world.forge("release", &evil, Phase::Commit, Some(intent));
    assert_eq!(state(&world), (0, vec![image.root]));
    world.revoke("security", &revokes.lift(place));
    assert_eq!(state(&world), (0, vec![image.root, evil.root]));
    // The intent of a commit: the commit with it.
    let place = world.revoke("security", &Revokes::of(Revoked::Record(intent)));
    assert_eq!(state(&world), (0, vec![image.root]));
    world.revoke("security", &Revokes::of(Revoked::Record(intent)).lift(place));
    assert_eq!(state(&world), (0, vec![image.root, evil.root]));
    // An open intent: it holds nothing and is not committed, and a lift does not open it again.
    let open = world.forge("release", &evil, Phase::Intent, None);
    let revokes = Revokes::of(Revoked::Record(open));
    let place = world.revoke("security", &revokes);
    let next = Built::shop("2");
    both(&mut world, "release-2", &next, |_| ());
    world.revoke("security", &revokes.lift(place));
    world.forge("release", &evil, Phase::Commit, Some(open));
    assert_eq!(state(&world), (0, vec![image.root, evil.root, next.root]));
}

/// The tag follows the last commit that counts: the thief's never, also where he has set it himself.
#[test]
fn b13_the_tag_does_not_follow_a_revoked_promoter() {
    let (mut world, image, request) = ready_with(&guarded(&on_disk()));
    let evil = Built::shop("evil");
    block_on(world.push(&evil, "evil"));
    world.revoke("security", &Revokes::signer(world.identity("release")));
    let [.., commit] = both(&mut world, "release", &evil, |_| ());
    let open = world.forge("release", &evil, Phase::Intent, None);
    assert!(open.index > commit.index);
    // Nobody waits for him, and nothing of his is what the next one supersedes.
    let promotion = promoted(block_on(world.promote(&request, "release-2")));
    assert_eq!(tag(&world), Some(image.root));
    let found = records(&world);
    let record = found.records.iter().find(|record| record.position() == promotion.commit()).unwrap();
    assert_eq!(record.promotion().unwrap().supersedes, None);
    // Once more past the gate; the next run of the same request ends on the commit that counts.
    both(&mut world, "release", &evil, |_| ());
    let _again = promoted(block_on(world.promote(&request, "release-2")));
    assert_eq!(tag(&world), Some(image.root));
}

/// Revoked while the bytes are copied: the second look was a yes, and the commit is not written.
#[test]
fn b13_a_promoter_who_is_revoked_while_he_acts_commits_nothing() {
    let (mut world, _, request) = ready_with(&guarded(&on_disk()));
    let revokes = Revokes::signer(world.identity("release"));
    let hook = world.hook();
    let clock = at_moment(4, world.now(), || {
        hook.revoke("security", &revokes);
    });
    let answer = block_on(world.promote_by(&request, "release", &clock));
    let Err(WalkError::Protocol(ProtocolError::Revoked { by: 0, .. })) = answer else { panic!("{answer:?}") };
    assert_eq!(phases(&world), [Phase::Intent]);
    assert_eq!(tag(&world), None);
    // Again it is a no; another promoter goes on at once.
    let answer = block_on(world.promote(&request, "release")).unwrap();
    assert!(matches!(answer, Answer::Denied { .. }), "{answer:?}");
    let run = Request { run: "run 2".to_owned(), ..request };
    let _promotion = promoted(block_on(world.promote(&run, "release-2")));
    intact(&world);
}
