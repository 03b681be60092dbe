//! `[signers]`: who may sign.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use super::{List, Text};
use crate::policy::claims::ClaimName;
use crate::policy::diagnostic::Errors;
use crate::policy::names;
use crate::policy::problem::Problem;
use crate::policy::read::{Found, Read, Table, has_key};

/// One identity, or several under one name.
#[derive(Debug)]
pub(in crate::policy) enum Signer {
    One(Matcher),
    AnyOf(List<Matcher>),
}

/// One identity: a public key, or an issuer with an identity.
#[derive(Debug)]
pub(in crate::policy) enum Matcher {
    Key { file: Text, time: Option<Text>, root: Option<Text> },
    Keyless(Box<Keyless>),
}

/// An identity in a certificate.
#[derive(Debug)]
pub(in crate::policy) struct Keyless {
    pub(in crate::policy) issuer: Text,
    pub(in crate::policy) subject: Subject,
    pub(in crate::policy) root: Option<Text>,
    pub(in crate::policy) claims: Vec<(ClaimName, Text)>,
}

/// `identity`, or `pattern`.
#[derive(Debug)]
pub(in crate::policy) enum Subject {
    Identity(Text),
    Pattern(Text),
}

impl Subject {
    pub(in crate::policy) fn text(&self) -> &Text {
        match self {
            Self::Identity(text) | Self::Pattern(text) => text,
        }
    }
}

/// The keys of a signer by certificate, beside the claims and `root`.
const KEYLESS: [&str; 3] = ["issuer", "identity", "pattern"];

/// The keys of a signer by public key, beside `root`.
const KEY: [&str; 2] = ["public-key", "time"];

/// Every key of one identity.
pub(super) fn keys() -> Vec<&'static str> {
    KEY.into_iter().chain(certified()).chain(["root"]).collect()
}

fn certified() -> impl Iterator<Item = &'static str> {
    KEYLESS.into_iter().chain(ClaimName::ALL.map(ClaimName::key))
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
    let present = |keys: Vec<&'static str>| -> Vec<&'static str> {
        keys.into_iter().filter(|key| has_key(found, key)).collect()
    };
    let any_of = if nested { Vec::new() } else { vec!["any-of"] };
    let kinds = [present(KEY.to_vec()), present(certified().collect()), present(any_of)];
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
        let by_key = KEY.iter().any(|key| has_key(found, key));
        let matcher = match (wrong_shape(found, nested), by_key) {
            (Some(shape), _) => {
                table.errors().push(&at, shape);
                keys().into_iter().for_each(|key| table.ask(key));
                if !nested {
                    table.ask("any-of");
                }
                None
            }
            (None, true) => {
                let key = table.need("public-key");
                let (time, root) = (table.take("time"), table.take("root"));
                key.map(|file| Self::Key { file, time, root })
            }
            (None, false) => {
                KEY.into_iter().for_each(|key| table.ask(key));
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
                let claims = ClaimName::ALL
                    .into_iter()
                    .filter_map(|claim| Some((claim, table.take(claim.key())?)))
                    .collect();
                issuer.zip(subject).map(|(issuer, subject)| {
                    Self::Keyless(Box::new(Keyless { issuer, subject, root, claims }))
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
    let mut time = text.clone();
    time.insert(
        "description".into(),
        "`not-required`: nothing has to say when this key signed. Left out, what it signs outside of the ledger counts with a log entry or a timestamp only."
            .into(),
    );
    time.insert("enum".into(), ["not-required"].as_slice().into());
    let mut root = text.clone();
    root.insert(
        "description".into(),
        "The root whose log or timestamp authority has to say when this key signed: `public-good` (the default), `github`, or a name of `[roots]`."
            .into(),
    );
    root.insert("pattern".into(), names::PATTERN.into());
    json_schema!({
        "type": "object",
        "properties": { "public-key": file, "time": time, "root": root },
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
        "Instead of `identity`: a regular expression for the whole identity, from `^` to `$`, in which `{service}` is the service's name. Never everybody's.",
    );
    pattern.insert("pattern".into(), "^\\^.*\\$$".into());
    let mut root = described(
        "The root of trust the identity must be proved under: `public-good` (the default), `github`, or a name of `[roots]`.",
    );
    root.insert("pattern".into(), names::PATTERN.into());
    let claim = |what: &str| {
        described(&format!(
            "The certificate's claim, compared exactly after `{{service}}` is filled in: {what}."
        ))
    };
    let mut schema = json_schema!({
        "type": "object",
        "properties": { "issuer": issuer, "identity": identity, "pattern": pattern, "root": root },
        "required": ["issuer"],
        "oneOf": [{ "required": ["identity"] }, { "required": ["pattern"] }],
        "additionalProperties": false
    });
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties
            .extend(ClaimName::ALL.map(|name| (name.key().to_owned(), claim(name.meaning()).to_value())));
    }
    schema
}
