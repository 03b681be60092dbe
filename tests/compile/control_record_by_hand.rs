//! A revocation, or the lack of one, that was not read from the log.
use samebits::record::ControlRecord;

fn forge() -> ControlRecord {
    ControlRecord {}
}

fn main() {}
