//! `--output`: in which formats, and where to.

use std::path::PathBuf;

use super::present_text;

/// One `--output`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) format: Format,
    pub(crate) file: Option<PathBuf>,
}

/// How a result is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs: everything.
    Json,
    /// Step outputs, summary and annotations of GitHub Actions; where to, says the runner.
    Github,
    /// Variables for later jobs, as GitLab's `artifacts:reports:dotenv` reads them.
    Dotenv,
    /// A test case for each requirement.
    Junit,
    /// Links for the page of a job, as GitLab's `artifacts:reports:annotations` reads them.
    Annotations,
    /// SARIF 2.1.0: a result for each requirement that is not met.
    Sarif,
}

impl Format {
    /// Whether it is for a CI system, and so only of the verbs that decide and record.
    pub(crate) fn is_for_ci(self) -> bool {
        match self {
            Self::Text | Self::Json => false,
            Self::Github | Self::Dotenv | Self::Junit | Self::Annotations | Self::Sarif => true,
        }
    }

    /// As it is typed.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Github => "github",
            Self::Dotenv => "dotenv",
            Self::Junit => "junit",
            Self::Annotations => "annotations",
            Self::Sarif => "sarif",
        }
    }
}

const FORMATS: [Format; 7] = [
    Format::Text,
    Format::Json,
    Format::Github,
    Format::Dotenv,
    Format::Junit,
    Format::Annotations,
    Format::Sarif,
];

pub(super) fn read(text: &str) -> Result<Output, String> {
    present_text(text)?;
    let (name, file) = match text.split_once('=') {
        Some((_, "")) => return Err("the file after `=` is empty (an unset variable?)".to_owned()),
        Some((name, file)) => (name, Some(PathBuf::from(file))),
        None => (text, None),
    };
    let Some(format) = FORMATS.into_iter().find(|format| format.name() == name) else {
        let known = FORMATS.map(Format::name).join(", ");
        return Err(format!("`{}` is no format: expected one of {known}", name.escape_default()));
    };
    match (format, &file) {
        (Format::Github, Some(_)) => {
            Err("`github` takes no file: GitHub Actions says where, in GITHUB_OUTPUT".to_owned())
        }
        (Format::Dotenv | Format::Junit | Format::Annotations | Format::Sarif, None) => {
            Err(format!("`{name}` is for a file: expected {name}=FILE"))
        }
        (Format::Text | Format::Json, _)
        | (Format::Github, None)
        | (Format::Dotenv | Format::Junit | Format::Annotations | Format::Sarif, Some(_)) => {
            Ok(Output { format, file })
        }
    }
}

/// The `--output`s of a command line that was not understood, as far as they can be told.
pub(crate) fn outputs_in(words: &[String]) -> Vec<Output> {
    let values = words.iter().enumerate().filter_map(|(at, word)| match word.as_str() {
        "-o" | "--output" => words.get(at + 1).map(String::as_str),
        word => word.strip_prefix("--output=").or_else(|| word.strip_prefix("-o")),
    });
    values.filter_map(|value| read(value).ok()).collect()
}
