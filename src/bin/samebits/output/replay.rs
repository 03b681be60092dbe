//! What `replay` prints.

use std::fmt::Write as _;

use jiff::Timestamp;
use samebits::digest::Digest;
use samebits::gate::Code;
use samebits::policy::{EnvironmentName, ServiceName};
use samebits::record::{Phase, PolicyVersion, RootVersion, TreeHead};
use samebits::reference::Image;
use samebits::replay::Difference;
use schemars::JsonSchema;
use serde::Serialize;

use super::YesOrNo;
use crate::report::{BAD, BOLD, DIM, GOOD, Report, WARN, clean};

/// The answer of `replay RECORD`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Replay {
    /// `https://samebits.dev/schema/replay.schema.json`
    pub(crate) schema: &'static str,
    /// The record.
    pub(crate) record: u64,
    /// The digest of its bytes.
    pub(crate) digest: Digest,
    /// What it is.
    pub(crate) phase: Phase,
    /// Whether the same decision came out.
    pub(crate) same: bool,
    /// What was recorded.
    pub(crate) recorded: YesOrNo,
    /// What the gate says now.
    pub(crate) decision: YesOrNo,
    /// The codes of the requirements that refuse now.
    pub(crate) codes: Vec<Code>,
    /// Everything that is not as it was recorded.
    pub(crate) differences: Vec<Difference>,
    /// The image, where it would lie.
    pub(crate) image: Image,
    /// The service.
    pub(crate) service: ServiceName,
    /// The environment to enter.
    pub(crate) to: EnvironmentName,
    /// The gate's clock.
    pub(crate) decided_on: Timestamp,
    /// The rules, as they were kept: those that the record names, which are its author's choice.
    pub(crate) policy: PolicyVersion,
    /// Whether they are those of the policy at hand.
    pub(crate) at_hand: AtHand,
    /// The roots of trust, as they were kept.
    pub(crate) roots: Vec<RootVersion>,
    /// The main lane that was read; today's continues it.
    pub(crate) ledger: TreeHead,
    /// The control lane that was read; today's continues it.
    pub(crate) control: TreeHead,
    /// How many pieces of evidence it relies on.
    pub(crate) evidence: usize,
}

/// How the rules of a record compare with those of the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AtHand {
    /// The same file with the same keys.
    Same,
    /// Another file, or other keys.
    Other,
    /// There is no policy at hand.
    None,
}

impl Replay {
    pub(crate) const SCHEMA: &str = "https://samebits.dev/schema/replay.schema.json";
}

impl Report for Replay {
    fn text(&self) -> String {
        let (word, style) = if self.same { ("same", GOOD) } else { ("different", BAD) };
        let said = match self.recorded {
            YesOrNo::Approved => "approved",
            YesOrNo::Denied => "denied",
        };
        let mut text = format!(
            "{style}{word}{style:#}  record {} ({}): {said} {BOLD}{}{BOLD:#} {} → {}\n",
            self.record,
            self.phase,
            self.service,
            self.image.digest.short(),
            self.to
        );
        for Difference { what, expected, found } in &self.differences {
            let _ = writeln!(text, "  {BAD}✗{BAD:#} {}", clean(what));
            let _ = writeln!(text, "    recorded    {}", clean(expected));
            let _ = writeln!(text, "    now         {}", clean(found));
        }
        let digest = self.policy.digest.0;
        let _ = match self.at_hand {
            AtHand::Same => writeln!(text, "  by policy {digest}, which is the one at hand"),
            AtHand::Other => {
                writeln!(
                    text,
                    "  {WARN}!{WARN:#} by policy {digest}, which the record names and is not the one at hand"
                )
            }
            AtHand::None => {
                writeln!(
                    text,
                    "  {WARN}!{WARN:#} by policy {digest}, which the record names; there is none at hand"
                )
            }
        };
        let _ = writeln!(
            text,
            "  {DIM}{} pieces of evidence, {} records and {} control records, at {}{DIM:#}",
            self.evidence, self.ledger.size, self.control.size, self.decided_on
        );
        text
    }
}

/// The answer of `replay` over history.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct History {
    /// `https://samebits.dev/schema/what-if.schema.json`
    pub(crate) schema: &'static str,
    /// The log.
    pub(crate) origin: String,
    /// Its head.
    pub(crate) ledger: TreeHead,
    /// The digest of the policy file that decided.
    pub(crate) policy: Digest,
    /// How many decisions there are.
    pub(crate) decisions: usize,
    /// How many would be the same.
    pub(crate) same: usize,
    /// How many would be refused.
    pub(crate) refused: usize,
    /// How many would be allowed.
    pub(crate) allowed: usize,
    /// Of how many it cannot be told.
    pub(crate) cannot_tell: usize,
    /// Each, oldest first.
    pub(crate) records: Vec<Decided>,
}

/// One decision, made again by other rules.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Decided {
    /// The record.
    pub(crate) record: u64,
    /// What it is; none where the record cannot be read.
    pub(crate) phase: Option<Phase>,
    /// The image, where it would lie.
    pub(crate) image: Option<Image>,
    /// The service.
    pub(crate) service: Option<ServiceName>,
    /// The environment to enter.
    pub(crate) to: Option<EnvironmentName>,
    /// When.
    pub(crate) decided_on: Option<Timestamp>,
    /// What was recorded.
    pub(crate) recorded: Option<YesOrNo>,
    /// What would have become of it.
    pub(crate) now: Now,
    /// The codes of the requirements that would refuse.
    pub(crate) codes: Vec<Code>,
    /// Why, one line each; none where nothing changes.
    pub(crate) why: Vec<String>,
}

/// What would have become of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Now {
    /// The same.
    Same,
    /// It would be refused.
    Refused,
    /// It would be allowed.
    Allowed,
    /// It cannot be told.
    CannotTell,
}

impl History {
    pub(crate) const SCHEMA: &str = "https://samebits.dev/schema/what-if.schema.json";
}

impl Report for History {
    fn text(&self) -> String {
        let mut text = String::new();
        for Decided { record, image, service, to, decided_on, recorded, now, why, .. } in &self.records {
            let recorded = match recorded {
                Some(YesOrNo::Approved) => "approved",
                Some(YesOrNo::Denied) => "denied",
                None => "",
            };
            let (word, style) = match now {
                Now::Same => ("same", DIM),
                Now::Refused => ("would be refused now", BAD),
                Now::Allowed => ("would be allowed now", GOOD),
                Now::CannotTell => ("cannot be told", WARN),
            };
            let parts = [
                decided_on.map(|time| format!("{time:.0}")),
                service.as_ref().map(ToString::to_string),
                image.as_ref().map(|image| image.digest.short()),
                to.as_ref().map(|to| format!("→ {to}")),
            ];
            let said = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
            let _ = writeln!(text, "{record:>6}  {said}  {recorded:<8}  {style}{word}{style:#}");
            for line in why {
                let _ = writeln!(text, "        {}", clean(line));
            }
        }
        let _ = writeln!(
            text,
            "{} decisions by policy {}: {} the same, {} would be refused now, {} would be allowed now, {} cannot be told",
            self.decisions,
            self.policy.short(),
            self.same,
            self.refused,
            self.allowed,
            self.cannot_tell
        );
        text
    }
}
