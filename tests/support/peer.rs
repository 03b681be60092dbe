//! Programs of other people that tests talk to. A missing one is said and skipped, or is a failure where
//! `SAMEBITS_REQUIRE_PEERS` is set, as in CI.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Whether `program` can be run; if not, the test that asks has nothing to do.
pub(crate) fn is_installed(program: &str) -> bool {
    match Command::new(program).arg("--version").output() {
        Ok(_) => true,
        Err(error) => {
            #[allow(clippy::disallowed_methods, reason = "how CI says that nothing may be skipped")]
            let required = std::env::var_os("SAMEBITS_REQUIRE_PEERS").is_some();
            assert!(!required, "no {program} ({error}), and SAMEBITS_REQUIRE_PEERS is set");
            let test = std::thread::current().name().unwrap_or_default().to_owned();
            // Not by a macro: the test runner shows what those print of failed tests only.
            let line = format!("skipped: {test}: no {program} ({error})\n");
            std::io::stderr().write_all(line.as_bytes()).unwrap();
            false
        }
    }
}

/// `program` in `folder`, with an empty home: no login, key, registry or policy of whoever runs the tests.
pub(crate) fn alone(program: &str, folder: &Path) -> Command {
    #[allow(clippy::disallowed_methods, reason = "where the peers are, and nothing else of the caller's")]
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut command = Command::new(program);
    command.current_dir(folder).env_clear().env("PATH", path).env("HOME", folder).stdin(Stdio::null());
    command
}

/// What it printed; `Err` is what it complained about.
pub(crate) fn said(command: &mut Command) -> Result<Vec<u8>, String> {
    let output = command.output().unwrap();
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

#[allow(dead_code, reason = "not every program of tests copies images")]
/// Runs skopeo in `folder` and returns what it printed; `Err` is what it complained about.
pub(crate) fn skopeo(folder: &Path, arguments: &[&str]) -> Result<Vec<u8>, String> {
    let mut command = alone("skopeo", folder);
    command.arg("--insecure-policy").args(arguments);
    said(command.env("REGISTRY_AUTH_FILE", folder.join("auth.json")))
}
