//! Who may say what is no longer good.

use schemars::JsonSchema;

use super::{List, Text};
use crate::policy::diagnostic::Errors;
use crate::policy::read::{Found, Read, Table};

/// Negative evidence: who may give it, and take it back.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(in crate::policy) struct Control {
    /// The signers who may revoke a digest, a signer or a record, and lift a revocation.
    pub(in crate::policy) revokers: List<Text>,
    /// Why a revoker may be a promoter or deployer too, who could then lift what stops them; shown in every decision.
    pub(in crate::policy) same_identity_accepted: Option<Text>,
}

impl Read for Control {
    fn read(found: &Found<'_>, errors: &mut Errors) -> Option<Self> {
        let mut table = Table::of(found, "a table `[control]`", errors)?;
        let revokers = table.need("revokers");
        let same_identity_accepted = table.take("same-identity-accepted");
        table.finish();
        Some(Self { revokers: revokers?, same_identity_accepted })
    }
}
