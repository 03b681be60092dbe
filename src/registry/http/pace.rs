//! Whether a blob moves: not at all for a while, or too slowly over a longer one.
//!
//! Guarantees: what was waited for from somebody else does not count against who is watched. Never does: I/O; the time
//! that has passed is an argument.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::config::Rate;

/// What is to be noticed of bytes that move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sluggish {
    /// Nothing moved.
    Still,
    /// So many bytes moved, which are too few.
    Slow(u64),
}

/// One window of a rate after the other.
#[derive(Debug)]
pub(super) struct Window {
    rate: Rate,
    /// When it began, and how many bytes had moved by then.
    began: (Duration, u64),
}

impl Window {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, began: (Duration::ZERO, 0) }
    }

    /// How much of it is left.
    pub(super) fn left(&self, now: Duration) -> Duration {
        (self.began.0 + self.rate.within).saturating_sub(now)
    }

    /// Notes how many bytes have moved in all; too few of them in a window that has ended are returned.
    pub(super) fn note(&mut self, now: Duration, bytes: u64) -> Option<u64> {
        let moved = bytes.saturating_sub(self.began.1);
        // Enough is enough: a new one begins, so that a stop after a rush is measured from its beginning.
        if moved >= self.rate.bytes {
            self.began = (now, bytes);
            return None;
        }
        // Nothing at all is for the other rule.
        (moved > 0 && now >= self.began.0 + self.rate.within).then_some(moved)
    }

    /// Begins anew: what was lost was lost by somebody else.
    pub(super) fn excuse(&mut self, now: Duration, bytes: u64) {
        self.began = (now, bytes);
    }
}

/// How one upload is getting on; shared between the body and who watches it.
#[derive(Debug)]
pub(super) struct Gauge {
    /// Bytes of the blob that were handed to the network.
    pub(super) at: AtomicU64,
    /// Where the last of them is.
    pub(super) end: u64,
    /// Whether the source is being waited for.
    pub(super) reading: AtomicBool,
}

/// Returns when the network does not take what it is given: nothing for `idle`, or less than `rate`. After the last byte
/// the registry has `idle` to answer.
pub(super) async fn sluggish(gauge: &Gauge, idle: Duration, rate: Rate) -> Sluggish {
    let started = Instant::now();
    let (mut last, mut moved) = (gauge.at.load(Ordering::Relaxed), Duration::ZERO);
    let mut window = Window::new(rate);
    window.excuse(Duration::ZERO, last);
    loop {
        let now = started.elapsed();
        let still = (moved + idle).saturating_sub(now);
        let wait =
            Some(window.left(now)).filter(|left| !left.is_zero()).map_or(still, |left| left.min(still));
        tokio::time::sleep(wait.max(Duration::from_millis(1))).await;
        let (now, at) = (started.elapsed(), gauge.at.load(Ordering::Relaxed));
        // The source has a watch of its own.
        if gauge.reading.load(Ordering::Relaxed) {
            (last, moved) = (at, now);
            window.excuse(now, at);
            continue;
        }
        if at != last {
            (last, moved) = (at, now);
        } else if now >= moved + idle {
            return Sluggish::Still;
        }
        if at >= gauge.end {
            window.excuse(now, at);
        } else if let Some(bytes) = window.note(now, at) {
            return Sluggish::Slow(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { bytes: 100, within: Duration::from_secs(10) };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn f5_a_drip_is_too_slow_at_the_end_of_the_window() {
        let mut window = Window::new(RATE);
        assert_eq!([1, 5, 9].map(|now| window.note(at(now), now)), [None; 3]);
        assert_eq!(window.note(at(10), 10), Some(10));
        assert_eq!(window.left(at(4)), at(6));
        let mut window = Window::new(RATE);
        assert_eq!(window.note(at(10), 0), None, "it stands still");
        assert_eq!(window.note(at(11), 1), Some(1));
    }

    #[test]
    fn f5_enough_begins_a_new_window() {
        let mut window = Window::new(RATE);
        assert_eq!(window.note(at(9), 100), None);
        assert_eq!(window.left(at(9)), at(10));
        assert_eq!(window.note(at(18), 150), None);
        assert_eq!(window.note(at(19), 150), Some(50));
        window.excuse(at(19), 150);
        assert_eq!(window.note(at(28), 160), None, "excused");
        assert_eq!(window.note(at(29), 160), Some(10));
    }
}
