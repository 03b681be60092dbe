//! The policy file as it is written: shapes and types are right, meaning is not checked yet.
//!
//! The doc comments of these types are the descriptions in `schema/policy.schema.json`.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;
use toml::de::DeTable;

use super::diagnostic::{Errors, Span};
use super::problem::Problem;
use super::read::{At, Entries, Found, Read, Table, has_key};

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
    /// Roots of trust of your own, for signers with `root`; `public-good` and `github` are there already.
    #[schemars(default, extend("propertyNames" = { "pattern": super::names::PATTERN }))]
    pub(super) roots: Entries<Root>,
    /// Who may sign; the other tables use these names.
    #[schemars(extend("propertyNames" = { "pattern": super::names::PATTERN }, "minProperties" = 1))]
    pub(super) signers: Entries<Signer>,
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

/// A private Sigstore instance.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Root {
    /// Its `trusted_root.json`, relative to the policy file.
    pub(super) trusted_root: Text,
}

/// One identity, or several under one name.
#[derive(Debug)]
pub(super) enum Signer {
    One(Matcher),
    AnyOf(List<Matcher>),
}

/// One identity: a public key, or an issuer with an identity.
#[derive(Debug)]
pub(super) enum Matcher {
    Key { file: Text },
    Keyless(Box<Keyless>),
}

/// An identity in a certificate.
#[derive(Debug)]
pub(super) struct Keyless {
    pub(super) issuer: Text,
    pub(super) subject: Subject,
    pub(super) root: Option<Text>,
    pub(super) source_repository: Option<Text>,
    pub(super) source_ref: Option<Text>,
    pub(super) workflow_trigger: Option<Text>,
    pub(super) runner_environment: Option<Text>,
}

/// `identity`, or `pattern`.
#[derive(Debug)]
pub(super) enum Subject {
    Identity(Text),
    Pattern(Text),
}

impl Subject {
    pub(super) fn text(&self) -> &Text {
        match self {
            Self::Identity(text) | Self::Pattern(text) => text,
        }
    }
}

/// The keys of a signer by certificate.
const KEYLESS: [&str; 8] = [
    "issuer",
    "identity",
    "pattern",
    "root",
    "source-repository",
    "source-ref",
    "workflow-trigger",
    "runner-environment",
];

/// Something that is built.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Service {
    /// Where the build pushes: `registry/path`, or `oci:FOLDER`; no tag, no digest.
    pub(super) repository: Text,
    /// The platforms that must have run before an image gets on, as in `linux/arm64`; all of the image when absent.
    pub(super) platforms: Option<List<Text>>,
}

/// Where images run. Has exactly one of `entry = true` and `after`.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["entry"] }, { "required": ["after"] }]))]
pub(super) struct Environment {
    /// `true`: images enter here straight from the build.
    #[schemars(extend("const" = true))]
    pub(super) entry: Option<At<bool>>,
    /// The environments in which exactly the same bytes must have run before: all of these.
    pub(super) after: Option<List<After>>,
    /// Where the environment pulls from; `{service}` stands for the name of the service.
    pub(super) repository: Text,
    /// The tag that is moved to the promoted digest.
    pub(super) tag: Option<Text>,
    /// The signers that may promote an image to this environment.
    pub(super) promoters: List<Text>,
    /// The signers that may say that an image runs in this environment.
    pub(super) deployers: List<Text>,
    /// What else is required.
    pub(super) require: Option<Require>,
    /// Why a promoter of this environment may be a deployer of the one before. Shown in every decision.
    pub(super) same_identity_accepted: Option<Text>,
    #[schemars(skip)]
    pub(super) at: Span,
}

/// One environment before, or any of several.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub(super) enum After {
    One(Predecessor),
    Any(AnyOf),
}

/// Any of several environments before.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct AnyOf {
    /// One of these is enough.
    pub(super) any_of: List<Predecessor>,
}

/// An environment before.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Predecessor {
    /// The name of the environment.
    #[schemars(extend("pattern" = super::names::PATTERN))]
    pub(super) environment: Text,
    /// How long the bytes must have run there, as in `1h30m`; any time at all when absent.
    #[schemars(extend("pattern" = "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$"))]
    pub(super) for_at_least: Option<Text>,
    /// `asserted` (the default): a deploy job's word is enough. `observed`: only a collector's is.
    #[schemars(extend("enum" = ["asserted", "observed"]))]
    pub(super) evidence: Option<Text>,
}

/// What an environment requires beside `after`.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Require {
    /// The signers that must have signed the image: all of them.
    pub(super) signed_by: Option<OneOrMany>,
    /// The SLSA provenance that must be there.
    pub(super) provenance: Option<Provenance>,
    /// The approvals that must be there.
    pub(super) approvals: Option<Approvals>,
}

/// SLSA provenance v0.2 or v1.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Provenance {
    /// The signer of the provenance.
    pub(super) signer: Text,
    /// The builder's id, compared exactly.
    pub(super) builder: Text,
    /// The source repository, compared exactly; `{service}` stands for the name of the service.
    pub(super) source: Text,
    /// The git ref, or a list of refs, compared exactly; `any` lets in every branch and tag.
    #[schemars(rename = "ref")]
    pub(super) reference: OneOrMany,
    /// Until this day (UTC) a failure is a warning.
    pub(super) warn_until: Option<At<jiff::civil::Date>>,
}

/// Approvals of exactly the image and environment in question.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Approvals {
    /// How many different identities must approve.
    #[schemars(extend("minimum" = 1))]
    pub(super) count: At<i64>,
    /// The signers that may approve.
    pub(super) from: List<Text>,
    /// Whose approval does not count: `requester`, `builder`. Both when absent; `[]` counts everybody's.
    #[schemars(extend("minItems" = 0, "items" = { "enum": ["requester", "builder"] }))]
    pub(super) not_from: Option<List<Text>>,
    /// Until this day (UTC) a failure is a warning.
    pub(super) warn_until: Option<At<jiff::civil::Date>>,
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
        let services = table.need("services");
        let environments = table.need("environments");
        table.finish();
        Some(Self {
            version: version?,
            ledger: ledger?,
            registries: registries.unwrap_or_default(),
            roots: roots.unwrap_or_default(),
            signers: signers?,
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
        table.finish();
        Some(Self { url: url?, origin: origin?, verifier: verifier?, signing_key })
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

impl Read for Root {
    fn read(found: &Found<'_>, errors: &mut Errors) -> Option<Self> {
        let mut table = Table::of(found, "a table `[roots.NAME]`", errors)?;
        let trusted_root = table.need("trusted-root");
        table.finish();
        Some(Self { trusted_root: trusted_root? })
    }
}

impl Read for Signer {
    fn read(found: &Found<'_>, errors: &mut Errors) -> Option<Self> {
        if !has_key(found, "any-of") {
            return Matcher::read_with(found, false, errors).map(Self::One);
        }
        let mut table = Table::of(found, "a table `[signers.NAME]`", errors)?;
        if let Some(shape) = wrong_shape(found, false) {
            let at = table.at();
            table.errors().push(&at, shape);
            return None;
        }
        let any_of = table.take("any-of");
        table.finish();
        any_of.map(Self::AnyOf)
    }
}

/// More or less than one of the kinds of signers in one table. `any-of` does not nest.
fn wrong_shape(found: &Found<'_>, nested: bool) -> Option<Problem> {
    let present = |keys: &[&'static str]| -> Vec<&'static str> {
        keys.iter().copied().filter(|key| has_key(found, key)).collect()
    };
    let any_of: &[&'static str] = if nested { &[] } else { &["any-of"] };
    let kinds = [present(&["public-key"]), present(&KEYLESS), present(any_of)];
    match kinds.iter().filter(|kind| !kind.is_empty()).count() {
        1 => None,
        _ => Some(Problem::SignerShape { found: kinds.concat() }),
    }
}

impl Matcher {
    fn read_with(found: &Found<'_>, nested: bool, errors: &mut Errors) -> Option<Self> {
        const EXPECTED: &str = "a table, as in `{ public-key = \"keys/release.pub\" }`";
        let mut table = Table::of(found, EXPECTED, errors)?;
        let at = table.at();
        let key = table.take("public-key");
        let matcher = match (wrong_shape(found, nested), has_key(found, "public-key")) {
            (Some(shape), _) => {
                table.errors().push(&at, shape);
                KEYLESS.into_iter().for_each(|key| table.ask(key));
                if !nested {
                    table.ask("any-of");
                }
                None
            }
            (None, true) => key.map(|file| Self::Key { file }),
            (None, false) => {
                let issuer = table.need("issuer");
                let subject = match (has_key(found, "identity"), has_key(found, "pattern")) {
                    (true, true) => {
                        table.errors().push(&at, Problem::IdentityAndPattern);
                        ["identity", "pattern"].into_iter().for_each(|key| table.ask(key));
                        None
                    }
                    (false, true) => {
                        table.ask("identity");
                        table.take("pattern").map(Subject::Pattern)
                    }
                    (true | false, false) => {
                        let identity = table.need("identity").map(Subject::Identity);
                        table.ask("pattern");
                        identity
                    }
                };
                let root = table.take("root");
                let (source_repository, source_ref) =
                    (table.take("source-repository"), table.take("source-ref"));
                let workflow_trigger = table.take("workflow-trigger");
                let runner_environment = table.take("runner-environment");
                issuer.zip(subject).map(|(issuer, subject)| {
                    Self::Keyless(Box::new(Keyless {
                        issuer,
                        subject,
                        root,
                        source_repository,
                        source_ref,
                        workflow_trigger,
                        runner_environment,
                    }))
                })
            }
        };
        table.finish();
        matcher
    }
}

impl Read for Matcher {
    fn read(found: &Found<'_>, errors: &mut Errors) -> Option<Self> {
        Self::read_with(found, true, errors)
    }
}

impl Read for Service {
    fn read(found: &Found<'_>, errors: &mut Errors) -> Option<Self> {
        let mut table = Table::of(found, "a table `[services.NAME]`", errors)?;
        let (repository, platforms) = (table.need("repository"), table.take("platforms"));
        table.finish();
        Some(Self { repository: repository?, platforms })
    }
}

impl Read for Environment {
    fn read(found: &Found<'_>, errors: &mut Errors) -> Option<Self> {
        let mut table = Table::of(found, "a table `[environments.NAME]`", errors)?;
        let at = table.at();
        let (entry, after) = (table.take("entry"), table.take("after"));
        let (repository, tag) = (table.need("repository"), table.take("tag"));
        let (promoters, deployers) = (table.need("promoters"), table.need("deployers"));
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
            approvals: table.take("approvals"),
        };
        table.finish();
        Some(require)
    }
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

impl JsonSchema for Matcher {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Matcher".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let text = generator.subschema_for::<Text>();
        json_schema!({
            "description": "One identity: a public key, or an issuer with an identity.",
            "oneOf": [key_schema(&text), keyless_schema(&text)]
        })
    }
}

impl JsonSchema for Signer {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Signer".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let text = generator.subschema_for::<Text>();
        let any_of = generator.subschema_for::<List<Matcher>>();
        json_schema!({
            "description": "One identity, or several under one name.",
            "oneOf": [
                key_schema(&text),
                keyless_schema(&text),
                {
                    "type": "object",
                    "properties": { "any-of": any_of },
                    "required": ["any-of"],
                    "additionalProperties": false
                }
            ]
        })
    }
}

fn key_schema(text: &Schema) -> Schema {
    let mut file = text.clone();
    file.insert("description".into(), "A PEM file with a public key, relative to the policy file.".into());
    json_schema!({
        "type": "object",
        "properties": { "public-key": file },
        "required": ["public-key"],
        "additionalProperties": false
    })
}

fn keyless_schema(text: &Schema) -> Schema {
    let (mut issuer, mut identity) = (text.clone(), text.clone());
    issuer.insert("description".into(), "The OIDC issuer, an https URL, compared exactly.".into());
    issuer.insert("pattern".into(), "^https://".into());
    identity.insert(
        "description".into(),
        "The identity in the certificate, compared exactly after `{service}` is filled in.".into(),
    );
    let described = |description: &str| {
        let mut text = text.clone();
        text.insert("description".into(), description.into());
        text
    };
    let mut pattern = described(
        "Instead of `identity`: a regular expression for the whole identity, from `^` to `$`. Never everybody's.",
    );
    pattern.insert("pattern".into(), "^\\^.*\\$$".into());
    let mut root = described(
        "The root of trust the identity must be proved under: `public-good` (the default), `github`, or a name of `[roots]`.",
    );
    root.insert("pattern".into(), super::names::PATTERN.into());
    let claim = |what: &str| {
        described(&format!(
            "The certificate's claim, compared exactly after `{{service}}` is filled in: {what}."
        ))
    };
    json_schema!({
        "type": "object",
        "properties": {
            "issuer": issuer,
            "identity": identity,
            "pattern": pattern,
            "root": root,
            "source-repository": claim("the repository that was built, a URL"),
            "source-ref": claim("the git ref that was built"),
            "workflow-trigger": claim("the event that started the build, as in `push`"),
            "runner-environment": claim("`github-hosted` or `self-hosted`"),
        },
        "required": ["issuer"],
        "oneOf": [{ "required": ["identity"] }, { "required": ["pattern"] }],
        "additionalProperties": false
    })
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
    use super::*;

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
        assert_eq!(asked::<Root>(), of("Root"));
        let mut keys = KEYLESS.to_vec();
        keys.push("public-key");
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
