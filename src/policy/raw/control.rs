//! Who may say what is no longer good, and that nothing enters.

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
    /// The signers who may freeze what enters, and thaw; nobody may where this is absent.
    pub(in crate::policy) freezers: Option<List<Text>>,
    /// Why a revoker or freezer may be a promoter or deployer too, who could then lift what stops them; shown in every
    /// decision.
    pub(in crate::policy) same_identity_accepted: Option<Text>,
}

impl Read for Control {
    fn read(found: &Found<'_>, errors: &mut Errors) -> Option<Self> {
        let mut table = Table::of(found, "a table `[control]`", errors)?;
        let revokers = table.need("revokers");
        let freezers = table.take("freezers");
        let same_identity_accepted = table.take("same-identity-accepted");
        table.finish();
        Some(Self { revokers: revokers?, freezers, same_identity_accepted })
    }
}
