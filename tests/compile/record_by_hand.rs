//! A record that is in no log and that nobody signed.
use samebits::record::Record;

fn forge() -> Record {
    Record {}
}

fn main() {}
