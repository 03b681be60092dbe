//! An intent that is in no log.
use samebits::ledger::protocol::Intent;

fn forge() -> Intent {
    Intent {}
}

fn main() {}
