//! A refusal that no gate gave: with it somebody could abort an intent.
use samebits::gate::{Denied, Verdict};

fn forge(verdict: Verdict) -> Denied {
    Denied(verdict)
}

fn main() {}
