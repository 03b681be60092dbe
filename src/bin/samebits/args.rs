//! The command line: what can be typed, and the help that teaches it.

mod copy;
mod file;
mod given;
mod doctor;
mod ledger;
mod output;
mod past;
mod shell;
mod permit;

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use samebits::closure::Platform;
use samebits::digest::Digest;
use samebits::reference::{Image, Reference, ReferenceError};
use samebits::verify::RootName;

pub(crate) use self::copy::Copy;
pub(crate) use self::doctor::Doctor;
pub(crate) use self::file::VerifyFile;
pub(crate) use self::given::Given;
use self::given::given;
pub(crate) use self::ledger::{
    Evidence, LedgerCommand, LedgerCopy, Lock, Serve, WitnessCommand, WitnessKeyOf,
};
pub(crate) use self::output::{Format, Output, outputs_in};
pub(crate) use self::past::{Export, Prove, RecordName, Replay, Since, VerifyLedger};
pub(crate) use self::permit::{PermitCommand, PermitVerify, Promote};
pub(crate) use self::shell::{Completions, Explain, Man, Shell};

/// Lets an image into an environment only if exactly the same bytes have already run in the environment before it
#[derive(Debug, Parser)]
#[command(
    name = "samebits",
    version,
    propagate_version = true,
    max_term_width = 100,
    arg_required_else_help = true,
    after_long_help = "\
EXIT CODES
  0  yes
  1  no: a decision, with its reasons
  2  the command line or the policy file is wrong
  3  could not decide (network, ledger, malformed evidence); safe to run again

EXAMPLES
  samebits init --service shop
  samebits promote registry.example/shop:1.4.2 --to staging --key release.key
  samebits deployed registry.example/staging/shop:staging --in staging \\
      --key staging.key
  samebits check registry.example/staging/shop:staging --to production
  samebits status"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The password of an encrypted key.
pub(crate) const KEY_PASSWORD: &str = "SAMEBITS_KEY_PASSWORD";
/// The same, for those who have it set for cosign already.
pub(crate) const COSIGN_PASSWORD: &str = "COSIGN_PASSWORD";

/// Flags that every verb takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every verb")]
pub(crate) struct Common {
    /// The policy file; by default `samebits.toml` here or in the nearest folder above.
    #[arg(long, global = true, value_name = "FILE", value_parser = present)]
    pub(crate) policy: Option<PathBuf>,
    /// The ledger to use instead of the policy's: the same log in another place; its origin and key are the policy's.
    #[arg(long, global = true, value_name = "URL", value_parser = present_text)]
    pub(crate) ledger: Option<String>,
    /// The private key that signs what this command records (PEM: PKCS#8, or cosign's encrypted kind).
    #[arg(long, global = true, value_name = "FILE", env = "SAMEBITS_KEY", hide_env_values = true, value_parser = present)]
    pub(crate) key: Option<PathBuf>,
    /// The file with the password of an encrypted key; without it, SAMEBITS_KEY_PASSWORD or COSIGN_PASSWORD.
    #[arg(long, global = true, value_name = "FILE", value_parser = present)]
    pub(crate) key_password_file: Option<PathBuf>,
    /// Sign with a certificate for the identity of this CI job instead of a key: GitHub Actions, GitLab CI, Buildkite,
    /// or the token in SIGSTORE_ID_TOKEN. ROOT is the root of trust in the policy, `public-good` by default.
    #[arg(
        long, global = true, value_name = "ROOT", num_args = 0..=1, require_equals = true,
        default_missing_value = "public-good",
    )]
    pub(crate) keyless: Option<RootName>,
    /// The services that give certificate, log entry and timestamp (signing_config.json); the public ones by default.
    #[arg(long, global = true, value_name = "FILE", env = "SAMEBITS_SIGNING_CONFIG", hide_env_values = true, value_parser = present)]
    pub(crate) signing_config: Option<PathBuf>,
    /// The private key that signs the ledger's checkpoints, where the policy does not say it.
    #[arg(long, global = true, value_name = "FILE", env = "SAMEBITS_LEDGER_KEY", value_parser = present, hide = true)]
    pub(crate) ledger_key: Option<PathBuf>,
    /// `text` (the default) or `json` on stdout; `FORMAT=FILE` writes to a file as well. May be repeated. For CI, of
    /// check, promote, permit verify, deployed, removed and approve: `github` (step outputs, summary, annotations; by itself in GitHub
    /// Actions where no output is asked for, unless SAMEBITS_CI=off), `dotenv=FILE` and `annotations=FILE` (GitLab),
    /// `junit=FILE`, `sarif=FILE`.
    #[arg(short, long, global = true, value_name = "FORMAT[=FILE]", value_parser = output::read)]
    pub(crate) output: Vec<Output>,
    /// Ask no TUF repository for roots of trust: take those refreshed before, until the day their repository gave. Of
    /// `doctor`: ask no forge.
    #[arg(long, global = true)]
    pub(crate) offline: bool,
    /// Colour on the terminal.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
    /// Say only the result and errors: no warnings, no progress, no next steps.
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Say on stderr what is read and done, with the warnings about the policy file.
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    pub(crate) verbose: bool,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a policy file, one key for each role, and an empty ledger.
    #[command(after_long_help = "\
Every role gets a key of its own from the first minute: who builds, who deploys
to staging, who deploys to production and who promotes are four identities. The
private keys are written to keys/*.key, which .gitignore keeps out of the
repository; move each to the job that needs it, and to no other. The ledger is a
file; --ledger URL makes it in another place, where nothing may be yet
(s3://BUCKET/PREFIX, file:FOLDER, git+https://HOST/PATH#BRANCH,
postgres://HOST/DATABASE, …).

EXAMPLE
  samebits init --service shop --registry registry.example")]
    Init(Init),
    /// Say whether an image may enter an environment, with every reason; change nothing.
    #[command(after_long_help = "\
The verdict and the exit code are those `promote` would give: 0 yes, 1 no,
3 could not decide. Nothing is recorded or copied. Without a key, whoever asks
is taken for a promoter.

EXAMPLES
  samebits check registry.example/staging/shop:staging --to production
  samebits check registry.example/shop:1.4.2 --to staging -o json")]
    Check(Ask),
    /// Decide, record, copy by digest, set the tag; print the pinned reference only on yes.
    #[command(after_long_help = "\
Stdout has one line, the pinned reference, and only on yes; the explanation goes
to stderr. Nothing is copied before the intent is in the ledger, and the tag
moves last. A refusal is recorded too. If the command is interrupted, the same
command goes on where it stopped.

EXAMPLE
  export SAMEBITS_KEY=keys/release.key
  image=$(samebits promote registry.example/shop:1.4.2 --to staging)
  kubectl set image deployment/shop shop=\"$image\"

Where another job deploys, --permit FILE is what it shows to `permit verify`.")]
    Promote(Promote),
    /// Refuse to deploy what the gate did not let in: for the job that deploys.
    #[command(
        subcommand,
        after_long_help = "\
EXAMPLE
  samebits permit verify registry.example/prod/shop@sha256:… \\
      --in production --permit permit.json"
    )]
    Permit(PermitCommand),
    /// Record that an image runs in an environment, signed by that environment's own identity.
    #[command(after_long_help = "\
Only a signer the policy lists as a deployer of the environment can say what
runs there; it is not the promoter. With -o json, `digest` is that of the
record: tests made after the deployment name it in their `configuration`.

EXAMPLES
  export SAMEBITS_KEY=keys/staging.key
  samebits deployed registry.example/staging/shop@sha256:… --in staging
  samebits deployed registry.example/staging/shop@sha256:… --in staging \\
      --failed")]
    Deployed(Deployed),
    /// Record that an image no longer runs in an environment.
    #[command(after_long_help = "\
Time in an environment counts until this is recorded.

EXAMPLE
  export SAMEBITS_KEY=keys/staging.key
  samebits removed registry.example/staging/shop@sha256:… --in staging")]
    Removed(Removed),
    /// Approve that an image enters an environment.
    #[command(after_long_help = "\
An approval is for these bytes, this environment and the policy file as it is
now, and it runs out.

EXAMPLES
  export SAMEBITS_KEY=keys/ana.key
  samebits approve registry.example/staging/shop@sha256:… --to production
  samebits approve registry.example/staging/shop@sha256:… --to production \\
      --reject")]
    Approve(Approve),
    /// Record that a digest, a signer or a record is no longer good, or lift that again.
    #[command(after_long_help = "\
Signed by a revoker of the policy (`revokers` in [control]), and read whole
before every decision: from then on the digest enters nowhere, and what the
signer signed counts nowhere. An image is revoked with its platform manifests.
Without --since or --from-now nothing that a signer ever signed counts.

EXAMPLES
  export SAMEBITS_KEY=keys/security.key
  samebits revoke sha256:… --reason 'CVE-2026-1234'
  samebits revoke --signer build --since 117 --reason 'key lost on May 3'
  samebits revoke --lift 4 --reason 'it was another image'")]
    Revoke(Revoke),
    /// Let nothing enter, for a while or until it is thawed.
    #[command(after_long_help = "\
Signed by a freezer of the policy (`freezers` in [control]), and read before
every decision and again behind every intent. A promotion that had passed that
second look when the freeze was recorded goes on: it is listed as open, or as
just committed. A clock may be five minutes wrong, so that much longer it holds.

EXAMPLES
  export SAMEBITS_KEY=keys/security.key
  samebits freeze --reason 'incident 117'
  samebits freeze --in production --from 2030-12-20T00:00:00Z \\
      --until 2031-01-02T00:00:00Z --reason 'end of the year'")]
    Freeze(Freeze),
    /// End a freeze before its time.
    #[command(after_long_help = "\
Signed by a freezer of the policy; `samebits status` has the index.

EXAMPLE
  samebits thaw 4 --reason 'incident 117 is over'")]
    Thaw(Thaw),
    /// Mend what interrupted and overtaken promotions left, from the ledger alone.
    #[command(after_long_help = "\
Says what is not as the ledger says: a tag that is not the last commit, a record
or summary that was not published, an intent that nobody closed, bytes that are
gone. Nothing is decided anew. Without --yes nothing is changed; with --yes the
tag is set and what is missing is published, and with --abort intents that were
left open for ten minutes are closed. That takes the key of a promoter.
Exit code 0: nothing is left. 1: something is, and is listed. 3: could not tell.

EXAMPLES
  samebits reconcile
  samebits reconcile --in production --yes --abort --key release.key")]
    Reconcile(Reconcile),
    /// Copy an image with its signatures and attestations, by digest, from anywhere to anywhere; decide nothing.
    #[command(after_long_help = copy::HELP)]
    Copy(Copy),
    /// Show everything that lies on an image, whose it is, and whether it is what the policy wants.
    #[command(after_long_help = "\
A tree: the index, its platforms, and what is attached to each: signatures,
attestations, what is rejected and why, what is no evidence. The history of the
image is not looked at; `check` does that too. Where the environment requires
neither signatures nor attestations nothing is judged: exit code 2.

EXAMPLES
  samebits verify registry.example/shop:1.4.2
  samebits verify registry.example/staging/shop:staging --to production
  samebits verify registry.example/shop:1.4.2 --evidence bundles.jsonl
  samebits verify registry.example/shop:1.4.2 --evidence oci:signatures")]
    Verify(Verify),
    /// Show what is promoted and what runs, service by environment.
    #[command(after_long_help = "\
EXAMPLES
  samebits status
  samebits status --service shop -o json")]
    Status(Status),
    /// Show what was recorded, newest first.
    #[command(after_long_help = "\
EXAMPLES
  samebits log
  samebits log --service shop --in production --limit 20")]
    Log(Log),
    /// Show one digest's life: every record about it or about an image that contains it.
    #[command(after_long_help = "\
Exit code 1: no record is about it.

EXAMPLE
  samebits show sha256:…")]
    Show(Show),
    /// Make a recorded decision again from what was kept with it, offline; or all of them by another policy file.
    #[command(after_long_help = "\
With RECORD: the policy file, keys, roots, image and evidence that were kept
with it, both lanes of the ledger as they were, the clock as it was, and the
same gate. No registry is asked and no file of today is looked at but the
ledger; where the policy file is gone, --ledger and --vkey say which.
Exit code 0: the same. 1: different, each requirement that changed is named.
3: it cannot be told, what is missing is named.

Without RECORD: what the policy file of today, or that of --policy, would have
made of every decision, over the evidence that was kept for its own. What a new
rule asks for and no old one did was not kept: that cannot be told. An approval
counts as given for the new file. Exit code 0: nothing changes. 1: something
does. 3: nothing that can be told does.

EXAMPLES
  samebits replay 5
  samebits replay 5 --ledger sqlite:copy.db --vkey acme.example/log+…
  samebits replay --policy new.toml --since 2026-11-01 --to production")]
    Replay(Replay),
    /// Show the roots of trust that certificates are judged under, how old they are, and refresh them.
    #[command(after_long_help = "\
Nobody is asked but by `refresh`. Exit code 1: one is older than its max-age.

EXAMPLES
  samebits roots
  samebits roots refresh")]
    Roots(RootsOf),
    /// Look for what leaves the gate open: a policy too wide, workflows that pass it by, environments that nobody guards.
    #[command(after_long_help = doctor::HELP)]
    Doctor(Doctor),
    /// The log itself: audit, proofs, copies, witnesses.
    #[command(
        subcommand,
        after_long_help = "\
EXAMPLE
  samebits ledger verify"
    )]
    Ledger(LedgerCommand),
    /// What a code of a refusal means, why it is a no, and what to do; or all codes.
    #[command(after_long_help = shell::EXPLAIN)]
    Explain(Explain),
    /// Say whether a file was signed by who is expected, by a Sigstore bundle beside it, offline.
    #[command(after_long_help = file::HELP)]
    VerifyFile(VerifyFile),
    /// Write what makes a shell complete this command line: bash, zsh, fish, PowerShell.
    #[command(after_long_help = shell::COMPLETIONS)]
    Completions(Completions),
    /// Write the manual pages: that of samebits to stdout, or all of them into a folder.
    #[command(after_long_help = shell::MAN)]
    Man(Man),
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The service to write the policy for.
    #[arg(long, default_value = "app", value_name = "NAME", value_parser = present_text)]
    pub(crate) service: String,
    /// Where its images lie: a registry host (and path), or `oci:FOLDER` for OCI layouts on disk.
    #[arg(long, default_value = "oci:registry", value_name = "HOST|oci:FOLDER", value_parser = present_text)]
    pub(crate) registry: String,
    /// The log's name: like a URL without a scheme, never to change.
    #[arg(long, value_name = "NAME", value_parser = present_text)]
    pub(crate) origin: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Ask {
    /// The image: `registry/path:tag`, `registry/path@sha256:…`, or both; `oci:FOLDER…` for a layout on disk.
    pub(crate) image: Reference,
    /// The environment it is to enter.
    #[arg(long, value_name = "ENVIRONMENT", value_parser = present_text)]
    pub(crate) to: String,
    /// The service, where the repository does not say it.
    #[arg(long, value_name = "NAME", value_parser = present_text)]
    pub(crate) service: Option<String>,
    /// Evidence that the registry does not keep: a Sigstore bundle, a .jsonl of them, or a folder; or a repository to
    /// look into as well, `registry:HOST/PATH` or `oci:FOLDER`. May be repeated.
    #[arg(long, value_name = "PATH|REPOSITORY", value_parser = given)]
    pub(crate) evidence: Vec<Given>,
}

#[derive(Debug, Args)]
pub(crate) struct Deployed {
    /// The image that runs, in the environment's repository; a digest is safest.
    pub(crate) image: Reference,
    /// The environment it runs in.
    #[arg(long = "in", value_name = "ENVIRONMENT", value_parser = present_text)]
    pub(crate) environment: String,
    /// The deployment did not come up.
    #[arg(long)]
    pub(crate) failed: bool,
    /// One of several deployments of the service there (region, cluster).
    #[arg(long, value_name = "NAME", default_value = "default", value_parser = present_text)]
    pub(crate) name: String,
    /// When the deployment began (RFC 3339); now, if not given.
    #[arg(long, value_name = "TIME")]
    pub(crate) started: Option<jiff::Timestamp>,
    /// The digest the runtime itself reports: say this only from a collector that looked. The record is then
    /// `observed`, not `asserted`.
    #[arg(long, value_name = "DIGEST", value_parser = digest)]
    pub(crate) observed: Option<Digest>,
    /// The platform the runtime reports; the record then speaks of that platform only.
    #[arg(long, value_name = "OS/ARCH", requires = "observed")]
    pub(crate) platform: Option<Platform>,
    /// How many replicas run it.
    #[arg(long, value_name = "COUNT", requires = "observed")]
    pub(crate) replicas: Option<u32>,
    /// A page about this deployment.
    #[arg(long, value_name = "URL", value_parser = present_text)]
    pub(crate) url: Option<String>,
    /// The service, where the repository does not say it.
    #[arg(long, value_name = "NAME", value_parser = present_text)]
    pub(crate) service: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Removed {
    /// The image that no longer runs, in the environment's repository.
    pub(crate) image: Image,
    /// The environment it ran in.
    #[arg(long = "in", value_name = "ENVIRONMENT", value_parser = present_text)]
    pub(crate) environment: String,
    /// One of several deployments of the service there (region, cluster).
    #[arg(long, value_name = "NAME", default_value = "default", value_parser = present_text)]
    pub(crate) name: String,
    /// The service, where the repository does not say it.
    #[arg(long, value_name = "NAME", value_parser = present_text)]
    pub(crate) service: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Approve {
    /// The image to approve.
    pub(crate) image: Reference,
    /// The environment it may enter.
    #[arg(long, value_name = "ENVIRONMENT", value_parser = present_text)]
    pub(crate) to: String,
    /// For how many hours the approval is good.
    #[arg(long, value_name = "HOURS", default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=720))]
    pub(crate) valid_for: u32,
    /// Say no, or take an earlier yes back.
    #[arg(long)]
    pub(crate) reject: bool,
    /// A word for the record.
    #[arg(long, value_name = "TEXT", value_parser = present_text)]
    pub(crate) comment: Option<String>,
    /// The service, where the repository does not say it.
    #[arg(long, value_name = "NAME", value_parser = present_text)]
    pub(crate) service: Option<String>,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).args(["image", "signer", "record", "lift"])))]
pub(crate) struct Revoke {
    /// The bytes: a digest, of an index or of anything in an image, or an image.
    #[arg(value_name = "DIGEST|IMAGE", value_parser = bytes)]
    pub(crate) image: Option<Bytes>,
    /// A signer of the policy: every identity it has there now.
    #[arg(long, value_name = "NAME", value_parser = present_text)]
    pub(crate) signer: Option<String>,
    /// One record, by its index in `samebits log`.
    #[arg(long, value_name = "INDEX")]
    pub(crate) record: Option<u64>,
    /// Lift a revocation, by its index in `samebits status`.
    #[arg(long, value_name = "INDEX", conflicts_with_all = ["environment", "service"])]
    pub(crate) lift: Option<u64>,
    /// Why: for everybody who will be refused.
    #[arg(long, value_name = "TEXT", value_parser = present_text)]
    pub(crate) reason: String,
    /// Only for what enters this environment.
    #[arg(long = "in", value_name = "ENVIRONMENT", value_parser = present_text)]
    pub(crate) environment: Option<String>,
    /// Only for this service.
    #[arg(long, value_name = "NAME", value_parser = present_text)]
    pub(crate) service: Option<String>,
    /// What the signer signed before this record of `samebits log` still counts, and what is proved to be older.
    #[arg(long, value_name = "INDEX", conflicts_with_all = ["image", "record", "lift", "from_now"])]
    pub(crate) since: Option<u64>,
    /// What the signer signed until now still counts, where the log or a proof of time says so.
    #[arg(long, conflicts_with_all = ["image", "record", "lift"])]
    pub(crate) from_now: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Freeze {
    /// Only what enters this environment.
    #[arg(long = "in", value_name = "ENVIRONMENT", value_parser = present_text)]
    pub(crate) environment: Option<String>,
    /// Only this service.
    #[arg(long, value_name = "NAME", value_parser = present_text)]
    pub(crate) service: Option<String>,
    /// When it begins (RFC 3339); now, if not given.
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<jiff::Timestamp>,
    /// When it ends (RFC 3339); when it is thawed, if not given.
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<jiff::Timestamp>,
    /// Why: for everybody who will be refused.
    #[arg(long, value_name = "TEXT", value_parser = present_text)]
    pub(crate) reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct Thaw {
    /// The freeze, by its index in `samebits status`.
    #[arg(value_name = "INDEX")]
    pub(crate) freeze: u64,
    /// Why.
    #[arg(long, value_name = "TEXT", value_parser = present_text)]
    pub(crate) reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct Reconcile {
    /// Only this environment.
    #[arg(long = "in", value_name = "ENVIRONMENT", value_parser = present_text)]
    pub(crate) environment: Option<String>,
    /// Only this service.
    #[arg(long, value_name = "NAME", value_parser = present_text)]
    pub(crate) service: Option<String>,
    /// Do it.
    #[arg(long)]
    pub(crate) yes: bool,
    /// Close intents that were left open for ten minutes, too.
    #[arg(long)]
    pub(crate) abort: bool,
}

/// Bytes that somebody names.
#[derive(Clone, Debug)]
pub(crate) enum Bytes {
    Digest(Digest),
    Image(Reference),
}

fn bytes(text: &str) -> Result<Bytes, String> {
    match digest(text) {
        Ok(digest) => Ok(Bytes::Digest(digest)),
        // A digest that is mistyped is no image either; what is wrong with it as a digest helps more.
        Err(why) if text.starts_with("sha256:") || text.trim().is_empty() => Err(why),
        Err(_) => text.parse().map(Bytes::Image).map_err(|error: ReferenceError| error.to_string()),
    }
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The image.
    pub(crate) image: Reference,
    /// The environment whose signatures and provenance are wanted; the entry environment, if not given.
    #[arg(long, value_name = "ENVIRONMENT", value_parser = present_text)]
    pub(crate) to: Option<String>,
    /// The service, where the repository does not say it.
    #[arg(long, value_name = "NAME", value_parser = present_text)]
    pub(crate) service: Option<String>,
    /// Evidence that the registry does not keep: a Sigstore bundle, a .jsonl of them, or a folder; or a repository to
    /// look into as well, `registry:HOST/PATH` or `oci:FOLDER`. May be repeated.
    #[arg(long, value_name = "PATH|REPOSITORY", value_parser = given)]
    pub(crate) evidence: Vec<Given>,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Only this service.
    #[arg(long, value_name = "NAME", value_parser = present_text)]
    pub(crate) service: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Log {
    /// Only this service.
    #[arg(long, value_name = "NAME", value_parser = present_text)]
    pub(crate) service: Option<String>,
    /// Only this environment.
    #[arg(long = "in", value_name = "ENVIRONMENT", value_parser = present_text)]
    pub(crate) environment: Option<String>,
    /// At most so many records.
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) limit: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The digest, of an index or of a platform manifest.
    #[arg(value_parser = digest)]
    pub(crate) digest: Digest,
}

#[derive(Debug, Args)]
pub(crate) struct RootsOf {
    #[command(subcommand)]
    pub(crate) command: Option<RootsCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RootsCommand {
    /// Ask every TUF repository that a signer's root comes from; a repository that does not answer is an error.
    #[command(after_long_help = "\
Afterwards the other verbs may run with --offline, as long as the repositories
said.

EXAMPLE
  samebits roots refresh
  samebits --offline check registry.example/shop:1.4.2 --to staging")]
    Refresh,
}

const EMPTY: &str = "it is empty: expected a value (an unset variable?)";

/// An argument that is there and empty is most often an unset shell variable.
fn present_text(text: &str) -> Result<String, &'static str> {
    match text.trim().is_empty() {
        true => Err(EMPTY),
        false => Ok(text.to_owned()),
    }
}

fn present(text: &str) -> Result<PathBuf, &'static str> {
    present_text(text).map(PathBuf::from)
}

fn digest(text: &str) -> Result<Digest, String> {
    present_text(text)?;
    text.parse().map_err(|error: samebits::digest::DigestError| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }

    /// A longer line would be broken, and an example could not be copied.
    #[test]
    fn every_verb_has_an_example_that_fits_80_columns() {
        let mut commands = vec![super::Cli::command()];
        while let Some(command) = commands.pop() {
            let text = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
            assert!(text.contains("EXAMPLE"), "{} has no example", command.get_name());
            for line in text.lines() {
                assert!(line.chars().count() <= 80, "{}: {line}", command.get_name());
            }
            commands.extend(command.get_subcommands().cloned());
        }
    }
}
