//! `[environments]`: where images run, and what they must have done before.

use schemars::JsonSchema;

use super::{At, Attestation, List, OneOrMany, Provenance, Text};
use crate::policy::diagnostic::{Errors, Span};
use crate::policy::names;
use crate::policy::read::{Found, Read, Table, has_key};

/// Where images run. Has exactly one of `entry = true` and `after`.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["entry"] }, { "required": ["after"] }]))]
pub(in crate::policy) struct Environment {
    /// `true`: images enter here straight from the build.
    #[schemars(extend("const" = true))]
    pub(in crate::policy) entry: Option<At<bool>>,
    /// The environments in which exactly the same bytes must have run before: all of these.
    pub(in crate::policy) after: Option<List<After>>,
    /// Where the environment pulls from; `{service}` stands for the name of the service.
    pub(in crate::policy) repository: Text,
    /// The tag that is moved to the promoted digest.
    pub(in crate::policy) tag: Option<Text>,
    /// The signers that may promote an image to this environment.
    pub(in crate::policy) promoters: List<Text>,
    /// The signers that may say that an image runs in this environment.
    pub(in crate::policy) deployers: List<Text>,
    /// What else is required.
    pub(in crate::policy) require: Option<Require>,
    /// How long ago witnesses may have seen the newest state of the control lane, as in `15m`; any time at all, and no
    /// witness, when absent.
    #[schemars(extend("pattern" = "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$"))]
    pub(in crate::policy) control_max_staleness: Option<Text>,
    /// How long a permit to deploy here is good (`promote --permit`), from `1m` to `24h`; `1h` when absent.
    #[schemars(extend("pattern" = "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$"))]
    pub(in crate::policy) permit_for: Option<Text>,
    /// Why a promoter of this environment may be a deployer of the one before. Shown in every decision.
    pub(in crate::policy) same_identity_accepted: Option<Text>,
    #[schemars(skip)]
    pub(in crate::policy) at: Span,
}

/// One environment before, or any of several.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub(in crate::policy) enum After {
    One(Predecessor),
    Any(AnyOf),
}

/// Any of several environments before.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(in crate::policy) struct AnyOf {
    /// One of these is enough.
    pub(in crate::policy) any_of: List<Predecessor>,
}

/// An environment before.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(in crate::policy) struct Predecessor {
    /// The name of the environment.
    #[schemars(extend("pattern" = names::PATTERN))]
    pub(in crate::policy) environment: Text,
    /// How long the bytes must have run there, as in `1h30m`; any time at all when absent.
    #[schemars(extend("pattern" = "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$"))]
    pub(in crate::policy) for_at_least: Option<Text>,
    /// `asserted` (the default): a deploy job's word is enough. `observed`: only a collector's is.
    #[schemars(extend("enum" = ["asserted", "observed"]))]
    pub(in crate::policy) evidence: Option<Text>,
}

/// What an environment requires beside `after`.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(in crate::policy) struct Require {
    /// The signers that must have signed the image: all of them.
    pub(in crate::policy) signed_by: Option<OneOrMany>,
    /// The SLSA provenance that must be there.
    pub(in crate::policy) provenance: Option<Provenance>,
    /// What else must be attested: all of these.
    pub(in crate::policy) attestations: Option<List<Attestation>>,
    /// The approvals that must be there.
    pub(in crate::policy) approvals: Option<Approvals>,
}

/// Approvals of exactly the image and environment in question.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(in crate::policy) struct Approvals {
    /// How many different identities must approve.
    #[schemars(extend("minimum" = 1))]
    pub(in crate::policy) count: At<i64>,
    /// The signers that may approve.
    pub(in crate::policy) from: List<Text>,
    /// Whose approval does not count: `requester`, `builder`. Both when absent; `[]` counts everybody's.
    #[schemars(extend("minItems" = 0, "items" = { "enum": ["requester", "builder"] }))]
    pub(in crate::policy) not_from: Option<List<Text>>,
    /// Until this day (UTC) a failure is a warning.
    pub(in crate::policy) warn_until: Option<At<jiff::civil::Date>>,
}

impl Read for Environment {
    fn read(found: &Found<'_>, errors: &mut Errors) -> Option<Self> {
        let mut table = Table::of(found, "a table `[environments.NAME]`", errors)?;
        let at = table.at();
        let (entry, after) = (table.take("entry"), table.take("after"));
        let (repository, tag) = (table.need("repository"), table.take("tag"));
        let (promoters, deployers) = (table.need("promoters"), table.need("deployers"));
        let control_max_staleness = table.take("control-max-staleness");
        let permit_for = table.take("permit-for");
        let (require, same_identity_accepted) = (table.take("require"), table.take("same-identity-accepted"));
        table.finish();
        Some(Self {
            entry,
            after,
            repository: repository?,
            tag,
            promoters: promoters?,
            deployers: deployers?,
            require,
            control_max_staleness,
            permit_for,
            same_identity_accepted,
            at,
        })
    }
}

impl Read for After {
    fn read(found: &Found<'_>, errors: &mut Errors) -> Option<Self> {
        if !has_key(found, "any-of") {
            return Predecessor::read(found, errors).map(Self::One);
        }
        let mut table = Table::of(found, "a table, as in `{ any-of = [{ environment = \"…\" }] }`", errors)?;
        let any_of = table.take("any-of");
        table.finish();
        any_of.map(|any_of| Self::Any(AnyOf { any_of }))
    }
}

impl Read for Predecessor {
    fn read(found: &Found<'_>, errors: &mut Errors) -> Option<Self> {
        let mut table = Table::of(found, "a table, as in `{ environment = \"staging\" }`", errors)?;
        let environment = table.need("environment");
        let (for_at_least, evidence) = (table.take("for-at-least"), table.take("evidence"));
        table.finish();
        Some(Self { environment: environment?, for_at_least, evidence })
    }
}

impl Read for Require {
    fn read(found: &Found<'_>, errors: &mut Errors) -> Option<Self> {
        let mut table = Table::of(found, "a table `[environments.NAME.require]`", errors)?;
        let require = Self {
            signed_by: table.take("signed-by"),
            provenance: table.take("provenance"),
            attestations: table.take("attestations"),
            approvals: table.take("approvals"),
        };
        table.finish();
        Some(require)
    }
}

impl Read for Approvals {
    fn read(found: &Found<'_>, errors: &mut Errors) -> Option<Self> {
        let mut table =
            Table::of(found, "a table, as in `{ count = 2, from = [\"release-managers\"] }`", errors)?;
        let (count, from) = (table.need("count"), table.need("from"));
        let (not_from, warn_until) = (table.take("not-from"), table.take("warn-until"));
        table.finish();
        Some(Self { count: count?, from: from?, not_from, warn_until })
    }
}
