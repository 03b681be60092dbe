//! A refusal, passed on as an approval.
use samebits::gate::{Approved, Decision};

fn forge(decision: Decision) -> Approved {
    match decision {
        Decision::Approved(approved) => approved,
        Decision::Denied(denied) => denied,
    }
}

fn main() {}
