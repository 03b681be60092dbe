//! Rows about a control lane that was frozen: valid, complete, and old. Only witnesses tell.

use jiff::SignedDuration;
use samebits::evidence::Freshness;
use samebits::gate::{Code, Decision, Requirement};

use super::world::*;

/// Production asks for a control lane that witnesses saw a quarter of an hour ago at most.
fn policy() -> String {
    let limit = "tag = \"production\"\ncontrol-max-staleness = \"15m\"\n";
    let open = [(APPROVALS, ""), ("for-at-least = \"1h\", ", ""), ("tag = \"production\"\n", limit)];
    guarded(&with(&open))
}

fn ask(world: &World, image: &Built, freshness: Freshness) -> Decision {
    world.question(image).ask_with("production", &[], |evidence| {
        evidence.control = evidence.control.clone().with_freshness(freshness.clone());
    })
}

#[test]
fn d2_a_frozen_control_lane_is_no_yes_when_it_is_older_than_allowed() {
    let mut world = World::new(&policy());
    let image = Built::shop("1");
    world.staged(&image);
    let said = |seconds: i64| Freshness::Cosigned {
        at: world.now() - SignedDuration::from_secs(seconds),
        size: 0,
        witnesses: vec!["w1".to_owned(), "w2".to_owned()],
    };
    // To the second, and a clock a little ahead is no older.
    for fresh in [0, 60, 900, -30] {
        let decision = ask(&world, &image, said(fresh));
        assert!(finding(yes(&decision), Requirement::ControlFresh).found.contains("by w1, w2"));
    }
    for stale in [901, 86_400] {
        let decision = ask(&world, &image, said(stale));
        let verdict = no(&decision, &[Code::ControlStale]);
        says(verdict, Requirement::ControlFresh, &["by w1, w2"]);
        let finding = finding(verdict, Requirement::ControlFresh);
        assert!(finding.expected.contains("15m ago at most"), "{finding:?}");
        assert_eq!(finding.fix, ["samebits ledger cosign"]);
    }
}

#[test]
fn d2_without_witnesses_the_verdict_says_unwitnessed_and_the_policy_decides() {
    let mut world = World::new(&policy());
    let image = Built::shop("1");
    world.staged(&image);
    let decision = world.ask("production", &image, &[]);
    let verdict = no(&decision, &[Code::ControlUnwitnessed]);
    assert_eq!(verdict.freshness, Freshness::Unwitnessed);
    says(verdict, Requirement::ControlFresh, &["unwitnessed"]);
    assert!(finding(verdict, Requirement::ControlFresh).fix[0].contains("`witness-policy` of the lock"));
    let missed = Freshness::Missed { missing: vec!["w2".to_owned()] };
    let decision = ask(&world, &image, missed);
    says(no(&decision, &[Code::ControlUnwitnessed]), Requirement::ControlFresh, &["nothing by w2"]);
    // Where nobody asks it is said, and no requirement.
    let built = world.built(&image);
    let decision = world.ask("staging", &image, &built);
    let verdict = yes(&decision);
    assert_eq!(verdict.freshness, Freshness::Unwitnessed);
    assert!(verdict.findings.iter().all(|finding| finding.requirement != Requirement::ControlFresh));
}

#[test]
fn a_limit_that_is_no_duration_is_refused() {
    let draft = |limit: &str| {
        let text = policy().replace("\"15m\"", limit);
        samebits::policy::Draft::parse("samebits.toml", &text).map(|_| ()).is_ok()
    };
    assert!(draft("\"15m\""));
    for wrong in ["15", "\"\"", "[]"] {
        assert!(!draft(wrong), "{wrong}");
    }
}
