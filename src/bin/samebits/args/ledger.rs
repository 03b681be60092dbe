//! The verbs of the ledger itself.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use samebits::tlog::{Origin, TlogError, Vkey};

use super::{Export, Prove, VerifyLedger, present, present_text};

#[derive(Debug, Subcommand)]
pub(crate) enum LedgerCommand {
    /// Recompute everything: every record, every signature, every hash; name the first record that is not right.
    #[command(after_long_help = "\
Exit code 1: the log is not intact, or not the one that the lock or this user
has seen. A copy is audited with --ledger.

With PATH: an export (folder or .tar), or one proof with its record beside it,
checked offline, with the key of --vkey, or of the policy, or, said aloud, the
export's own. Exit code 1: something in it is not as it was signed.

EXAMPLES
  samebits ledger verify
  samebits ledger verify --ledger sqlite:copy.db
  samebits ledger verify export --vkey acme.example/log+…
  samebits ledger verify 5.tlog-proof")]
    Verify(VerifyLedger),
    /// Write the ledger for strangers: records, proofs, signed heads, policies, keys and evidence, to be checked offline.
    #[command(after_long_help = "\
A folder, or one archive where the name ends in .tar; README.md in it says what
is what. The same ledger gives the same bytes. Nothing is overwritten. A part
has the records that were asked for, what they rely on, and the control lane
whole. Exit code 1: it is written, and some evidence was no longer there.

EXAMPLES
  samebits ledger export ledger-2026-11.tar
  samebits ledger export audit --service shop --in production \\
      --since 2026-01-01")]
    Export(Export),
    /// Write the proof that one record is in the log, for whoever has the record and the log's key.
    #[command(after_long_help = "\
A C2SP tlog-proof: index, inclusion proof and signed checkpoint in one text.
RECORD is an index, or the digest of the record.

EXAMPLES
  samebits ledger prove 5
  samebits ledger prove 5 --to 5.tlog-proof --with-record")]
    Prove(Prove),
    /// Copy a ledger to a new place, of any kind, and prove by reading it back that it is the same.
    #[command(after_long_help = "\
Both lanes, every record and all evidence that a record relies on, with the same
signed checkpoints at the end. Takes the ledger's key. The new place has to be
empty, the old ledger intact, and nobody may append to it meanwhile; afterwards
write the new place under [ledger] of the policy, and put the old one away.

EXAMPLES
  samebits ledger copy sqlite:.samebits/ledger.db file:/srv/ledgers/shop
  samebits ledger copy sqlite:.samebits/ledger.db s3://acme-ledger/shop")]
    Copy(LedgerCopy),
    /// Write what the ledger has now into the lock beside the policy file: a shorter or another one is refused.
    #[command(after_long_help = "\
The lock is reviewed and committed like the policy. Every verb compares the
ledger with it, and halts with both checkpoints where it was rolled back or
forked (exit code 3). Without --update a lock that is there is only shown; it is
never lowered.

EXAMPLES
  samebits ledger lock
  samebits ledger lock --update && git commit -m 'ledger seen' samebits.lock")]
    Lock(Lock),
    /// Ask the witnesses of the lock to cosign both lanes as they are now, and keep what they give.
    #[command(after_long_help = "\
The witnesses are named in the `witness-policy` of the lock (C2SP tlog-policy).
Exit code 1: no quorum. Exit code 3: one has cosigned more than the ledger has,
or something else. Run it after `revoke` and `freeze`, and on a timer where an
environment has `control-max-staleness`; `promote` runs it by itself.

EXAMPLE
  samebits ledger cosign")]
    Cosign,
    /// Be a witness of ledgers and other C2SP logs.
    #[command(
        subcommand,
        after_long_help = "\
EXAMPLE
  samebits ledger witness key witness.example/w1 --to w.key"
    )]
    Witness(WitnessCommand),
    /// Write what a promotion relied on into a folder, as it was: bundles, index, manifests, policy, keys.
    #[command(after_long_help = "\
The files are for verifiers that are not samebits. Nothing is overwritten.

EXAMPLES
  samebits ledger evidence 5 --to evidence
  cosign verify-blob-attestation --key build.pub --type slsaprovenance1 \\
      --insecure-ignore-tlog=true \\
      --bundle evidence/DIGEST.sigstore.json evidence/index.json")]
    Evidence(Evidence),
}

#[derive(Debug, Subcommand)]
pub(crate) enum WitnessCommand {
    /// Be a witness: cosign what continues what was cosigned before, and nothing else, until killed.
    #[command(after_long_help = "\
C2SP tlog-witness over HTTP; put a proxy in front of it for TLS. It belongs on
another machine, under other hands, than the ledger. Of a ledger both lanes are
witnessed under the one key.

EXAMPLE
  samebits ledger witness serve --witness-key w.key --listen 127.0.0.1:7380 \\
      --state witness.db --log acme.example/promotions+…")]
    Serve(Serve),
    /// Write a new private key for a witness, and print its verifier key.
    #[command(after_long_help = "\
EXAMPLE
  samebits ledger witness key witness.example/w1 --to w.key")]
    Key(WitnessKeyOf),
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The file with the witness's private key.
    #[arg(long = "witness-key", value_name = "FILE", value_parser = present)]
    pub(crate) key: PathBuf,
    /// Where to listen.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: std::net::SocketAddr,
    /// The file that remembers what was cosigned; it must never be put back to an earlier state.
    #[arg(long, value_name = "FILE", value_parser = present)]
    pub(crate) state: PathBuf,
    /// The verifier key of a log. May be repeated.
    #[arg(long, required = true, value_name = "VKEY", value_parser = vkey)]
    pub(crate) log: Vec<Vkey>,
}

#[derive(Debug, Args)]
pub(crate) struct WitnessKeyOf {
    /// The name under which the witness cosigns, as in `witness.example/w1`.
    #[arg(value_parser = origin)]
    pub(crate) name: Origin,
    /// The file to write; it must not be there.
    #[arg(long, value_name = "FILE", value_parser = present)]
    pub(crate) to: PathBuf,
}

fn vkey(text: &str) -> Result<Vkey, String> {
    present_text(text)?;
    text.parse().map_err(|error: TlogError| error.to_string())
}

fn origin(text: &str) -> Result<Origin, String> {
    present_text(text)?;
    text.parse().map_err(|error: TlogError| error.to_string())
}

#[derive(Debug, Args)]
pub(crate) struct Lock {
    /// Raise the lock that is there to what the ledger has now.
    #[arg(long)]
    pub(crate) update: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LedgerCopy {
    /// The ledger there is: its URL, as under [ledger] of the policy; paths from the current folder.
    #[arg(value_name = "FROM", value_parser = present_text)]
    pub(crate) from: String,
    /// Where it is copied to: nothing may be there.
    #[arg(value_name = "TO", value_parser = present_text)]
    pub(crate) to: String,
}

#[derive(Debug, Args)]
pub(crate) struct Evidence {
    /// The record of a promotion, by its index.
    pub(crate) record: u64,
    /// The folder to write into; new, or empty.
    #[arg(long, value_name = "FOLDER", value_parser = present)]
    pub(crate) to: PathBuf,
}
