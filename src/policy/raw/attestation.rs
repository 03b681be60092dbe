//! `require.attestations`: one entry, with the keys of its type.

use schemars::JsonSchema;

use super::{At, Entries, List, Scalar, Text};
use crate::policy::diagnostic::Errors;
use crate::policy::names;
use crate::policy::read::{Found, Read, Table};

/// An attestation that must be there. Which keys may stand here depends on `type`.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(in crate::policy) struct Attestation {
    /// `test-result`, `spdx`, `cyclonedx`, `vulns`, `vsa`, `svr`, or a full predicate type, which is a URI.
    #[schemars(rename = "type")]
    pub(in crate::policy) kind: Text,
    /// The signer of the attestation.
    #[schemars(extend("pattern" = names::PATTERN))]
    pub(in crate::policy) signer: Text,
    /// How old it may be, as in `7d`: by the time that is proved and by the time it states, whichever is earlier.
    #[schemars(extend("pattern" = "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$"))]
    pub(in crate::policy) max_age: Option<Text>,
    /// Until this day (UTC) a failure is a warning.
    pub(in crate::policy) warn_until: Option<At<jiff::civil::Date>>,
    /// Members of the predicate that must be equal, by JSON pointer, as in `{ "/result/ok" = true }`; `{service}` in
    /// texts stands for the name of the service.
    #[schemars(with = "Option<std::collections::BTreeMap<String, Scalar>>")]
    pub(in crate::policy) fields: Option<At<Entries<Scalar>>>,
    /// An expression in CEL over `predicate`, `subject`, `signer`, `service` and `environment` that must be true.
    pub(in crate::policy) cel: Option<Text>,
    /// For types by URI: `true` if it is enough that it is there, whatever it says.
    #[schemars(extend("const" = true))]
    pub(in crate::policy) present: Option<At<bool>>,
    /// `test-result`: the environment of `after` in which the image must have been deployed before it was tested.
    #[schemars(extend("pattern" = names::PATTERN))]
    pub(in crate::policy) after_deployment: Option<Text>,
    /// `test-result`: names that must be in `configuration`, all of them.
    pub(in crate::policy) configuration: Option<List<Text>>,
    /// `test-result`: names that must be in `passedTests`, all of them.
    pub(in crate::policy) tests: Option<List<Text>>,
    /// `vulns`: how many findings there may be.
    pub(in crate::policy) at_most: Option<AtMost>,
    /// `vulns`: the signer whose OpenVEX says which findings do no harm.
    #[schemars(extend("pattern" = names::PATTERN))]
    pub(in crate::policy) vex: Option<Text>,
    /// `vulns`: how old the OpenVEX may be.
    #[schemars(extend("pattern" = "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$"))]
    pub(in crate::policy) vex_max_age: Option<Text>,
    /// `vsa`, `svr`: the verifier's id, compared exactly.
    pub(in crate::policy) verifier: Option<Text>,
    /// `vsa`: what was verified, compared exactly; `{service}` stands for the name of the service.
    pub(in crate::policy) resource_uri: Option<Text>,
    /// `vsa`: levels that must be verified; a higher one of the same SLSA track is enough.
    pub(in crate::policy) levels: Option<List<Text>>,
    /// `vsa`: the URI of the policy it was verified by, compared exactly.
    pub(in crate::policy) policy: Option<Text>,
    /// `svr`: properties that must be verified, all of them.
    pub(in crate::policy) properties: Option<List<Text>>,
}

/// Numbers of findings; each counts the worse ones too.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(in crate::policy) struct AtMost {
    /// Critical.
    #[schemars(extend("minimum" = 0))]
    pub(in crate::policy) critical: Option<At<i64>>,
    /// High, or worse.
    #[schemars(extend("minimum" = 0))]
    pub(in crate::policy) high: Option<At<i64>>,
    /// Medium, or worse.
    #[schemars(extend("minimum" = 0))]
    pub(in crate::policy) medium: Option<At<i64>>,
    /// Low, or worse.
    #[schemars(extend("minimum" = 0))]
    pub(in crate::policy) low: Option<At<i64>>,
    /// Of a severity that cannot be read; they count as critical when this is absent.
    #[schemars(extend("minimum" = 0))]
    pub(in crate::policy) unknown: Option<At<i64>>,
}

/// What `type` says, as far as keys depend on it.
enum Keys {
    TestResult,
    Sbom,
    Vulns,
    Vsa,
    Svr,
    Other,
    /// No type at all: everything is known, and the type is missing.
    All,
}

impl Read for Attestation {
    fn read(found: &Found<'_>, errors: &mut Errors) -> Option<Self> {
        let mut table = Table::of(found, "a table, as in `{ type = \"spdx\", signer = \"build\" }`", errors)?;
        let kind: Option<Text> = table.need("type");
        let keys = match kind.as_ref().map(|kind| kind.value.as_str()) {
            Some("test-result") => Keys::TestResult,
            Some("spdx" | "cyclonedx") => Keys::Sbom,
            Some("vulns") => Keys::Vulns,
            Some("vsa") => Keys::Vsa,
            Some("svr") => Keys::Svr,
            Some(_) => Keys::Other,
            None => Keys::All,
        };
        let signer = table.need("signer");
        let (max_age, warn_until) = (table.take("max-age"), table.take("warn-until"));
        let (fields, cel) = (table.take("fields"), table.take("cel"));
        let mut read = Self {
            kind: Text { value: String::new(), span: table.at() },
            signer: Text { value: String::new(), span: table.at() },
            max_age,
            warn_until,
            fields,
            cel,
            present: None,
            after_deployment: None,
            configuration: None,
            tests: None,
            at_most: None,
            vex: None,
            vex_max_age: None,
            verifier: None,
            resource_uri: None,
            levels: None,
            policy: None,
            properties: None,
        };
        let complete = read.of_its_type(&mut table, &keys);
        table.finish();
        (read.kind, read.signer) = (kind?, signer?);
        complete.then_some(read)
    }
}

impl Attestation {
    /// Whether every key that the type needs is there and was read.
    fn of_its_type(&mut self, table: &mut Table<'_, '_>, keys: &Keys) -> bool {
        let all = matches!(keys, Keys::All);
        let mut complete = true;
        if matches!(keys, Keys::Other) || all {
            self.present = table.take("present");
        }
        if matches!(keys, Keys::TestResult) || all {
            self.after_deployment = table.take("after-deployment");
            self.configuration = table.take("configuration");
            self.tests = table.take("tests");
        }
        match keys {
            Keys::Vulns => {
                self.at_most = table.need("at-most");
                complete = self.at_most.is_some();
            }
            Keys::All => self.at_most = table.take("at-most"),
            Keys::TestResult | Keys::Sbom | Keys::Vsa | Keys::Svr | Keys::Other => {}
        }
        if matches!(keys, Keys::Vulns) || all {
            self.vex = table.take("vex");
            self.vex_max_age = table.take("vex-max-age");
        }
        match keys {
            Keys::Vsa | Keys::Svr => {
                self.verifier = table.need("verifier");
                complete = self.verifier.is_some();
            }
            Keys::All => self.verifier = table.take("verifier"),
            Keys::TestResult | Keys::Sbom | Keys::Vulns | Keys::Other => {}
        }
        match keys {
            Keys::Vsa => {
                self.resource_uri = table.need("resource-uri");
                complete = complete && self.resource_uri.is_some();
            }
            Keys::All => self.resource_uri = table.take("resource-uri"),
            Keys::TestResult | Keys::Sbom | Keys::Vulns | Keys::Svr | Keys::Other => {}
        }
        if matches!(keys, Keys::Vsa) || all {
            self.levels = table.take("levels");
            self.policy = table.take("policy");
        }
        match keys {
            Keys::Svr => {
                self.properties = table.need("properties");
                complete = complete && self.properties.is_some();
            }
            Keys::All => self.properties = table.take("properties"),
            Keys::TestResult | Keys::Sbom | Keys::Vulns | Keys::Vsa | Keys::Other => {}
        }
        complete
    }
}

impl Read for AtMost {
    fn read(found: &Found<'_>, errors: &mut Errors) -> Option<Self> {
        let mut table = Table::of(found, "a table, as in `{ critical = 0, high = 3 }`", errors)?;
        let at_most = Self {
            critical: table.take("critical"),
            high: table.take("high"),
            medium: table.take("medium"),
            low: table.take("low"),
            unknown: table.take("unknown"),
        };
        table.finish();
        Some(at_most)
    }
}
