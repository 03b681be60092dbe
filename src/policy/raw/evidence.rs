//! What has to be attested about an image.

use schemars::JsonSchema;

use super::{At, OneOrMany, Text};
use crate::policy::diagnostic::Errors;
use crate::policy::read::{Found, Read, Table};

/// SLSA provenance v0.2 or v1.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(in crate::policy) struct Provenance {
    /// The signer of the provenance.
    pub(in crate::policy) signer: Text,
    /// The builder's id, compared exactly.
    pub(in crate::policy) builder: Text,
    /// The source repository, compared exactly; `{service}` stands for the name of the service.
    pub(in crate::policy) source: Text,
    /// The git ref, or a list of refs, compared exactly; `any` lets in every branch and tag.
    #[schemars(rename = "ref")]
    pub(in crate::policy) reference: OneOrMany,
    /// Until this day (UTC) a failure is a warning.
    pub(in crate::policy) warn_until: Option<At<jiff::civil::Date>>,
}

impl Read for Provenance {
    fn read(found: &Found<'_>, errors: &mut Errors) -> Option<Self> {
        let mut table = Table::of(found, "a table `[environments.NAME.require.provenance]`", errors)?;
        let (signer, builder) = (table.need("signer"), table.need("builder"));
        let (source, reference) = (table.need("source"), table.need("ref"));
        let warn_until = table.take("warn-until");
        table.finish();
        Some(Self { signer: signer?, builder: builder?, source: source?, reference: reference?, warn_until })
    }
}
