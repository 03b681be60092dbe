//! Two intents from one place in the log.
use samebits::ledger::protocol::Intent;

fn forge(intent: &Intent) -> Intent {
    intent.clone()
}

fn main() {}
