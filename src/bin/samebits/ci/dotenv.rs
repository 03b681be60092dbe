//! Variables for the jobs that come after, as GitLab's `artifacts:reports:dotenv` reads them: one `NAME=VALUE` on each
//! line, no quoting, no escapes (GitLab 18, CI/CD YAML artifacts reports, `dotenv`).

use super::View;

/// A value that such a file cannot hold as it is.
#[derive(Debug, thiserror::Error)]
#[error(
    "{name} cannot be in a dotenv file: `{}` has a character that one of its readers would take for another: expected \
     letters, digits and . _ - : / @ + = ,", .value.escape_default()
)]
pub(crate) struct Unfit {
    name: &'static str,
    value: String,
}

/// The file. What is not known, or is no yes, has no line.
pub(super) fn render(view: &View<'_>) -> Result<String, Unfit> {
    let facts = view.facts;
    let decides = view.asked.decides;
    let values = [
        ("SAMEBITS_DECISION", decides.then(|| facts.word.said().to_owned())),
        ("SAMEBITS_IMAGE", facts.pinned.clone()),
        ("SAMEBITS_DIGEST", facts.digest.clone().filter(|_| decides)),
        ("SAMEBITS_RECORD", facts.record.map(|index| index.to_string())),
    ];
    let mut text = String::new();
    for (name, value) in values {
        let Some(value) = value else { continue };
        if !value.chars().all(fits) {
            return Err(Unfit { name, value });
        }
        text.extend([name, "=", &value, "\n"]);
    }
    Ok(text)
}

/// Whether GitLab, a shell that sources the file, and the libraries of that name read `character` as it is.
fn fits(character: char) -> bool {
    character.is_ascii_alphanumeric() || "._-:/@+=,".contains(character)
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn f7_nothing_that_ends_a_line_or_begins_another_value_fits() {
        for bad in ['\n', '\r', ' ', '"', '\'', '$', '`', '#', '\\', ';', '\u{0}', 'é', '~'] {
            assert!(!fits(bad), "{bad:?}");
        }
        assert!("registry.example:5000/a/b_c@sha256:0f".chars().all(fits));
    }
}
