//! A promotion that was never recorded.
use samebits::promote::Promotion;

fn forge() -> Promotion {
    Promotion {}
}

fn main() {}
