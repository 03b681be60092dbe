//! The answer of `permit verify`, and what `promote` says of a permit that it wrote.

use std::fmt::Write as _;

use jiff::Timestamp;
use samebits::gate::Code;
use samebits::gate::permit::{Admission, Shown};
use samebits::policy::{EnvironmentName, ServiceName, SignerName};
use samebits::record::Position;
use samebits::reference::Image;
use samebits::verify::Identity;
use schemars::JsonSchema;
use serde::Serialize;

use super::{RequirementStands, RootInUse, YesOrNo};
use crate::ci::{Facts, Word};
use crate::report::{BAD, BOLD, DIM, GOOD, Report, WARN, clean, more, requirements, roots};

/// The answer of `permit verify`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PermitVerdict {
    /// `https://samebits.dev/schema/permit.schema.json`
    pub(crate) schema: &'static str,
    /// Yes or no.
    pub(crate) decision: YesOrNo,
    /// The image that was asked about, pinned.
    pub(crate) image: Image,
    /// The pinned reference to deploy; only on yes.
    pub(crate) permitted: Option<Image>,
    /// The service.
    pub(crate) service: ServiceName,
    /// The environment to deploy in.
    #[serde(rename = "in")]
    pub(crate) environment: EnvironmentName,
    /// The codes of what refuses.
    pub(crate) codes: Vec<Code>,
    /// Everything that was checked, in order.
    pub(crate) requirements: Vec<RequirementStands>,
    /// What the permit says; none where there is none that can be read and was signed.
    pub(crate) permit: Option<PermitSays>,
    /// The roots of trust that certificates were judged under.
    pub(crate) roots: Vec<RootInUse>,
    /// What a reader has to know beside it.
    pub(crate) notes: Vec<String>,
}

/// What a permit says, on yes and no alike.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PermitSays {
    /// Who signed it.
    pub(crate) signer: Identity,
    /// What the policy calls them.
    pub(crate) names: Vec<SignerName>,
    /// The commit of the promotion that it rests on.
    pub(crate) record: Position,
    /// When it was given.
    pub(crate) issued_on: Timestamp,
    /// From then on it is void.
    pub(crate) valid_until: Timestamp,
}

/// A permit that `promote` wrote.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PermitWritten {
    /// The file.
    pub(crate) file: String,
    /// When it was given.
    pub(crate) issued_on: Timestamp,
    /// From then on it is void.
    pub(crate) valid_until: Timestamp,
    /// The permit itself, for the outputs of a step.
    #[serde(skip)]
    pub(crate) bundle: String,
}

impl PermitVerdict {
    pub(crate) const SCHEMA: &str = "https://samebits.dev/schema/permit.schema.json";

    pub(crate) fn new(
        admission: &Admission,
        image: Image,
        service: ServiceName,
        environment: EnvironmentName,
    ) -> Self {
        let permitted = admission.granted().cloned();
        Self {
            schema: Self::SCHEMA,
            decision: if permitted.is_some() { YesOrNo::Approved } else { YesOrNo::Denied },
            image,
            permitted,
            service,
            environment,
            codes: admission.codes(),
            requirements: admission.findings().iter().map(RequirementStands::from).collect(),
            permit: None,
            roots: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// The same, with what the permit says.
    pub(crate) fn of(
        self,
        shown: &Shown,
        names: impl FnOnce(&samebits::verify::Author) -> Vec<SignerName>,
    ) -> Self {
        let permit = match shown {
            Shown::Nothing(_) | Shown::Unread(_) => None,
            Shown::Permit(signed) => Some(PermitSays {
                signer: signed.author().identity().clone(),
                names: names(signed.author()),
                record: signed.permit().record,
                issued_on: signed.permit().issued_on,
                valid_until: signed.permit().valid_until,
            }),
        };
        Self { permit, ..self }
    }
}

impl Report for PermitVerdict {
    fn text(&self) -> String {
        let (word, style) = match self.decision {
            YesOrNo::Approved => ("yes", GOOD),
            YesOrNo::Denied => ("no", BAD),
        };
        let (service, environment) = (&self.service, &self.environment);
        let image = clean(&self.image.to_string());
        let mut text =
            format!("{style}{word}{style:#}  {BOLD}{service}{BOLD:#}  {image}  in  {environment}\n\n");
        requirements(&mut text, &self.requirements);
        for note in &self.notes {
            let _ = writeln!(text, "  {WARN}!{WARN:#} {}", clean(note));
        }
        roots(&mut text, &self.roots);
        if let Some(PermitSays { record, valid_until, .. }) = &self.permit {
            let _ = writeln!(
                text,
                "\n  {DIM}rests on record {}, good until {valid_until:.0}{DIM:#}",
                record.index
            );
        }
        more(&mut text, &self.codes, self.permit.is_none());
        text
    }

    fn facts(&self) -> Option<Facts<'_>> {
        let word = match self.decision {
            YesOrNo::Approved => Word::Approved,
            YesOrNo::Denied => Word::Denied,
        };
        Some(Facts {
            word,
            service: self.service.to_string(),
            image: self.image.to_string(),
            pinned: self.permitted.as_ref().map(ToString::to_string),
            permit: None,
            digest: Some(self.image.digest.to_string()),
            codes: self.codes.iter().map(ToString::to_string).collect(),
            requirements: &self.requirements,
            notes: &self.notes,
            record: None,
            record_url: None,
            causes: &[],
            hint: None,
            at: None,
        })
    }
}
