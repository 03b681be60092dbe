//! How far copies are, for somebody who watches.
//!
//! Guarantees: looking costs the copy nothing, and changes nothing. Never does: decide by these numbers, I/O, read a clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::closure::Descriptor;

/// What all copies by one [`super::Registries`] and its clones have to do, and have done.
#[derive(Debug, Default)]
pub struct Progress {
    blobs: AtomicUsize,
    bytes: AtomicU64,
    here: AtomicU64,
    sent: AtomicU64,
    mounted: AtomicUsize,
    present: AtomicUsize,
    moving: AtomicUsize,
}

/// A look at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Blobs that are known to be needed.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of them that are at the destination, or on their way to it.
    pub done: u64,
    /// Those of them that were sent.
    pub sent: u64,
    /// Blobs that the registry took from another of its repositories.
    pub mounted: usize,
    /// Blobs that were there.
    pub present: usize,
    /// Blobs that are being sent.
    pub moving: usize,
}

impl Progress {
    /// How it is at this moment.
    pub fn look(&self) -> Moved {
        let (here, sent) = (self.here.load(Ordering::Relaxed), self.sent.load(Ordering::Relaxed));
        Moved {
            blobs: self.blobs.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            done: here.saturating_add(sent),
            sent,
            mounted: self.mounted.load(Ordering::Relaxed),
            present: self.present.load(Ordering::Relaxed),
            moving: self.moving.load(Ordering::Relaxed),
        }
    }

    /// These are needed.
    pub(super) fn expect<'a>(&self, blobs: impl IntoIterator<Item = &'a Descriptor>) {
        for blob in blobs {
            self.blobs.fetch_add(1, Ordering::Relaxed);
            self.bytes.fetch_add(blob.size, Ordering::Relaxed);
        }
    }

    pub(super) fn mounted(&self, blob: &Descriptor) {
        self.mounted.fetch_add(1, Ordering::Relaxed);
        self.here.fetch_add(blob.size, Ordering::Relaxed);
    }

    pub(super) fn present(&self, blob: &Descriptor) {
        self.present.fetch_add(1, Ordering::Relaxed);
        self.here.fetch_add(blob.size, Ordering::Relaxed);
    }

    /// One is being sent.
    pub(super) fn begin(self: &Arc<Self>) -> Sending {
        self.moving.fetch_add(1, Ordering::Relaxed);
        Sending { progress: Arc::clone(self), at: AtomicU64::new(0) }
    }
}

/// A blob that is being sent, until this is dropped.
#[derive(Debug)]
pub(super) struct Sending {
    progress: Arc<Progress>,
    at: AtomicU64,
}

impl Sending {
    /// It goes on at this byte: what was sent behind it is sent again.
    pub(super) fn from(&self, at: u64) {
        let before = self.at.swap(at, Ordering::Relaxed);
        self.progress.sent.fetch_sub(before.saturating_sub(at), Ordering::Relaxed);
        self.progress.sent.fetch_add(at.saturating_sub(before), Ordering::Relaxed);
    }

    /// So many more bytes were read for it.
    pub(super) fn pass(&self, bytes: usize) {
        self.at.fetch_add(bytes as u64, Ordering::Relaxed);
        self.progress.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.progress.moving.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_again_is_counted_once() {
        let progress = Arc::<Progress>::default();
        let sending = progress.begin();
        sending.from(0);
        sending.pass(100);
        sending.from(60);
        assert_eq!((progress.look().sent, progress.look().moving), (60, 1));
        sending.pass(40);
        drop(sending);
        assert_eq!((progress.look().sent, progress.look().moving), (100, 0));
    }
}
