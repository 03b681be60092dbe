//! Every odd bundle is refused for what is odd about it, and its honest neighbour is not.

use jiff::SignedDuration;
use samebits::digest::Digest;
use samebits::verify::attached;

use crate::sigstore::{
    Checkpoint, Fulcio, Identity, Instance, Kind, Log, Logged, Name, Promise, Recipe, Sct, Signed, Version,
    oidc,
};
use crate::{keyless, statement, trust, verified};

/// What is odd about a certificate's identity.
type Change = fn(&mut Identity);

const LATER: SignedDuration = SignedDuration::from_mins(11);
const EARLIER: SignedDuration = SignedDuration::from_mins(-1);

fn job() -> serde_json::Value {
    oidc::github("acme/shop", "release.yml", "refs/heads/main")
}

fn long_ago(instance: &Instance) -> jiff::Timestamp {
    instance.now() - SignedDuration::from_hours(24)
}

#[test]
fn what_is_honest_verifies_in_every_version_and_log() {
    let instance = Instance::new(Kind::Public);
    let who = instance.identity(&job());
    let (v1, v2) = (Recipe::default, Recipe::v2);
    let then = long_ago(&instance);
    let rows = [
        v1(),
        v2(),
        Recipe { stamped: Some(SignedDuration::ZERO), ..v1() },
        Recipe { log: Log::V1Intoto, ..v1() },
        Recipe { version: Version::V0_1, ..v1() },
        Recipe { version: Version::V0_2, ..v1() },
        Recipe { version: Version::V0_2, ..v2() },
        Recipe { promise: Promise::Missing, stamped: Some(SignedDuration::ZERO), ..v1() },
    ];
    for recipe in rows {
        let statement = statement();
        let bytes = instance.make(Signed::Statement(&statement), &who, then, &recipe);
        let verified = verified(&instance, &bytes).unwrap_or_else(|why| panic!("{recipe:?}: {why}"));
        assert_eq!(*verified.identity(), keyless(&who));
        assert_eq!(verified.author().time(), Some(then));
        if recipe.log != Log::V1Intoto {
            let digest = Digest::of(b"manifest");
            let bytes = instance.make(Signed::Message(digest), &who, then, &recipe);
            let _ =
                attached(&bytes, digest, &trust(&instance)).unwrap_or_else(|why| panic!("{recipe:?}: {why}"));
        }
    }
}

#[test]
fn b7_b8_each_odd_bundle_is_refused_for_what_is_odd() {
    let instance = Instance::new(Kind::Public);
    let who = instance.identity(&job());
    let (v1, v2) = (Recipe::default, Recipe::v2);
    let rows = [
        // The certificate.
        (Recipe { sct: Sct::Missing, ..v1() }, "certificate-sct"),
        (Recipe { sct: Sct::AnotherLog, ..v1() }, "certificate-sct"),
        (Recipe { sct: Sct::Missing, ..v2() }, "certificate-sct"),
        (Recipe { fulcio: Fulcio::Another, ..v1() }, "certificate-chain"),
        (Recipe { fulcio: Fulcio::Another, ..v2() }, "certificate-chain"),
        // The time.
        (Recipe { logged_after: LATER, ..v1() }, "certificate-expired"),
        (Recipe { logged_after: EARLIER, ..v1() }, "certificate-not-yet-valid"),
        (Recipe { stamped: Some(LATER), ..v2() }, "certificate-expired"),
        (Recipe { stamped: Some(EARLIER), ..v2() }, "certificate-not-yet-valid"),
        (Recipe { stamped: None, ..v2() }, "time-missing"),
        (Recipe { promise: Promise::Missing, ..v1() }, "time-missing"),
        (Recipe { stamp_of_another: true, ..v2() }, "timestamp"),
        // The log.
        (Recipe { log: Log::None, ..v2() }, "log-entry-missing"),
        (Recipe { logged: Logged::AnotherSignature, ..v1() }, "log-entry-mismatch"),
        (Recipe { logged: Logged::AnotherSignature, ..v2() }, "log-entry-mismatch"),
        (Recipe { checkpoint: Checkpoint::AnotherKey, ..v1() }, "log-checkpoint"),
        (Recipe { checkpoint: Checkpoint::AnotherKey, ..v2() }, "log-checkpoint"),
        (Recipe { promise: Promise::OfAnotherEntry, ..v1() }, "log-promise"),
        (Recipe { log: Log::V2Dsse, ..v2() }, "log-entry-kind"),
        (Recipe { version: Version::V0_1, ..v2() }, "log-promise-missing"),
        (Recipe { version: Version::V0_1, promise: Promise::Missing, ..v1() }, "log-promise-missing"),
    ];
    for (recipe, code) in rows {
        let statement = statement();
        let bytes = instance.make(Signed::Statement(&statement), &who, long_ago(&instance), &recipe);
        let refused = verified(&instance, &bytes).unwrap_err();
        assert_eq!(refused.reason.code(), code, "{recipe:?}: {refused}");
        if recipe.log != Log::V2Dsse {
            let digest = Digest::of(b"manifest");
            let bytes = instance.make(Signed::Message(digest), &who, long_ago(&instance), &recipe);
            let refused = attached(&bytes, digest, &trust(&instance)).unwrap_err();
            assert_eq!(refused.reason.code(), code, "message, {recipe:?}: {refused}");
        }
    }
}

#[test]
fn b7_a_logs_time_in_the_future_is_refused_and_an_authoritys_is_told() {
    let instance = Instance::new(Kind::Public);
    let who = instance.identity(&job());
    let soon = SignedDuration::from_mins(5);
    let statement = statement();
    let made = |recipe: Recipe| {
        let bytes = instance.make(Signed::Statement(&statement), &who, instance.now(), &recipe);
        verified(&instance, &bytes)
    };
    let refused = made(Recipe { logged_after: soon, ..Recipe::default() }).unwrap_err();
    assert_eq!(refused.reason.code(), "log-time");
    // Nobody compares a timestamp authority's time with the clock (sigstore-verify 0.15.1 does not): whoever
    // judges by the time sees that it is not yet.
    let verified = made(Recipe { stamped: Some(soon), ..Recipe::v2() }).unwrap();
    assert!(verified.author().time().unwrap() > instance.now());
}

#[test]
fn b6_odd_identities_are_refused() {
    let instance = Instance::new(Kind::Public);
    let honest = instance.identity(&job());
    let with = |change: Change| {
        let mut odd = honest.clone();
        change(&mut odd);
        let now = instance.now();
        verified(&instance, &instance.bundle(&statement(), &odd, now))
            .map(|verified| verified.author().claims().cloned())
    };
    let rows: [(Change, &str); 4] = [
        (|odd| odd.names.push(Name::Uri("https://evil.example/x".to_owned())), "certificate-identity"),
        (|odd| odd.names.push(Name::Email("evil@evil.example".to_owned())), "certificate-identity"),
        (|odd| odd.names.clear(), "certificate-identity"),
        (|odd| odd.extensions.retain(|number, _| ![1, 8].contains(number)), "certificate-issuer"),
    ];
    for (change, code) in rows {
        assert_eq!(with(change).unwrap_err().reason.code(), code);
    }
    // A claim that is absent is absent, not empty.
    let without = with(|odd| drop(odd.extensions.remove(&14))).unwrap().unwrap();
    assert_eq!(without.source_repository_ref, None);
    assert_eq!(without.build_trigger.as_deref(), Some("push"));
}

#[test]
fn a_private_instance_without_a_log_proves_by_timestamps() {
    let instance = Instance::new(Kind::Stamped);
    let who = instance.identity(&job());
    let made = |recipe: Recipe| {
        let statement = statement();
        let bytes = instance.make(Signed::Statement(&statement), &who, long_ago(&instance), &recipe);
        verified(&instance, &bytes).map_err(|refused| refused.reason.code())
    };
    assert_eq!(*made(Recipe::stamped()).unwrap().identity(), keyless(&who));
    let rows = [
        (Recipe { stamped: None, ..Recipe::stamped() }, "time-missing"),
        (Recipe { sct: Sct::Missing, ..Recipe::stamped() }, "certificate-sct"),
        (Recipe { stamped: Some(LATER), ..Recipe::stamped() }, "certificate-expired"),
        (Recipe::v2(), "log-entry-unexpected"),
    ];
    for (recipe, code) in rows {
        assert_eq!(made(recipe).unwrap_err(), code);
    }
}

#[test]
fn b6_githubs_laxness_cannot_be_had_by_a_private_root() {
    let instance = Instance::new(Kind::GitHub);
    // Such an instance is no root of ours,
    let name = || "virtual".parse().unwrap();
    assert!(samebits::verify::Root::private(name(), &instance.trusted_root()).is_err());
    // and its bundles are of no other root.
    let public = Instance::new(Kind::Public);
    let bytes = instance.bundle(&statement(), &instance.identity(&job()), instance.now());
    assert!(verified(&public, &bytes).is_err());
    let github = samebits::verify::Root::github().unwrap();
    let refused = samebits::verify::bundle(&bytes, &crate::Trust::new(vec![]).with_roots(vec![github]));
    assert_eq!(refused.unwrap_err().reason.code(), "unknown-authority");
}
