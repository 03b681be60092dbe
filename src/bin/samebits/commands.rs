//! The verbs. Each opens what it needs, asks the library, prints one result.

mod ask;
mod audit;
mod init;
mod look;
mod record;
mod verify;

use crate::Outcome;
use crate::args::{Cli, Command, LedgerCommand};
use crate::report::Outputs;
use crate::session::Session;
use crate::trouble::{Trouble, undecided};

/// Runs the verb that was typed.
pub(crate) fn run(cli: &Cli, outputs: &Outputs) -> Result<Outcome, Trouble> {
    let session = || Session::open(&cli.common, outputs);
    match &cli.command {
        Command::Init(init) => init::init(&cli.common, outputs, init),
        Command::Check(ask) => ask::check(&session()?, ask),
        Command::Promote(ask) => ask::promote(&session()?, ask),
        Command::Deployed(deployed) => record::deployed(&session()?, deployed),
        Command::Removed(removed) => record::removed(&session()?, removed),
        Command::Approve(approve) => record::approve(&session()?, approve),
        Command::Verify(verify) => verify::verify(&session()?, verify),
        Command::Status(status) => look::status(&session()?, status),
        Command::Log(log) => look::log(&session()?, log),
        Command::Show(show) => look::show(&session()?, show),
        Command::Ledger(LedgerCommand::Verify) => audit::verify(&session()?),
    }
}

/// Runs the asynchronous part of a verb.
fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Trouble> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| undecided(anyhow::Error::new(error).context("the runtime cannot be started")))?;
    Ok(runtime.block_on(future))
}
