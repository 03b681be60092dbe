//! The tags of environments, which a copy does not set, however their place is spelled.

use crate::cli::Yard;
use crate::registry::Fake;

/// A policy whose production runs from `place`, with an image in `oci:registry/shop`.
fn production_at(place: &str) -> Yard {
    let yard = Yard::new();
    yard.edit_policy(|text| text.replace("oci:registry/production/{service}", place));
    yard.push("1", "hello");
    yard
}

fn copies_to(yard: &Yard, to: &str, code: i32) -> String {
    yard.run(["copy", "oci:registry/shop:1", to]).exits(code).stderr
}

#[test]
fn f9_the_tag_of_an_environment_is_not_set_under_another_name_of_its_registry() {
    for (place, others) in [
        (
            "docker.io/acme/{service}",
            &["docker.io", "index.docker.io", "registry-1.docker.io", "docker.io:443", "index.docker.io:443"]
                [..],
        ),
        ("index.docker.io/acme/{service}", &["docker.io", "registry-1.docker.io"]),
        ("registry.example:443/acme/{service}", &["registry.example", "registry.example:443"]),
        (
            "localhost:5000/acme/{service}",
            &["localhost:5000", "127.0.0.1:5000", "127.0.0.2:5000", "[::1]:5000"],
        ),
        ("127.0.0.1:5000/acme/{service}", &["localhost:5000", "0.0.0.0:5000", "hub.localhost:5000"]),
    ] {
        let yard = production_at(place);
        for host in others {
            let said = copies_to(&yard, &format!("{host}/acme/shop:production"), 2);
            assert!(said.contains("set by `samebits promote` alone"), "{place} as {host}: {said}");
        }
    }
}

/// What a URL would read as another host or port is none.
#[test]
fn f9_a_host_that_is_spelled_in_an_odd_way_is_refused() {
    let yard = production_at("localhost:5000/acme/{service}");
    for host in ["localhost:05000", "127.1:5000", "0x7f.1:5000", "2130706433:5000", "127.0.0.01:5000"] {
        let said = copies_to(&yard, &format!("{host}/acme/shop:production"), 2);
        assert!(said.contains("is not a registry host"), "{host}: {said}");
    }
}

#[cfg(unix)]
#[test]
fn f9_the_tag_of_an_environment_is_not_set_through_a_link() {
    let yard = production_at("oci:registry/production/{service}");
    std::os::unix::fs::symlink(yard.path("registry"), yard.path("link")).unwrap();
    // Where nothing is yet, and where something is.
    for _ in 0..2 {
        for to in ["link/production/shop", "registry/production/shop", "link/../registry/production/shop"] {
            let said = copies_to(&yard, &format!("oci:{to}:production"), 2);
            assert!(said.contains("set by `samebits promote` alone"), "{to}: {said}");
        }
        let said = copies_to(&yard, "oci:link/production/shop:other", 0);
        assert!(said.contains("has not been promoted"), "{said}");
    }
    std::os::unix::fs::symlink(yard.path("registry/production/shop"), yard.path("whole")).unwrap();
    copies_to(&yard, "oci:whole:production", 2);
}

#[test]
fn f9_without_a_policy_it_is_said_that_nothing_was_guarded() {
    let yard = Yard::empty();
    yard.push("1", "hello");
    let said = copies_to(&yard, "oci:there:1", 0);
    assert!(said.contains("no environment's tag was guarded"), "{said}");
    let guarded = copies_to(&production_at("oci:registry/production/{service}"), "oci:there:1", 0);
    assert!(!guarded.contains("guarded"), "{guarded}");
}

/// A file that lies above the folder guards its tags, and no more: how a registry is spoken to is for one that was typed.
#[test]
fn f9_what_a_policy_says_of_registries_counts_only_where_it_was_named() {
    let (yard, fake) = (production_at("oci:registry/production/{service}"), Fake::start());
    // A host that the policy names speaks TLS, on loopback too; this one does not.
    let settings = format!("\n[registries.\"{}\"]\nplain-http = false\n", fake.host());
    yard.edit_policy(|text| text + &settings);
    let to = format!("{}/shop:1", fake.host());
    let said = copies_to(&yard, &to, 0);
    assert!(said.contains("does not count for a copy"), "{said}");
    yard.run(["copy", "oci:registry/shop:1", &to, "--policy", "samebits.toml"]).exits(3);
}
