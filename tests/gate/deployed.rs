//! Rows about the past: what ran where, for how long, and who says so.

use samebits::gate::{Code, Requirement};
use samebits::policy::EvidenceClass;
use samebits::promote::Answer;
use samebits::record::{Runtime, Status};
use samebits::reference::Image;
use serde_json::json;

use super::protocol::{block_on, promoted, ready};
use super::world::*;

/// Without approvals: an hour in staging, observed.
fn soak() -> String {
    with(&[(APPROVALS, "")])
}

/// Without approvals and without a duration.
fn any_time() -> String {
    with(&[(APPROVALS, ""), ("for-at-least = \"1h\", ", "")])
}

#[test]
fn c1_a_deployment_said_by_anybody_but_its_deployers() {
    let image = Built::shop("1");
    for who in ["release", "production", "build", "ana"] {
        let mut world = World::new(&any_time());
        let said = world.deployment("staging", &image);
        world.record(who, &said);
        let decision = world.ask("production", &image, &[]);
        let expected = ["it is signed by", "only `staging` may say what runs in `staging`"];
        says(no(&decision, &[Code::NeverDeployed]), Requirement::Deployed, &expected);
        world.staged(&image);
        yes(&world.ask("production", &image, &[]));
    }
}

#[test]
fn c1_a_stranger_leaves_nothing_that_is_read() {
    let mut world = World::new(&any_time());
    let image = Built::shop("1");
    let said = world.deployment("staging", &image);
    world.record("stranger", &said);
    no(&world.ask("production", &image, &[]), &[Code::NeverDeployed]);
    // Nor does what he left stand in the way.
    world.staged(&image);
    yes(&world.ask("production", &image, &[]));
}

#[test]
fn c2_tried_is_not_deployed() {
    let mut world = World::new(&any_time());
    let image = Built::shop("1");
    let failed = world.deployment("staging", &image).status(Status::Failed);
    world.record("staging", &failed);
    says(
        no(&world.ask("production", &image, &[]), &[Code::DeploymentFailed]),
        Requirement::Deployed,
        &["failed"],
    );
    let removed = world.deployment("staging", &image).status(Status::Removed);
    world.record("staging", &removed);
    no(&world.ask("production", &image, &[]), &[Code::DeploymentFailed]);
    world.staged(&image);
    yes(&world.ask("production", &image, &[]));
}

#[test]
fn c2_asserted_is_not_observed_and_observed_says_what() {
    let mut world = World::new(&any_time());
    let image = Built::shop("1");
    let said = world.deployment("staging", &image).asserted();
    world.record("staging", &said);
    no(&world.ask("production", &image, &[]), &[Code::NotObserved]);
    // The word alone is not enough: nothing was observed.
    let mut said = world.deployment("staging", &image);
    said.runtime = None;
    world.record("staging", &said);
    no(&world.ask("production", &image, &[]), &[Code::NotObserved]);
    // Nor was anything that has no replica.
    let mut said = world.deployment("staging", &image);
    said.runtime = Some(Runtime { observed_digest: image.root, platform: None, replicas: Some(0) });
    world.record("staging", &said);
    no(&world.ask("production", &image, &[]), &[Code::NotObserved]);
    world.staged(&image);
    yes(&world.ask("production", &image, &[]));
    // Where an assertion is enough, an assertion is enough.
    let mut world = World::new(&any_time().replace(", evidence = \"observed\"", ""));
    let said = world.deployment("staging", &image).asserted();
    assert_eq!(said.class, EvidenceClass::Asserted);
    world.record("staging", &said);
    yes(&world.ask("production", &image, &[]));
}

#[test]
fn c3_another_service_environment_or_repository() {
    let image = Built::shop("1");
    let mut world = World::new(&any_time());
    // The same key speaks for another service: its records are another history.
    let mut said = world.deployment("staging", &image);
    said.service = "api".to_owned();
    world.record("staging", &said);
    no(&world.ask("production", &image, &[]), &[Code::NeverDeployed]);
    // For another environment.
    let mut said = world.deployment("staging", &image);
    said.environment = "production".to_owned();
    world.record("staging", &said);
    let decision = world.ask("production", &image, &[]);
    let expected = ["is about `production`, not `staging`"];
    says(no(&decision, &[Code::NeverDeployed]), Requirement::Deployed, &expected);
    // For the same bytes under another name (A11).
    for repository in ["registry.example/staging/api", "registry.example/shop", "registry.example/prod/shop"]
    {
        let mut said = world.deployment("staging", &image);
        said.subjects.image.repository = repository.parse().unwrap();
        world.record("staging", &said);
        let decision = world.ask("production", &image, &[]);
        let expected = [repository, "is not the repository of `shop` in `staging`"];
        says(no(&decision, &[Code::NeverDeployed]), Requirement::Deployed, &expected);
    }
    world.staged(&image);
    yes(&world.ask("production", &image, &[]));
}

#[test]
fn b2_a_deployment_counts_in_its_own_environment_only() {
    let more = "
[environments.live]
after = [{ environment = \"production\" }]
repository = \"registry.example/live/{service}\"
promoters = [\"release\"]
deployers = [\"production\"]
";
    let mut world = World::new(&format!("{}{more}", any_time()));
    let image = Built::shop("1");
    world.staged(&image);
    yes(&world.ask("production", &image, &[]));
    no(&world.ask("live", &image, &[]), &[Code::NeverDeployed]);
    let said = world.deployment("production", &image);
    world.record("production", &said);
    yes(&world.ask("live", &image, &[]));
}

#[test]
fn c5_the_soak_is_reached_exactly_at_the_bound() {
    let mut world = World::new(&soak());
    let image = Built::shop("1");
    world.staged(&image);
    for (clock, good) in [
        ("2030-03-01T09:00:00Z", false),
        ("2030-03-01T09:59:59.999999999Z", false),
        ("2030-03-01T10:00:00Z", true),
        ("2031-03-01T10:00:00Z", true),
    ] {
        world.set_clock(clock);
        let decision = world.ask("production", &image, &[]);
        if good {
            yes(&decision);
        } else {
            let verdict = no(&decision, &[Code::SoakTooShort]);
            let fix = finding(verdict, Requirement::Deployed).fix.join("\n");
            assert!(fix.contains("until 2030-03-01T10:00:00Z"), "{fix}");
        }
    }
}

/// What breaks an interval. Deployed at 9:00, the break at 9:30, asked at 10:00 and at 10:29, 10:30.
#[test]
fn c5_the_soak_is_broken_by_removal_replacement_and_failure() {
    let image = Built::shop("1");
    let other = Built::shop("2");
    type Break = fn(&World, &Built, &Built) -> Said;
    let breaks: [Break; 6] = [
        |world, image, other| {
            world.deployment("staging", image).status(Status::Removed).runtime(other.root, None)
        },
        |world, image, _| world.deployment("staging", image).status(Status::Removed),
        |world, image, _| world.deployment("staging", image).status(Status::Removed).bare(),
        |world, image, _| world.deployment("staging", image).status(Status::Failed),
        |world, _, other| world.deployment("staging", other),
        |world, _, other| world.deployment("staging", other).asserted(),
    ];
    for interruption in breaks {
        let mut world = World::new(&soak());
        world.staged(&image);
        world.wait(30);
        let said = interruption(&world, &image, &other);
        world.record("staging", &said);
        world.wait(30);
        let decision = world.ask("production", &image, &[]);
        let expected = ["for 30m without a break"];
        says(no(&decision, &[Code::SoakTooShort]), Requirement::Deployed, &expected);
        // It comes back: the clock starts anew, half an hour and half an hour are no hour.
        world.staged(&image);
        world.wait(59);
        no(&world.ask("production", &image, &[]), &[Code::SoakTooShort]);
        world.wait(1);
        yes(&world.ask("production", &image, &[]));
    }
}

#[test]
fn c5_what_does_not_break_a_soak() {
    let image = Built::shop("1");
    let other = Built::shop("2");
    type Event = fn(&World, &Built, &Built) -> (&'static str, Said);
    let events: [Event; 6] = [
        // Deployed again, observed again, said again.
        |world, image, _| ("staging", world.deployment("staging", image)),
        |world, image, _| ("staging", world.deployment("staging", image).asserted()),
        // Another one that did not come up, or that is cleared away.
        |world, _, other| ("staging", world.deployment("staging", other).status(Status::Failed)),
        |world, _, other| ("staging", world.deployment("staging", other).status(Status::Removed)),
        // Another deployment of the service, by name.
        |world, _, other| ("staging", world.deployment("staging", other).name("eu")),
        // Somebody who has no say there: he cannot end it either.
        |world, image, _| ("release", world.deployment("staging", image).status(Status::Removed)),
    ];
    for event in events {
        let mut world = World::new(&soak());
        world.staged(&image);
        world.wait(30);
        let (who, said) = event(&world, &image, &other);
        world.record(who, &said);
        world.wait(30);
        yes(&world.ask("production", &image, &[]));
    }
}

#[test]
fn c5_an_hour_that_was_is_an_hour() {
    let mut world = World::new(&soak());
    let image = Built::shop("1");
    world.staged(&image);
    world.wait(60);
    let removed = world.deployment("staging", &image).status(Status::Removed);
    world.record("staging", &removed);
    yes(&world.ask("production", &image, &[]));
    // The claimed beginning of the removal counts, if it is earlier than its end.
    let mut world = World::new(&soak());
    world.staged(&image);
    world.wait(60);
    let mut removed = world.deployment("staging", &image).status(Status::Removed);
    removed.began = World::at("09:59");
    world.record("staging", &removed);
    no(&world.ask("production", &image, &[]), &[Code::SoakTooShort]);
}

#[test]
fn c5_several_deployments_are_several_clocks_and_the_longest_counts() {
    let mut world = World::new(&soak());
    let image = Built::shop("1");
    let eu = world.deployment("staging", &image).name("eu");
    world.record("staging", &eu);
    world.wait(30);
    let us = world.deployment("staging", &image).name("us");
    world.record("staging", &us);
    let gone = world.deployment("staging", &image).name("eu").status(Status::Removed);
    world.record("staging", &gone);
    world.wait(30);
    // Half an hour here and half an hour there, one after the other.
    no(&world.ask("production", &image, &[]), &[Code::SoakTooShort]);
    world.wait(30);
    yes(&world.ask("production", &image, &[]));
}

/// Two images share a manifest. The removal of the first lists no platforms; it ends what its deployment began.
#[test]
fn c5_removing_the_image_that_ran_ends_the_soak_of_the_manifest_it_shares() {
    let first = Built::shop("1");
    let again = Built::index_with(&[("linux/amd64", "1"), ("linux/arm64", "1")], json!({ "again": "1" }));
    assert_ne!(first.root, again.root);
    assert_eq!(first.child("linux/amd64"), again.child("linux/amd64"));
    for status in [Status::Removed, Status::Failed] {
        let mut world = World::new(&soak());
        world.staged(&first);
        world.wait(1);
        let gone = world.deployment("staging", &first).status(status).bare();
        world.record("staging", &gone);
        world.wait(120);
        no(&world.ask("production", &again, &[]), &[Code::SoakTooShort]);
        let child = Built::single("linux/amd64", "1");
        let question = world.question(&child);
        let decision = question.ask("production", &[]);
        no(&decision, &[Code::PlatformMissing, Code::SoakTooShort]);
    }
    // Taken over by the second image in between: it began when the first did, and ends with either.
    let mut world = World::new(&soak());
    world.staged(&first);
    world.wait(1);
    world.staged(&again);
    world.wait(59);
    yes(&world.ask("production", &again, &[]));
}

/// The same layers under another manifest in between break it; a runtime of another image's digest does too.
#[test]
fn c5_the_runtime_reports_other_bytes() {
    let (image, other) = (Built::shop("1"), Built::shop("2"));
    for platform in [None, Some("linux/arm64"), Some("linux/amd64")] {
        let mut world = World::new(&soak());
        world.staged(&image);
        world.wait(30);
        // Said to be this image; what runs is another.
        let said = world.deployment("staging", &image).runtime(other.child("linux/amd64"), None);
        world.record("staging", &said);
        world.wait(30);
        no(&world.ask("production", &image, &[]), &[Code::SoakTooShort]);
        // Another image on some platform: this deployment is that image now.
        let mut world = World::new(&soak());
        world.staged(&image);
        world.wait(30);
        let said = world.deployment("staging", &other).runtime(other.root, platform);
        world.record("staging", &said);
        world.wait(30);
        no(&world.ask("production", &image, &[]), &[Code::SoakTooShort]);
    }
}

#[test]
fn c6_a_record_from_the_future_is_void() {
    let image = Built::shop("1");
    let mut world = World::new(&any_time());
    // Clocks differ by five minutes at most.
    let said = world.deployment("staging", &image).at("09:06");
    world.record("staging", &said);
    let decision = world.ask("production", &image, &[]);
    says(no(&decision, &[Code::NeverDeployed]), Requirement::Deployed, &["has not come yet"]);
    let mut world = World::new(&any_time());
    let said = world.deployment("staging", &image).at("09:05");
    world.record("staging", &said);
    yes(&world.ask("production", &image, &[]));
    // A removal counts whatever it claims, from now at the latest.
    let mut world = World::new(&soak());
    world.staged(&image);
    world.wait(30);
    let said = world.deployment("staging", &image).status(Status::Removed).at("20:00");
    world.record("staging", &said);
    world.wait(20);
    no(&world.ask("production", &image, &[]), &[Code::SoakTooShort]);
}

#[test]
fn c6_a_back_dated_start_counts_from_the_latest_earlier_claim() {
    let (image, other) = (Built::shop("1"), Built::shop("2"));
    // Alone in the log, the claim stands.
    let mut world = World::new(&soak());
    let said = world.deployment("staging", &image).at("07:00");
    world.record("staging", &said);
    yes(&world.ask("production", &image, &[]));
    // After a record of 8:30, whoever signed it, it began at 8:30 at the earliest.
    for who in ["staging", "release"] {
        let mut world = World::new(&soak());
        let before = world.deployment("staging", &other).name("eu").at("08:30");
        world.record(who, &before);
        let said = world.deployment("staging", &image).at("07:00");
        world.record("staging", &said);
        let decision = world.ask("production", &image, &[]);
        says(no(&decision, &[Code::SoakTooShort]), Requirement::Deployed, &["for 30m"]);
    }
    // Saying that it runs never shortens what a later claim alone would give.
    let mut world = World::new(&soak());
    world.staged(&image);
    let said = world.deployment("staging", &image).at("07:00");
    world.record("staging", &said);
    yes(&world.ask("production", &image, &[]));
    // A record that comes later in the log bounds nothing before it, and one by nobody bounds nothing.
    let mut world = World::new(&soak());
    let before = world.deployment("staging", &other).name("eu").at("08:30");
    world.record("stranger", &before);
    let said = world.deployment("staging", &image).at("07:00");
    world.record("staging", &said);
    let after = world.deployment("staging", &other).name("eu").at("08:50");
    world.record("staging", &after);
    yes(&world.ask("production", &image, &[]));
}

#[test]
fn c7_a_record_of_one_platform_speaks_of_that_platform() {
    let image = Built::shop("1");
    let mut world = World::new(&any_time());
    let said = world.deployment("staging", &image).runtime(image.root, Some("linux/amd64"));
    world.record("staging", &said);
    let decision = world.ask("production", &image, &[]);
    let verdict = no(&decision, &[Code::PlatformUnproven]);
    says(verdict, Requirement::Deployed, &["never ran linux/arm64"]);
    let said = world.deployment("staging", &image).runtime(image.root, Some("linux/arm64")).name("arm");
    world.record("staging", &said);
    yes(&world.ask("production", &image, &[]));
}

#[test]
fn a3_the_runtime_reports_the_platform_manifest_of_the_index() {
    let image = Built::shop("1");
    let mut world = World::new(&any_time());
    for (platform, good) in [("linux/amd64", false), ("linux/arm64", true)] {
        let said = world.deployment("staging", &image).runtime(image.child(platform), None);
        world.record("staging", &said);
        let decision = world.ask("production", &image, &[]);
        if good {
            yes(&decision);
        } else {
            no(&decision, &[Code::PlatformUnproven]);
        }
    }
    // The reverse: the index ran, its platform manifest is asked about, where that platform is all that counts.
    let policy = any_time().replace("[\"linux/amd64\", \"linux/arm64\"]", "[\"linux/amd64\"]");
    let mut world = World::new(&policy);
    let child = Built::single("linux/amd64", "1");
    assert_eq!(child.root, image.child("linux/amd64"));
    no(&world.ask("production", &child, &[]), &[Code::NeverDeployed]);
    world.staged(&image);
    yes(&world.ask("production", &child, &[]));
}

#[test]
fn a4_a_shared_manifest_proves_its_own_platform_only() {
    let staged = Built::index(&[("linux/amd64", "1"), ("linux/arm64", "1")]);
    let mixed = Built::index(&[("linux/amd64", "1"), ("linux/arm64", "2")]);
    let mut world = World::new(&any_time());
    world.staged(&staged);
    yes(&world.ask("production", &staged, &[]));
    let decision = world.ask("production", &mixed, &[]);
    let arm64 = mixed.child("linux/arm64").to_string();
    says(no(&decision, &[Code::PlatformUnproven]), Requirement::Deployed, &[&arm64]);
    // Where the policy counts amd64 alone, arm64 need not have run by itself; but it would lie in production, so it
    // has to be in an image that did.
    let mut world = World::new(&any_time().replace(", \"linux/arm64\"]", "]"));
    world.staged(&staged);
    let decision = world.ask("production", &mixed, &[]);
    says(no(&decision, &[Code::PlatformUnproven]), Requirement::Deployed, &[&arm64]);
    let said = world.deployment("staging", &mixed).runtime(mixed.root, Some("linux/amd64"));
    world.record("staging", &said);
    yes(&world.ask("production", &mixed, &[]));
}

#[test]
fn a5_a_platform_that_was_added_later_has_not_run() {
    let before = Built::index(&[("linux/amd64", "1")]);
    let after = Built::index(&[("linux/amd64", "1"), ("linux/arm64", "1")]);
    let mut world = World::new(&any_time());
    world.staged(&before);
    no(&world.ask("production", &after, &[]), &[Code::PlatformUnproven]);
    no(&world.ask("production", &before, &[]), &[Code::PlatformMissing]);
}

#[test]
fn a7_the_same_layers_under_another_manifest_are_explained_and_never_accepted() {
    let children = [("linux/amd64", "1"), ("linux/arm64", "1")];
    let image = Built::shop("1");
    // An index written again has other bytes; its children are the same, and they did run.
    let annotated = Built::index_with(&children, json!({ "org.example.mirror": "yes" }));
    let mut world = World::new(&any_time());
    world.staged(&image);
    yes(&world.ask("production", &annotated, &[]));
    // Manifests written again are other bytes: what `collect` says of them explains, and changes nothing.
    let rewritten = Built::shop("2");
    let question = world.question(&rewritten);
    let decision = question.ask_with("production", &[], |evidence| evidence.same_layers.push(image.root));
    let expected = [&*image.root.to_string(), "re-written bytes are other bytes"];
    says(no(&decision, &[Code::NeverDeployed]), Requirement::Deployed, &expected);
}

#[test]
fn a8_a_rebuild_under_the_same_tag_shows_both_digests() {
    let (first, rebuilt) = (Built::shop("1"), Built::shop("rebuilt"));
    let mut world = World::new(&any_time());
    world.staged(&first);
    let question = world.question(&rebuilt).expecting("1.4.2", rebuilt.root);
    let decision = question.ask("production", &[]);
    let expected = [&*first.root.to_string(), &*rebuilt.root.to_string()];
    says(no(&decision, &[Code::NeverDeployed]), Requirement::Deployed, &expected);
}

#[test]
fn a10_a_new_tag_keeps_the_proof() {
    let image = Built::shop("1");
    let mut world = World::new(&any_time());
    world.staged(&image);
    for tag in ["1.4.2", "latest"] {
        yes(&world.question(&image).expecting(tag, image.root).ask("production", &[]));
    }
    yes(&world.question(&image).from("registry.example/staging/shop").ask("production", &[]));
}

#[test]
fn any_of_several_environments_is_enough_and_all_are_all() {
    let second = "
[environments.canary]
entry = true
repository = \"registry.example/canary/{service}\"
promoters = [\"release\"]
deployers = [\"production\"]
[environments.canary.require]
signed-by = \"build\"
";
    let after = "after = [{ environment = \"staging\", for-at-least = \"1h\", evidence = \"observed\" }]";
    let (staging, canary) = ("{ environment = \"staging\" }", "{ environment = \"canary\" }");
    let image = Built::shop("1");
    for any in [true, false] {
        let rule = match any {
            true => format!("after = [{{ any-of = [{staging}, {canary}] }}]"),
            false => format!("after = [{staging}, {canary}]"),
        };
        let mut world = World::new(&format!("{}{second}", with(&[(APPROVALS, ""), (after, &rule)])));
        let decision = world.ask("production", &image, &[]);
        no(&decision, &[Code::NeverDeployed]);
        let said = world.deployment("canary", &image);
        world.record("production", &said);
        match any {
            true => _ = yes(&world.ask("production", &image, &[])),
            false => _ = no(&world.ask("production", &image, &[]), &[Code::NeverDeployed]),
        }
        world.staged(&image);
        yes(&world.ask("production", &image, &[]));
    }
}

/// What ran in staging may be gone from there by now; and what lies there need not have run.
#[test]
fn c9_the_proof_is_the_record_and_not_what_lies_there_now() {
    let (mut world, image, request) = ready();
    let (shop, staging) = (world.repository("shop", None), world.repository("shop", Some("staging")));
    let there = Image::new(staging.clone(), image.root);
    assert!(block_on(world.registries.closure_if_whole(&there)).unwrap().is_none());
    let promotion = promoted(block_on(world.promote(&request, "release")));
    assert_eq!(promotion.destination().digest, image.root);
    // Everything of it is there, its signature and its provenance too, but nobody ever said that it ran.
    let other = Built::shop("2");
    let pushed = block_on(world.push(&other, "v2"));
    block_on(world.attach(&pushed, "build"));
    let closure = block_on(world.registries.closure(&pushed)).unwrap();
    let copied =
        block_on(world.registries.copy(&closure, &world.registries.reading(&shop).unwrap(), &staging))
            .unwrap();
    assert_eq!((copied.manifests, copied.referrers), (closure.manifests().count(), 2));
    for repository in [&staging, &shop] {
        let request = pinned(repository, &other, "production", "run 2");
        let answer = block_on(world.promote(&request, "release")).unwrap();
        let Answer::Denied { denied, .. } = answer else { panic!("{repository}: {answer:?}") };
        assert_eq!(denied.verdict().codes(), [Code::NeverDeployed]);
    }
}
