//! Foreign text on its way into a document of somebody else: one function for each grammar (D8, F7).

use std::fmt::Write as _;

use crate::report::clean;

/// Characters of one value that are shown in a report; what is longer is cut, with a word that says so.
const SHOWN: usize = 2_000;

/// `text` on one line, visible, of bounded length.
pub(super) fn line(text: &str) -> String {
    clean(&cut(text))
}

/// The same, with its line breaks.
pub(super) fn lines(text: &str) -> String {
    let text = cut(text);
    let lines: Vec<String> = text.lines().map(clean).collect();
    lines.join("\n")
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}… (cut: {} bytes in all)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}

/// Inside an element of a raw HTML block of a Markdown file (GitHub Flavored Markdown 0.29, 4.6 kind 6): no markup, no
/// Markdown and, within `<code>`, no link, mention or number is read there. A line break is an entity: nothing ends
/// the block.
pub(super) fn html(text: &str) -> String {
    let mut html = String::new();
    let mut before = ' ';
    for character in lines(text).chars() {
        let markup = matches!(
            character,
            '&' | '<' | '>' | '"' | '\'' | '`' | '*' | '[' | ']' | '|' | '~' | '\\' | '!' | '\n'
        );
        // `name@sha256:…` is to be read; `@name` calls somebody.
        let mention = character == '@' && !before.is_ascii_alphanumeric();
        if markup || mention {
            let _ = write!(html, "&#{};", u32::from(character));
        } else {
            html.push(character);
        }
        before = character;
    }
    html
}

/// Whether a reader may be sent there: `https`, and nothing that ends a link wherever one is read out of a text.
pub(super) fn is_link(url: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/?#=&:@+,%".contains(&byte);
    url.strip_prefix("https://").is_some_and(|rest| rest.bytes().all(plain)) && url.len() <= SHOWN
}

/// A path as a relative reference (RFC 3986, 4.2).
pub(super) fn percent(path: &str) -> String {
    let mut uri = String::new();
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(char::from(byte));
            }
            other => {
                let _ = write!(uri, "%{other:02X}");
            }
        }
    }
    uri
}

/// In an attribute or the text of an XML element. Characters that no document may hold (XML 1.0, fifth edition, 2.2)
/// were made visible, but for two, which are taken out.
pub(super) fn xml(text: &str) -> String {
    let mut xml = String::new();
    for character in lines(text).chars() {
        match character {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '"' => xml.push_str("&quot;"),
            '\'' => xml.push_str("&apos;"),
            // An attribute would lose it.
            '\n' => xml.push_str("&#10;"),
            '\u{fffe}' | '\u{ffff}' => {}
            other => xml.push(other),
        }
    }
    xml
}

/// The message of a workflow command (actions/toolkit, `command.ts`, `escapeData`).
pub(super) fn message(text: &str) -> String {
    lines(text).replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property of a workflow command (the same, `escapeProperty`).
pub(super) fn property(text: &str) -> String {
    message(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::{html, line, message, property, xml};

    const HOSTILE: &str =
        "a\nb\r| <img src=x> [l](http://x) ]]> %0A::set-output name=x::y @user #1 `c` \u{1b}[2J";

    #[test]
    fn d8_html_has_nothing_that_a_renderer_reads() {
        let seen = html(HOSTILE);
        for bad in ["<", ">", "|", "[", "]", "`", "\n", "\r", " @user", "\u{1b}"] {
            assert!(!seen.contains(bad), "{bad:?} in {seen}");
        }
        assert_eq!(html("shop@sha256:aa"), "shop@sha256:aa");
    }

    #[test]
    fn d8_a_command_is_one_line_and_its_properties_are_its_own() {
        let seen = message(HOSTILE);
        assert!(!seen.contains(['\n', '\r', '\u{1b}']) && seen.contains("%250A"), "{seen}");
        assert!(!property("a:b,c::d%").contains([':', ',']));
        assert_eq!(property("a:b%"), "a%3Ab%25");
    }

    #[test]
    fn d8_xml_has_no_markup_of_others_and_only_characters_that_may_be_there() {
        let seen = xml(&format!("{HOSTILE}\u{0}\u{fffe}"));
        assert!(!seen.contains(['<', '>', '\u{0}', '\u{fffe}', '\u{1b}', '\n']), "{seen}");
    }

    #[test]
    fn two_megabytes_are_cut_and_that_is_said() {
        let seen = line(&"é".repeat(1_000_000));
        assert!(seen.len() < 5_000 && seen.ends_with("(cut: 2000000 bytes in all)"), "{}", seen.len());
    }
}
