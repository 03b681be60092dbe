//! What is known of a file, as it is printed.

use samebits::digest::Digest;
use schemars::JsonSchema;
use serde::Serialize;

/// The answer of `verify-file`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FileVerification {
    /// `https://samebits.dev/schema/file-verification.schema.json`
    pub(crate) schema: &'static str,
    /// Whether who was asked for signed the file.
    pub(crate) verified: bool,
    /// The file, as it was named.
    pub(crate) file: String,
    /// Its SHA-256.
    pub(crate) digest: Digest,
    /// What the statement about it is, where the bundle has one; only if it is verified.
    pub(crate) predicate_type: Option<String>,
    /// Why it is not verified.
    pub(crate) reason: Option<String>,
}

impl FileVerification {
    pub(crate) const SCHEMA: &str = "https://samebits.dev/schema/file-verification.schema.json";
}
