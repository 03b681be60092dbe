//! Rows about approvals.

use jiff::SignedDuration;
use samebits::gate::{Code, Requirement};
use samebits::key::{Algorithm, PrivateKey};
use samebits::record::{Approval, Subjects, Verdict};

use super::world::*;

/// A world whose image has run in staging long enough.
fn ready(policy: &str) -> (World, Built) {
    let mut world = World::new(policy);
    let image = Built::shop("1");
    world.staged(&image);
    world.wait(60);
    (world, image)
}

#[test]
fn e5_requester_and_builder_do_not_approve_themselves() {
    let all = with(&[("from = [\"managers\"]", "from = [\"managers\", \"release\", \"build\"]")]);
    for (who, counts) in
        [("ana", true), ("ben", true), ("release-2", true), ("release", false), ("build", false)]
    {
        let (mut world, image) = ready(&all);
        let approval = world.approval(who, &image);
        world.approve(who, &approval);
        let decision = world.ask("production", &image, &[]);
        if counts {
            yes(&decision);
        } else {
            let verdict = no(&decision, &[Code::ApprovalMissing]);
            says(verdict, Requirement::Approvals, &["who requests or builds does not approve"]);
        }
    }
    // Unless the policy says so in words.
    let (mut world, image) = ready(&all.replace("\"build\"] }", "\"build\"], not-from = [] }"));
    let approval = world.approval("release", &image);
    world.approve("release", &approval);
    yes(&world.ask("production", &image, &[]));
}

#[test]
fn e5_nobody_counts_twice_and_nobody_else_counts() {
    let (mut world, image) = ready(&with(&[("count = 1", "count = 2")]));
    for _ in 0..2 {
        let approval = world.approval("ana", &image);
        world.approve("ana", &approval);
        world.wait(1);
    }
    for who in ["staging", "production"] {
        let approval = world.approval(who, &image);
        world.approve(who, &approval);
    }
    let decision = world.ask("production", &image, &[]);
    says(no(&decision, &[Code::ApprovalMissing]), Requirement::Approvals, &["does not let them approve"]);
    let approval = world.approval("ben", &image);
    world.approve("ben", &approval);
    yes(&world.ask("production", &image, &[]));
}

/// What is changed in a good approval, and what is said of it.
type Row = (fn(&mut World, &mut (Subjects, Approval)), Option<&'static str>);

#[test]
fn e6_an_approval_is_good_for_these_bytes_this_place_this_policy_and_in_time() {
    let rows: [Row; 9] = [
        (|_, (_, _)| (), None),
        (
            |world, (subjects, _)| {
                *subjects = Built::shop("2").subjects(world.repository("shop", None));
            },
            Some(""),
        ),
        (|_, (_, said)| said.service = "api".parse().unwrap(), Some("")),
        (|_, (_, said)| said.approved_for.environment = "staging".parse().unwrap(), Some("")),
        (
            |_, (_, said)| said.approved_for.policy_digest = samebits::digest::Digest::of(b"older"),
            Some("under another policy file"),
        ),
        (
            |_, (_, said)| {
                said.approved_for.keys.pop_last();
            },
            Some("other keys"),
        ),
        (|_, (_, said)| said.decision = Verdict::Rejected, Some("it says `rejected`")),
        (|world, (_, said)| said.valid_until = world.now(), Some("it was good until")),
        (|world, (_, said)| said.valid_until = world.now() + SignedDuration::from_secs(1), None),
    ];
    for (change, expected) in rows {
        let (mut world, image) = ready(POLICY);
        let mut approval = world.approval("ana", &image);
        change(&mut world, &mut approval);
        world.approve("ana", &approval);
        let decision = world.ask("production", &image, &[]);
        match expected {
            None => _ = yes(&decision),
            Some(text) => says(no(&decision, &[Code::ApprovalMissing]), Requirement::Approvals, &[text]),
        }
    }
}

#[test]
fn e6_the_policy_file_changes_after_the_approval() {
    let (mut world, image) = ready(POLICY);
    let approval = world.approval("ana", &image);
    world.approve("ana", &approval);
    yes(&world.ask("production", &image, &[]));
    world.govern(&with(&[("\"1h\"", "\"59m\"")]));
    let decision = world.ask("production", &image, &[]);
    says(no(&decision, &[Code::ApprovalMissing]), Requirement::Approvals, &["another policy file"]);
}

/// The file is the same, byte for byte; whose word `staging` stands for is not.
#[test]
fn e6_a_key_file_is_exchanged_after_the_approval() {
    let (mut world, image) = ready(POLICY);
    let approval = world.approval("ana", &image);
    world.approve("ana", &approval);
    let before = world.policy.digest();
    world.replace_key("staging", PrivateKey::generate(Algorithm::Ed25519).unwrap(), POLICY);
    assert_eq!(world.policy.digest(), before);
    world.staged(&image);
    world.wait(60);
    let decision = world.ask("production", &image, &[]);
    says(no(&decision, &[Code::ApprovalMissing]), Requirement::Approvals, &["other keys"]);
}

#[test]
fn b2_an_approval_that_was_taken_back_stays_taken_back() {
    let (mut world, image) = ready(POLICY);
    let (subjects, approved) = world.approval("ana", &image);
    world.approve("ana", &(subjects.clone(), approved.clone()));
    yes(&world.ask("production", &image, &[]));
    let withdrawn = Approval { decision: Verdict::Withdrawn, ..approved.clone() };
    world.approve("ana", &(subjects.clone(), withdrawn));
    no(&world.ask("production", &image, &[]), &[Code::ApprovalMissing]);
    // Somebody else's word is not hers.
    let (_, other) = world.approval("ben", &image);
    world.approve("ben", &(subjects, other));
    yes(&world.ask("production", &image, &[]));
}

#[test]
fn b2_a_void_approval_takes_no_good_one_away() {
    let (mut world, image) = ready(POLICY);
    let good = world.approval("ana", &image);
    world.approve("ana", &good);
    let mut void = world.approval("ana", &image);
    void.1.approved_for.policy_digest = samebits::digest::Digest::of(b"another");
    world.approve("ana", &void);
    yes(&world.ask("production", &image, &[]));
    // Only a no does, and what was void before it stays void after it.
    let mut no_more = world.approval("ana", &image);
    no_more.1.decision = Verdict::Rejected;
    world.approve("ana", &no_more);
    world.approve("ana", &void);
    no(&world.ask("production", &image, &[]), &[Code::ApprovalMissing]);
}
