//! One walk over each store: how fresh the control lane is, a promotion, and what a stranger can check of it afterwards.

use std::path::Path;

use samebits::ledger::Ledger;
use samebits::ledger::seen::Lane;
use samebits::tlog::{LogSigner, WitnessSigner};

use crate::cli::{Ran, Yard, at, ran};
use crate::git_server::{self, GitServer};
use crate::peer;
use crate::postgres::{PASSWORD, Postgres, USER};
use crate::s3::{BUCKET, S3};
use crate::witness::{names, witness};
use crate::{SQLITE, intact, yard};

/// A time that is past for any limit.
const LONG_AGO: u64 = 1_700_000_000;

/// A store that somebody else can write to.
struct There<'a> {
    url: String,
    /// What the client of the store reads from the environment.
    variables: Vec<(&'static str, String)>,
    /// Takes record `3` of the control lane away, so that two are left.
    shorten: Box<dyn Fn(&Yard) + 'a>,
}

/// A word of a witness about the control lane of the SQLite ledger, too old to be of use.
fn stale(yard: &Yard) {
    let signer: LogSigner = yard.read("keys/ledger.key").trim().parse().unwrap();
    let witness: WitnessSigner = yard.read("witness.key").trim().parse().unwrap();
    let vkey = signer.vkey().clone();
    let ledger = Ledger::open(SQLITE, &yard.path(""), &vkey, Some(signer)).unwrap();
    let head = ledger.lane_tip(Lane::Control).unwrap();
    let line = witness.cosign(&head, LONG_AGO).unwrap();
    ledger.keep_cosigned(Lane::Control, &head.cosigned(&line, witness.vkey()).unwrap()).unwrap();
}

fn walk(there: &There<'_>) {
    let yard = yard();
    let run = |args: &[&str]| -> Ran {
        ran(yard.command(args.iter().copied()).envs(there.variables.iter().cloned()))
    };
    let url = &there.url;
    let image = yard.build("1", "first");
    let staged = at("staging", &image);
    // 1. A witness that saw the lane long ago. Its word goes along when the ledger moves.
    run(&["ledger", "lock"]).exits(0);
    let key = run(&["ledger", "witness", "key", "witness.example/w1", "--to", "witness.key"]).exits(0);
    let vkey = key.stdout.lines().last().unwrap().to_owned();
    stale(&yard);
    let heads = intact(run, SQLITE);
    run(&["ledger", "copy", SQLITE, url]).exits(0);
    assert_eq!(intact(run, url), heads);
    yard.edit_policy(|policy| {
        let limit = "tag = \"production\"\ncontrol-max-staleness = \"1h\"\n";
        policy.replace(SQLITE, url).replace("tag = \"production\"\n", limit)
    });
    let served = witness(&yard);
    names(&yard, &vkey, &served.1);
    let check = || run(&["check", &staged, "--to", "production"]);
    let no = check().exits(1);
    assert!(no.stdout.contains("control-stale"), "{}", no.stdout);
    // 2. Asked again it is fresh.
    run(&["ledger", "cosign"]).exits(0);
    let yes = run(&["check", &staged, "--to", "production", "-o", "json"]).exits(0).json();
    assert_eq!((&yes["freshness"]["status"], &yes["freshness"]["size"]), (&"cosigned".into(), &2.into()));
    // 3. The walk, and every decision made again from what was kept there.
    run(&["promote", &staged, "--to", "production", "--key", "keys/release.key"]).exits(0);
    assert_eq!(yard.tagged("oci:registry/production/shop", "production"), Some(image.digest));
    for record in ["0", "1", "3", "4"] {
        let again = run(&["replay", record, "-o", "json"]).exits(0).json();
        assert_eq!(again["same"], true, "{again:#}");
    }
    yard.write("new.toml", yard.read("samebits.toml").replace("control-max-staleness = \"1h\"\n", ""));
    let others = run(&["replay", "--policy", "new.toml", "-o", "json"]).exits(0).json();
    assert_eq!(others["same"], 2, "{others:#}");
    // 4. What a stranger is given, and checks without it.
    run(&["ledger", "export", "taken"]).exits(0);
    run(&["ledger", "verify", "taken"]).exits(0);
    let cosigned = |text: &str| text.contains("\u{2014} witness.example/w1 ");
    assert!(cosigned(&yard.read("taken/checkpoint")) && cosigned(&yard.read("taken/control/checkpoint")));
    assert!(cosigned(&run(&["ledger", "prove", "4"]).exits(0).stdout));
    let (ledger, control) = intact(run, url);
    assert_eq!((&ledger["size"], &control["size"]), (&5.into(), &2.into()));
    // 5. It moves on with all of that.
    run(&["ledger", "copy", url, "sqlite:back.db"]).exits(0);
    assert_eq!(intact(run, "sqlite:back.db"), (ledger, control));
    run(&["ledger", "export", "back", "--ledger", "sqlite:back.db"]).exits(0);
    assert_eq!(yard.read("back/checkpoint"), yard.read("taken/checkpoint"));
    // 6. The lane without its newest revocation, for who never was here: a witness was (D2).
    let other = yard.build("9", "9").digest.to_string();
    run(&["revoke", &other, "--reason", "CVE-2030-3", "--key", "keys/security.key"]).exits(0);
    run(&["ledger", "cosign"]).exits(0);
    check().exits(0);
    (there.shorten)(&yard);
    for folder in [".cache", ".local"].map(|folder| yard.path(folder)) {
        if Path::exists(&folder) {
            std::fs::remove_dir_all(folder).unwrap();
        }
    }
    let refused = check().exits(3);
    for piece in ["its control lane has 2 records, and a witness has seen 3", "seen:", "found:"] {
        assert!(refused.stderr.contains(piece), "{piece} in\n{}", refused.stderr);
    }
}

const NEWEST: &str = "control/00000000000000000002";

#[test]
fn a_walk_over_a_folder() {
    walk(&There {
        url: "file:slots".to_owned(),
        variables: Vec::new(),
        shorten: Box::new(|yard| std::fs::remove_file(yard.path("slots").join(NEWEST)).unwrap()),
    });
}

#[test]
fn a_walk_over_a_branch() {
    if !peer::is_installed("git") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let bare = folder.path().join("ledger.git");
    let git = |within: &Path, args: &[&str]| {
        let who = ["-c", "user.name=x", "-c", "user.email=x@x"];
        peer::said(peer::alone("git", within).args(who).args(args)).unwrap();
    };
    git(folder.path(), &["init", "--quiet", "--bare", "ledger.git"]);
    let clone = folder.path().join("clone");
    walk(&There {
        url: format!("git+file://{}#ledger", bare.display()),
        variables: vec![("PATH", "/usr/local/bin:/usr/bin:/bin".to_owned())],
        shorten: Box::new(|_| {
            git(folder.path(), &["clone", "--quiet", "--branch", "ledger", "ledger.git", "clone"]);
            git(&clone, &["rm", "--quiet", NEWEST]);
            git(&clone, &["commit", "--quiet", "-m", "x"]);
            git(&clone, &["push", "--quiet", "origin", "ledger"]);
        }),
    });
}

/// The same branch behind TLS and a password, served by git's own program.
#[test]
fn a_walk_over_a_branch_far_away() {
    let Some(server) = GitServer::start() else { return };
    let clone = server.folder().join("clone");
    let git = |within: &Path, args: &[&str]| {
        let who = ["-c", "user.name=x", "-c", "user.email=x@x"];
        peer::said(peer::alone("git", within).args(who).args(args)).unwrap();
    };
    walk(&There {
        url: server.url(),
        variables: server.variables(),
        shorten: Box::new(|_| {
            git(server.folder(), &["clone", "--quiet", "--branch", "ledger", "ledger.git", "clone"]);
            git(&clone, &["rm", "--quiet", NEWEST]);
            git(&clone, &["commit", "--quiet", "-m", "x"]);
            git(&clone, &["push", "--quiet", "origin", "ledger"]);
        }),
    });
}

/// Neither who cannot show that he is the server, nor who cannot show that he may write.
#[test]
fn d7_a_branch_far_away_is_nobodys_without_certificate_and_password() {
    let Some(server) = GitServer::start() else { return };
    let yard = yard();
    let copy = |variables: Vec<(&'static str, String)>| {
        let refused = ran(yard.command(["ledger", "copy", SQLITE, &server.url()]).envs(variables)).exits(3);
        assert_eq!(server.branches(), "", "something was pushed");
        refused.stderr
    };
    let untrusted = copy(server.variables_without("sslCAInfo"));
    assert!(untrusted.contains("certificate"), "{untrusted}");
    let anonymous = copy(server.variables_without("helper"));
    assert!(anonymous.contains("could not read Username"), "{anonymous}");
    assert!(!anonymous.contains(git_server::PASSWORD) && !untrusted.contains(git_server::PASSWORD));
    // Not for want of a server.
    ran(yard.command(["ledger", "copy", SQLITE, &server.url()]).envs(server.variables())).exits(0);
    assert_eq!(server.branches(), "ledger");
}

#[test]
fn a_walk_over_s3() {
    let Some(s3) = S3::start() else { return };
    walk(&There {
        url: format!("s3://{BUCKET}/walked"),
        variables: s3.variables().to_vec(),
        shorten: Box::new(|_| s3.delete(&format!("walked/{NEWEST}"))),
    });
}

#[test]
fn a_walk_over_postgresql() {
    let Some(server) = Postgres::shared() else { return };
    server.database("walked");
    let sql = |sql: &str| server.sql("walked", &format!("SET search_path = samebits; {sql}"));
    walk(&There {
        url: format!("postgres://{USER}@127.0.0.1:{}/walked", server.port()),
        variables: vec![("PGPASSWORD", PASSWORD.to_owned())],
        shorten: Box::new(|yard| {
            // The note of then, which is signed, as somebody kept it.
            let note = yard.read("taken/control/checkpoint");
            sql(&format!("DELETE FROM control WHERE idx = 2; UPDATE control_checkpoint SET note = '{note}'"));
        }),
    });
}
