//! What every store has to do. What only a server can do to a ledger is in `tests/postgres.rs`.

#[allow(dead_code, reason = "what the tests over the public interface use of it")]
#[path = "../../../tests/support/postgres.rs"]
mod postgres;

use std::path::Path;

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
