//! Buffers that the bytes of a blob pass through, used again and again.
//!
//! Some allocators get memory of this size from the system each time and give it back each time, as musl's does, which the
//! Linux releases are built with: by its threshold (`GLIBC_TUNABLES=glibc.malloc.mmap_threshold=131072`) a copy took half
//! as much CPU again, and takes hardly more now. An HTTP client uses its own buffer again once nobody looks at what was in
//! it, so what it brought is copied away at once.
//! Guarantees: bytes that were handed out never change; how many buffers are kept is bounded. Never does: I/O.

use bytes::{Bytes, BytesMut};

/// Those of one blob: a piece that waits, one that is held back, two on their way out, one that is filled.
const MOST: usize = 5;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    /// What was handed out last comes last.
    used: Vec<Bytes>,
}

impl Buffers {
    /// At least `least` bytes to write to: the buffer that nobody looks at any more whose bytes are the freshest, which
    /// the processor may still remember; or a new one.
    pub(super) fn free(&mut self, least: usize) -> BytesMut {
        let free = self.used.iter().rposition(|it| it.is_unique() && it.len() >= least);
        if free.is_none() && self.used.len() >= MOST {
            self.used.remove(0);
        }
        let again = free.and_then(|at| self.used.remove(at).try_into_mut().ok());
        again.unwrap_or_else(|| BytesMut::zeroed(least.next_power_of_two()))
    }

    /// Its first `length` bytes, which it has; it is used again when they are dropped.
    pub(super) fn hand_out(&mut self, buffer: BytesMut, length: usize) -> Bytes {
        let whole = buffer.freeze();
        let piece = whole.slice(..length);
        self.used.push(whole);
        piece
    }

    /// These bytes, in a buffer of our own.
    pub(super) fn copy(&mut self, bytes: &[u8]) -> Bytes {
        let mut buffer = self.free(bytes.len());
        buffer[..bytes.len()].copy_from_slice(bytes);
        self.hand_out(buffer, bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_still_looks_at_is_never_written_to() {
        let mut buffers = Buffers::default();
        let kept = buffers.copy(b"kept");
        for round in 0..100_u8 {
            let piece = buffers.copy(&[round; 4]);
            assert_eq!(*piece, [round; 4]);
            assert_eq!(*kept, *b"kept", "round {round}");
        }
    }

    #[test]
    fn what_nobody_looks_at_is_used_again() {
        let mut buffers = Buffers::default();
        let mut places = std::collections::BTreeSet::new();
        for _ in 0..100 {
            places.insert(buffers.copy(&[7; 1000]).as_ptr());
        }
        assert!(places.len() <= MOST, "{} buffers", places.len());
        assert!(buffers.used.len() <= MOST);
        // One that is too small is not.
        assert_eq!(buffers.copy(&[8; 5000]).len(), 5000);
    }
}
