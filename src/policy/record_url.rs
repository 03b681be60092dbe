//! Where people read a record: a convenience for readers, and an input to nothing.
//!
//! Guarantees: a [`RecordUrl`] is an `https` address with `{index}` behind its host, of characters that mean nothing to HTML,
//! Markdown, XML, a shell or a log; so is what it is filled to. Never does: fetch it, or find out whether anything is there.

use std::fmt;

/// The placeholder.
const INDEX: &str = "{index}";

/// The longest there is, in bytes.
const LIMIT: usize = 1000;

/// An address in which `{index}` stands for the index of a record of the main lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordUrl(String);

/// Why a text is no [`RecordUrl`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordUrlError {
    /// Not `https://`.
    #[error("it does not begin with `https://`")]
    Scheme,
    /// Too long.
    #[error("it is {found} bytes long")]
    TooLong {
        /// Length found, in bytes.
        found: usize,
    },
    /// What stands before the path is no host.
    #[error("between `https://` and the next `/` there is no plain host name, with a port or without")]
    Host,
    /// A character that has no place in it, or a `%` that escapes none.
    #[error("`{found}` has no place in it")]
    Character {
        /// The character, escaped.
        found: String,
    },
    /// Braces around something else, or nothing around them.
    #[error("it has a brace that is not of `{{index}}`")]
    Placeholder,
    /// Every record would have the same.
    #[error("it does not say where the index of the record goes")]
    NoIndex,
}

impl RecordUrl {
    /// Reads one (RFC 3986, section 3, of which only what can be shown anywhere: no user, no IP literal, no quotes, brackets,
    /// `*`, `!`, `$`, `;`).
    ///
    /// # Errors
    /// [`RecordUrlError`], the first thing that is wrong.
    pub(super) fn parse(text: &str) -> Result<Self, RecordUrlError> {
        let rest = text.strip_prefix("https://").ok_or(RecordUrlError::Scheme)?;
        if text.len() > LIMIT {
            return Err(RecordUrlError::TooLong { found: text.len() });
        }
        let (authority, path) = rest.split_once('/').ok_or(RecordUrlError::Host)?;
        if !is_host(authority) {
            return Err(RecordUrlError::Host);
        }
        if !path.contains(INDEX) {
            return Err(RecordUrlError::NoIndex);
        }
        let filled = path.replace(INDEX, "0");
        if filled.contains(['{', '}']) {
            return Err(RecordUrlError::Placeholder);
        }
        match stranger(&filled) {
            Some(found) => Err(RecordUrlError::Character { found: found.escape_default().to_string() }),
            None => Ok(Self(text.to_owned())),
        }
    }

    /// The address of the record at `index` of the main lane.
    pub fn of(&self, index: u64) -> String {
        self.0.replace(INDEX, &index.to_string())
    }
}

impl fmt::Display for RecordUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names of letters, digits and hyphens (RFC 1123, 2.1), and a port.
fn is_host(authority: &str) -> bool {
    let (host, port) = authority.split_once(':').unwrap_or((authority, "443"));
    let label = |label: &str| {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !label.is_empty() && label.bytes().all(plain) && !label.starts_with('-') && !label.ends_with('-')
    };
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    host.len() <= 253
        && host.split('.').all(label)
        && digits
        && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// The first character that is none of a path, query or fragment as it is wanted here.
fn stranger(path: &str) -> Option<char> {
    path.char_indices().find_map(|(at, character)| {
        let fits = match character {
            '%' => {
                path.as_bytes().get(at + 1..at + 3).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit))
            }
            other => other.is_ascii_alphanumeric() || "-._~/?#=&:@+,".contains(other),
        };
        (!fits).then_some(character)
    })
}

#[cfg(test)]
mod tests {
    use super::{RecordUrl, RecordUrlError};

    #[test]
    fn the_index_goes_where_it_is_written() {
        for (text, filled) in [
            ("https://a.example/records/{index}.json", "https://a.example/records/7.json"),
            ("https://a.example:8443/?r={index}#r{index}", "https://a.example:8443/?r=7#r7"),
            ("https://a/b%20c@d/{index}", "https://a/b%20c@d/7"),
        ] {
            let url = RecordUrl::parse(text).unwrap();
            assert_eq!((url.to_string().as_str(), url.of(7).as_str()), (text, filled));
            assert!(url.of(u64::MAX).ends_with(|last: char| last.is_ascii_alphanumeric()));
        }
    }

    #[test]
    fn d8_nothing_is_a_link_that_could_be_more_than_one() {
        let long = format!("https://a.example/{{index}}/{}", "x".repeat(1000));
        let character = |found: &str| RecordUrlError::Character { found: found.to_owned() };
        for (text, expected) in [
            ("http://a.example/{index}", RecordUrlError::Scheme),
            ("HTTPS://a.example/{index}", RecordUrlError::Scheme),
            ("javascript:alert({index})", RecordUrlError::Scheme),
            (" https://a.example/{index}", RecordUrlError::Scheme),
            ("https://{index}.a.example/", RecordUrlError::Host),
            ("https://a.example", RecordUrlError::Host),
            ("https:///{index}", RecordUrlError::Host),
            ("https://ana:word@a.example/{index}", RecordUrlError::Host),
            ("https://a.example:0/{index}", RecordUrlError::Host),
            ("https://a.example:+1/{index}", RecordUrlError::Host),
            ("https://a.example:/{index}", RecordUrlError::Host),
            ("https://[::1]/{index}", RecordUrlError::Host),
            ("https://a..example/{index}", RecordUrlError::Host),
            ("https://a.example?/{index}", RecordUrlError::Host),
            ("https://a.example\\@b.example/{index}", RecordUrlError::Host),
            ("https://b\u{fc}cher.example/{index}", RecordUrlError::Host),
            ("https://a.example/records", RecordUrlError::NoIndex),
            ("https://a.example/{Index}", RecordUrlError::NoIndex),
            ("https://a.example/{service}/{index}", RecordUrlError::Placeholder),
            ("https://a.example/{{index}}", RecordUrlError::Placeholder),
            ("https://a.example/{index}}", RecordUrlError::Placeholder),
            ("https://a.example/{index}%4", character("%")),
            ("https://a.example/{index}%é", character("%")),
            ("https://a.example/{index}%zz", character("%")),
            (&long, RecordUrlError::TooLong { found: long.len() }),
        ] {
            assert_eq!(RecordUrl::parse(text), Err(expected), "{text}");
        }
        for bad in " \"'<>()[]|\\^`*!$;\t\r\n\u{1b}\u{7f}\u{202e}é".chars() {
            let text = format!("https://a.example/{{index}}{bad}x");
            assert_eq!(RecordUrl::parse(&text), Err(character(&bad.escape_default().to_string())), "{bad:?}");
        }
    }
}
