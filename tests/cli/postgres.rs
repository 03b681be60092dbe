//! The walk over a ledger in a real PostgreSQL.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::cli::{Yard, at, ran};
use crate::postgres::{PASSWORD, Postgres, USER};
use samebits::ledger::Ledger;
use samebits::tlog::LogSigner;

#[test]
fn a_promotion_over_a_ledger_in_postgresql() {
    let Some(server) = Postgres::shared() else { return };
    server.database("walk");
    let yard = Yard::new();
    let signer: LogSigner = yard.read("keys/ledger.key").trim().parse().unwrap();
    Ledger::create(&server.url(USER, "walk"), Path::new("/"), &signer).unwrap();
    let url = format!("postgres://{USER}@127.0.0.1:{}/walk", server.port());
    yard.edit_policy(|policy| policy.replace("sqlite:.samebits/ledger.db", &url));
    let image = yard.build("1.4.2", "hello");
    let name = format!("oci:registry/shop@{}", image.digest);
    // 1. Nobody is let in without a password, with a wrong one, or with one that others read.
    let none = yard.promote(&name, "staging").exits(3);
    assert!(
        none.stderr.contains("refused the login") && none.stderr.contains("PGPASSWORD"),
        "{}",
        none.stderr
    );
    let wrong = ran(yard.command(["status"]).env("PGPASSWORD", "wrong")).exits(3);
    assert!(wrong.stderr.contains("password authentication failed"), "{}", wrong.stderr);
    yard.write(".pgpass", format!("127.0.0.1:*:*:{USER}:{PASSWORD}\n"));
    let open =
        |mode| std::fs::set_permissions(yard.path(".pgpass"), PermissionsExt::from_mode(mode)).unwrap();
    open(0o644);
    assert!(yard.run(["status"]).exits(3).stderr.contains("others can read it"));
    open(0o600);
    assert!(yard.tagged_if_there("oci:registry/staging/shop", "staging").is_none());
    // 2. The walk.
    assert_eq!(yard.promote(&name, "staging").exits(0).stdout, format!("{}\n", at("staging", &image)));
    yard.promote(&at("staging", &image), "production").exits(1);
    yard.deployed_in_staging(&image).exits(0);
    yard.promote(&at("staging", &image), "production").exits(0);
    assert_eq!(yard.phases(&image, "staging"), ["intent", "commit"]);
    assert_eq!(yard.tagged("oci:registry/production/shop", "production"), Some(image.digest));
    // Said again, it is the same promotion.
    yard.promote(&at("staging", &image), "production").exits(0);
    assert_eq!(yard.phases(&image, "production"), ["refused", "intent", "commit"]);
    yard.run(["ledger", "verify"]).exits(0);
    // 3. One byte of one record.
    server.sql("walk", "UPDATE samebits.entries SET body = set_byte(body, 100, 0) WHERE idx = 1");
    let found = yard.run(["ledger", "verify"]).exits(1);
    assert!(found.stdout.contains("record 1"), "{}", found.stdout);
    // 4. A password in the policy is no password.
    yard.edit_policy(|policy| policy.replace(&format!("{USER}@"), &format!("{USER}:hunter2@")));
    let refused = yard.run(["status"]).exits(3);
    assert!(refused.stderr.contains("a password in the URL"), "{}", refused.stderr);
    assert!(!refused.stderr.contains("hunter2"), "{}", refused.stderr);
}
