//! The verbs. Each opens what it needs, asks the library, prints one result.

mod ask;
mod audit;
mod copy;
mod doctor;
mod explain;
mod export;
mod file;
mod freeze;
mod init;
mod lock;
mod lane;
mod look;
mod permit;
mod reconcile;
mod record;
mod replay;
mod revoke;
mod roots;
mod shell;
mod transfer;
mod verify;
mod witness;

#[cfg(test)]
pub(crate) use self::copy::CopyReport;
use crate::Outcome;
use crate::args::{Cli, Command, LedgerCommand, PermitCommand, WitnessCommand};
use crate::permit_file::PermitFile;
use crate::report::Outputs;
use crate::session::Session;
use crate::trouble::{Trouble, undecided, usage};

/// Runs the verb that was typed.
pub(crate) fn run(cli: &Cli, outputs: &Outputs) -> Result<Outcome, Trouble> {
    let session = || {
        let session = Session::open(&cli.common, outputs)?;
        session.warn_of_roots();
        Ok::<_, Trouble>(session)
    };
    match &cli.command {
        Command::Init(init) => init::init(&cli.common, outputs, init),
        Command::Check(ask) => ask::check(&session()?, ask),
        Command::Promote(args) => {
            // First of all: whatever goes wrong from here on, no earlier permit is left.
            let permit = args.permit.as_deref().map(PermitFile::open).transpose().map_err(usage)?;
            ask::promote(&Session::open(&cli.common, outputs)?, &args.ask, permit)
        }
        Command::Permit(PermitCommand::Verify(args)) => permit::verify(&session()?, args),
        Command::Deployed(deployed) => record::deployed(&session()?, deployed),
        Command::Removed(removed) => record::removed(&session()?, removed),
        Command::Approve(approve) => record::approve(&session()?, approve),
        Command::Revoke(revoke) => revoke::revoke(&session()?, revoke),
        Command::Freeze(freeze) => freeze::freeze(&session()?, freeze),
        Command::Thaw(thaw) => freeze::thaw(&session()?, thaw),
        Command::Reconcile(args) => reconcile::reconcile(&session()?, args),
        Command::Copy(args) => transfer::copy(&cli.common, outputs, args),
        Command::Verify(verify) => verify::verify(&session()?, verify),
        Command::Status(status) => look::status(&session()?, status),
        Command::Log(log) => look::log(&session()?, log),
        Command::Show(show) => look::show(&session()?, show),
        Command::Replay(args) => replay::replay(&cli.common, outputs, args),
        Command::Doctor(args) => doctor::doctor(&Session::read(&cli.common, outputs)?, args),
        Command::Roots(args) => roots::roots(&Session::read(&cli.common, outputs)?, args),
        Command::Ledger(LedgerCommand::Cosign) => witness::cosign(&Session::read(&cli.common, outputs)?),
        Command::Ledger(LedgerCommand::Witness(WitnessCommand::Serve(args))) => witness::serve(args),
        Command::Ledger(LedgerCommand::Witness(WitnessCommand::Key(args))) => witness::key(outputs, args),
        Command::Ledger(LedgerCommand::Lock(lock)) => lock::lock(&Session::read(&cli.common, outputs)?, lock),
        Command::Ledger(LedgerCommand::Copy(args)) => copy::copy(&session()?, args),
        Command::Ledger(LedgerCommand::Verify(args)) => match &args.path {
            Some(path) => export::verify(&cli.common, outputs, args, path),
            None => audit::verify(&session()?),
        },
        Command::Ledger(LedgerCommand::Export(args)) => {
            export::export(&Session::read(&cli.common, outputs)?, args)
        }
        Command::Ledger(LedgerCommand::Prove(args)) => {
            export::prove(&Session::read(&cli.common, outputs)?, args)
        }
        Command::Ledger(LedgerCommand::Evidence(evidence)) => audit::evidence(&session()?, evidence),
        Command::Explain(args) => explain::explain(&cli.common, args),
        Command::VerifyFile(args) => file::verify(outputs, args),
        Command::Completions(args) => shell::completions(&cli.common, args),
        Command::Man(args) => shell::man(&cli.common, args),
    }
}

/// Runs the asynchronous part of a verb.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Trouble> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| undecided(anyhow::Error::new(error).context("the runtime cannot be started")))?;
    Ok(runtime.block_on(future))
}
