//! Why there is no answer: the error chain, printed once, with what to do.

use std::io::Write as _;

use anstyle::{AnsiColor, Style};
use samebits::evidence::TargetError;
use samebits::key::KeyError;
use samebits::ledger::protocol::ProtocolError;
use samebits::ledger::{LedgerError, copy};
use samebits::policy::{LockError, PolicyErrors, UnknownName};
use samebits::promote::WalkError;
use samebits::record::DraftError;
use samebits::registry::{CopyError, RegistryError, TransferError};
use samebits::replay::ReplayError;
use samebits::roots::RootsError;
use samebits::signing::TokenError;

use crate::args::{COSIGN_PASSWORD, KEY_PASSWORD};
use crate::output::{self, TroubleKind};
use crate::report::{Outputs, Unwritten, clean, say};

const ERROR: Style = AnsiColor::Red.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default().bold();

/// An error and whose it is: the caller's (exit 2) or the world's (exit 3).
#[derive(Debug)]
pub(crate) struct Trouble {
    kind: TroubleKind,
    error: anyhow::Error,
}

/// The command line or the policy is wrong: exit 2.
pub(crate) fn usage(error: impl Into<anyhow::Error>) -> Trouble {
    Trouble { kind: TroubleKind::Usage, error: error.into() }
}

/// What the parser of the command line says. It repeats what was typed, which may come from a branch name or a tag:
/// each line is neutralised.
pub(crate) fn print_usage(error: &clap::Error, outputs: &Outputs) {
    let said = error.render().to_string();
    let causes = vec![said.lines().map(clean).collect::<Vec<_>>().join("\n")];
    let (schema, kind) = (output::Trouble::SCHEMA, TroubleKind::Usage);
    if let Err(error) = outputs.trouble(&output::Trouble { schema, kind, causes, hint: None, at: None }) {
        say(format_args!("error: {error:#}"));
    }
    let mut stderr = anstream::stderr().lock();
    for line in said.lines().map(clean) {
        let _ = match line.strip_prefix("error:") {
            Some(rest) => writeln!(stderr, "{ERROR}error:{ERROR:#}{rest}"),
            None => writeln!(stderr, "{line}"),
        };
    }
}

/// Could not decide: exit 3.
pub(crate) fn undecided(error: impl Into<anyhow::Error>) -> Trouble {
    Trouble { kind: TroubleKind::Undecided, error: error.into() }
}

impl From<WalkError> for Trouble {
    fn from(error: WalkError) -> Self {
        match error {
            WalkError::NoService { .. }
            | WalkError::Target(_)
            | WalkError::SubjectRefused { .. }
            | WalkError::Protocol(ProtocolError::Draft(DraftError::Secret { .. })) => usage(error),
            WalkError::Registry(_)
            | WalkError::Collect(_)
            | WalkError::Protocol(_)
            | WalkError::Ledger(_)
            | WalkError::ControlUnknown { .. }
            | WalkError::ImageRevoked { .. }
            | WalkError::Copy { .. }
            | WalkError::Evidence { .. }
            | WalkError::ReadBack { .. }
            | WalkError::Publish { .. }
            | WalkError::Permit { .. }
            | WalkError::Unproved { .. }
            | WalkError::Uncosigned { .. }
            | WalkError::TagContention { .. } => undecided(error),
        }
    }
}

impl From<ReplayError> for Trouble {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::NoSuchRecord { .. } | ReplayError::NotADecision { .. } => usage(error),
            ReplayError::Ledger(_)
            | ReplayError::NoBasis { .. }
            | ReplayError::NotKept { .. }
            | ReplayError::Policy { .. }
            | ReplayError::Key { .. }
            | ReplayError::Root { .. }
            | ReplayError::RootNotKept { .. }
            | ReplayError::Record { .. }
            | ReplayError::Closure(_)
            | ReplayError::Evidence { .. }
            | ReplayError::Hidden { .. }
            | ReplayError::Control { .. }
            | ReplayError::Target(_) => undecided(error),
        }
    }
}

impl From<ProtocolError> for Trouble {
    fn from(error: ProtocolError) -> Self {
        WalkError::from(error).into()
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.causes().join(": "))
    }
}

impl Trouble {
    pub(crate) fn exit_code(&self) -> u8 {
        match self.kind {
            TroubleKind::Usage => 2,
            TroubleKind::Undecided => 3,
        }
    }

    /// The innermost cause knows best what to do.
    fn hint(&self) -> Option<String> {
        let causes: Vec<_> = self.error.chain().collect();
        causes.into_iter().rev().find_map(hint)
    }

    /// The byte of the policy file that is wrong, the first one.
    fn at(&self) -> Option<usize> {
        let errors = self.error.downcast_ref::<PolicyErrors>()?;
        errors.errors().iter().find_map(|error| Some(error.span()?.start))
    }

    pub(crate) fn print(&self, outputs: &Outputs) {
        let causes = self.causes();
        let mut stderr = anstream::stderr().lock();
        for (depth, cause) in causes.iter().enumerate() {
            let _ = match depth {
                // The diagnostics of the policy file say `error:` themselves, once for each.
                0 if self.error.is::<PolicyErrors>() => writeln!(stderr, "{cause}"),
                0 => writeln!(stderr, "{ERROR}error:{ERROR:#} {cause}"),
                _ => writeln!(stderr, "  because {cause}"),
            };
        }
        let hint = self.hint();
        if let Some(hint) = &hint {
            let _ = writeln!(stderr, "{HINT}hint:{HINT:#} {}", clean(hint));
        }
        drop(stderr);
        // The answer was given: what has it keeps it.
        if self.error.is::<Unwritten>() {
            return;
        }
        let document =
            output::Trouble { schema: output::Trouble::SCHEMA, kind: self.kind, causes, hint, at: self.at() };
        if let Err(error) = outputs.trouble(&document) {
            say(format_args!("error: {error:#}"));
        }
    }

    /// Each message once: a cause that its wrapper has said already is left out, and so is a wrapper whose cause
    /// says the same and more.
    fn causes(&self) -> Vec<String> {
        let mut causes: Vec<String> = Vec::new();
        for cause in self.error.chain() {
            let lines: Vec<String> = cause.to_string().lines().map(clean).collect();
            let text = lines.join("\n");
            match causes.last_mut() {
                Some(last) if last.contains(&text) => {}
                Some(last) if text.contains(last.as_str()) => *last = text,
                Some(_) | None => causes.push(text),
            }
        }
        causes
    }
}

/// What to do about one cause. A transparent wrapper hides its cause from the chain, so that it is asked here.
fn hint(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
    if let Some(error) = cause.downcast_ref::<WalkError>() {
        return match error {
            WalkError::Target(TargetError::Unknown(unknown)) => nearest(unknown),
            WalkError::Collect(error) => error.hint(),
            WalkError::Protocol(error) => protocol(error),
            WalkError::Registry(source) | WalkError::Publish { source, .. } => source.hint(),
            WalkError::ReadBack { source, .. } => source.hint(),
            WalkError::Copy { source, .. } => source.hint(),
            WalkError::ControlUnknown { .. } => {
                Some("use the version of samebits that wrote it, or a newer one".to_owned())
            }
            WalkError::ImageRevoked { by, .. } => Some(format!(
                "promote an image that is good; if it was revoked by mistake: samebits revoke --lift {by} --reason TEXT"
            )),
            WalkError::NoService { .. }
            | WalkError::Target(_)
            | WalkError::Ledger(_)
            | WalkError::Evidence { kept: None, .. } => None,
            WalkError::Evidence { kept: Some(tag), destination, .. } => Some(format!(
                "`{tag}` in {} holds what no signature can be put behind: look what it is, and move or delete it there; \
                 or sign with cosign 3, which attaches bundles",
                destination.repository
            )),
            WalkError::Permit { .. } | WalkError::Unproved { .. } => {
                Some("run the same command again: nothing is promoted twice".to_owned())
            }
            WalkError::Uncosigned { .. } => Some(
                "see that the witnesses can be reached (samebits ledger cosign), then run the same command again: nothing \
                 is promoted twice"
                    .to_owned(),
            ),
            WalkError::SubjectRefused { service, .. } => Some(format!(
                "if its evidence may live elsewhere, write into the policy file, under [services.{service}]: evidence-store = \
                 \"REGISTRY/PATH\" (or \"oci:FOLDER\"); then run the same command again"
            )),
            WalkError::TagContention { .. } => Some(
                "if it says this again, something else sets this tag, or the registry answers from a cache"
                    .to_owned(),
            ),
        };
    }
    if let Some(TransferError::Copy(error)) = cause.downcast_ref::<TransferError>() {
        return error.hint();
    }
    if let Some(error) = cause.downcast_ref::<CopyError>() {
        return error.hint();
    }
    if let Some(error) = cause.downcast_ref::<RegistryError>() {
        return error.hint();
    }
    if let Some(error) = cause.downcast_ref::<RootsError>() {
        return error.hint();
    }
    if let Some(error) = cause.downcast_ref::<LedgerError>() {
        return error.hint().map(str::to_owned);
    }
    if let Some(error) = cause.downcast_ref::<copy::CopyError>() {
        return error.hint().map(str::to_owned);
    }
    if let Some(error) = cause.downcast_ref::<LockError>() {
        return Some(error.hint().to_owned());
    }
    if let Some(error) = cause.downcast_ref::<ProtocolError>() {
        return protocol(error);
    }
    if let Some(KeyError::Encrypted { .. }) = cause.downcast_ref::<KeyError>() {
        return Some(format!(
            "set {KEY_PASSWORD} or {COSIGN_PASSWORD} to its password, or give --key-password-file FILE"
        ));
    }
    if let Some(error) = cause.downcast_ref::<TokenError>() {
        return Some(token(error).to_owned());
    }
    cause.downcast_ref::<UnknownName>().and_then(nearest)
}

fn token(error: &TokenError) -> &'static str {
    match error {
        TokenError::None => {
            "run this in a CI job that may ask for a token (GitHub: `permissions: id-token: write`; GitLab: \
             `id_tokens: {SIGSTORE_ID_TOKEN: {aud: sigstore}}`), or sign with --key FILE"
        }
        TokenError::Ambient { .. } => {
            "let the job ask for a token (GitHub: `permissions: id-token: write`; GitLab: \
             `id_tokens: {SIGSTORE_ID_TOKEN: {aud: sigstore}}`)"
        }
        TokenError::Malformed | TokenError::Audience => "ask for the token with the audience `sigstore`",
    }
}

fn protocol(error: &ProtocolError) -> Option<String> {
    match error {
        ProtocolError::Ledger(error) => error.hint().map(str::to_owned),
        ProtocolError::Busy { .. } => {
            Some("wait for it, or run this again once it may be taken over".to_owned())
        }
        ProtocolError::Fenced { .. } | ProtocolError::Overtaken { .. } | ProtocolError::Contention { .. } => {
            Some("run the same command again: it will decide on what the ledger says now".to_owned())
        }
        ProtocolError::Revoked { .. } => Some(
            "the ledger derives nothing from it any more: promote with an identity that is not revoked, then \
             `samebits reconcile`"
                .to_owned(),
        ),
        ProtocolError::RecordUnknown { index, .. } => Some(format!(
            "see that this machine's clock is right, and refresh the roots of trust (samebits roots refresh); if it \
             is by nobody whom the policy names, and no abort: samebits revoke --record {index} --reason TEXT"
        )),
        ProtocolError::Draft(DraftError::Secret { .. }) => {
            Some("take it out, and make the secret worthless if anybody else has seen it".to_owned())
        }
        ProtocolError::Draft(_) | ProtocolError::Requester { .. } | ProtocolError::Environment { .. } => None,
    }
}

fn nearest(unknown: &UnknownName) -> Option<String> {
    unknown.nearest.as_ref().map(|name| format!("did you mean `{name}`?"))
}

impl crate::report::Report for output::Trouble {
    fn text(&self) -> String {
        self.causes.join("\n") + "\n"
    }

    fn facts(&self) -> Option<crate::ci::Facts<'_>> {
        Some(crate::ci::Facts::trouble(&self.causes, self.hint.as_deref(), self.at))
    }
}
