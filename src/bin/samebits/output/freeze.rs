//! The answer of `freeze` and `thaw`, and how `status` lists what is frozen.

use std::fmt::Write as _;

use jiff::Timestamp;
use samebits::digest::Digest;
use samebits::policy::{EnvironmentName, ServiceName};
use samebits::record::{Position, Scope};
use samebits::verify::Identity;
use schemars::JsonSchema;
use serde::Serialize;

use crate::report::{BAD, GOOD, Report, WARN, clean};

/// The answer of `freeze` and `thaw`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Freezing {
    /// `https://samebits.dev/schema/freeze.schema.json`
    pub(crate) schema: &'static str,
    /// Whether it freezes or thaws.
    pub(crate) effect: FreezingEffect,
    /// Where.
    pub(crate) scope: Scope,
    /// Since when.
    pub(crate) from: Timestamp,
    /// Until when; none is until it is thawed.
    pub(crate) until: Option<Timestamp>,
    /// Why.
    pub(crate) reason: String,
    /// The freeze that is ended.
    pub(crate) lifts: Option<Position>,
    /// Who signed.
    pub(crate) signer: Identity,
    /// Where it lies in the control lane.
    pub(crate) record: Position,
    /// The environments of the scope.
    pub(crate) environments: Vec<EnvironmentName>,
    /// The promotions that were under way when the freeze was in the ledger: each may have looked before that, and goes
    /// on then.
    pub(crate) open: Vec<UnderWay>,
    /// The promotions that were committed since its author read the ledger.
    pub(crate) committed: Vec<UnderWay>,
    /// What a reader has to know beside it.
    pub(crate) notes: Vec<String>,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FreezingEffect {
    /// Nothing enters.
    Freeze,
    /// The freeze is over.
    Thaw,
}

/// A promotion that a freeze may have come too late for.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UnderWay {
    /// The service.
    pub(crate) service: ServiceName,
    /// The environment.
    pub(crate) environment: EnvironmentName,
    /// The image.
    pub(crate) image: Digest,
    /// Its intent, or its commit.
    pub(crate) record: u64,
    /// Who signed.
    pub(crate) signer: Identity,
    /// The time the author claims.
    pub(crate) decided_on: Timestamp,
}

/// A freeze that was not thawed and is not over, in `status`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FrozenHere {
    /// Its index in the control lane.
    pub(crate) index: u64,
    /// Where.
    pub(crate) scope: Scope,
    /// Since when; perhaps to come.
    pub(crate) from: Timestamp,
    /// Until when; none is until it is thawed.
    pub(crate) until: Option<Timestamp>,
    /// Why.
    pub(crate) reason: String,
    /// Who signed.
    pub(crate) signer: Identity,
}

impl Freezing {
    pub(crate) const SCHEMA: &str = "https://samebits.dev/schema/freeze.schema.json";
}

impl Report for Freezing {
    fn text(&self) -> String {
        let what = held(&self.scope, self.from, self.until);
        let index = self.record.index;
        let mut text = match self.effect {
            FreezingEffect::Freeze => format!("{BAD}frozen{BAD:#} {what}, as control record {index}\n"),
            FreezingEffect::Thaw => format!(
                "{GOOD}thawed{GOOD:#} control record {}, as control record {index}\n",
                self.lifts.map(|lifted| lifted.index.to_string()).unwrap_or_default()
            ),
        };
        let environments: Vec<String> = self.environments.iter().map(ToString::to_string).collect();
        let only = self.scope.service.as_ref().map(|name| format!(" (for {name})")).unwrap_or_default();
        let _ = writeln!(text, "  reason      {}", clean(&self.reason));
        let _ = writeln!(text, "  signed by   {}", clean(&self.signer.to_string()));
        let _ = writeln!(text, "  holds for   {}{only}", environments.join(", "));
        let open = "was under way and may still be committed";
        for (under_way, how) in self
            .open
            .iter()
            .map(|it| (it, open))
            .chain(self.committed.iter().map(|it| (it, "was committed meanwhile")))
        {
            let UnderWay { service, environment, image, record, signer, .. } = under_way;
            let _ = writeln!(
                text,
                "  {WARN}!{WARN:#} {service} {} {how} in {environment} (record {record}, by {})",
                image.short(),
                clean(&signer.to_string())
            );
        }
        for note in &self.notes {
            let _ = writeln!(text, "  {WARN}!{WARN:#} {}", clean(note));
        }
        text
    }
}

/// What is frozen, and when, in words.
fn held(scope: &Scope, from: Timestamp, until: Option<Timestamp>) -> String {
    let environment = scope.environment.as_ref().map_or_else(|| "everything".to_owned(), ToString::to_string);
    let service = scope.service.as_ref().map(|name| format!(" for {name}")).unwrap_or_default();
    let until = until.map_or_else(|| "until it is thawed".to_owned(), |until| format!("until {until:.0}"));
    format!("{environment}{service}, from {from:.0} {until}")
}

pub(crate) fn frozen(text: &mut String, freezes: &[FrozenHere]) {
    for it in freezes {
        let what = held(&it.scope, it.from, it.until);
        let (reason, index) = (clean(&it.reason), it.index);
        let _ = writeln!(text, "{BAD}frozen{BAD:#} {what}: {reason} (control record {index})");
    }
}
