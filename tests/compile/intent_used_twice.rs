//! An intent that is used again after it was aborted.
use samebits::gate::Denied;
use samebits::ledger::protocol::{Intent, Writer};
use samebits::policy::Environment;
use samebits::record::Position;

fn forge(intent: Intent, writer: &mut Writer<'_>, environment: &Environment, denied: &Denied) -> Position {
    let _closed = intent.abort(writer, environment, denied);
    intent.position()
}

fn main() {}
