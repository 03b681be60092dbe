//! The bytes behind the digests: what has to be kept so that a decision can be looked at again when the registry no
//! longer has its evidence (`ATTACKS.md` B5).

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::digest::Digest;

/// Bytes to be kept with a record, each under its digest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept(Vec<Bytes>);

impl Kept {
    /// Keeps `bytes` too.
    pub fn keep(&mut self, bytes: &Bytes) {
        self.0.push(bytes.clone());
    }

    /// Each once, with the digest that is computed here.
    pub fn by_digest(&self) -> impl Iterator<Item = (Digest, &Bytes)> {
        let mut seen = BTreeSet::new();
        self.0.iter().map(|bytes| (Digest::of(bytes), bytes)).filter(move |(digest, _)| seen.insert(*digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_are_kept_once() {
        let mut kept = Kept::default();
        for text in ["a", "b", "a"] {
            kept.keep(&Bytes::from_static(text.as_bytes()));
        }
        let digests: Vec<_> = kept.by_digest().map(|(digest, _)| digest).collect();
        assert_eq!(digests, [Digest::of(b"a"), Digest::of(b"b")]);
    }
}
