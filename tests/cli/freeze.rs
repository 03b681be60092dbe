//! Freezes through the binary (E4): who may, what is refused, what is told to the freezer, where it shows, how it ends.

use samebits::key::{Algorithm, PrivateKey};
use samebits::reference::Image;
use serde_json::json;

use crate::cli::{Ran, Yard, at, valid};

/// A yard whose policy has a freezer.
fn yard() -> Yard {
    let yard = Yard::new();
    for name in ["security", "duty"] {
        let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        yard.write(&format!("keys/{name}.key"), key.to_pem().as_bytes());
        yard.write(&format!("keys/{name}.pub"), key.public().to_pem());
    }
    yard.edit_policy(|text| {
        format!(
            "{text}\n[signers.security]\npublic-key = \"keys/security.pub\"\n[signers.duty]\npublic-key = \
             \"keys/duty.pub\"\n\n[control]\nrevokers = [\"security\"]\nfreezers = [\"duty\"]\n"
        )
    });
    yard
}

fn by(yard: &Yard, who: &str, args: &[&str]) -> Ran {
    let key = format!("keys/{who}.key");
    yard.run(args.iter().copied().chain(["--key", &key, "-q"]))
}

fn image(yard: &Yard) -> (Image, String) {
    let image = yard.build("v1", "v1");
    yard.promote("oci:registry/shop:v1", "staging").exits(0);
    yard.deployed_in_staging(&image).exits(0);
    let there = at("staging", &image);
    (image, there)
}

#[test]
fn e4_a_freeze_is_a_no_until_it_is_thawed() {
    let yard = yard();
    let (_, there) = image(&yard);
    let said = by(&yard, "duty", &["freeze", "--in", "production", "--reason", "incident 117"]).exits(0);
    for piece in ["frozen production, from 2", "until it is thawed", "holds for   production"] {
        assert!(said.stdout.contains(piece), "{piece} in\n{}", said.stdout);
    }
    let refused = yard.promote(&there, "production").exits(1);
    assert_eq!(refused.stdout, "");
    for piece in [
        "not-frozen",
        "frozen by `duty` in control record 0, until it is thawed: incident 117",
        "samebits thaw 0",
    ] {
        assert!(refused.stderr.contains(piece), "{piece} in\n{}", refused.stderr);
    }
    yard.promote("oci:registry/shop:v1", "staging").exits(0);
    // The same again is the same.
    let again = by(&yard, "duty", &["freeze", "--in", "production", "--reason", "117"]).exits(0);
    assert!(again.stdout.contains("nothing was added"), "{}", again.stdout);
    let status = yard.run(["status", "-o", "json"]).exits(0).json();
    assert_eq!(status["freezes"][0]["scope"], json!({ "environment": "production" }));
    let text = yard.run(["status"]).exits(0).stdout;
    assert!(text.contains("frozen production, from 2") && text.contains("incident 117"), "{text}");
    // Nobody else, and nothing else.
    let stranger = by(&yard, "release", &["thaw", "0", "--reason", "please"]).exits(2);
    assert!(stranger.stderr.contains("may not freeze for `shop`: expected `duty`"), "{}", stranger.stderr);
    let nothing = by(&yard, "duty", &["thaw", "7", "--reason", "x"]).exits(2);
    assert!(nothing.stderr.contains("control record 7 freezes nothing"), "{}", nothing.stderr);
    let thawed = by(&yard, "duty", &["thaw", "0", "--reason", "over", "-o", "json"]).exits(0).json();
    valid(&thawed);
    assert_eq!((&thawed["effect"], &thawed["lifts"]["index"]), (&json!("thaw"), &json!(0)));
    by(&yard, "duty", &["thaw", "0", "--reason", "over"]).exits(0);
    yard.promote(&there, "production").exits(0);
    let status = yard.run(["status", "-o", "json"]).exits(0).json();
    assert_eq!((&status["freezes"], &status["control"]["size"]), (&json!([]), &json!(2)));
    yard.run(["ledger", "verify"]).exits(0);
}

#[test]
fn e4_a_freeze_by_the_clock_comes_and_goes() {
    let yard = yard();
    let (_, there) = image(&yard);
    for wrong in [
        ["--from", "2030-01-02T00:00:00Z", "--until", "2030-01-01T00:00:00Z"],
        ["--from", "2001-01-01T00:00:00Z", "--until", "2001-01-02T00:00:00Z"],
    ] {
        let refused = by(&yard, "duty", &[&["freeze", "--reason", "x"], &wrong[..]].concat()).exits(2);
        assert!(refused.stderr.contains("expected a time that is to come"), "{}", refused.stderr);
    }
    let year =
        ["freeze", "--reason", "a year", "--from", "2998-01-01T00:00:00Z", "--until", "2999-01-01T00:00:00Z"];
    let said = by(&yard, "duty", &[&year[..], &["-o", "json"]].concat()).exits(0).json();
    valid(&said);
    assert_eq!(said["environments"], json!(["staging", "production"]));
    yard.run(["check", &there, "--to", "production"]).exits(0);
    let since =
        ["freeze", "--reason", "x", "--from", "2001-01-01T00:00:00Z", "--until", "2999-01-01T00:00:00Z"];
    by(&yard, "duty", &since).exits(0);
    let refused = yard.run(["check", &there, "--to", "production"]).exits(1);
    assert!(refused.stdout.contains("wait until 2999-01-01T00:00:00Z"), "{}", refused.stdout);
    assert_eq!(yard.run(["status", "-o", "json"]).exits(0).json()["freezes"].as_array().unwrap().len(), 2);
}

#[test]
fn e4_without_freezers_nobody_freezes() {
    let yard = yard();
    yard.edit_policy(|text| text.replace("freezers = [\"duty\"]\n", ""));
    let refused = by(&yard, "duty", &["freeze", "--reason", "x"]).exits(2);
    assert!(refused.stderr.contains("the policy lets nobody freeze"), "{}", refused.stderr);
}

/// The freezer is told of what had an intent before the freeze was there; nothing that comes later is unseen.
#[test]
fn e4_a_freezer_is_told_of_the_promotions_under_way() {
    let yard = yard();
    let first = yard.build("1", "first");
    yard.write("registry/staging", "in the way");
    yard.promote("oci:registry/shop:1", "staging").exits(3);
    let said = by(&yard, "duty", &["freeze", "--reason", "incident"]).exits(0);
    let expected = format!(
        "shop {} was under way and may still be committed in staging (record 0",
        first.digest.short()
    );
    assert!(said.stdout.contains(&expected), "{expected} in\n{}", said.stdout);
    let again = by(&yard, "duty", &["freeze", "--reason", "incident", "-o", "json"]).exits(0).json();
    valid(&again);
    assert_eq!(again["open"][0]["image"], json!(first.digest.to_string()));
    assert_eq!(again["committed"], json!([]));
    // That one did not get to its second look again: it is stopped.
    std::fs::remove_file(yard.path("registry/staging")).unwrap();
    yard.promote("oci:registry/shop:1", "staging").exits(1);
    let show = by(&yard, "duty", &["freeze", "--reason", "incident", "-o", "json"]).exits(0).json();
    assert_eq!(show["record"]["index"], 0);
}
