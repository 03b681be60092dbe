//! The walk over a ledger on a branch of a git repository, from within another repository that would be in the way.

use std::path::Path;

use crate::cli::{Ran, Yard, at, ran};
use crate::peer;
use samebits::ledger::Ledger;
use samebits::tlog::LogSigner;

/// Runs the binary where a hook of git calls it.
fn run<'a>(yard: &Yard, args: impl IntoIterator<Item = &'a str>) -> Ran {
    let mut command = yard.command(args);
    command.env("GIT_DIR", yard.path("elsewhere.git")).env("GIT_INDEX_FILE", "/nowhere/index");
    command
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("GIT_CONFIG_PARAMETERS", "'core.hooksPath'='/nowhere'");
    ran(&mut command)
}

#[test]
fn a_promotion_over_a_ledger_on_a_branch() {
    if !peer::is_installed("git") {
        return;
    }
    let yard = Yard::new();
    let bare = yard.path("ledger.git");
    let git = |arguments: &[&str]| {
        let said = peer::said(peer::alone("git", &yard.path("")).arg("--git-dir").arg(&bare).args(arguments));
        String::from_utf8(said.unwrap()).unwrap().trim().to_owned()
    };
    git(&["init", "--quiet", "--bare"]);
    git(&["config", "receive.denyNonFastForwards", "true"]);
    let url = format!("git+file://{}#ledger", bare.display());
    yard.edit_policy(|policy| policy.replace("sqlite:.samebits/ledger.db", &url));
    // 1. A branch without a ledger.
    assert!(run(&yard, ["status"]).exits(3).stderr.contains("there is no ledger at git+file://"));
    let signer: LogSigner = yard.read("keys/ledger.key").trim().parse().unwrap();
    Ledger::create(&url, Path::new("/"), &signer).unwrap();
    // 2. The walk.
    let image = yard.build("1.4.2", "hello");
    let name = format!("oci:registry/shop@{}", image.digest);
    let promote = ["promote", &name, "--to", "staging", "--key", "keys/release.key"];
    assert_eq!(run(&yard, promote).exits(0).stdout, format!("{}\n", at("staging", &image)));
    let old = git(&["rev-parse", "ledger"]);
    let there = at("staging", &image);
    run(&yard, ["deployed", &there, "--in", "staging", "--key", "keys/staging.key"]).exits(0);
    run(&yard, ["promote", &there, "--to", "production", "--key", "keys/release.key"]).exits(0);
    assert_eq!(yard.tagged("oci:registry/production/shop", "production"), Some(image.digest));
    run(&yard, ["ledger", "verify"]).exits(0);
    assert_eq!(git(&["fsck", "--strict"]), "");
    assert!(!yard.path("elsewhere.git").exists());
    // 3. Put back by force: both heads are shown, and nothing is promoted on it.
    git(&["update-ref", "refs/heads/ledger", &old]);
    let again = yard.build("1.4.3", "again");
    let again = format!("oci:registry/shop@{}", again.digest);
    let refused = run(&yard, ["promote", &again, "--to", "staging", "--key", "keys/release.key"]).exits(3);
    assert_eq!(refused.stderr.matches("    shop.example/promotions\n").count(), 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("rolled back"), "{}", refused.stderr);
    assert_eq!(git(&["rev-parse", "ledger"]), old);
    // 4. A login in the URL is none.
    yard.edit_policy(|policy| policy.replace(&url, "git+https://ci:hunter2@git.example/a#main"));
    let refused = run(&yard, ["status"]).exits(3);
    assert!(!refused.stderr.contains("hunter2"), "{}", refused.stderr);
}
