//! The answer of `verify`: the tree of everything that lies on an image, as JSON and for people.

use std::fmt::Write as _;

use jiff::Timestamp;
use samebits::closure::Platform;
use samebits::digest::Digest;
use samebits::policy::{EnvironmentName, SignerName};
use samebits::record::Kind;
use samebits::reference::{Image, Repository};
use samebits::verify::{COSIGN_SIGN, Identity, MESSAGE_SIGNATURE, SIMPLE_SIGNING, provenance};
use schemars::JsonSchema;
use serde::Serialize;

use crate::output::{RequirementStands, RootInUse};
use crate::report::{BAD, BOLD, DIM, GOOD, Report, WARN, clean, requirements, roots, size};

/// The answer of `verify`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Verification {
    /// `https://samebits.dev/schema/verification.schema.json`
    pub(crate) schema: &'static str,
    /// Whether what lies on the image is what the policy wants.
    pub(crate) decision: Judged,
    /// The image, pinned.
    pub(crate) image: Image,
    /// The environment whose requirements were looked at.
    pub(crate) to: EnvironmentName,
    /// The manifests of the image that can carry evidence: the root, then the platforms in the order of the index.
    pub(crate) manifests: Vec<ManifestNode>,
    /// The requirements.
    pub(crate) requirements: Vec<RequirementStands>,
    /// The roots of trust that certificates were judged under.
    pub(crate) roots: Vec<RootInUse>,
    /// What a reader has to know beside it.
    pub(crate) notes: Vec<String>,
}

impl Verification {
    pub(crate) const SCHEMA: &str = "https://samebits.dev/schema/verification.schema.json";
}

/// How an image was judged by what lies on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Judged {
    /// It has what the environment requires.
    Approved,
    /// It has not.
    Denied,
    /// The environment requires neither signatures nor attestations: nothing was judged.
    NothingRequired,
}

/// One manifest and what lies on it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ManifestNode {
    /// Its digest.
    pub(crate) digest: Digest,
    /// Whether it is an index.
    pub(crate) index: bool,
    /// The platforms it is for; none for an index.
    pub(crate) platforms: Vec<Platform>,
    /// Everything that lies on it, evidence or not.
    pub(crate) items: Vec<EvidenceItem>,
}

/// One thing that lies on a manifest.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EvidenceItem {
    /// What it is, in words.
    pub(crate) what: String,
    /// Where it was found.
    pub(crate) found: FoundAt,
    /// Its artifact type or the media type of its layer.
    pub(crate) media_type: String,
    /// Of evidence the digest of its bytes, else that of its manifest.
    pub(crate) digest: Digest,
    /// Of evidence its size in bytes, else that of its layers.
    pub(crate) size: u64,
    /// Whether it counts.
    pub(crate) status: Status,
    /// The code of the reason, where it was rejected.
    pub(crate) code: Option<String>,
    /// Why it was rejected, or is no evidence.
    pub(crate) reason: Option<String>,
    /// The predicate type; where it was rejected, as its bytes say.
    pub(crate) predicate_type: Option<String>,
    /// What it is about, where it was accepted.
    pub(crate) subjects: Vec<Digest>,
    /// Who signed, where that was proved.
    pub(crate) signer: Option<Identity>,
    /// What the policy calls them.
    pub(crate) names: Vec<SignerName>,
    /// When it had been signed at the latest, as a log or a timestamp authority vouches; a key proves no time.
    pub(crate) time: Option<Timestamp>,
    /// The index of its entry in the transparency log.
    pub(crate) log_index: Option<u64>,
    /// The requirements that it meets, alone or with others.
    pub(crate) meets: Vec<String>,
    /// What refers to it in its turn.
    pub(crate) beneath: Vec<EvidenceItem>,
}

/// Where a thing was found.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FoundAt {
    /// What kind of place.
    pub(crate) source: FoundIn,
    /// The referrer's manifest.
    pub(crate) manifest: Option<Digest>,
    /// The tag.
    pub(crate) tag: Option<String>,
    /// The file, and the line in it.
    pub(crate) file: Option<String>,
    /// The evidence store, or the repository given with `--evidence`, that it lies in; none for what lies beside the
    /// image.
    pub(crate) store: Option<Repository>,
}

/// A kind of place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FoundIn {
    /// A referrer (OCI distribution-spec v1.1).
    Referrer,
    /// A cosign `sha256-….sig` tag.
    SignatureTag,
    /// A cosign `sha256-….att` tag.
    AttestationTag,
    /// A cosign `sha256-….sbom` tag.
    SbomTag,
    /// A file on disk.
    File,
    /// The index of the image.
    Index,
}

/// Whether a thing counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Status {
    /// Its signature was checked, and it is about what it lies on.
    Accepted,
    /// It looks like evidence and is none.
    Rejected,
    /// Something else.
    NotEvidence,
}

/// A predicate type in words; one that is not known, itself.
pub(crate) fn predicate_words(predicate_type: &str) -> String {
    let known = [
        (SIMPLE_SIGNING, "cosign signature"),
        (COSIGN_SIGN, "cosign signature"),
        (MESSAGE_SIGNATURE, "signature of the manifest"),
        (provenance::V1, "SLSA provenance v1"),
        (provenance::V0_2, "SLSA provenance v0.2"),
        (samebits::record::SUMMARY, "SLSA verification summary v1"),
        (Kind::Deployment.predicate_type(), "samebits deployment record"),
        (Kind::Promotion.predicate_type(), "samebits promotion record"),
        (Kind::Approval.predicate_type(), "samebits approval record"),
        ("https://in-toto.io/attestation/test-result/v0.1", "test result v0.1"),
        ("https://in-toto.io/attestation/vulns/v0.1", "vulnerabilities v0.1"),
        ("https://in-toto.io/attestation/vulns/v0.2", "vulnerabilities v0.2"),
        ("https://cosign.sigstore.dev/attestation/vuln/v1", "vulnerabilities (cosign)"),
        ("https://in-toto.io/attestation/svr/v0.1", "simple verification result v0.1"),
        ("https://in-toto.io/attestation/release/v0.1", "release v0.1"),
    ];
    if let Some((_, words)) = known.iter().find(|(known, _)| *known == predicate_type) {
        return (*words).to_owned();
    }
    let families = [
        ("https://spdx.dev/Document", "SPDX"),
        ("https://cyclonedx.org/", "CycloneDX"),
        ("https://openvex.dev/ns", "OpenVEX"),
    ];
    let family = families.iter().find(|(start, _)| predicate_type.starts_with(start));
    family.map_or_else(|| predicate_type.to_owned(), |(_, words)| (*words).to_owned())
}

/// An artifact or media type in words; one that is not known, itself.
pub(crate) fn media_words(media_type: &str) -> String {
    let known = [
        ("spdx", "SPDX"),
        ("cyclonedx", "CycloneDX"),
        ("syft", "syft's bill of materials"),
        ("openvex", "OpenVEX"),
        ("sarif", "SARIF"),
        ("dev.sigstore.bundle", "Sigstore bundle"),
        ("dev.cosign.simplesigning", "cosign signature"),
        ("dsse.envelope", "DSSE envelope"),
    ];
    let lower = media_type.to_ascii_lowercase();
    match known.iter().find(|(part, _)| lower.contains(part)) {
        Some((_, words)) => (*words).to_owned(),
        None if media_type.is_empty() => "of no type".to_owned(),
        None => media_type.to_owned(),
    }
}

/// A line of the tree, what is said of it, and what hangs on it.
struct Node {
    head: String,
    said: Vec<String>,
    below: Vec<Node>,
}

impl Node {
    /// `first` stands before the head, `rest` before everything under it.
    fn write(&self, text: &mut String, first: &str, rest: &str) {
        let _ = writeln!(text, "{DIM}{first}{DIM:#}{}", self.head);
        let trunk = if self.below.is_empty() { "  " } else { "│ " };
        for line in &self.said {
            let _ = writeln!(text, "{DIM}{rest}{trunk}{DIM:#}  {line}");
        }
        for (place, node) in self.below.iter().enumerate() {
            let (branch, trunk) =
                if place + 1 == self.below.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            node.write(text, &format!("{rest}{branch}"), &format!("{rest}{trunk}"));
        }
    }
}

impl Report for Verification {
    fn text(&self) -> String {
        let (word, style) = match self.decision {
            Judged::Approved => ("yes", GOOD),
            Judged::Denied => ("no", BAD),
            Judged::NothingRequired => ("nothing required", WARN),
        };
        let mut text = format!("{style}{word}{style:#}  {}\n\n", clean(&self.image.to_string()));
        let mut nodes = self.manifests.iter().map(manifest);
        if let Some(mut root) = nodes.next() {
            root.below.extend(nodes);
            root.write(&mut text, "  ", "  ");
        }
        match self.decision {
            Judged::NothingRequired => {
                let _ = writeln!(text, "\n  `{}` requires neither signatures nor attestations", self.to);
            }
            Judged::Approved | Judged::Denied => {
                let _ = writeln!(text, "\n  what `{}` requires:", self.to);
            }
        }
        requirements(&mut text, &self.requirements);
        roots(&mut text, &self.roots);
        for note in &self.notes {
            let _ = writeln!(text, "  {WARN}!{WARN:#} {}", clean(note));
        }
        text
    }
}

fn manifest(manifest: &ManifestNode) -> Node {
    let platforms: Vec<String> = manifest.platforms.iter().map(ToString::to_string).collect();
    let what = if manifest.index { "index".to_owned() } else { platforms.join(", ") };
    let head = format!("{BOLD}{}{BOLD:#} {}", clean(&what), manifest.digest);
    let below: Vec<Node> = manifest.items.iter().map(item).collect();
    let said = if below.is_empty() { vec![format!("{DIM}nothing lies on it{DIM:#}")] } else { Vec::new() };
    Node { head, said, below }
}

fn item(item: &EvidenceItem) -> Node {
    let what = clean(&item.what);
    let head = match item.status {
        Status::Accepted => format!("{GOOD}✓{GOOD:#} {what}"),
        Status::Rejected => {
            let code = item.code.as_deref().unwrap_or_default();
            format!("{BAD}✗{BAD:#} {what}: {BAD}rejected, {code}{BAD:#}")
        }
        Status::NotEvidence => format!("· {what}, {}: not evidence", size(item.size)),
    };
    let mut said = Vec::new();
    if let Some(signer) = &item.signer {
        let names: Vec<String> = item.names.iter().map(|name| format!("`{name}`")).collect();
        let names = match names.is_empty() {
            true => "nobody the policy names".to_owned(),
            false => names.join(", "),
        };
        said.push(format!("by     {names} {DIM}{}{DIM:#}", clean(&signer.to_string())));
    }
    if let Some(time) = item.time {
        let log = item.log_index.map(|index| format!(", log index {index}")).unwrap_or_default();
        said.push(format!("time   signed by {time}{log}"));
    }
    if let Some(reason) = &item.reason {
        said.push(format!("why    {}", clean(reason)));
    }
    if item.status == Status::NotEvidence && what != clean(&item.media_type) && !item.media_type.is_empty() {
        said.push(format!("type   {}", clean(&item.media_type)));
    }
    let found = match (&item.found.manifest, &item.found.tag, &item.found.file) {
        (Some(manifest), ..) => format!("referrer {manifest}"),
        (_, Some(tag), _) => format!("tag {}", clean(tag)),
        (.., Some(file)) => format!("file {}", clean(file)),
        (None, None, None) => format!("index, {}", item.digest),
    };
    let store = item.found.store.as_ref().map(|store| format!("{}, ", clean(&store.to_string())));
    said.push(format!("in     {DIM}{}{found}{DIM:#}", store.unwrap_or_default()));
    if !item.meets.is_empty() {
        said.push(format!("meets  {}", clean(&item.meets.join(", "))));
    }
    Node { head, said, below: item.beneath.iter().map(self::item).collect() }
}
