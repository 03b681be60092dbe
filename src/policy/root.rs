//! Where a root of trust comes from, and how old it may be.

use std::time::Duration;

use jiff::civil::Date;

use crate::verify::{Root, RootName};

/// A root of trust as the policy has it.
#[derive(Clone, Debug)]
pub struct RootRule {
    pub(super) name: RootName,
    pub(super) source: RootSource,
    pub(super) max_age: Option<Duration>,
}

/// Where a root of trust comes from.
#[derive(Clone, Debug)]
pub enum RootSource {
    /// This program: nothing else was said.
    Embedded(Root),
    /// A file that the policy names.
    File {
        /// As written: relative to the folder of the policy file.
        file: String,
        /// What it holds.
        root: Root,
        /// The day it was taken from its keeper, where the policy says it.
        taken_on: Option<Date>,
    },
    /// A TUF repository that has to be asked.
    Tuf(TufSource),
}

/// A TUF repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TufSource {
    /// The repository of the instance itself, or a mirror of it; trust begins with the `root.json` in this program.
    Own {
        /// The mirror.
        mirror: Option<String>,
    },
    /// A repository of somebody's own.
    Private {
        /// Its URL.
        url: String,
        /// The `root.json` that trust begins with: the text of the file the policy names.
        bootstrap: String,
    },
}

impl RootRule {
    /// Its name.
    pub fn name(&self) -> &RootName {
        &self.name
    }

    /// Where it comes from.
    pub fn source(&self) -> &RootSource {
        &self.source
    }

    /// The age from which on it must not be used.
    pub fn max_age(&self) -> Option<Duration> {
        self.max_age
    }

    /// The root, where it is known without asking anybody and may be of any age.
    pub fn unconditional(&self) -> Option<&Root> {
        match &self.source {
            RootSource::Embedded(root) | RootSource::File { root, .. } if self.max_age.is_none() => {
                Some(root)
            }
            RootSource::Embedded(_) | RootSource::File { .. } | RootSource::Tuf(_) => None,
        }
    }
}
