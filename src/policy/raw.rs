//! The policy file as it is written: shapes and types are right, meaning is not checked yet.
//!
//! The doc comments of these types are the descriptions in `schema/policy.schema.json`.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;
use toml::de::DeTable;

use super::diagnostic::{Errors, Span};
use super::read::{At, Entries, Found, Read, Table};

mod attestation;
mod control;
mod environment;
mod evidence;
mod root;
mod signer;

pub(super) use self::attestation::Attestation;
pub(super) use self::control::Control;
pub(super) use self::environment::{After, Approvals, Environment, Predecessor, Require};
pub(super) use self::evidence::{Provenance, Scalar};
pub(super) use self::root::{Refresh, Repository, Root};
pub(super) use self::signer::{Keyless, Matcher, Signer, Subject};

type Text = At<String>;
type List<T> = At<Vec<T>>;

/// A samebits policy: which images may enter which environment, and who says so.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields, title = "samebits policy")]
pub(super) struct File {
    /// The version of the format: 1.
    #[schemars(extend("const" = 1))]
    pub(super) version: At<i64>,
    /// The ledger that records and proves.
    pub(super) ledger: Ledger,
    /// Exceptions for registries, by host and port as a repository begins with them.
    #[schemars(default)]
    pub(super) registries: Entries<Registry>,
    /// Roots of trust: of your own, for signers with `root`; or where `public-good` and `github` come from, when not
    /// from the program.
    #[schemars(default, extend("propertyNames" = { "pattern": super::names::PATTERN }))]
    pub(super) roots: Entries<Root>,
    /// Who may sign; the other tables use these names.
    #[schemars(extend("propertyNames" = { "pattern": super::names::PATTERN }, "minProperties" = 1))]
    pub(super) signers: Entries<Signer>,
    /// Who may say what is no longer good; without this table nobody may.
    pub(super) control: Option<Control>,
    /// What is built: one image each.
    #[schemars(extend("propertyNames" = { "pattern": super::names::PATTERN }, "minProperties" = 1))]
    pub(super) services: Entries<Service>,
    /// Where images run.
    #[schemars(extend("propertyNames" = { "pattern": super::names::PATTERN }, "minProperties" = 1))]
    pub(super) environments: Entries<Environment>,
}

/// The ledger.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Ledger {
    /// Where it is kept, as in `sqlite:.samebits/ledger.db`; paths are relative to the policy file.
    pub(super) url: Text,
    /// The name of the log (C2SP tlog-checkpoint origin), as in `acme.example/promotions`.
    pub(super) origin: Text,
    /// The log's public key as a C2SP verifier key, `ORIGIN+8 hexadecimal digits+base64`.
    pub(super) verifier: Text,
    /// The file of the log's signing key, relative to the policy file; SAMEBITS_LEDGER_KEY may stand in for it.
    pub(super) signing_key: Option<Text>,
    /// Where people can read a record, as in `https://ledger.acme.example/records/{index}.json`: a link in reports, and
    /// nothing else. https only; `{index}` is the number of the record.
    pub(super) record_url: Option<Text>,
}

/// Exceptions for one registry.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Registry {
    /// Speak HTTP without TLS to this host: whoever is on the wire can read and change everything but digests.
    pub(super) plain_http: Option<At<bool>>,
    /// A PEM file with certificates to trust for this host, beside the usual ones; relative to the policy file.
    pub(super) ca: Option<Text>,
    /// The host that may be sent this registry's credentials for a token, when it is not the registry itself.
    pub(super) token_host: Option<Text>,
    #[schemars(skip)]
    pub(super) at: Span,
}

/// Something that is built.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Service {
    /// Where the build pushes: `registry/path`, or `oci:FOLDER`; no tag, no digest.
    pub(super) repository: Text,
    /// The platforms that must have run before an image gets on, as in `linux/arm64`; all of the image when absent.
    pub(super) platforms: Option<List<Text>>,
    /// Where evidence goes that the registry of an environment refuses to keep beside the image, and where evidence is
    /// looked for too: `registry/path`, or `oci:FOLDER`. When absent, nothing is promoted to such a registry.
    pub(super) evidence_store: Option<Text>,
}

/// A string, or a list of strings.
#[derive(Debug)]
pub(super) struct OneOrMany(pub(super) List<Text>);

impl File {
    pub(super) fn read(table: &DeTable<'_>, errors: &mut Errors) -> Option<Self> {
        let mut table = Table::root(table, errors);
        let version = table.need("version");
        let ledger = table.need("ledger");
        let registries = table.take("registries");
        let roots = table.take("roots");
        let signers = table.need("signers");
        let control = table.take("control");
        let services = table.need("services");
        let environments = table.need("environments");
        table.finish();
        Some(Self {
            version: version?,
            ledger: ledger?,
            registries: registries.unwrap_or_default(),
            roots: roots.unwrap_or_default(),
            signers: signers?,
            control,
            services: services?,
            environments: environments?,
        })
    }
}

impl Read for Ledger {
    fn read(found: &Found<'_>, errors: &mut Errors) -> Option<Self> {
        let mut table = Table::of(found, "a table `[ledger]`", errors)?;
        let (url, origin) = (table.need("url"), table.need("origin"));
        let (verifier, signing_key) = (table.need("verifier"), table.take("signing-key"));
        let record_url = table.take("record-url");
        table.finish();
        Some(Self { url: url?, origin: origin?, verifier: verifier?, signing_key, record_url })
    }
}

impl Read for Registry {
    fn read(found: &Found<'_>, errors: &mut Errors) -> Option<Self> {
        let mut table = Table::of(found, "a table `[registries.\"HOST\"]`", errors)?;
        let registry = Self {
            plain_http: table.take("plain-http"),
            ca: table.take("ca"),
            token_host: table.take("token-host"),
            at: table.at(),
        };
        table.finish();
        Some(registry)
    }
}

impl Read for Service {
    fn read(found: &Found<'_>, errors: &mut Errors) -> Option<Self> {
        let mut table = Table::of(found, "a table `[services.NAME]`", errors)?;
        let (repository, platforms) = (table.need("repository"), table.take("platforms"));
        let evidence_store = table.take("evidence-store");
        table.finish();
        Some(Self { repository: repository?, platforms, evidence_store })
    }
}

impl Read for OneOrMany {
    fn read(found: &Found<'_>, errors: &mut Errors) -> Option<Self> {
        match found.is_list() {
            true => At::read(found, errors).map(Self),
            false => {
                let text = Text::read(found, errors)?;
                Some(Self(At { span: text.span.clone(), value: vec![text] }))
            }
        }
    }
}

impl JsonSchema for OneOrMany {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "OneOrMany".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (one, many) = (generator.subschema_for::<Text>(), generator.subschema_for::<List<Text>>());
        json_schema!({ "anyOf": [one, many] })
    }
}

/// The JSON Schema (draft 2020-12) of the policy file, generated from the types that read it.
pub fn schema() -> Schema {
    let mut schema = schemars::schema_for!(File);
    schema.insert("$id".into(), "https://samebits.dev/schema/policy.schema.json".into());
    if let Some(object) = schema.as_object_mut() {
        object.values_mut().for_each(without_null);
    }
    schema
}

/// TOML has no null: a key that may be left out is one that is not `required`, and nothing else.
fn without_null(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.values_mut().for_each(without_null);
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    object.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(any)) = object.get_mut("anyOf") {
                any.retain(|schema| schema.get("type").is_none_or(|name| name != "null"));
                if let [Value::Object(only)] = any.as_slice() {
                    let only = only.clone();
                    object.remove("anyOf");
                    object.extend(only.into_iter().filter(|(key, _)| key != "description"));
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(without_null),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {

    use super::attestation::AtMost;
    use super::*;
    use crate::policy::problem::Problem;

    /// The keys a table is asked for are those of the schema: asked with nothing but an unknown key.
    fn asked<T: Read>() -> Vec<&'static str> {
        let text = "t = { no-such-key-at-all = 1 }";
        let table = DeTable::parse(text).unwrap();
        let mut errors = Errors::default();
        let mut root = Table::root(table.get_ref(), &mut errors);
        let _ = root.take::<T>("t");
        root.finish();
        let known = errors.problems().find_map(|problem| match problem {
            Problem::UnknownKey { known, .. } => Some(known.clone()),
            _ => None,
        });
        let mut known = known.unwrap();
        known.sort_unstable();
        known
    }

    #[test]
    fn the_schema_has_the_keys_that_are_read() {
        let schema = schema();
        let of = |name: &str| -> Vec<String> {
            schema.as_value()["$defs"][name]["properties"].as_object().unwrap().keys().cloned().collect()
        };
        assert_eq!(asked::<Ledger>(), of("Ledger"));
        assert_eq!(asked::<Registry>(), of("Registry"));
        assert_eq!(asked::<Service>(), of("Service"));
        assert_eq!(asked::<Environment>(), of("Environment"));
        assert_eq!(asked::<Predecessor>(), of("Predecessor"));
        assert_eq!(asked::<Require>(), of("Require"));
        assert_eq!(asked::<Provenance>(), of("Provenance"));
        assert_eq!(asked::<Approvals>(), of("Approvals"));
        assert_eq!(asked::<Attestation>(), of("Attestation"));
        assert_eq!(asked::<AtMost>(), of("AtMost"));
        assert_eq!(asked::<Root>(), of("Root"));
        assert_eq!(asked::<Control>(), of("Control"));
        assert_eq!(asked::<Repository>(), of("Repository"));
        let mut keys = signer::keys();
        keys.sort_unstable();
        assert_eq!(asked::<Matcher>(), keys);
        keys.insert(0, "any-of");
        assert_eq!(asked::<Signer>(), keys);
    }

    #[test]
    fn the_schema_knows_no_null() {
        assert!(!serde_json::to_string(&schema()).unwrap().contains("null"));
    }
}
