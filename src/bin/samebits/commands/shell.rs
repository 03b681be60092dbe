//! `completions` and `man`: what the command line says of itself, in the words of shells and of `man`.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use clap::CommandFactory as _;

use crate::Outcome;
use crate::args::{Cli, Common, Completions, Man, Shell};
use crate::manual;
use crate::report::to_stdout;
use crate::trouble::{Trouble, undecided, usage};

const NAME: &str = "samebits";

pub(crate) fn completions(common: &Common, args: &Completions) -> Result<Outcome, Trouble> {
    one_format(common)?;
    let shell = match args.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
        Shell::Pwsh => clap_complete::Shell::PowerShell,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), NAME, &mut script);
    to_stdout(&String::from_utf8_lossy(&script)).map_err(undecided)?;
    Ok(Outcome::Yes)
}

pub(crate) fn man(common: &Common, args: &Man) -> Result<Outcome, Trouble> {
    one_format(common)?;
    let pages = manual::pages(Cli::command());
    match &args.folder {
        Some(folder) => to_stdout(&write(&pages, folder).map_err(undecided)?).map_err(undecided)?,
        None => {
            let mut main = pages.iter().filter(|page| page.file == format!("{NAME}.1"));
            main.try_for_each(|page| to_stdout(&page.text)).map_err(undecided)?;
        }
    }
    Ok(Outcome::Yes)
}

/// Writes every page; gives their names, a line each.
fn write(pages: &[manual::Page], folder: &Path) -> anyhow::Result<String> {
    let cannot = |path: &Path| format!("{} cannot be written", path.display());
    std::fs::create_dir_all(folder).with_context(|| cannot(folder))?;
    let mut names = String::new();
    for page in pages {
        let path = folder.join(&page.file);
        let mut file = std::fs::File::create(&path).with_context(|| cannot(&path))?;
        file.write_all(page.text.as_bytes()).with_context(|| cannot(&path))?;
        names += &format!("{}\n", path.display());
    }
    Ok(names)
}

/// There is no JSON of a script or of a page.
pub(super) fn one_format(common: &Common) -> Result<(), Trouble> {
    match common.output.is_empty() {
        true => Ok(()),
        false => Err(usage(anyhow::anyhow!("a script or a page has one form: expected no --output"))),
    }
}
