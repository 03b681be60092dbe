//! A question about an image, with the closure of another one.
use samebits::evidence::Target;

fn forge() -> Target<'static> {
    Target {}
}

fn main() {}
