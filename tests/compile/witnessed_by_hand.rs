//! A quorum, made by whoever needs one.
use samebits::tlog::Witnessed;

fn forge(witnesses: Vec<String>) -> Witnessed {
    Witnessed { witnesses }
}

fn main() {}
