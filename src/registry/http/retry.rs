//! When to ask again, and how long to wait first.
//!
//! Guarantees: a bounded number of tries within a bounded time; a refusal (400, 401, 403, 404, …) is final; what a
//! registry asks for in `Retry-After` is respected up to a cap. Never does: I/O, reads no clock (attack F5).

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

use crate::digest::Digest;

/// How patient we are with one request.
#[derive(Clone, Debug)]
pub struct Retry {
    /// Tries in all, the first included; at least 1.
    pub tries: u32,
    /// Wait after the first failure; doubles with every further one.
    pub first_wait: Duration,
    /// The longest wait of our own choosing.
    pub longest_wait: Duration,
    /// The longest wait a registry can ask for.
    pub longest_asked_wait: Duration,
    /// Tries and waits of one request together: no new try begins after this.
    pub budget: Duration,
    /// Spreads the waits of several processes; any number, best different in each.
    pub seed: u64,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            tries: 5,
            first_wait: Duration::from_millis(200),
            longest_wait: Duration::from_secs(10),
            longest_asked_wait: Duration::from_secs(60),
            budget: Duration::from_secs(180),
            seed: 0,
        }
    }
}

impl Retry {
    /// How long to wait before the next try, or `None` to give up. `failed` tries were made and `spent` has passed
    /// since the first began; `salt` tells the requests of one process apart.
    pub(crate) fn wait(
        &self,
        failed: u32,
        spent: Duration,
        asked: Option<Duration>,
        salt: &str,
    ) -> Option<Duration> {
        if failed >= self.tries {
            return None;
        }
        let doublings = failed.saturating_sub(1).min(30);
        let ours = self.first_wait.saturating_mul(1 << doublings).min(self.longest_wait);
        // Between half and all of it.
        let noise = Digest::of(format!("{} {failed} {salt}", self.seed).as_bytes()).as_bytes()[0];
        let ours = ours.mul_f64(0.5 + f64::from(noise) / 510.0);
        let wait = ours.max(asked.unwrap_or_default().min(self.longest_asked_wait));
        (spent + wait <= self.budget).then_some(wait)
    }
}

/// How much further something long has to come between two failures for these not to count as one after the other.
const FURTHER: u64 = 1 << 20;

/// Counts the failures of something long that may come further between them.
#[derive(Debug, Default)]
pub(crate) struct Stamina {
    failed: u32,
    reached: u64,
}

impl Stamina {
    /// Notes a failure at byte `at`. Returns how many there were since it last came a good deal further.
    pub(crate) fn failed(&mut self, at: u64) -> u32 {
        if at >= self.reached.saturating_add(FURTHER) {
            (self.failed, self.reached) = (0, at);
        }
        self.failed += 1;
        self.failed
    }
}

/// Whether a status speaks of the moment rather than of the request.
pub(crate) fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

/// `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date, which is taken against the `Date` of the same answer. A
/// date without one counts as absent: whose clock it is by is not known.
pub(crate) fn asked_wait(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let asked = text(RETRY_AFTER)?;
    if let Ok(seconds) = asked.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let (then, now) = (httpdate::parse_http_date(asked).ok()?, httpdate::parse_http_date(text(DATE)?).ok()?);
    // What is past is no wait.
    Some(then.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f5_waits_grow_and_end() {
        let retry = Retry::default();
        let waits: Vec<f64> = (1..9)
            .map_while(|failed| retry.wait(failed, Duration::ZERO, None, "x"))
            .map(|wait| wait.as_secs_f64())
            .collect();
        assert_eq!(waits.len(), 4, "five tries are four waits");
        for (wait, most) in waits.iter().zip([0.2, 0.4, 0.8, 1.6]) {
            assert!((most / 2.0..=most).contains(wait), "{wait} of {most}");
        }
        assert_ne!(retry.wait(1, Duration::ZERO, None, "x"), retry.wait(1, Duration::ZERO, None, "y"));
    }

    #[test]
    fn f5_the_registry_may_ask_for_more_but_not_for_everything() {
        let retry = Retry::default();
        let ask = |seconds| retry.wait(1, Duration::ZERO, Some(Duration::from_secs(seconds)), "");
        assert_eq!(ask(7), Some(Duration::from_secs(7)));
        assert_eq!(ask(86_400), Some(Duration::from_secs(60)));
        assert_eq!(retry.wait(1, Duration::from_secs(170), Some(Duration::from_secs(60)), ""), None);
    }

    #[test]
    fn f5_only_who_comes_further_is_waited_for() {
        let mut stamina = Stamina::default();
        assert_eq!([10, 20, 30].map(|at| stamina.failed(at)), [1, 2, 3]);
        assert_eq!([FURTHER + 30, FURTHER, 10, FURTHER + 40].map(|at| stamina.failed(at)), [1, 2, 3, 4]);
    }

    #[test]
    fn f5_a_refusal_is_final() {
        for (status, passing) in
            [(429, true), (503, true), (408, true), (400, false), (401, false), (403, false)]
        {
            assert_eq!(is_passing(StatusCode::from_u16(status).unwrap()), passing, "{status}");
        }
        assert!(!is_passing(StatusCode::NOT_FOUND) && !is_passing(StatusCode::NOT_IMPLEMENTED));
    }

    #[test]
    fn a_date_is_taken_against_the_date_of_the_answer() {
        let headers = |value: &str, date: Option<&str>| {
            let date = date.map(|date| (DATE, date.parse().unwrap()));
            HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())].into_iter().chain(date))
        };
        let now = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        for (value, seconds) in [
            ("3", 3),
            ("Sun, 06 Nov 1994 08:50:07 GMT", 30),
            // The obsolete forms, which a recipient must accept (section 5.6.7).
            ("Sunday, 06-Nov-94 08:50:07 GMT", 30),
            ("Sun Nov  6 08:50:07 1994", 30),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 0),
            ("Wed, 21 Oct 1992 07:28:00 GMT", 0),
        ] {
            assert_eq!(asked_wait(&headers(value, now)), Some(Duration::from_secs(seconds)), "{value}");
        }
        for absent in ["-1", "", "99999999999999999999999", "tomorrow", "Sun, 06 Nov 1994 08:50:07"] {
            assert_eq!(asked_wait(&headers(absent, now)), None, "{absent}");
        }
        let date = "Sun, 06 Nov 1994 08:50:07 GMT";
        for of_the_answer in [None, Some("yesterday"), Some("")] {
            assert_eq!(asked_wait(&headers(date, of_the_answer)), None, "{of_the_answer:?}");
        }
        assert_eq!(asked_wait(&headers("3", None)), Some(Duration::from_secs(3)));
    }
}
