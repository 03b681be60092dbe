//! An attestation, called verified by somebody who checked no signature.
use samebits::verify::{Attestation, Verified};

fn forge() -> Verified<Attestation> {
    Verified {}
}

fn main() {}
