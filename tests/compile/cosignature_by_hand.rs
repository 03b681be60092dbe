//! A witness's word, taken from its key and a time.
use samebits::tlog::{Cosignature, WitnessVkey};

fn forge(witness: WitnessVkey) -> Cosignature {
    Cosignature { witness, time: 1_700_000_000 }
}

fn main() {}
