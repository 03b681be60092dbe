//! The crash matrix of `study/ledger.md` 5.2, row by row: what a run that ended there leaves, that the same request goes
//! on from it, and that `reconcile` mends it; and what `reconcile` leaves alone.

use samebits::digest::Digest;
use samebits::ledger::protocol::ProtocolError;
use samebits::promote::reconcile::{Left, Mended};
use samebits::promote::{Answer, Request, Stage, WalkError};
use samebits::record::{Phase, SUMMARY, Status};
use samebits::reference::Image;
use samebits::verify::sign_statement;
use serde_json::json;

use super::protocol::{at_moment, block_on, intact, phases, promoted, ready, ready_with, state, tag};
use super::world::*;

/// Where a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    /// Nothing was recorded.
    Decision,
    /// The intent is durable.
    Intent,
    /// The second look was a yes.
    SecondLook,
    /// The bytes are there.
    Copy,
    /// The commit is durable.
    Commit,
    /// Record and summary are there.
    Summary,
}

const ROWS: [After; 6] =
    [After::Decision, After::Intent, After::SecondLook, After::Copy, After::Commit, After::Summary];

/// Ends a run there.
fn end(world: &mut World, request: &Request, after: After) {
    match after {
        After::Decision => {
            // The clock is read for the intent, and behind the copy for the commit.
            crash_at(world, request, 2);
        }
        After::Intent => world.crash(request, "release", |stage| matches!(stage, Stage::Intent(..))),
        After::SecondLook => world.crash(request, "release", |stage| matches!(stage, Stage::Copy(_))),
        After::Copy => crash_at(world, request, 4),
        After::Commit => world.crash(request, "release", |stage| matches!(stage, Stage::Commit(_))),
        After::Summary => {
            let _promotion = promoted(block_on(world.promote(request, "release")));
            untag(world);
        }
    }
}

fn crash_at(world: &mut World, request: &Request, moment: u32) {
    let clock = at_moment(moment, world.now(), || std::panic::panic_any(Crash));
    crashes(|| drop(block_on(world.promote_by(request, "release", &clock))));
}

/// The tag as it was before: none.
fn untag(world: &World) {
    let path = world.folder.path().join("prod/shop/index.json");
    let mut index: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for manifest in index["manifests"].as_array_mut().unwrap() {
        if let Some(annotations) = manifest.get_mut("annotations").and_then(|it| it.as_object_mut()) {
            annotations.remove("org.opencontainers.image.ref.name");
        }
    }
    std::fs::write(&path, index.to_string()).unwrap();
    assert_eq!(tag(world), None);
}

/// What is left, in one word each.
fn words(left: &[Left]) -> Vec<&'static str> {
    let word = |left: &Left| match left {
        Left::Bytes { .. } => "bytes",
        Left::Record { .. } => "record",
        Left::Summary { .. } => "summary",
        Left::Tag { .. } => "tag",
        Left::TagOfNothing { .. } => "tag-of-nothing",
        Left::Intent { stale: false, .. } => "intent",
        Left::Intent { stale: true, .. } => "stale",
    };
    left.iter().map(word).collect()
}

fn left(world: &mut World) -> Vec<Left> {
    block_on(world.left()).unwrap()
}

/// Everything that is left, with what became of it.
fn mend(world: &mut World, who: &str) -> Vec<Mended> {
    left(world).iter().map(|left| block_on(world.mend(left, who)).unwrap()).collect()
}

/// How many summaries lie on the image in production.
fn summaries(world: &World, image: &Built) -> usize {
    let there = Image::new(world.repository("shop", Some("production")), image.root);
    let referrers = block_on(world.registries.referrers(&there)).unwrap();
    let samebits::registry::Referrers::Listed(listed) = referrers else { panic!("{referrers:?}") };
    let is = |annotations: &std::collections::BTreeMap<String, String>| {
        annotations.get("dev.sigstore.bundle.predicateType").is_some_and(|kind| kind == SUMMARY)
    };
    listed.iter().filter(|descriptor| is(&descriptor.annotations)).count()
}

#[track_caller]
fn ended_well(world: &mut World, image: &Built, phases_of: &[Phase]) {
    assert_eq!(left(world), []);
    assert_eq!(phases(world), phases_of);
    assert_eq!(state(world).1.last(), Some(&image.root));
    assert_eq!((tag(world), summaries(world, image)), (Some(image.root), 1));
    intact(world);
}

#[test]
fn d6_the_same_request_goes_on_from_every_row_of_the_crash_matrix() {
    for row in ROWS {
        let (mut world, image, request) = ready();
        end(&mut world, &request, row);
        let (recorded, expected): (&[Phase], &[&str]) = match row {
            After::Decision => (&[], &[]),
            After::Intent | After::SecondLook | After::Copy => (&[Phase::Intent], &["intent"]),
            After::Commit => (&[Phase::Intent, Phase::Commit], &["record", "summary", "tag"]),
            After::Summary => (&[Phase::Intent, Phase::Commit], &["tag"]),
        };
        assert_eq!(phases(&world), recorded, "{row:?}");
        assert_eq!(words(&left(&mut world)), expected, "{row:?}");
        // No effect without an intent, no summary without a commit.
        let copied = world.folder.path().join("prod/shop").exists();
        assert_eq!(copied, matches!(row, After::Copy | After::Commit | After::Summary), "{row:?}");
        let _promotion = promoted(block_on(world.promote(&request, "release")));
        ended_well(&mut world, &image, &[Phase::Intent, Phase::Commit]);
    }
}

#[test]
fn d6_reconcile_mends_every_row_of_the_crash_matrix() {
    for row in ROWS {
        let (mut world, image, request) = ready();
        end(&mut world, &request, row);
        match row {
            After::Decision => assert_eq!(mend(&mut world, "release-2"), []),
            After::Intent | After::SecondLook | After::Copy => {
                // Its run may be under way: nobody ends it before its time, and not then unless asked to.
                assert_eq!(mend(&mut world, "release-2"), [Mended::Not("it may be under way")]);
                world.wait(10);
                assert_eq!(words(&left(&mut world)), ["stale"]);
                assert_eq!(mend(&mut world, "release-2"), [Mended::Done]);
                assert_eq!(phases(&world), [Phase::Intent, Phase::Abort]);
                assert_eq!((left(&mut world), tag(&world)), (Vec::new(), None));
                // What was copied is not promoted; the same request begins anew.
                let _promotion = promoted(block_on(world.promote(&request, "release")));
                let whole = [Phase::Intent, Phase::Abort, Phase::Intent, Phase::Commit];
                ended_well(&mut world, &image, &whole);
            }
            After::Commit | After::Summary => {
                let found = mend(&mut world, "release-2");
                assert!(found.iter().all(|mended| *mended == Mended::Done), "{found:?}");
                ended_well(&mut world, &image, &[Phase::Intent, Phase::Commit]);
                // The run that wakes up, or is run again, finds everything done; but that its own name is on it.
                let _promotion = promoted(block_on(world.promote(&request, "release")));
                assert_eq!((left(&mut world), tag(&world)), (Vec::new(), Some(image.root)));
            }
        }
    }
}

/// The run that `reconcile` took for dead wakes up behind its copy: it commits nothing, and the tag is another's.
#[test]
fn e9_a_zombie_that_reconcile_aborted_is_fenced_at_the_commit() {
    let (mut world, _, request) = ready();
    let second = Built::shop("2");
    block_on(world.push(&second, "v2"));
    let said = world.deployment("staging", &second).name("eu");
    world.record("staging", &said);
    world.wait(10);
    let other = pinned(&world.repository("shop", None), &second, "production", "run 2");
    let hook = world.hook();
    let clock = at_moment(4, world.now(), || {
        hook.reconcile("release-2", 10);
        hook.promote(&other, "release-2");
    });
    let answer = block_on(world.promote_by(&request, "release", &clock));
    assert!(matches!(answer, Err(WalkError::Protocol(ProtocolError::Fenced { .. }))), "{answer:?}");
    assert_eq!(state(&world), (0, vec![second.root]));
    assert_eq!(tag(&world), Some(second.root));
    intact(&world);
}

/// An image that was promoted, and overtaken before it was published: its record and summary come, the tag stays.
#[test]
fn e9_what_an_overtaken_run_committed_is_published_and_takes_no_tag() {
    let (mut world, image, request) = ready();
    let second = Built::shop("2");
    block_on(world.push(&second, "v2"));
    let said = world.deployment("staging", &second).name("eu");
    world.record("staging", &said);
    world.wait(10);
    end(&mut world, &request, After::Commit);
    let other = pinned(&world.repository("shop", None), &second, "production", "run 2");
    let _promotion = promoted(block_on(world.promote(&other, "release")));
    assert_eq!((summaries(&world, &image), summaries(&world, &second)), (0, 1));
    assert_eq!(words(&left(&mut world)), ["record", "summary"]);
    assert_eq!(mend(&mut world, "release-2"), [Mended::Done, Mended::Done]);
    assert_eq!((summaries(&world, &image), summaries(&world, &second)), (1, 1));
    assert_eq!(tag(&world), Some(second.root));
    assert_eq!(left(&mut world), []);
}

/// A tag that was set past the ledger is set back; where nothing was promoted, nobody can say to what.
#[test]
fn e9_a_tag_that_is_not_the_last_commit_is_set_back() {
    let (mut world, image, request) = ready_with(&guarded(&on_disk()));
    let evil = Built::shop("evil");
    block_on(world.push(&evil, "evil"));
    let there = world.repository("shop", Some("production"));
    let production = "production".parse().unwrap();
    let thief = |world: &World| {
        let (from, to) = (world.repository("shop", None), &there);
        block_on(async {
            world
                .registries
                .copy(&evil.closure, &world.registries.reading(&from).unwrap(), to)
                .await
                .unwrap();
            world.registries.set_tag(&Image::new(to.clone(), evil.root), &production).await.unwrap();
        });
    };
    thief(&world);
    let found = left(&mut world);
    assert_eq!(words(&found), ["tag-of-nothing"]);
    let not = block_on(world.mend(&found[0], "release")).unwrap();
    assert_eq!(not, Mended::Not("nothing was promoted there: take the tag away"));
    let _promotion = promoted(block_on(world.promote(&request, "release")));
    assert_eq!((tag(&world), left(&mut world)), (Some(image.root), Vec::new()));
    // With a commit of a revoked promoter behind it, too.
    world.revoke("security", &Revokes::signer(world.identity("release")));
    let intent = world.forge("release", &evil, Phase::Intent, None);
    world.forge("release", &evil, Phase::Commit, Some(intent));
    thief(&world);
    let found = left(&mut world);
    let Left::Tag { found: Some(was), image: now, .. } = &found[0] else { panic!("{found:?}") };
    assert_eq!((found.len(), *was, now.digest), (1, evil.root, image.root));
    // Whose key signs does not matter for what is signed by nobody.
    assert_eq!(mend(&mut world, "staging"), [Mended::Done]);
    assert_eq!((tag(&world), left(&mut world)), (Some(image.root), Vec::new()));
}

/// A record names any place its author likes: nobody is sent there.
#[test]
fn f1_reconcile_goes_nowhere_but_to_the_repository_of_the_environment() {
    let (mut world, _, request) = ready();
    end(&mut world, &request, After::Commit);
    assert_eq!(words(&left(&mut world)), ["record", "summary", "tag"]);
    world.govern(&on_disk().replace("oci:prod/{service}", "oci:moved/{service}"));
    assert_eq!(left(&mut world), []);
    assert!(!world.folder.path().join("moved").exists());
}

/// Bytes that are gone are said to be, and not copied again: nobody has decided that.
#[test]
fn a12_bytes_that_are_gone_are_said_to_be() {
    let (mut world, image, request) = ready();
    let _promotion = promoted(block_on(world.promote(&request, "release")));
    for digest in image.closure.blobs().into_iter().map(|blob| blob.digest) {
        let blob = world.folder.path().join("prod/shop/blobs/sha256").join(digest.hex());
        std::fs::remove_file(blob).unwrap();
        let found = left(&mut world);
        assert_eq!(
            found.first().map(|left| words(std::slice::from_ref(left))[0]),
            Some("bytes"),
            "{found:?}"
        );
        let not = block_on(world.mend(&found[0], "release")).unwrap();
        assert_eq!(not, Mended::Not("only a promotion brings the bytes back"));
    }
}

/// A destination that is no more has nothing in it: what was promoted there is promoted again, with its bytes.
#[test]
fn a12_a_destination_that_is_gone_is_filled_again() {
    let (mut world, image, request) = ready();
    let first = promoted(block_on(world.promote(&request, "release")));
    std::fs::remove_dir_all(world.folder.path().join("prod/shop")).unwrap();
    let again = promoted(block_on(world.promote(&request, "release")));
    assert!(again.report().is_some() && again.commit() > first.commit());
    assert_eq!(tag(&world), Some(image.root));
    assert_eq!(left(&mut world), []);
}

/// A summary or an abort is a promoter's to sign, one's who is not revoked.
#[test]
fn e9_only_a_promoter_signs_what_reconcile_signs() {
    let (mut world, image, request) = ready_with(&guarded(&on_disk()));
    end(&mut world, &request, After::Commit);
    world.revoke("security", &Revokes::signer(world.identity("release-2")));
    let found = left(&mut world);
    assert_eq!(words(&found), ["record", "summary", "tag"]);
    for (who, why) in [
        ("staging", "who signs here is no promoter of the environment"),
        ("release-2", "who signs here is revoked"),
    ] {
        let mended: Vec<_> = found.iter().map(|left| block_on(world.mend(left, who)).unwrap()).collect();
        assert_eq!(mended, [Mended::Done, Mended::Not(why), Mended::Done]);
        assert_eq!(summaries(&world, &image), 0);
    }
    assert_eq!(mend(&mut world, "release"), [Mended::Done]);
    assert_eq!(left(&mut world), []);
    // What was found and is no longer so is not published.
    let (mut world, image, request) = ready_with(&guarded(&on_disk()));
    end(&mut world, &request, After::Commit);
    let found = left(&mut world);
    let Left::Summary { commit, .. } = found[1] else { panic!("{found:?}") };
    world.revoke("security", &Revokes::of(samebits::record::Revoked::Record(commit)));
    let not = block_on(world.mend(&found[1], "release")).unwrap();
    assert_eq!(not, Mended::Not("the ledger no longer says so"));
    assert_eq!(summaries(&world, &image), 0);
    let tagged = block_on(world.mend(&found[2], "release"));
    assert!(matches!(tagged, Err(WalkError::Protocol(ProtocolError::Revoked { .. }))), "{tagged:?}");
    assert_eq!(tag(&world), None);
}

/// An image that was revoked after its commit gets no summary and no tag, whatever the run left: by its own digest, or by
/// that of something it is made of. Lifted, it is published.
#[test]
fn b13_nothing_is_published_of_an_image_that_was_revoked_since() {
    for part in [|image: &Built| image.root, |image: &Built| image.closure.blobs()[0].digest] {
        let (mut world, image, request) = ready_with(&guarded(&on_disk()));
        end(&mut world, &request, After::Commit);
        let found = left(&mut world);
        assert_eq!(words(&found), ["record", "summary", "tag"]);
        let revocation = Revokes::digest(part(&image));
        let at = world.revoke("security", &revocation);
        // What was found before, and what is found now.
        for left in &found {
            let mended = block_on(world.mend(left, "release")).unwrap();
            assert_eq!(mended, Mended::Not("the image was revoked since"));
        }
        assert_eq!(left(&mut world), []);
        assert_eq!((tag(&world), summaries(&world, &image)), (None, 0));
        // Nor by the same request again.
        let again = block_on(world.promote(&request, "release"));
        assert!(!matches!(again, Ok(Answer::Promoted(_))), "{again:?}");
        assert_eq!(tag(&world), None);
        world.revoke("security", &revocation.lift(at));
        assert_eq!(words(&left(&mut world)), ["record", "summary", "tag"]);
        assert_eq!(mend(&mut world, "release"), [const { Mended::Done }; 3]);
        assert_eq!((tag(&world), summaries(&world, &image)), (Some(image.root), 1));
    }
}

/// Nothing is derived from a ledger whose control lane holds what a revoker said and nobody here understands.
#[test]
fn b13_nothing_is_derived_past_a_control_record_that_is_not_understood() {
    let (mut world, _, request) = ready_with(&guarded(&on_disk()));
    end(&mut world, &request, After::Commit);
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "digest": { "sha256": Digest::of(b"x").hex() } }],
        "predicateType": "https://samebits.dev/revocation/v0.9",
        "predicate": { "ledger": { "origin": "test.example/log/control" } },
    });
    let bytes = sign_statement(statement.to_string().as_bytes(), world.key("security")).unwrap();
    let _appended = world.ledger.append_control(0, &bytes).unwrap();
    let found = block_on(world.left());
    assert!(matches!(found, Err(WalkError::ControlUnknown { index: 0, .. })), "{found:?}");
    assert_eq!(tag(&world), None);
}

/// A refusal closes the intent that an interrupted run of the same request left open: nobody waits for it.
#[test]
fn d6_a_refusal_closes_the_intent_that_was_left_open() {
    let (mut world, _, request) = ready();
    end(&mut world, &request, After::Copy);
    let mut removed = world.deployment("staging", &Built::shop("1")).status(Status::Removed);
    removed.began = World::at("09:05");
    world.record("staging", &removed);
    // Another request of the same promoter does not.
    let other = Request { run: "run 2".to_owned(), ..request.clone() };
    let _denied = block_on(world.promote(&other, "release")).unwrap();
    assert_eq!(phases(&world), [Phase::Intent, Phase::Refused]);
    let _denied = block_on(world.promote(&request, "release")).unwrap();
    assert_eq!(phases(&world), [Phase::Intent, Phase::Refused, Phase::Abort]);
    assert_eq!((state(&world), left(&mut world)), ((0, Vec::new()), Vec::new()));
    intact(&world);
}
