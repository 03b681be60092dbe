//! The binary: parse, run, print, and map the outcome to an exit code.

mod args;
mod ci;
mod commands;
mod guard;
mod kept;
mod manual;
mod output;
#[cfg(test)]
mod pages;
mod permit_file;
mod progress;
mod report;
mod session;
mod trouble;
mod verification;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Color};
use crate::report::Outputs;
use crate::trouble::usage;

/// What a verb ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Exit 0.
    Yes,
    /// Exit 1.
    No,
    /// Exit 2: what was asked has no answer, neither yes nor no; what was found is printed all the same.
    NothingAsked,
    /// Exit 3: an answer, and a part of it could not be told.
    Untold,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are results; everything else is a usage error (exit 2).
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            match error.use_stderr() {
                true => trouble::print_usage(&error, &Outputs::of_words(&words())),
                false => drop(error.print()),
            }
            return ExitCode::from(code);
        }
    };
    match cli.common.color {
        Color::Auto => {}
        Color::Always => anstream::ColorChoice::Always.write_global(),
        Color::Never => anstream::ColorChoice::Never.write_global(),
    }
    let (outputs, answer) = match Outputs::open(&cli.common, &cli.command) {
        Ok(outputs) => {
            let answer = commands::run(&cli, &outputs);
            (outputs, answer)
        }
        Err(error) => (Outputs::of_words(&words()), Err(usage(error))),
    };
    let code = match answer {
        Ok(Outcome::Yes) => 0,
        Ok(Outcome::No) => 1,
        Ok(Outcome::NothingAsked) => 2,
        Ok(Outcome::Untold) => 3,
        Err(trouble) => {
            trouble.print(&outputs);
            trouble.exit_code()
        }
    };
    ExitCode::from(code)
}

/// The command line, for what is told of one that is wrong.
fn words() -> Vec<String> {
    std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect()
}
