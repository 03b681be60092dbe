//! The bytes of one blob while they pass, so that they can be read again from the middle.
//!
//! Guarantees: every byte that is handed on was hashed; bytes that are read a second time are hashed again, and have to
//! be those of the first time; however long the blob is, a few states of the hash are kept. Never does: I/O.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::error::RegistryError;
use crate::digest::{Digest, Hasher};

/// Bytes between two states of the hash that are kept, at first; doubles whenever there are [`KEPT`] of them.
const STEP: u64 = 1 << 20;
const KEPT: usize = 64;

/// What is known of a blob that is read once or more often.
pub(crate) struct Trail {
    blob: Digest,
    state: Mutex<State>,
}

struct State {
    /// Which reading is the current one; what an earlier one still brings is refused.
    reading: u64,
    /// How many bytes it has passed, with what was before its first.
    at: u64,
    hasher: Hasher,
    /// States of the hash at places before `at`, in order.
    marks: Vec<(u64, Hasher)>,
    step: u64,
    /// What the bytes up to a place were when they were read before, where the current reading is not yet.
    earlier: Vec<(u64, Digest)>,
}

impl Trail {
    /// Nothing was read yet.
    pub(crate) fn new(blob: Digest) -> Arc<Self> {
        let state = State {
            reading: 0,
            at: 0,
            hasher: Hasher::default(),
            marks: Vec::new(),
            step: STEP,
            earlier: Vec::new(),
        };
        Arc::new(Self { blob, state: Mutex::new(state) })
    }

    /// Begins to read again, at the last kept place that is not behind `wanted`; the readings before this one end.
    pub(crate) fn read_from(self: &Arc<Self>, wanted: u64) -> Pass {
        let mut state = self.state();
        let State { reading, at, hasher, marks, earlier, .. } = &mut *state;
        *reading += 1;
        marks.retain(|(place, _)| *place <= wanted);
        let (start, from) = marks.last().cloned().unwrap_or_default();
        if start < *at {
            earlier.push((*at, std::mem::replace(hasher, from).finish()));
            *at = start;
        }
        Pass { trail: Arc::clone(self), number: *reading }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One time that the blob is read.
pub(crate) struct Pass {
    trail: Arc<Trail>,
    number: u64,
}

impl Pass {
    /// How many bytes of the blob are hashed: where to go on.
    pub(crate) fn at(&self) -> u64 {
        self.trail.state().at
    }

    /// Hashes the next bytes.
    ///
    /// # Errors
    /// [`RegistryError::ReadTwice`] when they are others than before, or when a later reading has begun.
    pub(crate) fn pass(&self, mut bytes: &[u8]) -> Result<(), RegistryError> {
        let mut state = self.trail.state();
        self.current(&state)?;
        while !bytes.is_empty() {
            let stop = state.stop().min(state.at.saturating_add(bytes.len() as u64));
            // At most the length of the slice.
            let (now, later) = bytes.split_at((stop - state.at) as usize);
            state.hasher.update(now);
            (state.at, bytes) = (stop, later);
            if !state.arrive() {
                return Err(self.changed());
            }
        }
        Ok(())
    }

    /// The digest of all bytes up to here.
    ///
    /// # Errors
    /// [`RegistryError::ReadTwice`] when there were more bytes before, or when a later reading has begun.
    pub(crate) fn digest(&self) -> Result<Digest, RegistryError> {
        let state = self.trail.state();
        self.current(&state)?;
        match state.earlier.is_empty() {
            true => Ok(state.hasher.clone().finish()),
            false => Err(self.changed()),
        }
    }

    fn current(&self, state: &State) -> Result<(), RegistryError> {
        if state.reading == self.number { Ok(()) } else { Err(self.changed()) }
    }

    fn changed(&self) -> RegistryError {
        RegistryError::ReadTwice { digest: self.trail.blob }
    }
}

impl State {
    /// The next place at which something is to be done.
    fn stop(&self) -> u64 {
        let mark = (self.at / self.step).saturating_add(1).saturating_mul(self.step);
        self.earlier.iter().map(|(place, _)| *place).fold(mark, u64::min)
    }

    /// Does it; false when the bytes up to here were others before.
    fn arrive(&mut self) -> bool {
        let at = self.at;
        if self.earlier.iter().any(|(place, _)| *place == at) {
            let found = self.hasher.clone().finish();
            if self.earlier.iter().any(|(place, before)| *place == at && *before != found) {
                return false;
            }
            self.earlier.retain(|(place, _)| *place != at);
        }
        if at.is_multiple_of(self.step) {
            self.marks.push((at, self.hasher.clone()));
            if self.marks.len() >= KEPT {
                self.step = self.step.saturating_mul(2);
                let step = self.step;
                self.marks.retain(|(place, _)| place.is_multiple_of(step));
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn bytes(mib: usize) -> Vec<u8> {
        (0..mib * MIB).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
    }

    #[test]
    fn a_blob_is_hashed_once_however_often_it_is_read() {
        let all = bytes(5);
        let trail = Trail::new(Digest::of(&all));
        let first = trail.read_from(0);
        first.pass(&all[..3 * MIB + 17]).unwrap();
        // The destination has less than was read.
        let second = trail.read_from(2 * MIB as u64 + 5);
        assert_eq!(second.at(), 2 * MIB as u64, "the last kept place before it");
        assert!(matches!(first.pass(b"x"), Err(RegistryError::ReadTwice { .. })), "it has ended");
        assert!(first.digest().is_err());
        for part in all[2 * MIB..].chunks(10_007) {
            second.pass(part).unwrap();
        }
        assert_eq!(second.digest().unwrap(), Digest::of(&all));
        // From the start, too.
        let third = trail.read_from(0);
        assert_eq!(third.at(), 0);
        third.pass(&all).unwrap();
        assert_eq!(third.digest().unwrap(), Digest::of(&all));
    }

    #[test]
    fn a2_bytes_that_are_others_the_second_time_are_noticed() {
        let (right, size) = (bytes(3), 3 * MIB);
        let mut wrong = right.clone();
        wrong[2 * MIB + 3] ^= 1;
        // The first time they were wrong, and half of that is at the destination: the second time alone has the digest.
        let trail = Trail::new(Digest::of(&right));
        trail.read_from(0).pass(&wrong[..2 * MIB + 10]).unwrap();
        let again = trail.read_from(2 * MIB as u64 + 10);
        assert!(matches!(again.pass(&right[2 * MIB..]), Err(RegistryError::ReadTwice { .. })));
        // A third time that agrees with the second, but not with the first.
        let trail = Trail::new(Digest::of(&right));
        trail.read_from(0).pass(&wrong[..size - 1]).unwrap();
        trail.read_from(MIB as u64).pass(&right[MIB..2 * MIB + 100]).unwrap();
        let third = trail.read_from(2 * MIB as u64 + 50);
        assert!(third.pass(&right[2 * MIB..]).is_err());
        // Shorter than before.
        let trail = Trail::new(Digest::of(&right));
        trail.read_from(0).pass(&right).unwrap();
        let again = trail.read_from(MIB as u64);
        again.pass(&right[MIB..2 * MIB]).unwrap();
        assert!(again.digest().is_err());
    }

    #[test]
    fn what_is_kept_does_not_grow_with_the_blob() {
        let trail = Trail::new(Digest::of(b"whatever"));
        let reading = trail.read_from(0);
        let mib = vec![0; MIB];
        for _ in 0..300 {
            reading.pass(&mib).unwrap();
        }
        assert!(trail.state().marks.len() < KEPT);
        let again = trail.read_from(299 * MIB as u64);
        assert!(again.at() >= 280 * MIB as u64, "{}", again.at());
    }
}
