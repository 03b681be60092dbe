//! What every store has to do. What only a server can do to a ledger is in `tests/postgres.rs`.

#[allow(dead_code, reason = "what the tests over the public interface use of it")]
#[path = "../../../tests/support/postgres.rs"]
mod postgres;

use std::path::Path;

use super::swap::BEGIN;
use super::{Postgres, Server};
use crate::ledger::contract::{Bed, holds, signer};
use crate::ledger::{Ledger, peer};

#[test]
fn it_does_what_every_store_does() {
    let Some(server) = postgres::Postgres::shared() else { return };
    server.database("contract");
    let url = server.url(postgres::USER, "contract");
    let again = url.clone();
    holds(&Bed {
        signer: signer(),
        create: Box::new(move |signer| Ledger::create(&url, Path::new("/"), signer)),
        open: Box::new(move |vkey, signer| Ledger::open(&again, Path::new("/"), vkey, signer)),
    });
}

/// A pooler that gives each transaction another connection loses what was set for the session: no transaction that writes,
/// and none that reads more than once, relies on it.
#[test]
fn a_transaction_brings_its_own_settings() {
    let Some(server) = postgres::Postgres::shared() else { return };
    server.database("pooled");
    let url = server.url(postgres::USER, "pooled");
    let _ledger = Ledger::create(&url, Path::new("/"), &signer()).unwrap();
    // What a login begins with there is what nobody may rely on.
    server.sql("pooled", "ALTER DATABASE pooled SET synchronous_commit = off");
    let store =
        Postgres::open(&Server::parse(url.strip_prefix("postgres:").unwrap(), Path::new("/")).unwrap(), true)
            .unwrap();
    let is = |setting: &str| -> String {
        let sql = format!("SELECT current_setting('{setting}')");
        store.first(&sql, Vec::new()).unwrap().unwrap()
    };
    for begin in [BEGIN, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"] {
        store.batch("RESET ALL").unwrap();
        assert_eq!((is("synchronous_commit").as_str(), is("lock_timeout").as_str()), ("off", "0"));
        assert!(!is("search_path").contains("samebits"));
        store.begin(begin).unwrap();
        assert_eq!((is("synchronous_commit").as_str(), is("lock_timeout").as_str()), ("on", "30s"));
        assert_eq!(is("search_path"), "samebits, pg_temp");
        store.batch("ROLLBACK").unwrap();
        assert_eq!(is("synchronous_commit"), "off");
    }
}
