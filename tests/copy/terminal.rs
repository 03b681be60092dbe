//! What somebody sees who waits for a copy: a line at a terminal, made by script(1); nothing of it anywhere else.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::support::Bench;
use crate::cli::Yard;
use crate::peer;
use crate::registry::{Behaviour, Fake};

/// Up, and away.
const ERASE: &str = "\u{1b}[1A\r\u{1b}[2K";

/// A slow registry, so that there is something to wait for.
fn slow() -> Fake {
    Fake::with(Behaviour { latency: Duration::from_millis(250), ..Behaviour::default() })
}

/// The copy at a terminal, with these variables: all that it wrote there.
fn at_a_terminal(bench: &Bench, to: &str, more: &str, variables: &[(&str, &str)]) -> String {
    seen(&bench.yard, &format!("copy oci:shop:1 {to} --no-referrers {more}"), variables)
}

/// What the binary writes at a terminal of 100 columns.
fn seen(yard: &Yard, args: &str, variables: &[(&str, &str)]) -> String {
    let binary = env!("CARGO_BIN_EXE_samebits");
    let command = format!("stty cols 100; exec {binary} {args}");
    let mut script = Command::new("script");
    script.args(["-qec", &command, "/dev/null"]).current_dir(yard.path("")).env_remove("CI");
    script.env("TERM", "xterm").envs(variables.iter().copied()).stdin(Stdio::null());
    let output = script.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    text
}

#[test]
fn a_terminal_shows_a_line_and_nothing_else_does() {
    if !peer::is_installed("script") {
        return;
    }
    let bench = Bench::new();
    bench.push("oci:shop", "hello");
    let copied = |more: &str, variables: &[(&str, &str)]| {
        let fake = slow();
        at_a_terminal(&bench, &format!("{}/shop:1", fake.host()), more, variables)
    };
    let seen = copied("", &[]);
    assert!(seen.contains("copying     ") && seen.contains(" blobs: ") && seen.contains(ERASE), "{seen:?}");
    // What is left is what was said: the last line of it was taken away.
    let after = seen.rsplit(ERASE).next().unwrap();
    assert!(after.contains("copied") && !after.contains("copying     "), "{seen:?}");
    assert!(!copied("", &[("NO_COLOR", "1")]).contains("\u{1b}[3"), "no colours");
    for (more, variables) in
        [("", &[("TERM", "dumb")][..]), ("", &[("CI", "true")]), ("--quiet", &[]), ("-o json", &[])]
    {
        let seen = copied(more, variables);
        assert!(!seen.contains("copying     ") && !seen.contains(ERASE), "{more} {variables:?}: {seen:?}");
    }
    // No terminal at all.
    let fake = slow();
    let ran = bench.copy("oci:shop:1", &format!("{}/shop:1", fake.host()), &["--no-referrers"]).exits(0);
    assert!(!ran.stderr.contains("copying     ") && !ran.stderr.contains('\u{1b}'), "{}", ran.stderr);
}

#[test]
fn a_promotion_at_a_terminal_shows_the_line_while_bytes_move_and_takes_it_away() {
    if !peer::is_installed("script") {
        return;
    }
    let (yard, fake) = (Yard::empty(), Fake::start());
    yard.run(["init", "--service", "shop", "--registry", fake.host()]).exits(0);
    let image = yard.push_to(&format!("{}/shop", fake.host()).parse().unwrap(), "1", "hello");
    yard.attest(&image, "build", samebits::verify::COSIGN_SIGN);
    fake.behave(|behaviour| behaviour.latency = Duration::from_millis(150));
    let promote = format!("promote {image} --to staging --key keys/release.key");
    // First where nothing is to be seen, so that it is a promotion with something to do.
    let quiet = seen(&yard, &format!("{promote} --quiet"), &[]);
    assert!(!quiet.contains("copying     "), "{quiet:?}");
    let there = yard.push_to(&format!("{}/shop", fake.host()).parse().unwrap(), "2", "again");
    yard.attest(&there, "build", samebits::verify::COSIGN_SIGN);
    let seen = seen(&yard, &promote.replace(&image.to_string(), &there.to_string()), &[]);
    assert!(seen.contains("copying     ") && seen.contains(" blobs: ") && seen.contains(ERASE), "{seen:?}");
    let after = seen.rsplit(ERASE).next().unwrap();
    assert!(!after.contains("copying     ") && after.contains(&there.digest.to_string()), "{seen:?}");
}
