//! `ledger cosign` asks the witnesses; `ledger witness` is one.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use samebits::ledger::Ledger;
use samebits::ledger::seen::Lane;
use samebits::promote::uncosigned;
use samebits::tlog::{TlogPolicy, WitnessSigner};
use samebits::witness::{self, AskError, Asked, Client, Witness};
use tokio::net::TcpListener;

use crate::Outcome;
use crate::args::{Serve, WitnessKeyOf};
use crate::commands::block_on;
use crate::output::{CosignReport, Cosigned, Freshness, WitnessKey};
use crate::report::{BAD, GOOD, Outputs, Report, clean, say};
use crate::session::{self, Session, http_config, read_text};
use crate::trouble::{Trouble, undecided, usage};

pub(crate) fn cosign(session: &Session<'_>) -> Result<Outcome, Trouble> {
    let Some(policy) = session.witness_policy()? else {
        return Err(usage(anyhow!(
            "no witness is named: expected `witness-policy` (C2SP tlog-policy) in {}",
            session.lock_file().display()
        )));
    };
    let ledger = session.ledger_to_append()?;
    let asked = ask(session, &ledger, &policy)?;
    let cosigned = ledger.cosigned(Lane::Control).map_err(undecided)?;
    let lane = ledger.control().map_err(undecided)?;
    let fresh = ledger.freshness(cosigned.as_ref(), &lane, session::now()).map_err(undecided)?;
    let report = CosignReport {
        schema: CosignReport::SCHEMA,
        origin: ledger.vkey().origin().to_string(),
        witnesses: asked.iter().map(Cosigned::from).collect(),
        freshness: Freshness::from(&fresh),
    };
    // A witness that has seen more, or something else, is no matter of a quorum.
    if let Some(alarm) = asked.into_iter().filter_map(|asked| asked.cosigned.err()).find(AskError::is_alarm) {
        return Err(undecided(alarm));
    }
    session.outputs.emit(&report).map_err(undecided)?;
    Ok(match report.freshness {
        Freshness::Cosigned { .. } => Outcome::Yes,
        Freshness::Missed { .. } | Freshness::Unwitnessed => Outcome::No,
    })
}

/// After a promotion, where witnesses are named: that they could not be asked is a warning, for it is done.
pub(crate) fn cosign_after(session: &Session<'_>, ledger: &Ledger) -> Vec<String> {
    let asked = match session.witness_policy() {
        Ok(None) => return Vec::new(),
        Ok(Some(policy)) => ask(session, ledger, &policy),
        Err(trouble) => Err(trouble),
    };
    match asked {
        Ok(asked) => not_cosigned(&uncosigned(&asked)),
        Err(trouble) => not_cosigned(&[trouble.to_string()]),
    }
}

/// Said beside an answer.
pub(crate) fn not_cosigned(why: &[String]) -> Vec<String> {
    why.iter().map(|why| format!("not cosigned: {why}")).collect()
}

/// Who asks the witnesses, where any are named.
pub(crate) fn client(session: &Session<'_>) -> Result<Client, Trouble> {
    Client::new(&http_config(&session.policy, &session.folder)).map_err(undecided)
}

fn ask(session: &Session<'_>, ledger: &Ledger, policy: &TlogPolicy) -> Result<Vec<Asked>, Trouble> {
    let client = client(session)?;
    session.progress(format_args!("asking the witnesses"));
    block_on(witness::cosign(ledger, policy, &client))?.map_err(undecided)
}

impl From<&Asked> for Cosigned {
    fn from(asked: &Asked) -> Self {
        let (size, why) = match &asked.cosigned {
            Ok(size) => (Some(*size), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Self { witness: asked.witness.clone(), lane: asked.lane.to_string(), size, why }
    }
}

/// Answers until it is killed.
pub(crate) fn serve(args: &Serve) -> Result<Outcome, Trouble> {
    let shown = args.key.display();
    let text = read_text(&args.key).with_context(|| format!("the witness key {shown} cannot be read"));
    let signer: WitnessSigner = text
        .map_err(usage)?
        .trim()
        .parse()
        .with_context(|| format!("the witness key {shown} is wrong"))
        .map_err(usage)?;
    let witness = Witness::open(signer, &args.log, &args.state).map_err(undecided)?;
    let vkey = witness.vkey().clone();
    let ended = block_on(async {
        let listener = TcpListener::bind(args.listen).await?;
        say(format_args!("witness {vkey} listens on http://{}/", listener.local_addr()?));
        witness::serve(listener, Arc::new(witness), session::now).await
    })?;
    match ended.with_context(|| format!("cannot listen on {}", args.listen)) {
        Ok(never) => match never {},
        Err(error) => Err(undecided(error)),
    }
}

pub(crate) fn key(outputs: &Outputs, args: &WitnessKeyOf) -> Result<Outcome, Trouble> {
    let signer = WitnessSigner::generate(args.name.clone()).map_err(undecided)?;
    write_secret(&args.to, &format!("{}\n", signer.to_secret_text())).map_err(usage)?;
    let report = WitnessKey {
        schema: WitnessKey::SCHEMA,
        file: args.to.display().to_string(),
        vkey: signer.vkey().to_string(),
    };
    outputs.emit(&report).map_err(undecided)?;
    Ok(Outcome::Yes)
}

/// A new file for its owner alone.
fn write_secret(file: &Path, text: &str) -> anyhow::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(file)
        .and_then(|mut opened| opened.write_all(text.as_bytes()))
        .with_context(|| format!("the key {} cannot be written: nothing is overwritten", file.display()))
}

impl Report for CosignReport {
    fn text(&self) -> String {
        let mut text = String::new();
        for Cosigned { witness, lane, size, why } in &self.witnesses {
            let (witness, lane) = (clean(witness), clean(lane));
            let _ = match (size, why) {
                (Some(size), _) => {
                    writeln!(text, "{GOOD}✓{GOOD:#} {witness} cosigned {size} records of the {lane}")
                }
                (None, why) => {
                    let why = why.as_deref().unwrap_or_default().lines().next().unwrap_or_default();
                    writeln!(text, "{BAD}✗{BAD:#} {witness}, {lane}: {}", clean(why))
                }
            };
        }
        let _ = match &self.freshness {
            Freshness::Unwitnessed => writeln!(text, "unwitnessed: the policy asks for no quorum"),
            Freshness::Missed { missing } => {
                writeln!(text, "{BAD}no quorum{BAD:#}: nothing by {}", clean(&missing.join(", ")))
            }
            Freshness::Cosigned { at, size, witnesses } => {
                let by = clean(&witnesses.join(", "));
                writeln!(text, "fresh at {at:.0}: {size} control records, by {by}")
            }
        };
        text
    }
}

impl Report for WitnessKey {
    fn text(&self) -> String {
        format!("wrote {}\n{}\n", clean(&self.file), clean(&self.vkey))
    }
}
