//! What has to be attested about an image.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{At, Entries, OneOrMany, Text};
use crate::policy::diagnostic::Errors;
use crate::policy::read::{Found, Kind, Read, Table};

/// SLSA provenance v0.2 or v1.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(in crate::policy) struct Provenance {
    /// The signer of the provenance.
    pub(in crate::policy) signer: Text,
    /// The builder's id, compared exactly; `{service}` stands for the name of the service.
    pub(in crate::policy) builder: Text,
    /// The source repository, compared exactly; `{service}` stands for the name of the service.
    pub(in crate::policy) source: Text,
    /// The git ref, or a list of refs, compared exactly; `any` lets in every branch and tag.
    #[schemars(rename = "ref")]
    pub(in crate::policy) reference: OneOrMany,
    /// The only commit that may be built: 40 or 64 lowercase hexadecimal digits.
    pub(in crate::policy) commit: Option<Text>,
    /// The build's instructions, compared exactly: a path in the source, as in `.github/workflows/release.yml`, or
    /// `REPOSITORY/PATH` where they lie elsewhere (then this key is needed); at GitLab the name of the job.
    /// `{service}` stands for the name of the service.
    pub(in crate::policy) workflow: Option<Text>,
    /// The build type, compared exactly.
    pub(in crate::policy) build_type: Option<Text>,
    /// What the builder must have been asked for: RFC 6901 pointers into `externalParameters` (SLSA v1) or
    /// `invocation.parameters` (v0.2), and the only value each may have; `{service}` in texts stands for the name of
    /// the service.
    #[schemars(with = "Option<std::collections::BTreeMap<String, Scalar>>")]
    pub(in crate::policy) parameters: Option<At<Entries<Scalar>>>,
    /// The SLSA Build level that builder and signer must justify: 1, 2 or 3. Never taken from the provenance itself.
    #[schemars(range(min = 1, max = 3))]
    pub(in crate::policy) level: Option<At<i64>>,
    /// Until this day (UTC) a failure is a warning.
    pub(in crate::policy) warn_until: Option<At<jiff::civil::Date>>,
}

/// A text, a whole number, `true` or `false`.
#[derive(Debug)]
pub(in crate::policy) enum Scalar {
    Text(Text),
    Number(At<i64>),
    Truth(At<bool>),
}

impl Read for Provenance {
    fn read(found: &Found<'_>, errors: &mut Errors) -> Option<Self> {
        let mut table = Table::of(found, "a table `[environments.NAME.require.provenance]`", errors)?;
        let (signer, builder) = (table.need("signer"), table.need("builder"));
        let (source, reference) = (table.need("source"), table.need("ref"));
        let (commit, workflow) = (table.take("commit"), table.take("workflow"));
        let (build_type, parameters) = (table.take("build-type"), table.take("parameters"));
        let (level, warn_until) = (table.take("level"), table.take("warn-until"));
        table.finish();
        Some(Self {
            signer: signer?,
            builder: builder?,
            source: source?,
            reference: reference?,
            commit,
            workflow,
            build_type,
            parameters,
            level,
            warn_until,
        })
    }
}

impl Read for Scalar {
    fn read(found: &Found<'_>, errors: &mut Errors) -> Option<Self> {
        match found.kind() {
            Kind::Text => Text::read(found, errors).map(Self::Text),
            Kind::Number => At::read(found, errors).map(Self::Number),
            Kind::Truth => At::read(found, errors).map(Self::Truth),
            Kind::Other => found.wrong("a string, a whole number, `true` or `false`", errors),
        }
    }
}

impl JsonSchema for Scalar {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Scalar".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer", "boolean"], "minLength": 1 })
    }
}
