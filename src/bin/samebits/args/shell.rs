//! What a shell, `man` and people read about samebits itself: not about images at all.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::present;

pub(super) const EXPLAIN: &str = "\
The codes are those that check, promote and verify print. Without a CODE all of
them are listed. The same texts are in docs/reasons.

EXAMPLES
  samebits explain
  samebits explain never-deployed";

pub(super) const COMPLETIONS: &str = "\
Source it, or put it where the shell looks. It is made from this very program's
command line: make it anew with each version.

EXAMPLES
  source <(samebits completions bash)
  samebits completions zsh > \"${fpath[1]}/_samebits\"
  samebits completions fish > ~/.config/fish/completions/samebits.fish
  samebits completions powershell >> $PROFILE";

pub(super) const MAN: &str = "\
Without DIR the page about samebits itself goes to stdout. With DIR that page
and one for each verb are written there, samebits*.1, over any that are there.

EXAMPLES
  samebits man | man -l -
  samebits man /usr/local/share/man/man1";

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The codes to explain, as a refusal prints them.
    #[arg(value_name = "CODE", value_parser = super::present_text)]
    pub(crate) codes: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell to write it for.
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// The shells there are completions for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
    #[value(name = "powershell")]
    Pwsh,
}

#[derive(Debug, Args)]
pub(crate) struct Man {
    /// The folder to write every page into; made, if it is not there.
    #[arg(value_name = "DIR", value_parser = present)]
    pub(crate) folder: Option<PathBuf>,
}
