//! A commit of bytes that were not copied.
use jiff::Timestamp;
use samebits::ledger::protocol::{Intent, Writer};
use samebits::policy::Environment;

fn forge(intent: Intent, writer: &mut Writer<'_>, environment: &Environment, now: Timestamp) {
    let _ = intent.commit(writer, environment, now);
}

fn main() {}
