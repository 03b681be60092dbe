//! `[roots]`: roots of trust, and where they come from.

use jiff::civil::Date;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::Text;
use crate::policy::diagnostic::{Errors, Span};
use crate::policy::read::{At, Found, Read, Table};

/// A Sigstore instance: a file with its keys, or the TUF repository that keeps them.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(in crate::policy) struct Root {
    /// Its `trusted_root.json`, relative to the policy file; either this or `refresh`.
    pub(in crate::policy) trusted_root: Option<Text>,
    /// The day on which that file was taken from its keeper: a file does not say how old it is.
    pub(in crate::policy) taken_on: Option<At<Date>>,
    /// `"tuf"`, for `public-good` and `github`: the instance's own repository, asked whenever a command verifies. Or
    /// another repository.
    pub(in crate::policy) refresh: Option<Refresh>,
    /// The age from which on it is an error to use it, as in `30d`.
    pub(in crate::policy) max_age: Option<Text>,
    #[schemars(skip)]
    pub(in crate::policy) at: Span,
}

/// How a root is kept fresh.
#[derive(Debug)]
pub(in crate::policy) enum Refresh {
    Word(Text),
    From(Repository),
}

/// A TUF repository whose target `trusted_root.json` is the root.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(in crate::policy) struct Repository {
    /// Its URL; of `public-good` and `github`, a mirror's.
    pub(in crate::policy) tuf: Text,
    /// The `root.json` that its trust begins with, relative to the policy file; `public-good` and `github` have theirs.
    pub(in crate::policy) root: Option<Text>,
    #[schemars(skip)]
    pub(in crate::policy) at: Span,
}

impl Root {
    /// The files it names.
    pub(in crate::policy) fn files(&self) -> impl Iterator<Item = &Text> {
        let bootstrap = match &self.refresh {
            Some(Refresh::From(repository)) => repository.root.as_ref(),
            Some(Refresh::Word(_)) | None => None,
        };
        self.trusted_root.iter().chain(bootstrap)
    }
}

impl Read for Root {
    fn read(found: &Found<'_>, errors: &mut Errors) -> Option<Self> {
        let mut table = Table::of(found, "a table `[roots.NAME]`", errors)?;
        let before = table.errors().problems().count();
        let root = Self {
            trusted_root: table.take("trusted-root"),
            taken_on: table.take("taken-on"),
            refresh: table.take("refresh"),
            max_age: table.take("max-age"),
            at: table.at(),
        };
        // A limit that could not be read must not become no limit.
        let read = table.errors().problems().count() == before;
        table.finish();
        read.then_some(root)
    }
}

impl Read for Refresh {
    fn read(found: &Found<'_>, errors: &mut Errors) -> Option<Self> {
        match found.is_table() {
            true => Repository::read(found, errors).map(Self::From),
            false => Text::read(found, errors).map(Self::Word),
        }
    }
}

impl Read for Repository {
    fn read(found: &Found<'_>, errors: &mut Errors) -> Option<Self> {
        let mut table = Table::of(found, "a table, as in `{ tuf = \"https://tuf.example\" }`", errors)?;
        let (tuf, at) = (table.need("tuf"), table.at());
        let root = table.take("root");
        table.finish();
        Some(Self { tuf: tuf?, root, at })
    }
}

impl JsonSchema for Refresh {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Refresh".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let repository = generator.subschema_for::<Repository>();
        json_schema!({ "anyOf": [{ "const": "tuf" }, repository] })
    }
}
