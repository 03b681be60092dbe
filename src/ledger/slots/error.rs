//! What can go wrong between us and the slots.

use std::path::PathBuf;

use super::GitError;

/// Why slots could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SlotError {
    /// The folder or bucket cannot be used at all: its settings or credentials are missing or wrong.
    #[error("it cannot be used with the settings at hand")]
    Settings {
        /// What the client said.
        source: Box<object_store::Error>,
    },
    /// The folder cannot be made or found.
    #[error("the folder cannot be used")]
    Folder {
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A folder below the cache cannot be made or read.
    #[error("{} cannot be used", folder.display())]
    Room {
        /// The folder.
        folder: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A folder below the cache that others could have put something into.
    #[error("{} is not used: {why}", folder.display())]
    Shared {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        why: &'static str,
    },
    /// These credentials may not do that, or there are none.
    #[error("access to `{name}` was denied")]
    Denied {
        /// The name.
        name: String,
        /// What the store said.
        source: Box<object_store::Error>,
    },
    /// More than was ever written there.
    #[error("`{name}` has more than {limit} bytes")]
    TooLong {
        /// The name.
        name: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// The store says that something is there, and when asked for it, that nothing is.
    #[error("`{name}` cannot be created, and is not there either")]
    Unsettled {
        /// The name.
        name: String,
    },
    /// What is there was created once more.
    #[error("`{name}` is there, and the store let it be created again: it does not honour create-only")]
    Overwrites {
        /// The name.
        name: String,
    },
    /// A branch could not be read or pushed to.
    #[error(transparent)]
    Git {
        /// Why not.
        #[from]
        source: GitError,
    },
    /// No answer, or one that says nothing.
    #[error("`{name}` cannot be read or written")]
    Failed {
        /// The name.
        name: String,
        /// What the client said.
        source: Box<object_store::Error>,
    },
}

impl SlotError {
    /// Whether nothing was done, and trying again is of no use.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Settings { .. }
            | Self::Folder { .. }
            | Self::Room { .. }
            | Self::Shared { .. }
            | Self::Denied { .. }
            | Self::TooLong { .. }
            | Self::Overwrites { .. } => true,
            Self::Unsettled { .. } | Self::Failed { .. } => false,
            Self::Git { source } => source.is_final(),
        }
    }

    /// What the reader of the error can do.
    pub(in crate::ledger) fn hint(&self) -> &'static str {
        match self {
            Self::Settings { .. } => {
                "give the store's usual variables: AWS_REGION and AWS_ACCESS_KEY_ID …, GOOGLE_APPLICATION_CREDENTIALS, \
                 AZURE_STORAGE_ACCOUNT_NAME …"
            }
            Self::Folder { .. } => "make the folder readable and writable for this user",
            Self::Room { .. } => "make the folder of the cache writable for this user",
            Self::Shared { .. } => {
                "expected a folder of this user's that nobody else can write to: look who made it, then delete it; what \
                 is in it is fetched again"
            }
            Self::Denied { .. } => {
                "the credentials have to be allowed to get, put and list here (S3 denies what is not there to whom may \
                 not list)"
            }
            Self::Git { source } => source.hint(),
            Self::Overwrites { .. } => {
                "two writers would overwrite each other, so nothing was appended: use a store (or a version of it, or a \
                 proxy before it) that honours `If-None-Match: *` on PUT"
            }
            Self::TooLong { .. } => "keep it: nothing of ours is that long",
            Self::Unsettled { .. } | Self::Failed { .. } => {
                "run the command again: what was appended is found, and nothing is appended twice"
            }
        }
    }
}
