//! `permit`: the deploy job's side of a promotion.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use samebits::reference::Reference;

use super::{Ask, present, present_text};

/// What `promote` takes.
#[derive(Debug, Args)]
pub(crate) struct Promote {
    #[command(flatten)]
    pub(crate) ask: Ask,
    /// On yes, and when everything else is done, write a signed permit to this file, with the record of the promotion and
    /// the proof of it: what `permit verify` asks for where the image is deployed. An earlier permit there is removed
    /// first; any other file is left, and refused.
    #[arg(long, value_name = "FILE", value_parser = present)]
    pub(crate) permit: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PermitCommand {
    /// Say whether an image may be deployed, by the permit that its promotion gave; nothing else is a yes.
    #[command(after_long_help = "\
To be run in the job that deploys, before it does. A job whose gate was skipped,
or whose verdict was lost, has no permit, and ends here with exit code 1. Only
the policy file, what it names and the lock beside it are read: no ledger, and
no registry for an image that is named by its digest. The permit has to be
signed by a promoter of the environment, for these very bytes, this service,
environment and repository, under this very policy file and its keys; and its
time must not be over (`permit-for` of the environment, 1h by default). It has
to carry the record of the promotion, signed by a promoter and saying the same,
and the proof that the log of the policy has it, by a checkpoint that the
witnesses of the lock have cosigned, where it names any. Stdout has one line,
the pinned reference, and only on yes.

What was revoked, frozen or superseded after the permit was given is not seen
here, and a permit may be shown again until its time is over. Who can sign as a
promoter and skips the gate can still sign one for what was once promoted there
under the same policy file and keys. Who has the key of the log can put any
record into a log of his own: only witnesses prevent that. It is no secret.

EXAMPLES
  samebits promote registry.example/staging/shop:staging --to production \\
      --permit permit.json
  image=registry.example/prod/shop@sha256:…
  image=$(samebits permit verify \"$image\" --in production \\
      --permit permit.json)
  SAMEBITS_PERMIT=$(cat permit.json) samebits permit verify \"$image\" \\
      --in production")]
    Verify(PermitVerify),
}

#[derive(Debug, Args)]
pub(crate) struct PermitVerify {
    /// The image that is to be deployed, in the environment's repository; a digest is safest.
    pub(crate) image: Reference,
    /// The environment it is to be deployed in.
    #[arg(long = "in", value_name = "ENVIRONMENT", value_parser = present_text)]
    pub(crate) environment: String,
    /// The file with the permit; without it, the variable SAMEBITS_PERMIT, which holds the permit itself.
    #[arg(long, value_name = "FILE", value_parser = present)]
    pub(crate) permit: Option<PathBuf>,
    /// The service, where the repository does not say it.
    #[arg(long, value_name = "NAME", value_parser = present_text)]
    pub(crate) service: Option<String>,
}
