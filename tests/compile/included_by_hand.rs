//! An entry, said to be in a log by somebody who checked no proof.
use samebits::tlog::Included;

fn forge() -> Included {
    Included {}
}

fn main() {}
