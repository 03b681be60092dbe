//! Rivals, zombies and crashes: the protocol of intent and commit, driven through the real walk.
//!
//! The clock is an argument of the walk and is read before each of its steps, so it is where a rival can be let in:
//! 1 the evidence is collected, 2 the gate has said yes, 3 the intent is durable, 4 the bytes are copied.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::sync::Barrier;
use std::task::Poll;

use jiff::Timestamp;
use samebits::evidence::{Control, Raw};
use samebits::gate::{Approved, Decision};
use samebits::ledger::protocol::{Busy, Intent, ProtocolError, STALE, Writer, idempotency_key};
use samebits::ledger::review::review;
use samebits::ledger::target::{History, Rules, State, history};
use samebits::ledger::{Ledger, LedgerError};
use samebits::promote::{Answer, Request, WalkError};
use samebits::record::{Phase, Record, Status};
use samebits::verify::Trust;

use super::world::*;

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A world over layouts, an image in the build's repository that has run in staging for ten minutes.
pub(crate) fn ready() -> (World, Built, Request) {
    ready_with(&on_disk())
}

/// The same under another policy.
pub(crate) fn ready_with(policy: &str) -> (World, Built, Request) {
    let mut world = World::new(policy);
    let image = Built::shop("1");
    let repository = world.repository("shop", None);
    block_on(async {
        let pushed = world.push(&image, "v1").await;
        world.attach(&pushed, "build").await;
    });
    world.staged(&image);
    world.wait(10);
    let request = pinned(&repository, &image, "production", "run 1");
    (world, image, request)
}

/// A clock that stands still; when it is asked for the `moment`th time, something happens first.
pub(crate) fn at_moment(moment: u32, now: Timestamp, happens: impl Fn()) -> impl Fn() -> Timestamp {
    let calls = Cell::new(0);
    move || {
        calls.set(calls.get() + 1);
        if calls.get() == moment {
            happens();
        }
        now
    }
}

fn approved(world: &mut World, request: &Request, who: &str) -> Approved {
    match block_on(world.check(request, who)).unwrap() {
        Decision::Approved(approved) => approved,
        Decision::Denied(denied) => panic!("{}", story(denied.verdict())),
    }
}

/// Opens the intent of `who` in a ledger of their own.
fn open(
    world: &World,
    ledger: &mut Ledger,
    who: &str,
    approved: Approved,
    run: &str,
    now: Timestamp,
) -> Result<Intent, ProtocolError> {
    let environment = world.policy.find_environment("production").unwrap();
    let key = idempotency_key(approved.verdict(), run);
    let mut writer = Writer { ledger, policy: &world.policy, trust: &world.trust, signer: world.key(who) };
    Intent::open(&mut writer, approved, environment, key, now)
}

pub(crate) fn records(world: &World) -> History {
    let at = world.ledger.tip().unwrap();
    let service = "shop".parse().unwrap();
    let lane = world.ledger.control().unwrap();
    let environment = "production".parse().unwrap();
    history(&world.ledger, &at, &lane, (&world.policy, &world.trust), &service, &environment).unwrap()
}

pub(crate) fn phases(world: &World) -> Vec<Phase> {
    records(world).records.iter().filter_map(|record| Some(record.promotion()?.phase)).collect()
}

pub(crate) fn tag(world: &World) -> Option<samebits::digest::Digest> {
    let repository = world.repository("shop", Some("production"));
    block_on(world.registries.tagged(&repository, &"production".parse().unwrap())).unwrap()
}

#[track_caller]
pub(crate) fn intact(world: &World) {
    let audit = review(&world.ledger, &world.trust).unwrap();
    assert!(audit.findings().is_empty(), "{:?}", audit.findings());
    world.replays_the_same();
}

#[track_caller]
pub(crate) fn promoted(answer: Result<Answer, WalkError>) -> samebits::promote::Promotion {
    match answer.unwrap() {
        Answer::Promoted(promotion) => *promotion,
        Answer::Denied { denied, .. } | Answer::Withheld { denied, .. } => {
            panic!("{}", story(denied.verdict()))
        }
    }
}

/// What a ledger has verified once it does not verify again: under this trust, and under no other.
#[test]
fn b2_a_record_that_was_read_before_is_none_under_other_keys() {
    let (mut world, _, request) = ready();
    let _ = promoted(block_on(world.promote(&request, "release")));
    let before = records(&world).records;
    assert_eq!(before.len(), 2);
    let release = world.key("release").public().id();
    let keys = world.trust.keys().iter().filter(|key| key.id() != release);
    let fewer = Trust::new(keys.cloned().collect());
    let all = std::mem::replace(&mut world.trust, fewer);
    for _ in 0..2 {
        let found = records(&world);
        assert_eq!((found.records.len(), found.inert.len()), (0, 2));
    }
    world.trust = all.clone();
    let positions = |records: &[Record]| records.iter().map(Record::position).collect::<Vec<_>>();
    for _ in 0..2 {
        assert_eq!(positions(&records(&world).records), positions(&before));
    }
    // A copy of a trust is that trust; with another root of trust it is another.
    assert!(all.clone().is_copy_of(&world.trust));
    assert!(!all.clone().with_roots(Vec::new()).is_copy_of(&all));
    assert!(!Trust::new(all.keys().to_vec()).is_copy_of(&all));
}

#[test]
fn d5_of_two_writers_at_once_exactly_one_holds_the_intent() {
    for _ in 0..8 {
        let (mut world, _, request) = ready();
        let sides = ["release", "release-2"].map(|who| (who, approved(&mut world, &request, who)));
        let barrier = Barrier::new(2);
        // SQLite connections stay in their threads; what is shared is read.
        let ledgers = [world.reopen(), world.reopen()];
        let (policy, trust, now) = (&world.policy, &world.trust, world.now());
        let keys = sides.iter().map(|(who, _)| world.key(who)).collect::<Vec<_>>();
        let outcomes: Vec<Result<Intent, ProtocolError>> = std::thread::scope(|scope| {
            let runs = sides.into_iter().zip(ledgers).zip(keys).map(|(((_, approved), mut ledger), key)| {
                let barrier = &barrier;
                scope.spawn(move || {
                    let environment = policy.find_environment("production").unwrap();
                    let idempotency = idempotency_key(approved.verdict(), "run 1");
                    let mut writer = Writer { ledger: &mut ledger, policy, trust, signer: key };
                    barrier.wait();
                    Intent::open(&mut writer, approved, environment, idempotency, now)
                })
            });
            runs.collect::<Vec<_>>().into_iter().map(|run| run.join().unwrap()).collect()
        });
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
        let busy =
            |outcome: &&Result<Intent, ProtocolError>| matches!(outcome, Err(ProtocolError::Busy { .. }));
        assert_eq!(outcomes.iter().filter(busy).count(), 1, "{outcomes:?}");
        assert_eq!(phases(&world), [Phase::Intent]);
        intact(&world);
    }
}

#[test]
fn d6_an_intent_is_taken_over_when_it_is_stale_and_not_before() {
    let (mut world, image, request) = ready();
    let first = approved(&mut world, &request, "release");
    let second = approved(&mut world, &request, "release-2");
    let (now, mut ledger) = (world.now(), world.reopen());
    let left = open(&world, &mut ledger, "release", first, "run 1", now).unwrap();
    let early = now + STALE - jiff::SignedDuration::from_nanos(1);
    match open(&world, &mut ledger, "release-2", second.clone(), "run 1", early) {
        Err(ProtocolError::Busy(holder)) => {
            let Busy { index, image: busy, until, .. } = *holder;
            assert_eq!((index, busy, until), (left.position().index, image.root, now + STALE));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(phases(&world), [Phase::Intent]);
    let taken = open(&world, &mut ledger, "release-2", second, "run 1", now + STALE).unwrap();
    assert!(!taken.resumed());
    assert_eq!(phases(&world), [Phase::Intent, Phase::Abort, Phase::Intent]);
    intact(&world);
}

#[test]
fn an_approval_for_one_requester_is_no_approval_for_another() {
    let (mut world, _, request) = ready();
    let mut ledger = world.reopen();
    let approved = approved(&mut world, &request, "release");
    let now = world.now();
    let refused = open(&world, &mut ledger, "release-2", approved, "run 1", now);
    assert!(matches!(refused, Err(ProtocolError::Requester { .. })), "{refused:?}");
    assert!(phases(&world).is_empty());
}

/// The zombie wakes up after a rival took over, with its bytes copied: nothing it does counts any more.
#[test]
fn e9_a_fenced_zombie_cannot_commit() {
    let (mut world, _, request) = ready();
    let rival = approved(&mut world, &request, "release-2");
    let (other, ledger) = (&mut world, Cell::new(None));
    ledger.set(Some((other.reopen(), rival)));
    let now = other.now();
    let calls = Cell::new(0);
    // What the rival needs of the world, while the zombie has the rest.
    let (policy, trust) = (other.policy.clone(), other.trust.clone());
    let key = samebits::key::PrivateKey::from_pem(&other.key("release-2").to_pem()).unwrap();
    let clock = || {
        calls.set(calls.get() + 1);
        if calls.get() == 4 {
            let (mut ledger, approved) = ledger.take().unwrap();
            let idempotency = idempotency_key(approved.verdict(), "run 2");
            let environment = policy.find_environment("production").unwrap();
            let mut writer = Writer { ledger: &mut ledger, policy: &policy, trust: &trust, signer: &key };
            let _open = Intent::open(&mut writer, approved, environment, idempotency, now + STALE).unwrap();
        }
        now
    };
    let answer = block_on(other.promote_by(&request, "release", &clock));
    assert!(matches!(answer, Err(WalkError::Protocol(ProtocolError::Fenced { .. }))), "{answer:?}");
    assert_eq!(calls.get(), 4);
    assert_eq!(phases(&world), [Phase::Intent, Phase::Abort, Phase::Intent]);
    assert_eq!(tag(&world), None);
    ledger.take();
    // The rival's crashed too; its own run goes on, the zombie's has to wait.
    let waiting = block_on(world.promote(&request, "release"));
    assert!(matches!(waiting, Err(WalkError::Protocol(ProtocolError::Busy { .. }))), "{waiting:?}");
    let run = Request { run: "run 2".to_owned(), ..request };
    let _promotion = promoted(block_on(world.promote(&run, "release-2")));
    assert_eq!(phases(&world), [Phase::Intent, Phase::Abort, Phase::Intent, Phase::Commit]);
    intact(&world);
}

#[test]
fn d6_the_same_request_goes_on_and_any_other_is_a_rival() {
    let (mut world, image, request) = ready();
    let first = approved(&mut world, &request, "release");
    let (now, mut ledger) = (world.now(), world.reopen());
    let left = open(&world, &mut ledger, "release", first, "run 1", now).unwrap();
    assert!(!left.resumed());
    // Another run, another identity.
    let run = Request { run: "run 2".to_owned(), ..request.clone() };
    for (request, who) in [(&run, "release"), (&request, "release-2")] {
        let answer = block_on(world.promote(request, who));
        assert!(matches!(answer, Err(WalkError::Protocol(ProtocolError::Busy { .. }))), "{answer:?}");
    }
    // Another policy file is another request, though the identity and the run are the same.
    world.govern(&format!("{}# a comment\n", on_disk()));
    let answer = block_on(world.promote(&request, "release"));
    assert!(matches!(answer, Err(WalkError::Protocol(ProtocolError::Busy { .. }))), "{answer:?}");
    world.govern(&on_disk());
    let again = approved(&mut world, &request, "release");
    let again = open(&world, &mut ledger, "release", again, "run 1", now).unwrap();
    assert!(again.resumed());
    assert_eq!(again.position(), left.position());
    // To the end, and once more: one intent, one commit.
    let first = promoted(block_on(world.promote(&request, "release")));
    let second = promoted(block_on(world.promote(&request, "release")));
    assert_eq!(first.commit(), second.commit());
    assert!(second.report().is_none());
    assert_eq!(phases(&world), [Phase::Intent, Phase::Commit]);
    assert_eq!(tag(&world), Some(image.root));
    intact(&world);
}

#[test]
fn the_second_look_turns_the_intent_into_an_abort() {
    // A removal that says it began earlier comes in after the first yes, at each of the moments that still count.
    for moment in [1, 2, 3, 4] {
        let (mut world, image, request) = ready();
        let mut removed = world.deployment("staging", &image).status(Status::Removed);
        removed.began = World::at("09:05");
        let hook = world.hook();
        let clock = at_moment(moment, world.now(), || hook.record("staging", &removed));
        let answer = block_on(world.promote_by(&request, "release", &clock)).unwrap();
        match (moment, answer) {
            // Before the first look: refused. Before the second: aborted.
            (1, Answer::Denied { .. }) => assert_eq!(phases(&world), [Phase::Refused]),
            (2 | 3, Answer::Denied { record, .. }) => {
                assert_eq!(phases(&world), [Phase::Intent, Phase::Abort]);
                let abort = records(&world).records.pop().unwrap();
                assert_eq!(Some(abort.position()), record);
                let reason = abort.promotion().unwrap().abort_reason.clone().unwrap();
                assert!(reason.contains("soak-too-short"), "{reason}");
            }
            // After the second: it is in the log behind the intent, and the decision stands.
            (4, Answer::Promoted(_)) => assert_eq!(phases(&world), [Phase::Intent, Phase::Commit]),
            (_, answer) => panic!("{moment}: {answer:?}"),
        }
        assert_eq!(tag(&world).is_some(), moment == 4);
        intact(&world);
    }
}

#[test]
fn e9_the_second_of_two_promotions_sees_what_the_first_made_of_the_target() {
    let (mut world, first, request) = ready();
    let second = Built::shop("2");
    block_on(world.push(&second, "v2"));
    let said = world.deployment("staging", &second).name("eu");
    world.record("staging", &said);
    world.wait(10);
    let other = pinned(&world.repository("shop", None), &second, "production", "run 2");
    // The first promotes from beginning to end after the second was decided.
    let hook = world.hook();
    let clock = at_moment(2, world.now(), || {
        hook.promote(&request, "release-2");
    });
    let promotion = promoted(block_on(world.promote_by(&other, "release", &clock)));
    let found = records(&world);
    let control = world.control();
    let state = State::replay(&found.records, &rules(&world, &control));
    assert_eq!(state.commits.len(), 2);
    assert_eq!(state.commits[0].image.digest, first.root);
    let commit = found.records.iter().find(|record| record.position() == promotion.commit()).unwrap();
    let superseded = commit.promotion().unwrap().supersedes.unwrap();
    assert_eq!((superseded.digest, superseded.index), (first.root, state.commits[0].commit.index));
    assert_eq!(tag(&world), Some(second.root));
    intact(&world);
}

/// What promotions of the shop into production are judged by.
pub(crate) fn rules<'r>(world: &'r World, control: &'r Control) -> Rules<'r> {
    let environment = world.policy.find_environment("production").unwrap();
    let service = world.policy.find_service("shop").unwrap().name();
    Rules { policy: &world.policy, service, environment, control }
}

/// The state of production: how many intents are open, and what the valid commits are.
pub(crate) fn state(world: &World) -> (usize, Vec<samebits::digest::Digest>) {
    let (found, control) = (records(world), world.control());
    let state = State::replay(&found.records, &rules(world, &control));
    assert_eq!(state.current, state.commits.last().cloned());
    (state.open.len(), state.commits.iter().map(|commit| commit.image.digest).collect())
}

/// Each row is a good chain with one thing wrong in it; what is wrong has no effect on the state, and none on the
/// next promotion.
#[test]
fn c1_a_commit_counts_only_for_the_first_open_intent_its_image_and_its_author() {
    let (evil, image) = (Built::shop("evil"), Built::shop("1"));
    // Who opens, what, and who commits, what; how many intents stay open, whether the commit counts.
    let rows = [
        ("release", &evil, "release", &evil, 0, true),
        ("release", &evil, "release-2", &evil, 1, false),
        ("release", &image, "release", &evil, 1, false),
        ("staging", &evil, "staging", &evil, 0, false),
        ("production", &evil, "release", &evil, 0, false),
        ("release", &evil, "staging", &evil, 1, false),
        ("stranger", &evil, "release", &evil, 0, false),
    ];
    for (opener, opened, committer, committed, open, counts) in rows {
        let mut world = World::new(&on_disk());
        let intent = world.forge(opener, opened, Phase::Intent, None);
        world.forge(committer, committed, Phase::Commit, Some(intent));
        let expected = if counts { vec![committed.root] } else { Vec::new() };
        assert_eq!(state(&world), (open, expected), "{opener} {committer}");
    }
    // The second in the queue does not overtake the first, and an abort is a promoter's to write.
    let mut world = World::new(&on_disk());
    let first = world.forge("release", &image, Phase::Intent, None);
    let second = world.forge("release-2", &evil, Phase::Intent, None);
    world.forge("release-2", &evil, Phase::Commit, Some(second));
    assert_eq!(state(&world), (2, Vec::new()));
    world.forge("staging", &image, Phase::Abort, Some(first));
    world.forge("release-2", &evil, Phase::Commit, Some(second));
    assert_eq!(state(&world), (2, Vec::new()));
    world.forge("release", &image, Phase::Commit, Some(first));
    assert_eq!(state(&world), (1, vec![image.root]));
    // Once is once.
    world.forge("release", &image, Phase::Commit, Some(first));
    assert_eq!(state(&world), (1, vec![image.root]));
    world.forge("release", &image, Phase::Abort, Some(second));
    assert_eq!(state(&world), (0, vec![image.root]));
}

/// A promotion that is recorded and not yet published meets one that came after it, wherever it stands: the tag
/// ends on the last commit.
#[test]
fn e9_a_slow_publisher_does_not_set_the_tag_back() {
    for after in 0..20 {
        let (mut world, first, request) = ready();
        let second = Built::shop("2");
        block_on(world.push(&second, "v2"));
        let said = world.deployment("staging", &second).name("eu");
        world.record("staging", &said);
        world.wait(10);
        let other = pinned(&world.repository("shop", None), &second, "production", "run 2");
        let hook = world.hook();
        // Intent and commit are the next two records.
        let (log, size) = (world.reopen(), world.ledger.tip().unwrap().size());
        let mut overtaken = false;
        let answer = block_on(async {
            let mut future = pin!(world.promote(&request, "release"));
            let mut since = 0;
            std::future::poll_fn(|context| {
                if !overtaken && log.tip().unwrap().size() == size + 2 {
                    if since == after {
                        hook.promote(&other, "release-2");
                        overtaken = true;
                    }
                    since += 1;
                }
                future.as_mut().poll(context)
            })
            .await
        });
        let _promotion = promoted(answer);
        intact(&world);
        let (open, commits) = state(&world);
        assert_eq!((open, tag(&world)), (0, commits.last().copied()), "{after}");
        // How often a run waits differs; some end before their turn.
        assert_eq!(commits.len(), 1 + usize::from(overtaken));
        assert_eq!((commits[0], after > 0 || overtaken), (first.root, true));
    }
}

/// Runs a future until it has been polled so many times, then drops it where it stands: a crash. `None` then.
fn crash_after<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    block_on(async {
        let mut future = pin!(future);
        let mut polled = 0;
        std::future::poll_fn(|context| {
            if polled == polls {
                return Poll::Ready(None);
            }
            polled += 1;
            future.as_mut().poll(context).map(Some)
        })
        .await
    })
}

/// Wherever a run stops, no effect is without an intent, and the same request afterwards ends as if nothing had
/// happened. What a crash leaves is there again for the next crash.
#[test]
fn d6_a_crash_between_any_two_steps_loses_nothing_and_has_no_effect_without_an_intent() {
    let mut crashes = 0;
    for twice in [false, true] {
        for polls in (1..).step_by(if twice { 7 } else { 3 }) {
            let (mut world, image, request) = ready();
            let ended = crash_after(polls, world.promote(&request, "release"));
            let repository = world.repository("shop", Some("production"));
            let missing = block_on(world.registries.has_closure(&repository, &image.closure));
            // A layout that is not there has nothing.
            let something = missing.map_or(0, |missing| image.closure.manifests().count().min(missing.len()))
                < image.closure.manifests().count()
                && world.folder.path().join("prod/shop/index.json").exists();
            let phases_then = phases(&world);
            assert!(!something || phases_then.contains(&Phase::Intent), "{polls}: {phases_then:?}");
            if tag(&world).is_some() {
                assert!(phases_then.contains(&Phase::Commit), "{polls}: {phases_then:?}");
            }
            if ended.is_none() {
                crashes += 1;
                if twice {
                    crash_after(polls / 2, world.promote(&request, "release"));
                }
                let _promotion = promoted(block_on(world.promote(&request, "release")));
            }
            assert_eq!(phases(&world), [Phase::Intent, Phase::Commit], "{polls}");
            assert_eq!(tag(&world), Some(image.root));
            assert!(block_on(world.registries.has_closure(&repository, &image.closure)).unwrap().is_empty());
            intact(&world);
            if ended.is_some() {
                break;
            }
        }
    }
    assert!(crashes > 10, "{crashes} crashes are not between any two steps");
}

/// A decision is not recorded where nobody could look at its evidence again.
#[test]
fn b5_no_intent_without_the_bytes_of_what_it_relies_on() {
    let world = World::new(POLICY);
    let image = Built::shop("1");
    let mut attestations = world.built(&image);
    attestations[0].raw = Raw::bundle(bytes::Bytes::from_static(b"something else"));
    let missing = attestations[0].attestation.evidence();
    let Decision::Approved(approved) = world.ask("staging", &image, &attestations) else {
        panic!("the gate is not asked about the bytes")
    };
    let (mut ledger, environment) = (world.reopen(), world.policy.find_environment("staging").unwrap());
    let key = idempotency_key(approved.verdict(), "run 1");
    let (policy, trust) = (&world.policy, &world.trust);
    let mut writer = Writer { ledger: &mut ledger, policy, trust, signer: world.key("release") };
    let error = Intent::open(&mut writer, approved, environment, key, world.now()).unwrap_err();
    let ProtocolError::Ledger(LedgerError::EvidenceNotAtHand { digest }) = error else { panic!("{error}") };
    assert_eq!(digest, missing);
    assert_eq!(world.reopen().tip().unwrap().size(), 0);
}
