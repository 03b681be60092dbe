//! The help of the command line as manual pages: one for the program, one for each verb.
//!
//! `clap_mangen` writes what it knows (synopsis, options, subcommands). What stands after the options in the long help
//! has a form of its own, [`Notes`], which it would run together: prose, then sections under capitals with lines that
//! have to stay lines.

use std::io;

use clap::Command;
use clap_mangen::roff::{Roff, roman};

/// One page.
#[derive(Debug)]
pub(crate) struct Page {
    /// The name of the file: `samebits-ledger-verify.1`.
    pub(crate) file: String,
    pub(crate) text: String,
}

/// What stands after the options in the long help of a verb.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Notes {
    /// Paragraphs, each of one line.
    pub(crate) prose: Vec<String>,
    /// A heading in capitals, and lines as they are, without their indentation.
    pub(crate) sections: Vec<(String, Vec<String>)>,
}

impl Notes {
    /// Those of `command`.
    pub(crate) fn of(command: &Command) -> Self {
        let text = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
        let mut notes = Self::default();
        for part in text.split("\n\n") {
            let (first, rest) = part.split_once('\n').unwrap_or((part, ""));
            let heading = !first.is_empty() && !first.contains(|letter: char| letter.is_lowercase());
            if heading && rest.starts_with("  ") {
                let lines = rest.lines().map(|line| line.strip_prefix("  ").unwrap_or(line).to_owned());
                notes.sections.push((first.to_owned(), lines.collect()));
            } else if !part.is_empty() {
                notes.prose.push(part.split('\n').collect::<Vec<_>>().join(" "));
            }
        }
        notes
    }
}

/// The program and every verb below it, built: names are whole and global options everywhere.
pub(crate) fn verbs(program: Command) -> Vec<Command> {
    let mut program = program.disable_help_subcommand(true);
    program.build();
    let mut found = vec![program];
    let mut at = 0;
    while let Some(command) = found.get(at) {
        let below: Vec<Command> =
            command.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned().collect();
        found.extend(below);
        at += 1;
    }
    found
}

/// Every page.
pub(crate) fn pages(program: Command) -> Vec<Page> {
    let version = program.get_version().unwrap_or_default().to_owned();
    let mut pages = Vec::new();
    for verb in verbs(program) {
        let (notes, has_verbs) = (Notes::of(&verb), verb.has_subcommands());
        let man = clap_mangen::Man::new(verb);
        let file = man.get_filename();
        let title = file.strip_suffix(".1").unwrap_or(&file);
        // No date: the same source is the same page. By hand, for what is empty would be left out.
        let mut text = format!(".TH {title} 1 \"\" \"samebits {version}\" \"samebits\"\n").into_bytes();
        // Memory takes everything; a page that is cut short has no such section, and the tests miss it.
        let _ = render(&man, &notes, has_verbs, &mut text);
        pages.push(Page { file, text: ascii(&String::from_utf8_lossy(&text)) });
    }
    pages
}

/// The same in ASCII, for troff reads bytes: groff_char(7), "Unicode code points".
fn ascii(text: &str) -> String {
    let letter = |letter: char| match letter.is_ascii() {
        true => letter.to_string(),
        false => format!("\\[u{:04X}]", u32::from(letter)),
    };
    text.chars().map(letter).collect()
}

fn render(man: &clap_mangen::Man, notes: &Notes, has_verbs: bool, to: &mut Vec<u8>) -> io::Result<()> {
    man.render_name_section(to)?;
    man.render_synopsis_section(to)?;
    man.render_description_section(to)?;
    let mut prose = Roff::default();
    for paragraph in &notes.prose {
        prose.control("PP", []).text([roman(paragraph)]);
    }
    prose.to_writer(to)?;
    man.render_options_section(to)?;
    if has_verbs {
        man.render_subcommands_section(to)?;
    }
    let mut sections = Roff::default();
    for (heading, lines) in &notes.sections {
        sections.control("SH", [heading.as_str()]).control("nf", []);
        for line in lines {
            sections.text([roman(line)]);
        }
        sections.control("fi", []);
    }
    sections.to_writer(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_prose_and_sections_of_lines() {
        let text = "One\nparagraph.\n\nAnother.\n\nEXIT CODES\n  0  yes\n  1  no\n\nEXAMPLE\n  samebits x \\\n      --y";
        let notes = Notes::of(&Command::new("x").after_long_help(text));
        assert_eq!(notes.prose, ["One paragraph.", "Another."]);
        let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        assert_eq!(notes.sections[0], ("EXIT CODES".to_owned(), lines(&["0  yes", "1  no"])));
        assert_eq!(notes.sections[1], ("EXAMPLE".to_owned(), lines(&["samebits x \\", "    --y"])));
        assert_eq!(notes.sections.len(), 2);
    }
}
