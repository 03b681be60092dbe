//! Keyless layers of cosign's older tags: the annotations are nobody's word until certificate, log and time
//! are checked.

use jiff::SignedDuration;
use samebits::digest::Digest;
use samebits::verify::{
    Annotations, Attestation, Rejected, SIMPLE_SIGNING, Verified, annotated_envelope,
    annotated_simple_signing,
};

use crate::sigstore::{Fulcio, Instance, Kind, Layer, Log, Logged, Promise, Recipe, Sct, oidc};
use crate::{keyless, statement, trust};

fn read(instance: &Instance, layer: &Layer) -> Result<Verified<Attestation>, Rejected> {
    let annotations = Annotations {
        certificate: Some(&layer.certificate),
        bundle: layer.promise.as_deref(),
        timestamp: layer.timestamp.as_deref(),
    };
    match layer.signature.as_str() {
        "" => annotated_envelope(&layer.bytes, &annotations, &trust(instance)),
        signature => annotated_simple_signing(&layer.bytes, signature, &annotations, &trust(instance)),
    }
}

/// A layer of each kind, a day ago.
fn layers(instance: &Instance, recipe: &Recipe) -> Vec<Layer> {
    let who = instance.identity(&oidc::github("acme/shop", "release.yml", "refs/heads/main"));
    let time = instance.now() - SignedDuration::from_hours(24);
    let payload = Instance::payload("registry.example/shop", Digest::of(b"manifest"));
    let mut layers = vec![instance.att_layer(&statement(), &who, time, recipe)];
    if recipe.log != Log::V1Intoto {
        layers.push(instance.sig_layer(&payload, &who, time, recipe));
    }
    layers
}

#[test]
fn honest_layers_verify() {
    let instance = Instance::new(Kind::Public);
    let who = instance.identity(&oidc::github("acme/shop", "release.yml", "refs/heads/main"));
    for recipe in [
        Recipe::default(),
        Recipe { stamped: Some(SignedDuration::ZERO), ..Recipe::default() },
        Recipe { log: Log::V1Intoto, ..Recipe::default() },
    ] {
        for layer in layers(&instance, &recipe) {
            let found = read(&instance, &layer).unwrap_or_else(|why| panic!("{recipe:?}: {why}"));
            assert_eq!(*found.identity(), keyless(&who));
            let expected = match layer.signature.as_str() {
                "" => "https://acme.example/checked/v1",
                _ => SIMPLE_SIGNING,
            };
            assert_eq!(found.predicate_type(), expected);
        }
    }
}

#[test]
fn b7_b8_odd_layers_are_refused_for_what_is_odd() {
    let instance = Instance::new(Kind::Public);
    let later = SignedDuration::from_mins(11);
    let plain = Recipe::default;
    for (recipe, code) in [
        // An expired certificate beside somebody's entry is what CVE-2022-36056 was made of.
        (Recipe { logged: Logged::AnotherSignature, ..plain() }, "log-entry-mismatch"),
        (Recipe { logged_after: later, ..plain() }, "certificate-expired"),
        (Recipe { promise: Promise::OfAnotherEntry, ..plain() }, "log-promise"),
        (Recipe { log: Log::None, ..plain() }, "log-entry-missing"),
        (Recipe { log: Log::None, ..Recipe::v2() }, "log-entry-missing"),
        (Recipe { sct: Sct::Missing, ..plain() }, "certificate-sct"),
        (Recipe { fulcio: Fulcio::Another, ..plain() }, "certificate-chain"),
        (Recipe { stamp_of_another: true, stamped: Some(SignedDuration::ZERO), ..plain() }, "timestamp"),
    ] {
        for layer in layers(&instance, &recipe) {
            let refused = read(&instance, &layer).unwrap_err();
            assert_eq!(refused.reason.code(), code, "{recipe:?}: {refused}");
        }
    }
}

#[test]
fn b7_a_promise_with_another_time_is_refused() {
    let instance = Instance::new(Kind::Public);
    for mut layer in layers(&instance, &Recipe::default()) {
        let promise = layer.promise.take().unwrap();
        let mut promise: serde_json::Value = serde_json::from_str(&promise).unwrap();
        let time = promise["Payload"]["integratedTime"].as_u64().unwrap();
        promise["Payload"]["integratedTime"] = (time + 1).into();
        layer.promise = Some(promise.to_string());
        assert_eq!(read(&instance, &layer).unwrap_err().reason.code(), "log-promise");
    }
}
