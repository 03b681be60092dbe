//! What `copy` prints.

use std::fmt::Write as _;

use samebits::closure::Platform;
use samebits::digest::Digest;
use samebits::reference::{Image, Tag};
use samebits::registry;
use schemars::JsonSchema;
use serde::Serialize;

use super::Copy;
use crate::report::{DIM, GOOD, Report, WARN, clean, copied};

/// The answer of `copy`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Copied {
    /// `https://samebits.dev/schema/copy.schema.json`
    pub(crate) schema: &'static str,
    /// The image that was named, pinned.
    pub(crate) source: Image,
    /// The image at its destination; with `--platform` the manifest of each platform, by its own digest.
    pub(crate) images: Vec<Arrived>,
    /// The tag that was set there.
    pub(crate) tag: Option<Tag>,
    /// Whether what refers to the image came along.
    pub(crate) with_referrers: bool,
    /// What a reader has to know beside it.
    pub(crate) notes: Vec<String>,
}

/// One image at its destination, read back there.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Arrived {
    /// The image, pinned.
    pub(crate) image: Image,
    /// The platform it was chosen for; none where the image was copied whole.
    pub(crate) platform: Option<Platform>,
    /// Its manifests, children before parents, the image itself last.
    pub(crate) manifests: Vec<Digest>,
    /// What the copy did.
    pub(crate) copy: Copy,
}

impl Copied {
    pub(crate) const SCHEMA: &str = "https://samebits.dev/schema/copy.schema.json";
}

impl From<&registry::Arrived> for Arrived {
    fn from(arrived: &registry::Arrived) -> Self {
        Self {
            image: arrived.image.clone(),
            platform: arrived.platform.clone(),
            manifests: arrived.manifests.clone(),
            copy: Copy::from(&arrived.report),
        }
    }
}

impl Report for Copied {
    fn text(&self) -> String {
        let mut text = format!("{GOOD}copied{GOOD:#}  {}\n", clean(&self.source.to_string()));
        for Arrived { image, platform, copy, .. } in &self.images {
            let platform = platform.as_ref().map(|platform| format!(" ({platform})")).unwrap_or_default();
            let _ = writeln!(text, "  →  {}{platform}", clean(&image.to_string()));
            let _ = writeln!(text, "     {DIM}{}; read back{DIM:#}", copied(copy));
        }
        if let Some(tag) = &self.tag {
            let _ = writeln!(text, "     {DIM}tag `{tag}`{DIM:#}");
        }
        for note in &self.notes {
            let _ = writeln!(text, "  {WARN}!{WARN:#} {}", clean(note));
        }
        let _ = writeln!(text, "  {DIM}a copy is no promotion: nothing was decided{DIM:#}");
        text
    }
}
