//! Durations as a policy spells them: `90s`, `30m`, `1h30m`, `2d`.

use std::time::Duration;

/// Units, longest first, with their length in seconds. A day is 24 hours: soak time, not a calendar.
const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// Ten years: longer is a typing error, and a timestamp plus a duration must stay in range.
const LIMIT: u64 = 3_650 * 86_400;

/// Why a text is not a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not numbers with units.
    #[error("expected numbers with units, longest first, as in `2d`, `1h30m`, `90s`")]
    Shape,
    /// Nothing at all.
    #[error("no time at all: leave the key out")]
    Zero,
    /// Beyond the limit.
    #[error("longer than 3650 days")]
    TooLong,
}

/// Reads a duration; every unit at most once, longest first, no spaces, no sign, no fraction.
pub(super) fn parse(text: &str) -> Result<Duration, DurationError> {
    let mut units = UNITS.iter();
    let mut seconds: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if !(1..=12).contains(&digits) || (digits > 1 && rest.starts_with('0')) {
            return Err(DurationError::Shape);
        }
        let number: u64 = rest[..digits].parse().map_err(|_| DurationError::Shape)?;
        let unit = rest[digits..].chars().next().ok_or(DurationError::Shape)?;
        let (_, length) = units.find(|(name, _)| *name == unit).ok_or(DurationError::Shape)?;
        seconds = number
            .checked_mul(*length)
            .and_then(|more| seconds.checked_add(more))
            .filter(|seconds| *seconds <= LIMIT)
            .ok_or(DurationError::TooLong)?;
        rest = &rest[digits + unit.len_utf8()..];
    }
    match (text.is_empty(), seconds) {
        (true, _) => Err(DurationError::Shape),
        (false, 0) => Err(DurationError::Zero),
        (false, seconds) => Ok(Duration::from_secs(seconds)),
    }
}

/// A duration in the policy's own spelling: `1h30m`. Parts of a second are cut off; nothing is `0s`.
pub fn spell_duration(duration: Duration) -> String {
    let mut rest = duration.as_secs();
    let mut text = String::new();
    for (unit, length) in UNITS {
        if rest >= length {
            text.push_str(&format!("{}{unit}", rest / length));
            rest %= length;
        }
    }
    match text.is_empty() {
        true => "0s".to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_have_one_strict_grammar() {
        for (text, seconds) in [
            ("90s", 90),
            ("30m", 1_800),
            ("1h", 3_600),
            ("1h30m", 5_400),
            ("2d", 172_800),
            ("1d2h3m4s", 93_784),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in [
            "", "1", "h", "-1h", "+1h", "1.5h", "1h 30m", " 1h", "30m1h", "1h1h", "01h", "1w", "1H", "1ms",
            "١h",
        ] {
            assert_eq!(parse(wrong), Err(DurationError::Shape), "{wrong:?}");
        }
        assert_eq!(parse("0s"), Err(DurationError::Zero));
        assert_eq!(parse("0d0h"), Err(DurationError::Zero));
        assert_eq!(parse("3651d"), Err(DurationError::TooLong));
        assert_eq!(parse("999999999999d"), Err(DurationError::TooLong));
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "[0-9dhms é-]{0,40}") {
            let _ = parse(&text);
        }

        #[test]
        fn what_is_spelled_is_read_back(seconds in 1..=LIMIT) {
            let duration = Duration::from_secs(seconds);
            prop_assert_eq!(parse(&spell_duration(duration)), Ok(duration));
        }
    }
}
