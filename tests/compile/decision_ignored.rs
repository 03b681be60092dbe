//! A decision that nobody acts on.
#![deny(unused_must_use)]

use samebits::evidence::{Evidence, Target};
use samebits::gate::decide;

fn forge(target: &Target<'_>, evidence: &Evidence) {
    decide(target, evidence);
}

fn main() {}
