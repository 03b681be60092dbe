//! A digest that was not parsed.
use samebits::digest::Digest;

fn forge(text: String) -> Digest {
    Digest(text)
}

fn main() {}
