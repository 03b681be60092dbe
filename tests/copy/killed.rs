//! Interrupted: no tag means half an image, and the same command goes on.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use samebits::reference::{Image, Repository};

use super::support::Bench;
use crate::registry::{Behaviour, Fake};

/// Until `there` is so, for as long as a slow machine may take.
#[track_caller]
fn until(what: &str, there: impl Fn() -> bool) {
    let began = Instant::now();
    while !there() {
        assert!(began.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::yield_now();
    }
}

/// As at a terminal: where these tests are run in the background, Ctrl-C is ignored, and a program inherits that.
#[cfg(target_os = "linux")]
fn at_a_terminal(bench: &Bench, args: &[&str]) -> Child {
    let command = bench.yard.command(args.iter().copied());
    let mut heard = std::process::Command::new("/usr/bin/env");
    heard.arg("--default-signal=INT").arg(command.get_program()).args(command.get_args());
    let given = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    heard.env_clear().envs(given);
    heard.current_dir(command.get_current_dir().unwrap()).stdout(Stdio::piped()).stderr(Stdio::piped());
    heard.spawn().unwrap()
}

#[cfg(target_os = "linux")]
fn interrupt(mut child: Child) {
    // What Ctrl-C sends; a shell is there wherever there is a terminal.
    let sent = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(sent.unwrap().success());
    assert!(!child.wait().unwrap().success());
}

/// SIGINT at each step of a copy between registries, which then answer no more.
#[cfg(target_os = "linux")]
#[test]
fn interrupted_anywhere_the_tag_is_not_there_before_the_image_is() {
    let bench = Bench::new();
    let here = Fake::start();
    let from = format!("{}/shop", here.host());
    let pushed = bench.push(&from, "hello");
    for (method, path) in
        [("POST", "/blobs/uploads/"), ("PUT", "/blobs/uploads/"), ("PUT", "/manifests/sha256:")]
    {
        let slow = Behaviour { latency: Duration::from_millis(100), ..Behaviour::default() };
        let there = Fake::with(slow);
        let to = format!("{}/to", there.host());
        let child = at_a_terminal(&bench, &["copy", &format!("{from}:1"), &format!("{to}:1")]);
        until(path, || there.count(method, path) > 0);
        // From here on nothing is answered in time: however late the signal comes, the copy is not done.
        there.behave(|behaviour| behaviour.latency = Duration::from_secs(60));
        interrupt(child);
        assert_eq!(there.tagged("to", "1"), None, "{method} {path}");
        there.behave(|behaviour| behaviour.latency = Duration::ZERO);
        // The same command goes on.
        bench.copy(&format!("{from}:1"), &format!("{to}:1"), &[]).exits(0);
        bench.is_whole(&pushed, &to);
        assert_eq!(bench.tagged(&to, "1"), Some(pushed.image.digest));
    }
}

/// SIGKILL at points spread over a copy from layout to layout.
#[test]
fn killed_anywhere_a_layout_has_no_tag_of_half_an_image() {
    const ROUNDS: u32 = 12;
    let bench = Bench::new();
    let pushed = bench.push("oci:shop", "hello");
    let began = Instant::now();
    bench.copy("oci:shop:1", "oci:warm:1", &[]).exits(0);
    let whole = began.elapsed();
    let mut killed = 0;
    for round in 0..ROUNDS {
        let to = format!("oci:to{round}");
        let mut child = bench.yard.spawn(["copy", "oci:shop:1", &format!("{to}:1")]);
        std::thread::sleep(whole * round / ROUNDS);
        child.kill().unwrap();
        killed += u32::from(child.wait().unwrap().code().is_none());
        let repository: Repository = to.parse().unwrap();
        if bench.tagged(&to, "1").is_some() {
            let image = Image::new(repository, pushed.image.digest);
            assert!(bench.wait(bench.registries().closure_if_whole(&image)).unwrap().is_some(), "{to}");
            bench.is_whole(&pushed, &to);
        }
        bench.copy("oci:shop:1", &format!("{to}:1"), &[]).exits(0);
        bench.is_whole(&pushed, &to);
    }
    assert!(killed > 0, "no run was killed");
}

/// SIGKILL at points spread over a copy into an archive, which is there whole or not at all.
#[test]
fn killed_anywhere_an_archive_is_whole_or_not_there() {
    const ROUNDS: u32 = 12;
    let bench = Bench::new();
    let pushed = bench.push("oci:shop", "hello");
    let began = Instant::now();
    bench.copy("oci:shop:1", "oci:warm.tar:1", &[]).exits(0);
    let whole = began.elapsed();
    let mut killed = 0;
    for round in 0..ROUNDS {
        let (to, file) = (format!("oci:to{round}.tar"), bench.yard.path(&format!("to{round}.tar")));
        let mut child = bench.yard.spawn(["copy", "oci:shop:1", &format!("{to}:1")]);
        std::thread::sleep(whole * round / ROUNDS);
        child.kill().unwrap();
        killed += u32::from(child.wait().unwrap().code().is_none());
        let left = bench.yard.path(&format!("to{round}.tar.partial"));
        if left.exists() {
            assert!(!file.exists());
            let said = bench.copy("oci:shop:1", &format!("{to}:1"), &[]).exits(2).stderr;
            assert!(said.contains("remove it, and run this again"), "{said}");
            std::fs::remove_file(left).unwrap();
        }
        if !file.exists() {
            bench.copy("oci:shop:1", &format!("{to}:1"), &[]).exits(0);
        }
        bench.is_whole(&pushed, &to);
        assert_eq!(bench.tagged(&to, "1"), Some(pushed.image.digest));
    }
    assert!(killed > 0, "no run was killed");
}
