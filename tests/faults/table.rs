//! What is broken: every kind of request, and everything that can be wrong with its answer.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use samebits::digest::Digest;
use samebits::registry::Side;

use crate::proxy::{Answer, Asked, Fault};

/// What is done while it is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// The whole walk.
    Promotion,
    /// The copy alone, its tag last.
    Copy,
    /// The same into a layout: a folder, or an archive.
    Unpack,
}

/// One kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    // At the source.
    Tag,
    Index,
    Child,
    Config,
    Listing,
    FallbackTag,
    TagList,
    CosignTag,
    Referrer,
    Evidence,
    Layer,
    TagAgain,
    SourceToken,
    // Within one registry.
    Mount,
    // At the destination.
    FindBlob,
    OpenUpload,
    Upload,
    WriteChild,
    WriteIndex,
    ReadBack,
    WriteReferrer,
    ReadFallbackTag,
    WriteFallbackTag,
    ReadIndex,
    ListingBack,
    ReferrerBack,
    EvidenceBack,
    WriteTag,
    TagAfter,
    DestinationToken,
}

use Kind::{
    Child, Config, CosignTag, DestinationToken, Evidence, EvidenceBack, FallbackTag, FindBlob, Index, Layer,
    Listing, ListingBack, Mount, OpenUpload, ReadBack, ReadFallbackTag, ReadIndex, Referrer, ReferrerBack,
    SourceToken, Tag, TagAfter, TagAgain, TagList, Upload, WriteChild, WriteFallbackTag, WriteIndex,
    WriteReferrer, WriteTag,
};

const ALL: [Kind; 30] = [
    Tag,
    Index,
    Child,
    Config,
    Listing,
    FallbackTag,
    TagList,
    CosignTag,
    Referrer,
    Evidence,
    Layer,
    TagAgain,
    SourceToken,
    Mount,
    FindBlob,
    OpenUpload,
    Upload,
    WriteChild,
    WriteIndex,
    ReadBack,
    WriteReferrer,
    ReadFallbackTag,
    WriteFallbackTag,
    ReadIndex,
    ListingBack,
    ReferrerBack,
    EvidenceBack,
    WriteTag,
    TagAfter,
    DestinationToken,
];

impl Kind {
    pub(crate) fn side(self) -> Side {
        match self {
            Tag | Index | Child | Config | Listing | FallbackTag | TagList | CosignTag | Referrer
            | Evidence | Layer | TagAgain | SourceToken => Side::Source,
            Mount | FindBlob | OpenUpload | Upload | WriteChild | WriteIndex | ReadBack | WriteReferrer
            | ReadFallbackTag | WriteFallbackTag | ReadIndex | ListingBack | ReferrerBack | EvidenceBack
            | WriteTag | TagAfter | DestinationToken => Side::Destination,
        }
    }

    /// Whether `act` makes such a request of a registry that has tokens and the referrers API, or neither.
    fn is_made(self, act: Act, tokens: bool) -> bool {
        match self {
            _ if act == Act::Unpack && self.side() == Side::Destination => false,
            // Of an image that is named by its digest; the walk has its bytes from the tag.
            Index => act != Act::Promotion,
            Tag | Child | Config | TagList | CosignTag | Referrer | Layer | Mount | FindBlob | OpenUpload
            | Upload | WriteChild | WriteIndex | ReadBack | ReadIndex | WriteReferrer | WriteTag
            | TagAfter => true,
            // A copy takes evidence along as any other blob; the walk reads it.
            Evidence => true,
            TagAgain | ReferrerBack | EvidenceBack => act == Act::Promotion,
            FallbackTag | ReadFallbackTag | WriteFallbackTag => !tokens,
            Listing | ListingBack | SourceToken | DestinationToken => tokens,
        }
    }

    /// Whether the answer to it has a body that counts.
    fn is_read(self) -> bool {
        match self {
            Tag | Index | Child | Config | Listing | FallbackTag | TagList | CosignTag | Referrer
            | Evidence | Layer | TagAgain | SourceToken | ReadBack | ReadFallbackTag | ReadIndex
            | ListingBack | ReferrerBack | EvidenceBack | TagAfter | DestinationToken => true,
            Mount | FindBlob | OpenUpload | Upload | WriteChild | WriteIndex | WriteReferrer
            | WriteFallbackTag | WriteTag => false,
        }
    }

    fn writes(self) -> bool {
        matches!(
            self,
            Mount
                | OpenUpload
                | Upload
                | WriteChild
                | WriteIndex
                | WriteReferrer
                | WriteFallbackTag
                | WriteTag
        )
    }

    /// Whether it is this request, of those made for one row.
    pub(crate) fn finder(self, places: &Places) -> Box<dyn Fn(&Asked) -> bool + Send + Sync> {
        let at = places.clone();
        let begun = AtomicBool::new(false);
        let seen = move |now: bool| begun.fetch_or(now, Ordering::Relaxed);
        let (from, to) = (format!("/v2/{}/", at.from), format!("/v2/{}/", at.to));
        let get = |base: &str, rest: String| {
            let whole = format!("{base}{rest}");
            move |asked: &Asked| asked.method == "GET" && asked.target == whole
        };
        let put = |rest: String| {
            let whole = format!("{to}{rest}");
            move |asked: &Asked| asked.method == "PUT" && asked.target == whole
        };
        let below = |method: &'static str, base: String| {
            move |asked: &Asked| asked.method == method && asked.target.starts_with(&base)
        };
        let hex = |digest: Digest| digest.hex();
        match self {
            Tag => Box::new(get(&from, format!("manifests/{}", at.tag_there))),
            TagAgain => {
                let tag = get(&from, format!("manifests/{}", at.tag_there));
                Box::new(move |asked| tag(asked) && seen(true))
            }
            Index => Box::new(get(&from, format!("manifests/{}", at.root))),
            Child => Box::new(get(&from, format!("manifests/{}", at.child))),
            Config => Box::new(get(&from, format!("blobs/{}", at.config))),
            Layer => Box::new(get(&from, format!("blobs/{}", at.layer))),
            Listing => Box::new(get(&from, format!("referrers/{}", at.root))),
            ListingBack => Box::new(get(&to, format!("referrers/{}", at.root))),
            FallbackTag => Box::new(get(&from, format!("manifests/sha256-{}", hex(at.root)))),
            TagList => Box::new(get(&from, "tags/list?n=1000".to_owned())),
            CosignTag => Box::new(get(&from, format!("manifests/sha256-{}.sbom", hex(at.root)))),
            Referrer => Box::new(get(&from, format!("manifests/{}", at.referrer))),
            Evidence => Box::new(get(&from, format!("blobs/{}", at.evidence))),
            Mount => {
                let posts = below("POST", format!("{to}blobs/uploads/"));
                Box::new(move |asked| posts(asked) && asked.target.contains("mount="))
            }
            FindBlob => Box::new(below("HEAD", format!("{to}blobs/"))),
            OpenUpload => Box::new(below("POST", format!("{to}blobs/uploads/"))),
            Upload => Box::new(below("PUT", format!("{to}blobs/uploads/"))),
            ReadBack => Box::new(get(&to, format!("manifests/{}", at.child))),
            WriteChild => Box::new(put(format!("manifests/{}", at.child))),
            WriteIndex => Box::new(put(format!("manifests/{}", at.root))),
            WriteReferrer => Box::new(put(format!("manifests/{}", at.referrer))),
            WriteFallbackTag => Box::new(put(format!("manifests/sha256-{}", hex(at.root)))),
            WriteTag => Box::new(put(format!("manifests/{}", at.tag_here))),
            ReadFallbackTag => Box::new(get(&to, format!("manifests/sha256-{}", hex(at.root)))),
            ReferrerBack => Box::new(get(&to, format!("manifests/{}", at.referrer))),
            EvidenceBack => Box::new(get(&to, format!("blobs/{}", at.evidence))),
            ReadIndex => Box::new(get(&to, format!("manifests/{}", at.root))),
            TagAfter => {
                let (tag, set) = (
                    get(&to, format!("manifests/{}", at.tag_here)),
                    put(format!("manifests/{}", at.tag_here)),
                );
                Box::new(move |asked| seen(set(asked)) && tag(asked))
            }
            SourceToken => token(&at.from),
            DestinationToken => token(&at.to),
        }
    }
}

fn token(repository: &str) -> Box<dyn Fn(&Asked) -> bool + Send + Sync> {
    let scope = format!("repository:{repository}:");
    Box::new(move |asked| asked.target.starts_with("/token") && asked.target.contains(&scope))
}

/// The names in one row.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) tag_there: &'static str,
    pub(crate) tag_here: &'static str,
    pub(crate) root: Digest,
    pub(crate) child: Digest,
    pub(crate) config: Digest,
    pub(crate) layer: Digest,
    pub(crate) referrer: Digest,
    pub(crate) evidence: Digest,
}

/// What is wrong with the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    Busy,
    BusyForLong,
    Broken,
    BadGateway,
    Forbidden,
    Login,
    OddChallenge,
    TokenServerOfAnother,
    ResetBefore,
    ResetAfter,
    Drip,
    Redirect,
    LyingDigest,
    Absent,
    Gone,
    WebPage,
    // Of what is read.
    ResetInside,
    Truncated,
    ChunkedShort,
    OtherBytes,
    Longer,
    Shorter,
    Endless,
    Gzip,
    Old,
    // Of what is written.
    Immutable,
    HappenedAndFailed,
    Pretended,
    UploadElsewhere,
}

use Wrong::{
    Absent, BadGateway, Broken, Busy, BusyForLong, ChunkedShort, Drip, Endless, Forbidden, Gone, Gzip,
    HappenedAndFailed, Immutable, Login, Longer, LyingDigest, OddChallenge, Old, OtherBytes, Pretended,
    Redirect, ResetAfter, ResetBefore, ResetInside, Shorter, TokenServerOfAnother, Truncated,
    UploadElsewhere, WebPage,
};

const OF_ANY: [Wrong; 16] = [
    Busy,
    BusyForLong,
    Broken,
    BadGateway,
    Forbidden,
    Login,
    OddChallenge,
    TokenServerOfAnother,
    ResetBefore,
    ResetAfter,
    Drip,
    Redirect,
    LyingDigest,
    Absent,
    Gone,
    WebPage,
];
const OF_READS: [Wrong; 9] =
    [ResetInside, Truncated, ChunkedShort, OtherBytes, Longer, Shorter, Endless, Gzip, Old];
const OF_WRITES: [Wrong; 3] = [Immutable, HappenedAndFailed, Pretended];

impl Wrong {
    /// Whether a client that is patient gets past it, when it comes once.
    fn passes(self) -> bool {
        matches!(
            self,
            Busy | BusyForLong
                | Broken
                | BadGateway
                | ResetBefore
                | ResetAfter
                | ResetInside
                | Truncated
                | HappenedAndFailed
        )
    }

    /// On the wire. `old` is what was there before, `stranger` somebody else's server.
    pub(crate) fn fault(self, kind: Kind, old: &Answer, stranger: &str) -> Fault {
        let instead = |status, headers: &[(&str, &str)], body: &str| {
            Fault::Instead(Answer::new(status, headers, body.as_bytes()))
        };
        let json = ("content-type", "application/json");
        let code = |code: &str| format!(r#"{{"errors":[{{"code":"{code}","message":"as told"}}]}}"#);
        // Another host, not only another port: nothing of ours is at home there.
        let elsewhere = stranger.replace("127.0.0.1", "localhost");
        match self {
            Busy => instead(429, &[json], &code("TOOMANYREQUESTS")),
            BusyForLong => instead(429, &[json, ("retry-after", "3600")], &code("TOOMANYREQUESTS")),
            Broken => instead(500, &[], ""),
            BadGateway => instead(502, &[("content-type", "text/html")], "<html>bad gateway</html>"),
            Forbidden => instead(403, &[json], &code("DENIED")),
            Login => instead(401, &[json], &code("UNAUTHORIZED")),
            OddChallenge => instead(401, &[("www-authenticate", "Bearer service=")], ""),
            TokenServerOfAnother => {
                let challenge = format!("Bearer realm=\"http://{elsewhere}/token\",service=\"x\"");
                instead(401, &[("www-authenticate", &challenge)], "")
            }
            ResetBefore => Fault::ResetBefore,
            ResetAfter => Fault::ResetAfter,
            ResetInside => Fault::ResetInside,
            Truncated => Fault::Truncated,
            ChunkedShort => Fault::ChunkedShort,
            OtherBytes => Fault::WrongBytes,
            Longer => Fault::Longer,
            Shorter => Fault::Shorter,
            Drip => Fault::Drip,
            Redirect => Fault::RedirectTo(format!("http://{elsewhere}")),
            Endless => Fault::Endless,
            LyingDigest => Fault::Header("docker-content-digest", Digest::of(b"something else").to_string()),
            Absent => instead(404, &[json], &code("MANIFEST_UNKNOWN")),
            Gone => instead(404, &[("content-type", "text/html")], "<html>not here</html>"),
            WebPage => instead(200, &[("content-type", "text/html")], "<html>please log in</html>"),
            Old => Fault::Instead(old.clone()),
            Gzip => Fault::Gzip,
            Immutable => instead(409, &[json], &code("TAG_INVALID")),
            HappenedAndFailed => Fault::Afterwards(Answer::new(500, &[], b"")),
            Pretended => instead(if kind == OpenUpload { 202 } else { 201 }, &[], ""),
            UploadElsewhere => Fault::Header("location", format!("http://{elsewhere}/v2/x/blobs/uploads/1")),
        }
    }
}

/// One thing that goes wrong with one kind of request.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) kind: Kind,
    pub(crate) wrong: Wrong,
    /// Once, and then a patient client has to get past it; else every time.
    pub(crate) once: bool,
}

impl Row {
    /// Whether a copy cannot know that there is more than it is told: the source says that nothing refers to the image.
    /// The walk has seen the evidence, and goes by it.
    pub(crate) fn hides_evidence(&self, act: Act) -> bool {
        let absent = matches!(
            (self.kind, self.wrong),
            (Listing | FallbackTag, Absent | Gone | Old) | (Referrer, Absent | Old)
        );
        absent && act != Act::Promotion
    }

    /// Whether nobody can know of cosign's tag: the source says that it is not there, or lists the tags without it. It
    /// holds a bill of materials, which is nothing that the gate asks for.
    pub(crate) fn hides_tag(&self) -> bool {
        matches!((self.kind, self.wrong), (CosignTag, Absent | Old) | (TagList, OtherBytes | Old))
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {:?}{}", self.wrong, self.kind, if self.once { ", once" } else { "" })
    }
}

/// The table.
pub(crate) fn rows(act: Act, tokens: bool) -> Vec<Row> {
    let mut rows = Vec::new();
    for kind in ALL.into_iter().filter(|kind| kind.is_made(act, tokens)) {
        let mut wrongs = OF_ANY.to_vec();
        if kind.is_read() {
            wrongs.extend(OF_READS);
        }
        if kind.writes() {
            wrongs.extend(OF_WRITES);
        }
        if matches!(kind, OpenUpload | Mount) {
            wrongs.push(UploadElsewhere);
        }
        // What moves the tag of an environment is shown in full.
        let tag = matches!(kind, WriteTag | TagAfter);
        let shared = act == Act::Promotion && kind.is_made(Act::Copy, tokens) && !tag;
        for wrong in wrongs {
            // Much the same as another, and shown by the copy.
            if shared && matches!(wrong, Busy | BadGateway | Login | Longer | Shorter) {
                continue;
            }
            rows.push(Row { kind, wrong, once: false });
            // Patience is in the client: of what both acts ask for, the copy shows it.
            if wrong.passes() && !shared {
                rows.push(Row { kind, wrong, once: true });
            }
        }
    }
    rows
}
