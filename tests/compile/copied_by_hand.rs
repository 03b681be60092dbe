//! An intent, passed on as if its bytes had been copied.
use samebits::ledger::protocol::Intent;
use samebits::promote::Copied;

fn forge(intent: Intent) -> Copied {
    Copied { intent }
}

fn main() {}
