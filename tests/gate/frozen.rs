//! Rows about freezes: E4. Where and when nothing enters, who may say so, and who ends it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use samebits::evidence::Control;
use samebits::gate::{Code, Requirement};
use samebits::promote::Answer;
use samebits::record::Phase;
use samebits::verify::sign_statement;
use serde_json::{Value, json};

use super::protocol::{at_moment, block_on, intact, phases, ready_with, tag};
use super::world::*;

/// Without approvals and without a duration, and with freezers.
fn policy() -> String {
    freezable(&guarded(&with(&[(APPROVALS, ""), ("for-at-least = \"1h\", ", "")])))
}

/// The image has run in staging: a yes for production.
fn ran() -> (World, Built) {
    let mut world = World::new(&policy());
    let image = Built::shop("1");
    world.staged(&image);
    yes(&world.ask("production", &image, &[]));
    (world, image)
}

#[test]
fn e4_a_freeze_holds_where_it_says() {
    for (service, environment, closed) in [
        (None, None, [true, true]),
        (Some("shop"), None, [true, true]),
        (None, Some("production"), [false, true]),
        (Some("shop"), Some("staging"), [true, false]),
        (Some("api"), None, [false, false]),
    ] {
        let (mut world, image) = ran();
        let built = world.built(&image);
        world.freeze("duty", &Freezes::everything().scope(service, environment));
        let asked = [("staging", &built[..]), ("production", &[])];
        for ((name, attached), closed) in asked.into_iter().zip(closed) {
            let decision = world.ask(name, &image, attached);
            if !closed {
                yes(&decision);
                continue;
            }
            let verdict = no(&decision, &[Code::Frozen]);
            let expected = "frozen by `duty` in control record 0, until it is thawed: incident 117";
            says(verdict, Requirement::NotFrozen, &[expected]);
            let fix = &finding(verdict, Requirement::NotFrozen).fix;
            assert_eq!(
                fix[..],
                ["nothing enters until a freezer thaws it:", "samebits thaw 0 --reason TEXT"]
            );
        }
        intact(&world);
    }
}

/// The gate's clock may be wrong by five minutes, and whose clock is wrong is not known: both ends are the later and
/// the earlier one for whoever asks.
#[test]
fn e4_both_ends_of_a_freeze_hurt_the_requester() {
    let (mut world, image) = ran();
    world.freeze("duty", &Freezes::everything().between("12:00", "14:00"));
    for (clock, stops) in [
        ("11:54:59", false),
        ("11:55:00", true),
        ("12:00:00", true),
        ("14:00:00", true),
        ("14:04:59", true),
        ("14:05:00", false),
    ] {
        world.set_clock(&format!("2030-03-01T{clock}Z"));
        let decision = world.ask("production", &image, &[]);
        if !stops {
            let finding = finding(yes(&decision), Requirement::NotFrozen).clone();
            assert_eq!(finding.found, "it is not; 1 freeze(s) to come or over");
            continue;
        }
        let verdict = no(&decision, &[Code::Frozen]);
        says(verdict, Requirement::NotFrozen, &["until 2030-03-01T14:00:00Z"]);
        let fix = &finding(verdict, Requirement::NotFrozen).fix;
        assert!(fix[0].starts_with("wait until 2030-03-01T14:00:00Z and five minutes"), "{fix:?}");
    }
}

#[test]
fn e4_only_who_the_policy_names_freezes_and_thaws_and_no_wins() {
    let (mut world, image) = ran();
    // Anybody with a key and the log's key could close production otherwise; who revokes does not freeze.
    for who in ["release", "staging", "security", "stranger"] {
        world.freeze(who, &Freezes::everything());
    }
    let notes = yes(&world.ask("production", &image, &[])).notes.join("\n");
    assert!(
        notes.contains("control record 2 does not count: `security` is no freezer of the policy"),
        "{notes}"
    );
    let all = Freezes::everything();
    let first = world.freeze("duty", &all);
    let only = all.clone().scope(Some("shop"), Some("production"));
    let second = world.freeze("duty-2", &only);
    // Nor does anybody else thaw, nor does a thaw of something else.
    for who in ["release", "security", "stranger"] {
        world.freeze(who, &all.clone().lift(first));
    }
    world.freeze("duty", &only.clone().lift(first));
    world.freeze("duty", &all.clone().between("09:00", "10:00").lift(first));
    let mut elsewhere = first;
    elsewhere.leaf_hash = image.root;
    world.freeze("duty", &all.clone().lift(elsewhere));
    let decision = world.ask("production", &image, &[]);
    let verdict = no(&decision, &[Code::Frozen]);
    let fix = &finding(verdict, Requirement::NotFrozen).fix;
    assert_eq!(fix[1..], ["samebits thaw 4 --reason TEXT", "samebits thaw 5 --reason TEXT"]);
    // Each freeze has an end of its own.
    world.freeze("duty-2", &all.lift(first));
    no(&world.ask("production", &image, &[]), &[Code::Frozen]);
    world.freeze("duty", &only.lift(second));
    yes(&world.ask("production", &image, &[]));
}

#[test]
fn e4_nobody_thaws_what_stops_himself() {
    let (mut world, image) = ran();
    let place = world.freeze("duty", &Freezes::everything());
    let thaw = Freezes::everything().lift(place);
    let revokes = Revokes::signer(world.identity("duty-2"));
    let revoked = world.revoke("security", &revokes);
    world.freeze("duty-2", &thaw);
    no(&world.ask("production", &image, &[]), &[Code::Frozen]);
    // With the revocation lifted he has thawed; what a revoked freezer froze is frozen.
    world.revoke("security", &revokes.clone().lift(revoked));
    yes(&world.ask("production", &image, &[]));
    world.freeze("duty-2", &Freezes::everything());
    world.revoke("security", &revokes);
    no(&world.ask("production", &image, &[]), &[Code::Frozen]);
}

/// Who acts and freezes could thaw what stops him; where the policy accepts that, every decision says so.
#[test]
fn e4_who_acts_and_freezes_is_told_in_every_decision() {
    let accepted = "[control]\nfreezers = [\"release\"]\nsame-identity-accepted = \"two people\"\n";
    let control = guarded(&with(&[(APPROVALS, ""), ("for-at-least = \"1h\", ", "")]));
    let mut world = World::new(&control.replace("[control]\n", accepted));
    let image = Built::shop("1");
    world.staged(&image);
    let notes = yes(&world.ask("production", &image, &[])).notes.join("\n");
    assert!(notes.contains("may act too, and lift what stops him: two people"), "{notes}");
}

/// Nothing is known of a lane that was not looked at.
#[test]
fn e4_a_lane_that_was_not_looked_at_may_hold_a_freeze() {
    let (world, image) = ran();
    let decision = world.question(&image).ask_with("production", &[], |evidence| {
        evidence.control = Control::not_looked_at();
    });
    let verdict = no(&decision, &[Code::ControlUnknown]);
    says(verdict, Requirement::NotFrozen, &["not looked at"]);
}

/// Every field of a freeze is read strictly, and what a freezer said and nobody understands may be a freeze.
#[test]
fn e4_a_malformed_freeze_is_none_and_of_a_freezer_it_is_no_yes() {
    let (mut world, image) = ran();
    world.freeze("duty", &Freezes::everything().between("10:00", "11:00"));
    let whole = world.ledger.control().unwrap();
    let bundle: Value = serde_json::from_slice(whole.entries()[0].bytes()).unwrap();
    let payload = STANDARD.decode(bundle["dsseEnvelope"]["payload"].as_str().unwrap()).unwrap();
    let good: Value = serde_json::from_slice(&payload).unwrap();
    let later = json!({ "index": 7, "leafHash": samebits::digest::Digest::of(b"") });
    for (pointer, value) in [
        ("/predicate/reason", json!(" ")),
        ("/predicate/until", json!("2030-03-01T10:00:00Z")),
        ("/predicate/from", json!("in the morning")),
        ("/predicate/until", json!("9999-99-99T00:00:00Z")),
        ("/predicate/scope", json!({ "tenant": "acme" })),
        ("/predicate/scope", json!({ "environment": "production" })),
        ("/predicate/lifts", later),
        ("/predicate/actor/subject", json!("somebody else")),
        ("/predicate/because", json!("of it")),
        ("/predicateType", json!("https://samebits.dev/freeze/v0.2")),
    ] {
        let mut statement = good.clone();
        let (parent, member) = pointer.rsplit_once('/').unwrap();
        statement.pointer_mut(parent).unwrap()[member] = value.clone();
        for (who, codes) in [("duty", &[Code::ControlUnknown][..]), ("staging", &[])] {
            let mut world = World::new(&policy());
            world.staged(&image);
            // The actor is the signer, but where that is what is wrong.
            if !pointer.contains("actor") {
                statement["predicate"]["actor"]["subject"] = json!(world.key(who).public().id());
            }
            let bytes = sign_statement(statement.to_string().as_bytes(), world.key(who)).unwrap();
            let _appended = world.ledger.append_control(0, &bytes).unwrap();
            let control = Control::read(&world.ledger.control().unwrap(), &world.trust);
            assert!(control.records().is_empty(), "{pointer} {value}");
            match codes {
                [] => drop(yes(&world.ask("production", &image, &[]))),
                codes => drop(no(&world.ask("production", &image, &[]), codes)),
            }
        }
    }
}

/// A freeze covers every promotion whose second look comes after it. One that has looked goes on, and the freezer, who
/// reads the main lane after writing, sees its intent or its commit.
#[test]
fn e4_the_second_look_sees_a_freeze_that_came_after_the_intent() {
    for moment in 1..=4 {
        let (mut world, _, request) = ready_with(&freezable(&guarded(&on_disk())));
        let hook = world.hook();
        let clock = at_moment(moment, world.now(), || hook.freeze("duty", &Freezes::everything()));
        let answer = block_on(world.promote_by(&request, "release", &clock)).unwrap();
        match (moment, answer) {
            (1, Answer::Denied { .. }) => assert_eq!(phases(&world), [Phase::Refused]),
            (2 | 3, Answer::Denied { denied, .. }) => {
                assert_eq!(denied.verdict().codes(), [Code::Frozen]);
                assert_eq!(phases(&world), [Phase::Intent, Phase::Abort]);
            }
            (4, Answer::Promoted(_)) => assert_eq!(phases(&world), [Phase::Intent, Phase::Commit]),
            (_, answer) => panic!("{moment}: {answer:?}"),
        }
        assert_eq!(tag(&world).is_some(), moment == 4);
        intact(&world);
    }
}
