//! Rows about what was revoked: bytes, signers, records, and who may say so.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use samebits::digest::Digest;
use samebits::evidence::Control;
use samebits::gate::{Code, Requirement};
use samebits::ledger::LedgerError;
use samebits::promote::{Answer, WalkError};
use samebits::record::{Phase, Revoked, Status, Verdict as Approves};
use samebits::verify::sign_statement;
use serde_json::{Value, json};

use super::protocol::{at_moment, block_on, intact, phases, ready_with, tag};
use super::world::*;

/// Without approvals and without a duration, and with revokers.
fn policy() -> String {
    guarded(&with(&[(APPROVALS, ""), ("for-at-least = \"1h\", ", "")]))
}

/// The image has run in staging: a yes for production.
fn ran() -> (World, Built) {
    let mut world = World::new(&policy());
    let image = Built::shop("1");
    world.staged(&image);
    yes(&world.ask("production", &image, &[]));
    (world, image)
}

/// What `image` is made of: its digest, its manifests, a configuration and a layer.
fn parts(image: &Built) -> Vec<Digest> {
    let children = ["linux/amd64", "linux/arm64"].map(|platform| image.child(platform));
    let blobs = image.closure.blobs().into_iter().map(|blob| blob.digest);
    [image.root].into_iter().chain(children).chain(blobs).collect()
}

#[test]
fn b14_a_revoked_digest_closes_every_environment() {
    let image = Built::shop("1");
    let parts = parts(&image);
    assert_eq!(parts.len(), 7);
    for part in parts {
        let (mut world, image) = ran();
        let built = world.built(&image);
        yes(&world.ask("staging", &image, &built));
        world.revoke("security", &Revokes::digest(part));
        for (environment, attached) in [("staging", &built[..]), ("production", &[])] {
            let decision = world.ask(environment, &image, attached);
            let verdict = no(&decision, &[Code::Revoked]);
            let expected = [&part.to_string()[..], "revoked by `security` in control record 0: CVE-2030-1"];
            says(verdict, Requirement::NotRevoked, &expected);
            assert_eq!(
                verdict.control,
                Some(samebits::record::TreeHead {
                    size: 1,
                    root: world.ledger.control().unwrap().head().root(),
                })
            );
        }
        // Other bytes are other bytes.
        let other = Built::shop("2");
        world.staged(&other);
        yes(&world.ask("production", &other, &[]));
        intact(&world);
    }
}

#[test]
fn b14_a_revocation_holds_where_it_says() {
    let (mut world, image) = ran();
    let built = world.built(&image);
    let revokes = Revokes::digest(image.root);
    world.revoke("security", &revokes.clone().scope(Some("api"), None));
    world.revoke("security", &revokes.clone().scope(Some("shop"), Some("staging")));
    yes(&world.ask("production", &image, &[]));
    no(&world.ask("staging", &image, &built), &[Code::Revoked]);
    world.revoke("security", &revokes.scope(None, Some("production")));
    no(&world.ask("production", &image, &[]), &[Code::Revoked]);
}

/// What is signed by a certificate that the roots here cannot judge may be a revoker's, where one is known by certificate:
/// a root that is older or newer than its author's must not make a no go away. Where all are known by key it is nobody's.
#[test]
fn b14_what_cannot_be_judged_here_is_no_yes_where_a_revoker_is_known_by_certificate() {
    let (mut world, image) = ran();
    world.revoke("security", &Revokes::digest(Digest::of(b"other")));
    let bundle = include_bytes!("../vectors/conformance/happy-path-intoto-in-dsse-v3.json");
    let _appended = world.ledger.append_control(1, bundle).unwrap();
    let decision = world.ask("production", &image, &[]);
    let notes = yes(&decision).notes.join("\n");
    assert!(notes.contains("control record 1 does not count: its signature does not count"), "{notes}");
    // Another instance of Sigstore than the one that signed it.
    let by_key =
        "any-of = [{ public-key = \"keys/security.pub\" }, { public-key = \"keys/security-2.pub\" }]";
    let policy = policy();
    assert!(policy.contains(by_key));
    let by_job =
        "issuer = \"https://issuer.example\"\nidentity = \"https://ci.example/revoke\"\nroot = \"github\"";
    world.govern(&policy.replace(by_key, by_job));
    let decision = world.ask("production", &image, &[]);
    let verdict = no(&decision, &[Code::ControlUnknown]);
    let found = &verdict.findings.iter().find(|it| it.requirement == Requirement::NotRevoked).unwrap().found;
    assert!(found.contains("control record 1 may be by somebody who may say no"), "{found}");
    // The one it was signed under: it is judged, and is no control record.
    world.govern(&policy.replace(by_key, &by_job.replace("github", "public-good")));
    assert!(
        world
            .ask("production", &image, &[])
            .verdict()
            .notes
            .iter()
            .any(|note| note.contains("record 1 does"))
    );
}

#[test]
fn b14_only_who_the_policy_names_revokes_and_lifts() {
    let (mut world, image) = ran();
    // Anybody with a key and the log's key could close production otherwise.
    for who in ["release", "staging", "build", "stranger"] {
        world.revoke(who, &Revokes::digest(image.root));
    }
    let decision = world.ask("production", &image, &[]);
    let notes = yes(&decision).notes.join("\n");
    assert!(
        notes.contains("control record 0 does not count: `release` is no revoker of the policy"),
        "{notes}"
    );
    assert!(notes.contains("control record 3 does not count: its signature does not count"), "{notes}");
    let place = world.revoke("security", &Revokes::digest(image.root));
    no(&world.ask("production", &image, &[]), &[Code::Revoked]);
    // Nor does anybody else lift, nor does a lift of something else.
    let lift = Revokes::digest(image.root).lift(place);
    for who in ["release", "staging", "stranger"] {
        world.revoke(who, &lift);
    }
    world.revoke("security", &Revokes::digest(image.child("linux/amd64")).lift(place));
    world.revoke("security", &lift.clone().scope(Some("shop"), None));
    let mut elsewhere = place;
    elsewhere.leaf_hash = image.root;
    world.revoke("security", &lift.clone().lift(elsewhere));
    no(&world.ask("production", &image, &[]), &[Code::Revoked]);
    world.revoke("security-2", &lift);
    yes(&world.ask("production", &image, &[]));
    // Once more, and it is closed again.
    world.revoke("security", &Revokes::digest(image.root));
    no(&world.ask("production", &image, &[]), &[Code::Revoked]);
    intact_but_for_strangers(&world, 2);
}

#[test]
fn without_control_nobody_revokes_and_the_verdict_says_so() {
    let open = with(&[(APPROVALS, ""), ("for-at-least = \"1h\", ", "")]);
    let mut world = World::new(&open);
    let image = Built::shop("1");
    world.staged(&image);
    let decision = world.ask("production", &image, &[]);
    assert!(yes(&decision).findings.iter().all(|finding| finding.requirement != Requirement::NotRevoked));
    world.revoke("release", &Revokes::digest(image.root));
    let decision = world.ask("production", &image, &[]);
    let verdict = yes(&decision);
    assert!(finding(verdict, Requirement::NotRevoked).expected.contains("lets nobody revoke"));
    assert!(verdict.notes.iter().any(|note| note.contains("control record 0 does not count")));
}

/// A lane that was not looked at is no lane without revocations.
#[test]
fn a_lane_that_was_not_looked_at_is_no_yes() {
    let (world, image) = ran();
    let decision = world.question(&image).ask_with("production", &[], |evidence| {
        evidence.control = samebits::evidence::Control::not_looked_at();
    });
    no(&decision, &[Code::ControlUnknown]);
}

#[test]
fn b13_what_a_revoked_signer_signed_counts_nowhere() {
    // The build: signature and provenance.
    let (mut world, image) = ran();
    let built = world.built(&image);
    let build = Revokes::signer(world.identity("build"));
    let place = world.revoke("security", &build);
    let decision = world.ask("staging", &image, &built);
    let verdict = no(&decision, &[Code::NotSignedBy, Code::NoProvenance]);
    let expected = ["`build` does not count: revoked by `security` in control record 0: CVE-2030-1"];
    says(verdict, Requirement::SignedBy, &expected);
    says(verdict, Requirement::Provenance, &expected);
    world.revoke("security", &build.lift(place));
    yes(&world.ask("staging", &image, &built));
    // The deployer: what it said ran.
    world.revoke("security", &Revokes::signer(world.identity("staging")).scope(Some("shop"), None));
    let decision = world.ask("production", &image, &[]);
    let expected = ["record 0 does not count: revoked by `security` in control record 2"];
    says(no(&decision, &[Code::NeverDeployed]), Requirement::Deployed, &expected);
    // The promoter who asks.
    let (mut world, image) = ran();
    world.revoke("security", &Revokes::signer(world.identity("release")));
    let decision = world.ask("production", &image, &[]);
    says(no(&decision, &[Code::Revoked]), Requirement::Promoter, &["`release`", "control record 0"]);
    yes(&world.question(&image).by(Some("release-2")).ask("production", &[]));
}

#[test]
fn b13_a_revoked_approver_approves_nothing() {
    let mut world = World::new(&guarded(POLICY));
    let image = Built::shop("1");
    world.staged(&image);
    world.wait(60);
    let approval = world.approval("ana", &image);
    world.approve("ana", &approval);
    yes(&world.ask("production", &image, &[]));
    world.revoke("security", &Revokes::signer(world.identity("ana")));
    let decision = world.ask("production", &image, &[]);
    let expected = ["does not count: it is revoked by `security` in control record 0"];
    says(no(&decision, &[Code::ApprovalMissing]), Requirement::Approvals, &expected);
    // Her no would still be one.
    let mut no_more = world.approval("ana", &image);
    no_more.1.decision = Approves::Rejected;
    world.approve("ana", &no_more);
    let approval = world.approval("ben", &image);
    world.approve("ben", &approval);
    yes(&world.ask("production", &image, &[]));
}

#[test]
fn b13_what_was_signed_before_counts_and_what_was_signed_after_does_not() {
    let (mut world, image) = ran();
    let now = world.now();
    let later = Built::shop("2");
    let at = world.staged(&later).index;
    assert_eq!(at, 1);
    // Not after: the position counts, not the clock of whoever holds the key.
    world.revoke("security", &Revokes::signer(world.identity("staging")).since(at, now));
    yes(&world.ask("production", &image, &[]));
    no(&world.ask("production", &later, &[]), &[Code::NeverDeployed]);
    let backdated = world.deployment("staging", &Built::shop("3")).at("08:00");
    world.record("staging", &backdated);
    no(&world.ask("production", &Built::shop("3"), &[]), &[Code::NeverDeployed]);
    // A key proves no time: what lies outside the ledger could have been signed today.
    let built = world.built(&image);
    world.revoke("security", &Revokes::signer(world.identity("build")).since(0, now));
    no(&world.ask("staging", &image, &built), &[Code::NotSignedBy, Code::NoProvenance]);
}

/// A revoked deployer's word still counts where it hurts: adding a revocation never turns a no into a yes.
#[test]
fn b13_a_revoked_signer_helps_nobody_by_having_said_no() {
    let (mut world, image) = ran();
    let removed = world.deployment("staging", &image).status(Status::Removed);
    let mut world_with_soak = World::new(&guarded(&with(&[(APPROVALS, "")])));
    world_with_soak.staged(&image);
    world_with_soak.wait(30);
    world_with_soak.record("staging", &removed);
    world_with_soak.wait(60);
    no(&world_with_soak.ask("production", &image, &[]), &[Code::SoakTooShort]);
    let since = world_with_soak.now();
    world_with_soak.revoke("security", &Revokes::signer(world_with_soak.identity("staging")).since(1, since));
    no(&world_with_soak.ask("production", &image, &[]), &[Code::SoakTooShort]);
    world.record("staging", &removed);
}

#[test]
fn a_revoked_record_counts_no_more() {
    let (mut world, image) = ran();
    let at = world.ledger.tip().unwrap();
    let entry = world.ledger.read(&at, 0).unwrap();
    let place = samebits::record::Position { index: 0, leaf_hash: entry.leaf() };
    let mut other = place;
    other.leaf_hash = image.root;
    world.revoke("security", &Revokes::of(Revoked::Record(other)));
    yes(&world.ask("production", &image, &[]));
    world.revoke("security", &Revokes::of(Revoked::Record(place)));
    let decision = world.ask("production", &image, &[]);
    let expected = ["record 0 does not count: revoked by `security` in control record 1"];
    says(no(&decision, &[Code::NeverDeployed]), Requirement::Deployed, &expected);
    world.staged(&image);
    yes(&world.ask("production", &image, &[]));
}

#[test]
fn b13_nobody_frees_himself() {
    let (mut world, image) = ran();
    let digest = Revokes::digest(image.root);
    let place = world.revoke("security", &digest);
    let signer = Revokes::signer(world.identity("security-2"));
    let revoked = world.revoke("security", &signer);
    // The revoked revoker lifts neither the one nor the other, also if he had done it before it was known.
    world.revoke("security-2", &digest.clone().lift(place));
    world.revoke("security-2", &signer.clone().lift(revoked));
    no(&world.ask("production", &image, &[]), &[Code::Revoked]);
    // Each revoked the other: both stand, and a third has to lift.
    world.revoke("security-2", &Revokes::signer(world.identity("security")));
    world.revoke("security", &signer.lift(revoked));
    world.revoke("security", &digest.lift(place));
    no(&world.ask("production", &image, &[]), &[Code::Revoked]);
}

/// What a revoker said and this version does not understand may be a no; what anybody else put there is not.
#[test]
fn a_control_record_of_a_later_version_is_refused_and_not_overlooked() {
    let statement = |kind: &str, origin: &str| {
        json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{ "digest": { "sha256": "0".repeat(64) } }],
            "predicateType": kind,
            "predicate": { "ledger": { "origin": origin } },
        })
        .to_string()
    };
    let (freeze, revocation) = ("https://samebits.dev/freeze/v0.9", "https://samebits.dev/revocation/v0.1");
    let lane = "test.example/log/control";
    for (who, kind, origin, refuses) in [
        ("security", freeze, lane, true),
        ("security", revocation, lane, true),
        // Written for another ledger, or said elsewhere: whoever has the log's key could have copied it here.
        ("security", freeze, "other.example/log/control", false),
        ("security", freeze, "test.example/log", false),
        ("security", "https://samebits.dev/deployment/v0.1", lane, false),
        ("security", "https://cosign.example/whatever", lane, false),
        ("release", freeze, lane, false),
        ("stranger", freeze, lane, false),
    ] {
        let (mut world, image) = ran();
        let bytes = sign_statement(statement(kind, origin).as_bytes(), world.key(who)).unwrap();
        let _appended = world.ledger.append_control(0, &bytes).unwrap();
        let decision = world.ask("production", &image, &[]);
        match refuses {
            true => {
                let verdict = no(&decision, &[Code::ControlUnknown]);
                says(verdict, Requirement::NotRevoked, &["control record 0 by `security` is not understood"]);
            }
            false => {
                let notes = yes(&decision).notes.join("\n");
                assert!(notes.contains("control record 0 does not count"), "{who} {kind}: {notes}");
            }
        }
    }
}

/// Every field of a revocation is read strictly.
#[test]
fn b9_a_malformed_revocation_is_none_and_of_a_revoker_it_is_no_yes() {
    let (mut world, image) = ran();
    world.revoke("security", &Revokes::digest(Digest::of(b"other")));
    let whole = world.ledger.control().unwrap();
    let bundle: Value = serde_json::from_slice(whole.entries()[0].bytes()).unwrap();
    let payload = STANDARD.decode(bundle["dsseEnvelope"]["payload"].as_str().unwrap()).unwrap();
    let good: Value = serde_json::from_slice(&payload).unwrap();
    let position = json!({ "index": 0, "leafHash": Digest::of(b"") });
    let changes: [(&str, Value); 12] = [
        ("/predicate/reason", json!(" ")),
        ("/predicate/reason", json!("x".repeat(2_001))),
        ("/predicate/effect", json!("lift")),
        ("/predicate/effect", json!("pause")),
        ("/predicate/lifts", position.clone()),
        ("/predicate/target", json!({ "digests": [] })),
        ("/predicate/target", json!({ "digests": [Digest::of(b"third")] })),
        ("/predicate/target", json!({ "record": position, "digests": [] })),
        ("/predicate/effectiveFrom", json!({ "index": 0, "time": "2030-01-01T00:00:00Z" })),
        ("/predicate/scope/tenant", json!("x")),
        ("/predicate/actor/subject", json!("somebody else")),
        ("/predicate/ledger/control/size", json!(99)),
    ];
    for (number, (pointer, value)) in (1..).zip(changes) {
        let mut statement = good.clone();
        let (parent, member) = pointer.rsplit_once('/').unwrap();
        statement.pointer_mut(parent).unwrap()[member] = value.clone();
        let bytes = sign_statement(statement.to_string().as_bytes(), world.key("security")).unwrap();
        let _appended = world.ledger.append_control(number, &bytes).unwrap();
        let control = Control::read(&world.ledger.control().unwrap(), &world.trust);
        assert_eq!(control.records().len(), 1, "{pointer} {value}");
        assert_eq!(control.unread().len() as u64, number);
    }
    no(&world.ask("production", &image, &[]), &[Code::ControlUnknown]);
    // The same again, word for word, is another record that says the same.
    let bytes = sign_statement(good.to_string().as_bytes(), world.key("security")).unwrap();
    let _appended = world.ledger.append_control(13, &bytes).unwrap();
    assert_eq!(Control::read(&world.ledger.control().unwrap(), &world.trust).records().len(), 2);
}

#[test]
fn d5_of_two_control_records_at_once_one_is_refused() {
    let (mut world, image) = ran();
    let mut other = world.reopen();
    let bytes = b"whatever somebody with the key of the log appends".to_vec();
    let _appended = other.append_control(0, &bytes).unwrap();
    let lost = world.ledger.append_control(0, &bytes);
    assert!(matches!(lost, Err(LedgerError::Conflict { expected: 0, found: 1 })), "{lost:?}");
    // The writer reads again, and comes second; the main lane is not touched by either.
    let size = world.ledger.tip().unwrap().size();
    assert_eq!(world.revoke("security", &Revokes::digest(image.root)).index, 1);
    assert_eq!(world.ledger.tip().unwrap().size(), size);
    // Not even an empty one, nor one beyond what a tile can hold.
    for length in [0, 65_536] {
        let refused = world.ledger.append_control(2, &vec![0; length]);
        assert!(matches!(refused, Err(LedgerError::EntrySize { .. })), "{refused:?}");
    }
}

#[test]
fn the_second_look_sees_what_was_revoked_after_the_intent() {
    for (moment, target) in [(1, 0), (2, 0), (3, 0), (3, 1), (3, 2), (4, 0)] {
        let (mut world, image, request) = ready_with(&guarded(&on_disk()));
        let revokes = [
            Revokes::digest(image.root),
            Revokes::signer(world.identity("staging")),
            Revokes::signer(world.identity("release")),
        ][target]
            .clone();
        let hook = world.hook();
        let clock = at_moment(moment, world.now(), || hook.revoke("security", &revokes));
        match (moment, block_on(world.promote_by(&request, "release", &clock))) {
            (1, Ok(Answer::Denied { .. })) => assert_eq!(phases(&world), [Phase::Refused]),
            (2 | 3, Ok(Answer::Denied { .. })) => assert_eq!(phases(&world), [Phase::Intent, Phase::Abort]),
            // Too late for the commit, and not for what it would have led to.
            (4, Err(WalkError::ImageRevoked { by: 0, .. })) => {
                assert_eq!(phases(&world), [Phase::Intent, Phase::Commit]);
            }
            (_, answer) => panic!("{moment}: {answer:?}"),
        }
        assert_eq!(tag(&world), None);
        intact(&world);
    }
}

/// Nothing is wrong but the records that no key of the policy signed.
fn intact_but_for_strangers(world: &World, strangers: usize) {
    let audit = samebits::ledger::review::review(&world.ledger, &world.trust).unwrap();
    let findings: Vec<String> = audit.findings().iter().map(ToString::to_string).collect();
    assert_eq!(findings.len(), strangers, "{findings:#?}");
    assert!(findings.iter().all(|finding| finding.starts_with("control record")), "{findings:#?}");
}
