//! Reading one manifest or index: strictly, and as one thing only.

use std::collections::BTreeMap;

use oci_spec::image as oci;
use serde_json::Value;

use super::{ClosureError, Platform};
use crate::digest::{Digest, shorten};
use crate::json;

/// The media type of an OCI index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The media type of an OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of a Docker manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// The media type of a Docker image manifest, version 2 schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// The media type of the empty configuration `{}` of an artifact.
pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";

const SCHEMA_1: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
];
const IMAGE_CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
const FOREIGN_LAYERS: [&str; 5] = [
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
];

/// What one document points to: media type, digest and size in bytes (OCI image-spec v1.1, descriptor.md).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// The media type it claims for the content.
    pub media_type: String,
    /// The digest of the content.
    pub digest: Digest,
    /// The size of the content in bytes.
    pub size: u64,
    /// The artifact type, as the referrers API returns it.
    pub artifact_type: Option<String>,
    /// Annotations, by key.
    pub annotations: BTreeMap<String, String>,
    /// The platform, in an index.
    pub platform: Option<Platform>,
    /// Other places that claim to have the content; never fetched from.
    pub urls: Vec<String>,
}

impl Descriptor {
    /// Reads one descriptor out of a strictly parsed document, named for errors by its digest.
    ///
    /// # Errors
    /// A field that is absent or wrong, a digest that is not sha256.
    pub fn read(document: Digest, value: &Value) -> Result<Self, ClosureError> {
        let field = |field, expected| ClosureError::Field { document, field, expected };
        let Value::Object(object) = value else {
            return Err(field("descriptor", "an object"));
        };
        // 1. Digest and size first, so that the error names the very value (descriptor.md, "Properties").
        let text = object.get("digest").and_then(Value::as_str).ok_or(field("digest", "a digest"))?;
        let digest: Digest = text.parse().map_err(|source| ClosureError::Digest { document, source })?;
        let size = object.get("size").ok_or(field("size", "a whole number of bytes"))?;
        let size = size
            .as_u64()
            .filter(|size| i64::try_from(*size).is_ok())
            .ok_or_else(|| ClosureError::Size { document, digest, found: shorten(&size.to_string()) })?;
        if object.get("mediaType").and_then(Value::as_str).is_none_or(str::is_empty) {
            return Err(field("mediaType", "the media type of every descriptor"));
        }
        // 2. Everything else as oci-spec reads it.
        let read: oci::Descriptor = serde_json::from_value(value.clone())
            .map_err(|source| ClosureError::Descriptor { document, digest, source })?;
        let platform = match read.platform() {
            Some(platform) => Some(
                Platform::from_parts(
                    &platform.os().to_string(),
                    &platform.architecture().to_string(),
                    platform.variant().as_deref(),
                )
                .map_err(|source| ClosureError::Platform { document, source })?,
            ),
            None => None,
        };
        Ok(Self {
            media_type: read.media_type().to_string(),
            digest,
            size,
            artifact_type: read.artifact_type().as_ref().map(ToString::to_string),
            annotations: read.annotations().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect(),
            platform,
            urls: read.urls().clone().unwrap_or_default(),
        })
    }

    /// Whether it is a layer that registries need not keep (image-spec v1.1, layer.md, "Non-Distributable
    /// Layers"; Docker's foreign layers) and that names another place to get it from.
    pub fn is_foreign(&self) -> bool {
        !self.urls.is_empty() && FOREIGN_LAYERS.contains(&self.media_type.as_str())
    }

    /// Whether it is a layer of something a runtime can run.
    pub fn is_image_layer(&self) -> bool {
        ["application/vnd.oci.image.layer.", "application/vnd.docker.image.rootfs."]
            .iter()
            .any(|family| self.media_type.starts_with(family))
    }

    /// Whether it is the configuration of something a runtime can run.
    pub fn is_image_config(&self) -> bool {
        IMAGE_CONFIGS.contains(&self.media_type.as_str())
    }

    /// Whether it points to an index or a manifest list.
    pub fn is_index(&self) -> bool {
        matches!(self.media_type.as_str(), OCI_INDEX | DOCKER_LIST)
    }
}

/// One manifest or index, read strictly from its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its media type: what the document, the sender and the pointer to it agree on.
    pub media_type: String,
    /// What it lists.
    pub content: Content,
    /// The artifact type (image-spec v1.1, manifest.md): its own, else the configuration's media type.
    pub artifact_type: Option<String>,
    /// What it refers to, for a referrer.
    pub subject: Option<Descriptor>,
    /// Annotations, by key.
    pub annotations: BTreeMap<String, String>,
}

/// What a [`Document`] lists; never both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// An index: other manifests.
    Index(Vec<Descriptor>),
    /// A manifest: a configuration and layers.
    Manifest {
        /// The configuration.
        config: Box<Descriptor>,
        /// The layers, base first.
        layers: Vec<Descriptor>,
    },
}

impl Document {
    /// Reads a manifest or an index. The digest is recomputed here, `header` is the `Content-Type` of the answer
    /// and `pointer` the media type of the descriptor that led here.
    ///
    /// # Errors
    /// See [`ClosureError`]; a document that two readers could take for two things is refused (CVE-2021-41190).
    pub fn read(bytes: &[u8], header: Option<&str>, pointer: Option<&str>) -> Result<Self, ClosureError> {
        let document = Digest::of(bytes);
        let field = |field, expected| ClosureError::Field { document, field, expected };
        // 1. One meaning per text.
        let value = json::parse(bytes, json::Limits::default())
            .map_err(|source| ClosureError::Json { document, source })?;
        let object = value.as_object().ok_or(field("document", "a JSON object"))?;
        // 2. One media type: the document's own, the sender's, the pointer's (image-spec v1.1, manifest.md:
        //    "this field MUST match" where it is used).
        let own = match object.get("mediaType") {
            None => None,
            Some(Value::String(own)) => Some(own.as_str()),
            Some(_) => return Err(field("mediaType", "a media type")),
        };
        let header = header.map(|header| header.split(';').next().unwrap_or(header).trim());
        let header = header.filter(|header| !header.is_empty());
        let media_type = own.or(pointer).or(header).ok_or(ClosureError::NoMediaType { document })?;
        if SCHEMA_1.contains(&media_type) || object.get("schemaVersion") == Some(&Value::from(1)) {
            return Err(ClosureError::Schema1 { document });
        }
        for (by, stated) in
            [("the descriptor that points to it", pointer), ("the Content-Type of the answer", header)]
        {
            if let Some(expected) = stated.filter(|stated| *stated != media_type) {
                return Err(ClosureError::MediaTypesDisagree {
                    document,
                    by,
                    expected: shorten(expected),
                    found: shorten(media_type),
                });
            }
        }
        let is_index = match media_type {
            OCI_INDEX | DOCKER_LIST => true,
            OCI_MANIFEST | DOCKER_MANIFEST => false,
            other => return Err(ClosureError::MediaType { document, found: shorten(other) }),
        };
        // 3. schemaVersion is 2.
        if object.get("schemaVersion") != Some(&Value::from(2)) {
            let found = object.get("schemaVersion").map_or("nothing".into(), ToString::to_string);
            return Err(ClosureError::SchemaVersion { document, found: shorten(&found) });
        }
        // 4. Index or manifest, never both (CVE-2021-41190), whatever the media type says. `fsLayers`,
        //    `signatures` and `history` are schema 1.
        let foreign: &[&str] = match is_index {
            true => &["config", "layers", "fsLayers", "history", "signatures"],
            false => &["manifests", "fsLayers", "history", "signatures"],
        };
        if let Some(found) = foreign.iter().find(|key| object.contains_key(**key)) {
            let expected = media_type.to_owned();
            return Err(ClosureError::Ambiguous { document, expected, found: (*found).to_owned() });
        }
        // 5. What it lists.
        let list = |key: &'static str| {
            let items = object.get(key).and_then(Value::as_array);
            let items = items.ok_or(field(key, "an array of descriptors"))?;
            items.iter().map(|item| Descriptor::read(document, item)).collect::<Result<Vec<_>, _>>()
        };
        let content = match is_index {
            true => Content::Index(list("manifests")?),
            false => Content::Manifest {
                config: Box::new(Descriptor::read(document, object.get("config").unwrap_or(&Value::Null))?),
                layers: list("layers")?,
            },
        };
        let artifact_type = match (object.get("artifactType"), &content) {
            (Some(Value::String(own)), _) => Some(own.clone()),
            (Some(_), _) => return Err(field("artifactType", "a media type")),
            (None, Content::Manifest { config, .. }) => Some(config.media_type.clone()),
            (None, Content::Index(_)) => None,
        };
        let subject = object.get("subject").map(|subject| Descriptor::read(document, subject)).transpose()?;
        let annotations = match object.get("annotations") {
            None | Some(Value::Null) => BTreeMap::new(),
            Some(annotations) => serde_json::from_value(annotations.clone())
                .map_err(|_| field("annotations", "an object of texts"))?,
        };
        Ok(Self { media_type: media_type.to_owned(), content, artifact_type, subject, annotations })
    }

    /// Whether a runtime would run it, or look into it. Whoever may write beside the source may attach what he likes, and
    /// must not get it past the gate as an attachment of something else: neither by digest nor under one of cosign's tags.
    /// cosign's own images have the configuration of an image and layers of other kinds.
    pub fn can_run(&self) -> bool {
        match &self.content {
            Content::Index(_) => true,
            Content::Manifest { config, layers } => {
                // Docker takes these for image configurations too (moby, `distribution/registry.go`, `ImageTypes`).
                let odd = ["application/octet-stream", "application/json", "text/html", "text/plain"];
                let image = config.is_image_config() || odd.contains(&config.media_type.as_str());
                image && layers.iter().any(Descriptor::is_image_layer)
            }
        }
    }

    /// The blobs of a manifest (configuration first); none of an index.
    pub fn blobs(&self) -> Vec<Descriptor> {
        match &self.content {
            Content::Index(_) => Vec::new(),
            Content::Manifest { config, layers } => {
                std::iter::once(config.as_ref().clone()).chain(layers.iter().cloned()).collect()
            }
        }
    }

    /// The manifests of an index; none of a manifest.
    pub fn children(&self) -> &[Descriptor] {
        match &self.content {
            Content::Index(children) => children,
            Content::Manifest { .. } => &[],
        }
    }
}

/// The platform an image configuration says (image-spec v1.1, config.md: `os` and `architecture` are REQUIRED).
pub(super) fn config_platform(bytes: &[u8]) -> Result<Platform, ClosureError> {
    let document = Digest::of(bytes);
    let value = json::parse(bytes, json::Limits::default())
        .map_err(|source| ClosureError::Json { document, source })?;
    let text = |field: &'static str| value.get(field).and_then(Value::as_str);
    let need = |field, expected| ClosureError::Field { document, field, expected };
    let os = text("os").ok_or(need("os", "the operating system of the image"))?;
    let architecture = text("architecture").ok_or(need("architecture", "the processor of the image"))?;
    Platform::from_parts(os, architecture, text("variant"))
        .map_err(|source| ClosureError::Platform { document, source })
}
