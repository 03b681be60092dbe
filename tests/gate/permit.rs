//! Permits (E13): what a promotion gives, what a deploy job takes, and by whose clock. Every forgery here is signed with a
//! real key, so that each check is shown alone to refuse.

use jiff::{SignedDuration, Timestamp};
use samebits::digest::Digest;
use samebits::gate::Code;
use samebits::gate::permit::{Admission, Log, Question, Shown, admit};
use samebits::promote::{Answer, Given, Request, WalkError};
use samebits::record::{
    BARE_PERMIT, Content, Kind, PERMIT, Permit, PermitDraft, Phase, RecordError, SignedPermit,
};
use samebits::reference::Image;
use samebits::verify::sign_statement;
use serde_json::{Value, json};

use super::protocol::{at_moment, block_on, intact, phases, promoted, ready, ready_with};
use super::recorded::restated;
use super::world::*;

/// The same request, and a permit is wanted.
pub(crate) fn wanting(request: &Request) -> Request {
    Request { permit: true, ..request.clone() }
}

/// A world in which the image was promoted into production, and the permit that this gave.
pub(crate) fn given() -> (World, Built, Given) {
    let (mut world, image, request) = ready();
    let promotion = promoted(block_on(world.promote(&wanting(&request), "release")));
    let given = promotion.permit().unwrap().clone();
    (world, image, given)
}

/// The permit that was given, changed and signed by `who`.
pub(crate) fn forged(
    world: &World,
    given: &Given,
    who: &str,
    change: impl FnOnce(&mut PermitDraft),
) -> Vec<u8> {
    let subjects = SignedPermit::read(&given.bytes, &world.trust).unwrap().subjects().clone();
    let mut draft = PermitDraft { subjects, permit: given.permit.clone() };
    change(&mut draft);
    draft.sign(world.key(who)).unwrap()
}

/// What a deploy job has that has no lock.
pub(crate) fn log(world: &World) -> Log<'_> {
    Log { witnesses: None, trust: &world.trust }
}

/// What a deploy job says that wants to deploy the shop into production.
pub(crate) fn shown(world: &World, image: &Built, bytes: &[u8]) -> Admission {
    let place = world.repository("shop", Some("production"));
    let question =
        Question::new(&world.policy, log(world), "shop", "production", Image::new(place, image.root), None)
            .unwrap();
    admit(&question, &SignedPermit::read(bytes, &world.trust).into(), world.now())
}

#[track_caller]
pub(crate) fn refused(admission: &Admission, codes: &[Code]) {
    assert_eq!(admission.codes(), codes, "{:#?}", admission.findings());
    assert_eq!(admission.granted().is_none(), !codes.is_empty(), "{:#?}", admission.findings());
    for finding in admission.findings().iter().filter(|finding| finding.code().is_some()) {
        assert!(
            !finding.expected.is_empty() && !finding.found.is_empty() && !finding.fix.is_empty(),
            "{finding:?}"
        );
    }
}

#[test]
fn e13_a_promotion_gives_a_permit_and_a_deploy_job_takes_it() {
    let (world, image, given) = given();
    let place = world.repository("shop", Some("production"));
    let admission = shown(&world, &image, &given.bytes);
    refused(&admission, &[]);
    assert_eq!(admission.granted(), Some(&Image::new(place.clone(), image.root)));
    assert_eq!(admission.findings().len(), 14);
    let Permit { repository, origin, issued_on, valid_until, .. } = &given.permit;
    assert_eq!((repository, origin.as_str()), (&place, "test.example/log"));
    assert_eq!(valid_until.duration_since(*issued_on), SignedDuration::from_hours(1), "the default");
    assert_eq!(*issued_on, world.now());
    assert!(given.permit.logged.is_some());
    // Nothing of it is in the ledger or on the image.
    assert_eq!(phases(&world), [Phase::Intent, Phase::Commit]);
    intact(&world);
}

#[test]
fn e13_without_a_permit_the_answer_is_no() {
    let (world, image, _) = given();
    let place = world.repository("shop", Some("production"));
    let question =
        Question::new(&world.policy, log(&world), "shop", "production", Image::new(place, image.root), None)
            .unwrap();
    let admission = admit(&question, &Shown::Nothing("nowhere".to_owned()), world.now());
    refused(&admission, &[Code::PermitMissing]);
    for bytes in [&b""[..], b"{}", b"null", b"[]", b"true", b"yes"] {
        refused(&shown(&world, &image, bytes), &[Code::PermitMalformed]);
    }
}

/// A forgery: its code, and what was changed of the permit.
type Row = (Code, fn(&mut PermitDraft));

/// Each check refuses alone, whoever signed: here it is the promoter himself, and the log has a record that says the same.
#[test]
fn e13_each_thing_that_a_permit_is_bound_to_refuses_alone() {
    let (world, image, given) = given();
    let rows: [Row; 12] = [
        (Code::PermitDigest, |draft| draft.subjects.image.digest = Digest::of(b"other")),
        // The image is among its subjects, and not what was promoted.
        (Code::PermitDigest, |draft| {
            let image = std::mem::replace(&mut draft.subjects.image.digest, Digest::of(b"other"));
            draft.subjects.platforms.push((image, None));
        }),
        (Code::PermitEnvironment, |draft| draft.permit.environment = "staging".parse().unwrap()),
        (Code::PermitService, |draft| draft.permit.service = "api".parse().unwrap()),
        (Code::PermitRepository, |draft| {
            draft.permit.repository = "oci:staging/shop".parse().unwrap();
            draft.subjects.image.repository = draft.permit.repository.clone();
        }),
        (Code::PermitPolicy, |draft| draft.permit.policy.digest.0 = Digest::of(b"other")),
        (Code::PermitPolicy, |draft| {
            draft.permit.policy.keys.insert("keys/release.pub".to_owned(), Digest::of(b"other"));
        }),
        (Code::PermitPolicy, |draft| draft.permit.policy.keys.clear()),
        (Code::PermitLedger, |draft| draft.permit.origin = "test.example/lo".to_owned()),
        (Code::PermitTooLong, |draft| draft.permit.valid_until += SignedDuration::from_nanos(1)),
        (Code::PermitNotYet, |draft| {
            draft.permit.issued_on += SignedDuration::from_secs(61);
        }),
        (Code::PermitExpired, |draft| {
            draft.permit.issued_on -= SignedDuration::from_hours(1);
            draft.permit.valid_until -= SignedDuration::from_hours(1);
        }),
    ];
    for (code, change) in rows {
        refused(&shown(&world, &image, &restated(&world, &given, "release", change)), &[code]);
        // The record of something else refuses beside it.
        let codes = shown(&world, &image, &forged(&world, &given, "release", change)).codes();
        assert!(codes.iter().all(|one| [code, Code::PermitContradiction].contains(one)), "{codes:?}");
        assert_eq!(codes[0], code);
    }
    refused(&shown(&world, &image, &restated(&world, &given, "release", |_| ())), &[]);
    refused(&shown(&world, &image, &forged(&world, &given, "release", |_| ())), &[]);
    // Much of it at once is all said.
    let many = restated(&world, &given, "production", |draft| {
        rows[..9].iter().chain(&rows[11..]).for_each(|(_, change)| change(draft));
    });
    assert_eq!(shown(&world, &image, &many).codes().len(), 8);
}

#[test]
fn e13_only_a_promoter_of_the_environment_gives_permits() {
    let (mut world, image, given) = given();
    for who in ["production", "staging", "build", "ana", "stranger"] {
        let bytes = forged(&world, &given, who, |_| ());
        refused(&shown(&world, &image, &bytes), &[Code::PermitSigner]);
    }
    // The second key of the same promoter is the promoter.
    refused(&shown(&world, &image, &forged(&world, &given, "release-2", |_| ())), &[]);
    // One who is a promoter elsewhere alone.
    let policy = on_disk().replace(
        "tag = \"production\"\npromoters = [\"release\"]",
        "tag = \"production\"\npromoters = [\"managers\"]",
    );
    world.govern(&policy);
    let said =
        restated(&world, &given, "release", |draft| draft.permit.policy.digest.0 = world.policy.digest());
    refused(&shown(&world, &image, &said), &[Code::PermitSigner, Code::PermitRecordSigner]);
}

/// A clock that goes on, and one that is behind.
#[test]
fn e13_a_permit_is_over_when_its_time_is() {
    let (world, image, given) = given();
    let Permit { issued_on, valid_until, .. } = given.permit;
    let second = SignedDuration::from_secs(1);
    let minute = SignedDuration::from_mins(1);
    for (now, codes) in [
        (issued_on, &[][..]),
        (valid_until - SignedDuration::from_nanos(1), &[]),
        (valid_until, &[Code::PermitExpired]),
        (valid_until + second, &[Code::PermitExpired]),
        (Timestamp::MAX, &[Code::PermitExpired]),
        (issued_on - minute, &[]),
        (issued_on - minute - second, &[Code::PermitNotYet]),
        (Timestamp::MIN, &[Code::PermitNotYet]),
    ] {
        world.set_clock(&now.to_string());
        refused(&shown(&world, &image, &given.bytes), codes);
    }
}

#[test]
fn e13_the_readers_policy_says_for_how_long() {
    let piece = "tag = \"production\"\n";
    let policy = |time: &str| on_disk().replace(piece, &format!("{piece}permit-for = \"{time}\"\n"));
    let (mut world, image, request) = ready_with(&policy("10m"));
    let promotion = promoted(block_on(world.promote(&wanting(&request), "release")));
    let given = promotion.permit().unwrap().clone();
    let length = given.permit.valid_until.duration_since(given.permit.issued_on);
    assert_eq!(length, SignedDuration::from_mins(10));
    refused(&shown(&world, &image, &given.bytes), &[]);
    // A policy that was changed since is another one, and says so; and a permit by its rules is too long.
    world.govern(&policy("9m"));
    refused(&shown(&world, &image, &given.bytes), &[Code::PermitPolicy, Code::PermitTooLong]);
    world.govern(&policy("11m"));
    refused(&shown(&world, &image, &given.bytes), &[Code::PermitPolicy]);
}

/// What else the promoter signs is no permit: no record of his opens the door by itself.
#[test]
fn e13_another_statement_by_a_promoter_is_no_permit() {
    let (world, image, given) = given();
    let tip = world.ledger.tip().unwrap();
    let commit = world.ledger.read(&tip, given.permit.record.index).unwrap();
    refused(&shown(&world, &image, commit.bytes()), &[Code::PermitType]);
    let statement = |kind: &str, predicate: Value| {
        let about = |digest: Digest| json!({ "name": "oci:prod/shop", "digest": { "sha256": digest.hex() } });
        let subjects = SignedPermit::read(&given.bytes, &world.trust).unwrap().subjects().clone();
        let about: Vec<Value> = subjects.digests().map(about).collect();
        json!({ "_type": "https://in-toto.io/Statement/v1", "subject": about, "predicateType": kind, "predicate": predicate })
    };
    let says = serde_json::to_value(&given.permit).unwrap();
    for kind in [
        Kind::Promotion.predicate_type(),
        Kind::Approval.predicate_type(),
        "https://slsa.dev/verification_summary/v1",
        BARE_PERMIT,
        "https://samebits.dev/permit/v0.3",
    ] {
        let bytes = statement(kind, says.clone()).to_string();
        let signed = sign_statement(bytes.as_bytes(), world.key("release")).unwrap();
        refused(&shown(&world, &image, &signed), &[Code::PermitType]);
    }
    // The same bytes under the right type are one: the rows above are about the type alone.
    let bytes = statement(PERMIT, says.clone()).to_string();
    refused(&shown(&world, &image, &sign_statement(bytes.as_bytes(), world.key("release")).unwrap()), &[]);
    let mut more = says;
    more["validFor"] = json!("10000h");
    let bytes = statement(PERMIT, more).to_string();
    let signed = sign_statement(bytes.as_bytes(), world.key("release")).unwrap();
    refused(&shown(&world, &image, &signed), &[Code::PermitMalformed]);
    // A signature over the same bytes under another payload type.
    let mut bundle: Value = serde_json::from_slice(&given.bytes).unwrap();
    bundle["dsseEnvelope"]["payloadType"] = json!("application/json");
    refused(&shown(&world, &image, bundle.to_string().as_bytes()), &[Code::PermitMalformed]);
}

/// Whatever byte is changed: it is refused, or says what it said before (a hint names the key to try first, and no more).
#[test]
fn e13_one_byte_changed_never_says_something_else() {
    let (world, image, given) = given();
    let says = |bytes: &[u8]| {
        let read = SignedPermit::read(bytes, &world.trust).ok()?;
        Some((read.permit().clone(), read.subjects().clone(), read.author().identity().clone()))
    };
    let said = says(&given.bytes).unwrap();
    let mut refusals = 0;
    for place in 0..given.bytes.len() {
        let mut bytes = given.bytes.clone();
        bytes[place] ^= 1 << (place % 8);
        match says(&bytes) {
            Some(other) => assert_eq!(other, said, "byte {place}"),
            None => refusals += 1,
        }
    }
    assert!(refusals > given.bytes.len() / 2, "{refusals}");
    for cut in [1, 10, given.bytes.len() / 2] {
        let cut = shown(&world, &image, &given.bytes[..given.bytes.len() - cut]);
        refused(&cut, &[Code::PermitMalformed]);
    }
}

#[test]
fn e13_the_image_is_named_where_it_was_promoted_to() {
    let (world, image, given) = given();
    let read: Shown = SignedPermit::read(&given.bytes, &world.trust).into();
    let ask = |repository, digest, service, environment| {
        let image = Image::new(repository, digest);
        let question = Question::new(&world.policy, log(&world), service, environment, image, None).unwrap();
        admit(&question, &read, world.now())
    };
    let (prod, staging) =
        (world.repository("shop", Some("production")), world.repository("shop", Some("staging")));
    refused(&ask(prod.clone(), image.root, "shop", "production"), &[]);
    refused(&ask(staging.clone(), image.root, "shop", "production"), &[Code::PermitRepository]);
    // A platform of it is not what was promoted, and is told as such.
    let platform = ask(prod.clone(), image.child("linux/amd64"), "shop", "production");
    refused(&platform, &[Code::PermitDigest]);
    assert!(format!("{:?}", platform.findings()).contains("is a platform of it"));
    refused(&ask(staging, image.root, "shop", "staging"), &[Code::PermitEnvironment, Code::PermitRepository]);
    let api = world.repository("api", Some("production"));
    refused(&ask(api, image.root, "api", "production"), &[Code::PermitService, Code::PermitRepository]);
}

/// The third look: whoever freezes or revokes while the bytes are copied withholds the permit of what was let in.
#[test]
fn e13_what_was_frozen_or_revoked_meanwhile_has_no_permit() {
    for moment in 1..=6 {
        let (mut world, _, request) = ready_with(&freezable(&guarded(&on_disk())));
        let hook = world.hook();
        let clock = at_moment(moment, world.now(), || hook.freeze("duty", &Freezes::everything()));
        let answer = block_on(world.promote_by(&wanting(&request), "release", &clock)).unwrap();
        match (moment, answer) {
            (1..=3, Answer::Denied { .. }) => {}
            (4 | 5, Answer::Withheld { promotion, denied }) => {
                assert_eq!(denied.verdict().codes(), [Code::Frozen]);
                assert!(promotion.permit().is_none());
                assert_eq!(phases(&world), [Phase::Intent, Phase::Commit]);
            }
            // Too late: the clock is not asked that often.
            (6, Answer::Promoted(promotion)) => assert!(promotion.permit().is_some()),
            (_, answer) => panic!("{moment}: {answer:?}"),
        }
        intact(&world);
    }
}

/// A promotion that was made before is asked like a new one.
#[test]
fn e13_a_repeated_promotion_gives_a_permit_only_where_the_answer_is_still_yes() {
    let start = || {
        let (mut world, image, request) = ready_with(&freezable(&guarded(&on_disk())));
        assert!(promoted(block_on(world.promote(&request, "release"))).permit().is_none(), "nobody asked");
        (world, image, wanting(&request))
    };
    let codes = |answer: Result<Answer, WalkError>| match answer.unwrap() {
        Answer::Denied { denied, .. } => denied.verdict().codes(),
        answer => panic!("{answer:?}"),
    };
    // Again, and it is the same record.
    let (mut world, image, request) = start();
    let again = promoted(block_on(world.promote(&request, "release")));
    assert!(again.report().is_none(), "nothing was copied");
    let given = again.permit().unwrap();
    assert_eq!(given.permit.record, again.commit());
    refused(&shown(&world, &image, &given.bytes), &[]);

    let (mut world, _, request) = start();
    world.freeze("duty", &Freezes::everything());
    assert_eq!(codes(block_on(world.promote(&request, "release"))), [Code::Frozen]);

    let (mut world, image, request) = start();
    world.revoke("security", &Revokes::digest(image.root));
    assert_eq!(codes(block_on(world.promote(&request, "release"))), [Code::Revoked]);

    let (mut world, image, request) = start();
    world.revoke("security", &Revokes::digest(image.child("linux/arm64")));
    assert_eq!(codes(block_on(world.promote(&request, "release"))), [Code::Revoked]);

    let (mut world, _, request) = start();
    world.revoke("security", &Revokes::signer(world.identity("release")));
    assert_eq!(codes(block_on(world.promote(&request, "release"))), [Code::Revoked]);

    let (mut world, _, request) = start();
    assert_eq!(codes(block_on(world.promote(&request, "production"))), [Code::NotAPromoter]);
}

/// Another image was promoted there while this one was published: it is in the ledger, and not what is to run.
#[test]
fn e13_what_was_superseded_meanwhile_has_no_permit() {
    let (mut world, image, request) = ready();
    let other = Built::shop("2");
    let repository = world.repository("shop", None);
    block_on(async {
        let pushed = world.push(&other, "v2").await;
        world.attach(&pushed, "build").await;
    });
    world.staged(&other);
    world.wait(10);
    let rival = pinned(&repository, &other, "production", "run 2");
    let hook = world.hook();
    // The last time it is asked: for the permit.
    let clock = at_moment(5, world.now(), || {
        hook.promote(&rival, "release-2");
    });
    let answer = block_on(world.promote_by(&wanting(&request), "release", &clock));
    match answer.unwrap() {
        Answer::Withheld { promotion, denied } => {
            assert_eq!((promotion.destination().digest, promotion.commit().index), (image.root, 3));
            assert_eq!(denied.verdict().codes(), [Code::PermitSuperseded]);
            let finding = denied.verdict().findings.last().unwrap();
            assert!(finding.found.contains(&other.root.to_string()), "{}", finding.found);
        }
        answer => panic!("{answer:?}"),
    }
    // Asked again it is a promotion of its own, back to the first.
    let again = promoted(block_on(world.promote(&wanting(&request), "release")));
    assert_ne!(again.commit().index, 3);
    assert_eq!(again.permit().unwrap().permit.record, again.commit());
    intact(&world);
}

#[test]
fn e13_a_permit_is_no_record_of_the_ledger() {
    let (world, _, given) = given();
    let read = Content::read(&given.bytes, "test.example/log", 100, &world.trust);
    assert!(matches!(&read, Err(RecordError::Kind(kind)) if kind == PERMIT), "{read:?}");
}
