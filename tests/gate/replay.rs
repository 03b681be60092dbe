//! Decisions made again from what was kept: what a promoter signs that no gate decided is found out.

use samebits::promote::{Answer, Stage};
use samebits::record::{Basis, Phase, Position, RecordError, TreeHead};
use samebits::replay::{Recorded, ReplayError};

use super::protocol::{block_on, ready_with};
use super::world::*;

/// A world in which production refused an image that has no provenance from the right source.
fn refused() -> (World, Built, Basis) {
    let policy = on_disk()
        + "[environments.production.require.provenance]\nsigner = \"build\"\nbuilder = \"https://ci.example/builder\"\n\
           source = \"https://git.example/acme/other\"\nref = \"refs/heads/main\"\n";
    let (mut world, image, request) = ready_with(&policy);
    let answer = block_on(world.promote(&request, "release")).unwrap();
    assert!(matches!(answer, Answer::Denied { .. }), "{answer:?}");
    let last = world.ledger.tip().unwrap().size() - 1;
    let basis = Recorded::load(&world.ledger, last).unwrap().basis().clone();
    (world, image, basis)
}

/// A record of a promoter that says what it was decided on, and that no gate decided.
fn forged(world: &mut World, image: &Built, phase: Phase, basis: &Basis) -> Position {
    world.forge_with("release", image, phase, None, |promotion| promotion.basis = Some(basis.clone()))
}

/// What the right signer says otherwise gave the code: it is kept with the refusal, and gives it again.
#[test]
fn b5_a_refusal_by_what_was_said_otherwise_is_the_same_again() {
    let (world, ..) = refused();
    let last = world.ledger.tip().unwrap().size() - 1;
    let recorded = Recorded::load(&world.ledger, last).unwrap();
    let again = recorded.again(&world.ledger).unwrap();
    assert_eq!(again.differences(), []);
    let codes: Vec<String> = again.verdict().codes().iter().map(ToString::to_string).collect();
    assert_eq!(codes, ["provenance-mismatch"]);
    assert!(!recorded.approved() && !again.approved());
}

/// A promoter may sign what they like; a yes that no gate gave is different, and in what.
#[test]
fn d1_a_yes_that_the_gate_did_not_give_is_different() {
    let (mut world, image, basis) = refused();
    let forged = forged(&mut world, &image, Phase::Intent, &basis);
    let recorded = Recorded::load(&world.ledger, forged.index).unwrap();
    let again = recorded.again(&world.ledger).unwrap();
    assert!(recorded.approved() && !again.approved());
    let said: Vec<_> = again.differences().iter().map(|it| (&*it.what, &*it.expected)).collect();
    assert_eq!(said[0], ("decision", "approved"));
    assert!(said.contains(&("provenance", "not asked for")), "{said:?}");
}

/// What it says it was decided on has to be what this ledger was.
#[test]
fn d3_a_basis_that_never_was_is_no_basis() {
    let (mut world, image, basis) = refused();
    let other = samebits::digest::Digest::of(b"another log");
    let mut main = basis.clone();
    main.observed.root = other;
    let mut control = basis.clone();
    control.control.root = other;
    let main = forged(&mut world, &image, Phase::Refused, &main);
    let control = forged(&mut world, &image, Phase::Refused, &control);
    let undecided = |index| Recorded::load(&world.ledger, index).unwrap().again(&world.ledger).unwrap_err();
    assert!(matches!(undecided(main.index), ReplayError::Ledger(error) if error.is_tampering()));
    assert!(matches!(undecided(control.index), ReplayError::Control { .. }));
    // Nor can it be later than what the record says its author had seen.
    let mut later = basis;
    later.observed.size += 1_000;
    let later = forged(&mut world, &image, Phase::Refused, &later);
    let refused = Recorded::load(&world.ledger, later.index).unwrap_err();
    let ReplayError::Record { source, .. } = refused else { panic!("{refused}") };
    assert_eq!(*source, RecordError::Order);
    // An abort by a rival says nothing that the gate decided.
    let abort = world.forge("release", &image, Phase::Refused, None);
    assert!(matches!(Recorded::load(&world.ledger, abort.index), Err(ReplayError::NoBasis { .. })));
}

/// Whatever shape the image has: what its closure was made from is kept, and it is the same closure again.
#[test]
fn b5_an_image_of_any_shape_is_put_together_again() {
    let attested = [("linux/amd64", "1"), ("linux/arm64", "1"), ("unknown/unknown", "provenance")];
    for (image, platforms) in [
        (Built::index(&attested), "[\"linux/amd64\", \"linux/arm64\"]"),
        // Its platform is said by its configuration alone.
        (Built::single("linux/amd64", "1"), "[\"linux/amd64\"]"),
    ] {
        let policy = on_disk()
            .replace("platforms = [\"linux/amd64\", \"linux/arm64\"]", &format!("platforms = {platforms}"));
        let mut world = World::new(&policy);
        let repository = world.repository("shop", None);
        block_on(async {
            let pushed = world.push(&image, "v1").await;
            world.attach(&pushed, "build").await;
        });
        let request = pinned(&repository, &image, "staging", "run 1");
        // Each record is replayed by `promote` itself.
        let answer = block_on(world.promote(&request, "release")).unwrap();
        assert!(matches!(answer, Answer::Promoted(_)), "{answer:?}");
        let database = rusqlite::Connection::open(world.folder.path().join("ledger.db")).unwrap();
        // Without any one of them nothing is decided.
        for document in image.closure.documents() {
            let hex = samebits::digest::Digest::of(document).hex();
            database
                .execute_batch(&format!("UPDATE kept SET bytes = x'00' WHERE digest = x'{hex}'"))
                .unwrap();
            let undecided = Recorded::load(&world.ledger, 0).unwrap_err();
            let ReplayError::NotKept { pieces, .. } = &undecided else { panic!("{undecided}") };
            assert_eq!(pieces[0].digest.hex(), hex);
            let mut back =
                database.prepare(&format!("UPDATE kept SET bytes = ?1 WHERE digest = x'{hex}'")).unwrap();
            back.execute([&document[..]]).unwrap();
        }
        world.replays_the_same();
    }
}

/// A record that names a wrong predecessor stops what is decided after it, and nothing that was decided before.
#[test]
fn d1_a_later_record_takes_nothing_from_a_decision() {
    let (mut world, image, request) = ready_with(&on_disk());
    let answer = block_on(world.promote(&request, "release")).unwrap();
    assert!(matches!(answer, Answer::Promoted(_)), "{answer:?}");
    world.forge_with("release", &image, Phase::Refused, None, |promotion| promotion.ledger.prev = None);
    assert!(block_on(world.promote(&request, "release")).is_err());
    world.replays_the_same();
}

/// A world in which the image was promoted, and then revoked; and what the gate had decided on before that.
fn revoked() -> (World, Built, samebits::record::Promotion) {
    let (mut world, image, request) = ready_with(&guarded(&on_disk()));
    let answer = block_on(world.promote(&request, "release")).unwrap();
    assert!(matches!(answer, Answer::Promoted(_)), "{answer:?}");
    let last = world.ledger.tip().unwrap().size() - 1;
    let recorded = Recorded::load(&world.ledger, last).unwrap();
    let said = recorded.promotion().clone();
    world.revoke("security", &Revokes::digest(image.root));
    (world, image, said)
}

/// Intent and commit of a promoter who asks no gate, and says what it had said once; of the control lane he says that he
/// had seen this.
fn again(
    world: &mut World,
    image: &Built,
    said: &samebits::record::Promotion,
    saw: Option<TreeHead>,
) -> [Position; 2] {
    let mut intent = None;
    [Phase::Intent, Phase::Commit].map(|phase| {
        let position = world.forge_with("release", image, phase, intent, |promotion| {
            let mut ledger = promotion.ledger.clone();
            ledger.control = saw.unwrap_or(ledger.control);
            let (actor, intent) = (promotion.actor.clone(), promotion.intent);
            *promotion = samebits::record::Promotion { ledger, actor, phase, intent, ..said.clone() };
        });
        intent = Some(position);
        position
    })
}

#[track_caller]
fn differs(world: &World, record: Position, what: &[&str], piece: &str) {
    let again = Recorded::load(&world.ledger, record.index).unwrap().again(&world.ledger).unwrap();
    let said: Vec<_> = again.differences().iter().map(|it| it.what.as_str()).collect();
    assert_eq!(said, what, "{:?}", again.differences());
    let found: String = again.differences().iter().map(|it| it.found.as_str()).collect();
    assert!(found.contains(piece), "{found}");
}

/// The heads that a decision names are its author's choice: those of the day before the revocation make it the same again,
/// but for what he and others show to have been there.
#[test]
fn d2_a_commit_on_a_control_lane_of_before_the_revocation_is_different() {
    let (mut world, image, said) = revoked();
    // He says himself that he had seen it, when he wrote the intent.
    let [intent, commit] = again(&mut world, &image, &said, None);
    differs(&world, intent, &[], "");
    differs(&world, commit, &["second look"], "3 records and 1 control records: revoked");
    // He does not say so, and somebody else had, before his intent.
    let (mut world, image, said) = revoked();
    let [_, commit] = again(&mut world, &image, &said, Some(said.basis.as_ref().unwrap().control));
    // Nobody can tell yet.
    differs(&world, commit, &[], "");
    world.staged(&Built::shop("2"));
    let [_, commit] = again(&mut world, &image, &said, Some(said.basis.as_ref().unwrap().control));
    differs(&world, commit, &["second look"], "revoked");
}

/// Who had read a record has seen as much of the control lane as it shows.
#[test]
fn d2_a_basis_with_a_control_lane_older_than_a_record_it_had_read_is_different() {
    let (mut world, image, mut said) = revoked();
    let shows = world.staged(&Built::shop("2"));
    let at = world.ledger.tip().unwrap();
    let basis = said.basis.as_mut().unwrap();
    basis.observed = TreeHead { size: at.size(), root: at.root() };
    let [intent, commit] = again(&mut world, &image, &said, Some(TreeHead::empty()));
    let shown = format!("record {}, which it had read, shows that there were 1", shows.index);
    for (record, more) in [(intent, None), (commit, Some("second look"))] {
        let all: Vec<_> = ["control"].into_iter().chain(more).collect();
        differs(&world, record, &all, &shown);
    }
}

/// What comes between the first look and the intent, and takes nothing away, is no difference; nor is what comes after.
#[test]
fn d2_a_revocation_of_something_else_meanwhile_is_no_difference() {
    let (mut world, _, request) = ready_with(&guarded(&on_disk()));
    let hook = world.hook();
    let other = Revokes::digest(samebits::digest::Digest::of(b"other"));
    world.crash(&request, "release", |stage| {
        match stage {
            Stage::Collect(_) | Stage::Intent(..) | Stage::Copy(_) => hook.revoke("security", &other),
            _ => {}
        }
        matches!(stage, Stage::Publish(_))
    });
    assert_eq!(super::protocol::phases(&world), [Phase::Intent, Phase::Commit]);
    world.replays_the_same();
}
