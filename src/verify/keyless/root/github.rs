//! GitHub's rules, under a root that is GitHub's in all but its keys: nobody outside of this folder can make one.

#[path = "../../../../tests/support/sigstore/mod.rs"]
mod sigstore;

use jiff::SignedDuration;
use serde_json::json;
use sigstore::{Fulcio, Instance, Kind, Recipe, Sct, Signed, oidc};

use super::*;
use crate::verify::{Identity, Trust, bundle};

fn statement() -> Vec<u8> {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": "shop", "digest": { "sha256": Digest::of(b"shop").hex() } }],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {},
    })
    .to_string()
    .into_bytes()
}

fn github(instance: &Instance) -> Root {
    Root::new(RootName::GitHub, Rules::GitHub, &instance.trusted_root(), None).unwrap()
}

/// The root's name for the identity, or the code of the refusal.
fn verdict(instance: &Instance, recipe: &Recipe, roots: Vec<Root>) -> Result<RootName, &'static str> {
    let job = oidc::github("acme/shop", "release.yml", "refs/heads/main");
    let (statement, time) = (statement(), instance.now() - SignedDuration::from_hours(24));
    let bytes = instance.make(Signed::Statement(&statement), &instance.identity(&job), time, recipe);
    match bundle(&bytes, &Trust::default().with_roots(roots)) {
        Ok(verified) => match verified.identity() {
            Identity::Keyless { root, .. } => {
                assert_eq!(verified.author().time(), Some(time));
                Ok(root.clone())
            }
            Identity::Key { .. } => panic!("no key is trusted"),
        },
        Err(rejected) => Err(rejected.reason.code()),
    }
}

#[test]
fn b6_githubs_instance_proves_by_chain_and_timestamp() {
    let instance = Instance::new(Kind::GitHub);
    let own = || vec![github(&instance)];
    assert_eq!(verdict(&instance, &Recipe::of(Kind::GitHub), own()), Ok(RootName::GitHub));
    let like = || Recipe::of(Kind::GitHub);
    let minutes = SignedDuration::from_mins;
    for (recipe, code) in [
        (Recipe { stamped: None, ..like() }, "time-missing"),
        (Recipe { stamp_of_another: true, ..like() }, "timestamp"),
        (Recipe { stamped: Some(minutes(11)), ..like() }, "certificate-expired"),
        (Recipe { stamped: Some(minutes(-1)), ..like() }, "certificate-not-yet-valid"),
        (Recipe { fulcio: Fulcio::Another, ..like() }, "certificate-chain"),
        // An entry in a log that nobody could check.
        (Recipe { sct: Sct::Missing, ..Recipe::v2() }, "log-entry-unexpected"),
        (Recipe { sct: Sct::Missing, ..Recipe::default() }, "log-entry-unexpected"),
    ] {
        assert_eq!(verdict(&instance, &recipe, own()), Err(code), "{recipe:?}");
    }
    // The real root does not know this authority.
    let real = vec![Root::github().unwrap()];
    assert!(verdict(&instance, &like(), real).is_err());
}

#[test]
fn b6_no_other_root_is_checked_with_githubs_laxness() {
    // What GitHub's instance would accept, of an instance with logs: each root by its own rules, whatever stands beside.
    let public = Instance::new(Kind::Public);
    let lax = Recipe::of(Kind::GitHub);
    let own = Root::private("own".parse().unwrap(), &public.trusted_root()).unwrap();
    let elsewhere = github(&Instance::new(Kind::GitHub));
    for roots in [vec![own.clone()], vec![own.clone(), elsewhere.clone()]] {
        assert_eq!(verdict(&public, &lax, roots), Err("log-entry-missing"));
    }
    // The virtual authorities are all of one name: the first root's refusal is told.
    assert_eq!(verdict(&public, &lax, vec![elsewhere, own]), Err("timestamp"));
    // A private instance without a log has to have its SCT.
    let stamped = Instance::new(Kind::Stamped);
    let own = Root::private("own".parse().unwrap(), &stamped.trusted_root()).unwrap();
    assert_eq!(verdict(&stamped, &lax, vec![own.clone()]), Err("certificate-sct"));
    assert!(verdict(&stamped, &Recipe::stamped(), vec![own]).is_ok());
    // GitHub's kind of root is no private one.
    let json = Instance::new(Kind::GitHub).trusted_root();
    assert!(matches!(Root::private("own".parse().unwrap(), &json), Err(RootError::Lacks { .. })));
}
