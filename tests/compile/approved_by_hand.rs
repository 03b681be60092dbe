//! An approval that no gate gave.
use samebits::gate::{Approved, Verdict};

fn forge(verdict: Verdict) -> Approved {
    Approved(verdict)
}

fn main() {}
