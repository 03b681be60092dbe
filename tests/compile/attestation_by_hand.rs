//! An attestation that was never read from bytes.
use samebits::verify::Attestation;

fn forge() -> Attestation {
    Attestation {}
}

fn main() {}
