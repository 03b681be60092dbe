//! The closure of an image whose bytes nobody hashed.
use samebits::closure::Closure;

fn forge() -> Closure {
    Closure {}
}

fn main() {}
