//! Rows about the bytes, their name, and who asks.

use samebits::evidence::{Target, TargetError};
use samebits::gate::{Code, Outcome, Requirement};
use samebits::reference::Image;

use super::world::*;

#[test]
fn everything_at_once_yes_and_then_no() {
    let mut world = World::new(POLICY);
    let image = Built::shop("1");
    let attestations = world.built(&image);
    yes(&world.ask("staging", &image, &attestations));

    world.staged(&image);
    let approval = world.approval("ana", &image);
    world.approve("ana", &approval);
    world.wait(60);
    let decision = world.ask("production", &image, &[]);
    let verdict = yes(&decision);
    assert_eq!(verdict.evidence().len(), 2, "the deployment and the approval");
    assert_eq!(verdict.destination.repository.to_string(), "registry.example/prod/shop");
    assert_eq!(verdict.policy.keys.len(), 7);
}

#[test]
fn every_reason_is_reported_at_once_and_in_order() {
    let world = World::new(&with(&[(
        APPROVALS,
        &format!(
            "{APPROVALS}signed-by = \"build\"\n[environments.production.require.provenance]
signer = \"build\"
builder = \"https://ci.example/builder\"
source = \"https://git.example/acme/{{service}}\"
ref = \"any\"\n"
        ),
    )]));
    let image = Built::index(&[("linux/amd64", "1")]);
    let other = Built::shop("2");
    let question = world.question(&image).from("registry.example/elsewhere").by(Some("staging"));
    let decision = question.expecting("v1", other.root).ask("production", &[]);
    let verdict = no(
        &decision,
        &[
            Code::ForeignRepository,
            Code::PlatformMissing,
            Code::NotAPromoter,
            Code::TagMoved,
            Code::NotSignedBy,
            Code::NoProvenance,
            Code::NeverDeployed,
            Code::ApprovalMissing,
        ],
    );
    let order: Vec<Requirement> = verdict.findings.iter().map(|found| found.requirement.clone()).collect();
    assert_eq!(
        order,
        [
            Requirement::Repository,
            Requirement::Platforms,
            Requirement::Promoter,
            Requirement::Tag,
            Requirement::SignedBy,
            Requirement::Provenance,
            Requirement::Deployed,
            Requirement::Approvals
        ]
    );
    assert!(verdict.evidence().is_empty());
    assert_eq!(verdict.rationale().len(), 8);
}

#[test]
fn a1_the_tag_means_other_bytes_than_the_person_expected() {
    let world = World::new(POLICY);
    let (image, other) = (Built::shop("1"), Built::shop("2"));
    let attestations = world.built(&image);
    let question = world.question(&image).expecting("v1", image.root);
    yes(&question.ask("staging", &attestations));
    let question = world.question(&image).expecting("v1", other.root);
    let decision = question.ask("staging", &attestations);
    let verdict = no(&decision, &[Code::TagMoved]);
    says(verdict, Requirement::Tag, &[&image.root.to_string()]);
}

#[test]
fn a5_a_required_platform_is_absent() {
    let world = World::new(POLICY);
    let partial = Built::index(&[("linux/amd64", "1")]);
    let decision = world.ask("staging", &partial, &world.built(&partial));
    says(no(&decision, &[Code::PlatformMissing]), Requirement::Platforms, &["linux/amd64"]);
    // Another architecture or variant does not stand in for it, and unlisted ones do no harm.
    let wrong = Built::index(&[("linux/amd64", "1"), ("linux/arm/v7", "1")]);
    no(&world.ask("staging", &wrong, &world.built(&wrong)), &[Code::PlatformMissing]);
    let more = Built::index(&[("linux/amd64", "1"), ("linux/arm64/v8", "1"), ("linux/s390x", "1")]);
    yes(&world.ask("staging", &more, &world.built(&more)));
}

#[test]
fn a5_an_attachment_is_no_platform() {
    let world = World::new(POLICY);
    let image =
        Built::index(&[("linux/amd64", "1"), ("linux/arm64", "1"), ("unknown/unknown", "attestation")]);
    let attestations = world.built(&image);
    let decision = world.ask("staging", &image, &attestations);
    assert_eq!(yes(&decision).platforms.len(), 2);
}

#[test]
fn a11_the_same_bytes_under_another_repository() {
    let world = World::new(POLICY);
    let image = Built::shop("1");
    let attestations = world.built(&image);
    // Any of the service's own places is good, the others' and nobody's are not.
    for own in ["registry.example/shop", "registry.example/staging/shop", "registry.example/prod/shop"] {
        yes(&world.question(&image).from(own).ask("staging", &attestations));
    }
    let decision = world.question(&image).from("registry.example/api").ask("staging", &attestations);
    says(no(&decision, &[Code::ForeignRepository]), Requirement::Repository, &["belongs to `api`"]);
    let question = world.question(&image).from("registry.example/shop2");
    let decision = question.ask("staging", &attestations);
    says(no(&decision, &[Code::ForeignRepository]), Requirement::Repository, &["does not name"]);
}

#[test]
fn who_asks_has_to_be_a_promoter() {
    let world = World::new(POLICY);
    let image = Built::shop("1");
    let attestations = world.built(&image);
    for who in ["release", "release-2"] {
        yes(&world.question(&image).by(Some(who)).ask("staging", &attestations));
    }
    for who in ["staging", "build", "ana", "stranger"] {
        let decision = world.question(&image).by(Some(who)).ask("staging", &attestations);
        no(&decision, &[Code::NotAPromoter]);
    }
    // A check without a key says that it assumed one.
    let decision = world.question(&image).by(None).ask("staging", &attestations);
    says(yes(&decision), Requirement::Promoter, &["assumed"]);
}

#[test]
fn c4_a_question_about_an_unknown_environment_or_service_is_no_question() {
    let world = World::new(POLICY);
    let image = Built::shop("1");
    let named = Image::new(world.repository("shop", None), image.root);
    for (service, environment) in [
        ("shop", "Production"),
        ("shop", "production "),
        ("shop", ""),
        ("Shop", "production"),
        ("web", "staging"),
    ] {
        let target =
            Target::new(&world.policy, service, environment, named.clone(), &image.closure, None, None);
        assert!(matches!(target, Err(TargetError::Unknown(_))), "{service} {environment}");
    }
    let other = Built::shop("2");
    let target = Target::new(&world.policy, "shop", "staging", named, &other.closure, None, None);
    assert!(matches!(target, Err(TargetError::Closure { .. })), "the closure of another image");
}

#[test]
fn the_same_identity_shows_in_every_decision() {
    let policy = with(&[
        ("deployers = [\"staging\"]", "deployers = [\"staging\", \"release\"]"),
        (
            "deployers = [\"production\"]",
            "deployers = [\"production\"]\nsame-identity-accepted = \"one machine\"",
        ),
    ]);
    let mut world = World::new(&policy);
    let image = Built::shop("1");
    let says_so = |notes: &[String]| notes.iter().any(|note| note.contains("one machine"));
    let decision = world.ask("production", &image, &[]);
    assert!(says_so(&no(&decision, &[Code::NeverDeployed, Code::ApprovalMissing]).notes));
    let said = world.deployment("staging", &image);
    world.record("release", &said);
    let approval = world.approval("ana", &image);
    world.approve("ana", &approval);
    world.wait(60);
    assert!(says_so(&yes(&world.ask("production", &image, &[])).notes));
    // Where nobody accepted anything, nothing is said.
    let image = Built::shop("2");
    let decision = world.ask("staging", &image, &world.built(&image));
    assert!(yes(&decision).notes.is_empty());
}

#[test]
fn a_warning_is_a_yes_until_the_day_is_over_and_shows() {
    let mut world =
        World::new(&with(&[("from = [\"managers\"] }", "from = [\"managers\"], warn-until = 2030-03-01 }")]));
    let image = Built::shop("1");
    world.staged(&image);
    for (clock, good) in
        [("2030-03-01T10:00:00Z", true), ("2030-03-01T23:59:59Z", true), ("2030-03-02T00:00:00Z", false)]
    {
        world.set_clock(clock);
        let decision = world.ask("production", &image, &[]);
        if good {
            let warned = finding(yes(&decision), Requirement::Approvals).outcome.clone();
            assert_eq!(warned, Outcome::Warned(Code::ApprovalMissing, "2030-03-01".parse().unwrap()));
        } else {
            no(&decision, &[Code::ApprovalMissing]);
        }
    }
}
