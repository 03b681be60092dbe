//! The answer of `reconcile`.

use std::fmt::Write as _;

use jiff::Timestamp;
use samebits::digest::Digest;
use samebits::policy::{EnvironmentName, ServiceName};
use samebits::record::TreeHead;
use samebits::reference::{Repository, Tag};
use samebits::verify::Identity;
use schemars::JsonSchema;
use serde::Serialize;

use crate::report::{BAD, BOLD, DIM, GOOD, Report, WARN, clean};

/// The answer of `reconcile`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Reconciling {
    /// `https://samebits.dev/schema/reconcile.schema.json`
    pub(crate) schema: &'static str,
    /// The log's name.
    pub(crate) origin: String,
    /// The log that was read.
    pub(crate) ledger: TreeHead,
    /// The control lane that was read.
    pub(crate) control: TreeHead,
    /// Everything that was not as the ledger says.
    pub(crate) left: Vec<LeftHere>,
    /// The command that mends it, where there is one.
    pub(crate) next: Option<String>,
}

/// Something that was not as the ledger says, and what became of it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LeftHere {
    /// The service.
    pub(crate) service: ServiceName,
    /// The environment.
    pub(crate) environment: EnvironmentName,
    /// What it is.
    pub(crate) what: What,
    /// Where it is.
    pub(crate) repository: Repository,
    /// The image it is about; of a tag, what it has to mean.
    pub(crate) image: Option<Digest>,
    /// The commit, or the intent.
    pub(crate) record: Option<u64>,
    /// The tag.
    pub(crate) tag: Option<Tag>,
    /// What the tag meant.
    pub(crate) found: Option<Digest>,
    /// Of a summary: the manifests without one.
    pub(crate) on: Vec<Digest>,
    /// Whose intent.
    pub(crate) by: Option<Identity>,
    /// Since when it is open, by their clock.
    pub(crate) since: Option<Timestamp>,
    /// What became of it.
    pub(crate) outcome: Outcome,
    /// Why nothing was done, or can be.
    pub(crate) why: Option<String>,
}

/// What may be left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum What {
    /// Bytes of a promoted image are gone.
    Bytes,
    /// The record of a commit does not lie on its image.
    Record,
    /// A promoted image, or a manifest of it, has no summary (VSA).
    Summary,
    /// The tag is not the last commit.
    Tag,
    /// A tag where nothing was validly promoted.
    TagOfNothing,
    /// An intent that nobody closed.
    Intent,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// It can be done; nothing was.
    ToDo,
    /// It was done.
    Done,
    /// It cannot be done from here.
    Left,
    /// Nothing has to be done: somebody may be at it.
    UnderWay,
}

impl Reconciling {
    pub(crate) const SCHEMA: &str = "https://samebits.dev/schema/reconcile.schema.json";

    /// Whether everything is as the ledger says, or somebody is at it.
    pub(crate) fn is_clean(&self) -> bool {
        self.left.iter().all(|it| matches!(it.outcome, Outcome::Done | Outcome::UnderWay))
    }
}

impl LeftHere {
    fn words(&self) -> String {
        let image = self.image.map(|image| image.short()).unwrap_or_default();
        let record = self.record.map(|index| index.to_string()).unwrap_or_default();
        let tag = self.tag.as_ref().map(ToString::to_string).unwrap_or_default();
        let found =
            self.found.map_or_else(|| "is not there".to_owned(), |found| format!("means {}", found.short()));
        match self.what {
            What::Bytes => format!("{image} was promoted (record {record}), and its bytes are not all there"),
            What::Record => format!("record {record} does not lie on {image}"),
            What::Summary => {
                format!("{image} (record {record}) has no summary on {} manifest(s)", self.on.len())
            }
            What::Tag => format!("the tag `{tag}` {found}; the ledger says {image} (record {record})"),
            What::TagOfNothing => format!("the tag `{tag}` {found}, and nothing was promoted there"),
            What::Intent => {
                let by = self.by.as_ref().map(|by| clean(&by.to_string())).unwrap_or_default();
                let since = self.since.map(|since| format!("{since:.0}")).unwrap_or_default();
                format!("intent {record} for {image} is open since {since}, by {by}")
            }
        }
    }
}

impl Report for Reconciling {
    fn text(&self) -> String {
        let mut text = String::new();
        for it in &self.left {
            let (style, word) = match it.outcome {
                Outcome::ToDo => (WARN, "to do"),
                Outcome::Done => (GOOD, "done"),
                Outcome::Left => (BAD, "left"),
                Outcome::UnderWay => (DIM, "under way"),
            };
            let (service, environment) = (&it.service, &it.environment);
            let _ = writeln!(
                text,
                "{style}{word:<9}{style:#}  {service} in {environment}: {}",
                clean(&it.words())
            );
            if let Some(why) = &it.why {
                let _ = writeln!(text, "           {}", clean(why));
            }
        }
        if self.is_clean() {
            let _ = writeln!(text, "{GOOD}reconciled{GOOD:#}  registries and ledger say the same");
        }
        let _ = writeln!(text, "{DIM}ledger {} has {} records{DIM:#}", clean(&self.origin), self.ledger.size);
        if let Some(next) = &self.next {
            let _ = writeln!(
                text,
                "\nnothing was changed; to do it (as a promoter):\n  {BOLD}{}{BOLD:#}",
                clean(next)
            );
        }
        text
    }
}
