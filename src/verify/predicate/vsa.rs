//! SLSA verification summaries (SLSA v1.1, `verification_summary.md`).

use jiff::Timestamp;

use super::read::Place;
use super::{PredicateError, VSA};
use crate::digest::shorten;
use crate::verify::Attestation;

/// A verdict of somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vsa {
    /// `verifier.id`.
    pub verifier: String,
    /// `timeVerified`.
    pub verified: Timestamp,
    /// `resourceUri`.
    pub resource: String,
    /// `policy.uri`.
    pub policy: String,
    /// Whether `verificationResult` is `PASSED`.
    pub passed: bool,
    /// `verifiedLevels`.
    pub levels: Vec<Level>,
}

/// An SlsaResult: a level of a SLSA track, or a word of the verifier's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Level {
    /// `SLSA_<TRACK>_LEVEL_<n>`.
    Slsa {
        /// The track, as in `BUILD`.
        track: String,
        /// The level.
        level: u8,
    },
    /// Anything else, `FAILED` included.
    Custom(String),
}

impl Level {
    /// Reads a level; one that looks like a SLSA level and is none is `None` ("MUST NOT use custom values starting
    /// with `SLSA_`").
    pub fn parse(text: &str) -> Option<Self> {
        let Some(slsa) = text.strip_prefix("SLSA_") else {
            return (!text.is_empty()).then(|| Self::Custom(text.to_owned()));
        };
        let (track, number) = slsa.rsplit_once("_LEVEL_")?;
        let good = !track.is_empty() && track.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        let level = match number.as_bytes() {
            [digit @ b'0'..=b'9'] => digit - b'0',
            _ => return None,
        };
        good.then(|| Self::Slsa { track: track.to_owned(), level })
    }

    /// Whether this satisfies what is wanted: "each SLSA level implies the levels below it" in its track.
    pub fn implies(&self, wanted: &Self) -> bool {
        match (self, wanted) {
            (Self::Slsa { track, level }, Self::Slsa { track: wanted_track, level: wanted }) => {
                track == wanted_track && level >= wanted
            }
            (Self::Custom(found), Self::Custom(wanted)) => found == wanted,
            (Self::Slsa { .. }, Self::Custom(_)) | (Self::Custom(_), Self::Slsa { .. }) => false,
        }
    }
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Slsa { track, level } => write!(f, "SLSA_{track}_LEVEL_{level}"),
            Self::Custom(text) => f.write_str(&shorten(text)),
        }
    }
}

impl Vsa {
    /// Reads a verification summary.
    ///
    /// # Errors
    /// [`PredicateError`] when it is of another kind, a required field is missing, or it contradicts itself: more than
    /// one level of a track, or `FAILED` beside `PASSED`.
    pub fn read(attestation: &Attestation) -> Result<Self, PredicateError> {
        if attestation.predicate_type() != VSA {
            let found = shorten(attestation.predicate_type());
            return Err(PredicateError::PredicateType { found, expected: "a verification summary v1" });
        }
        let root = Place::root(attestation.predicate());
        let verifier = root.need("verifier")?.need("id")?.text()?.to_owned();
        let verified = root.need("timeVerified")?.time()?;
        let resource = root.need("resourceUri")?.text()?.to_owned();
        let policy = root.need("policy")?.need("uri")?.text()?.to_owned();
        let result = root.need("verificationResult")?;
        let passed = match result.text()? {
            "PASSED" => true,
            "FAILED" => false,
            found => return Err(result.word(found, "PASSED or FAILED")),
        };
        let mut levels: Vec<Level> = Vec::new();
        for place in root.need("verifiedLevels")?.elements()? {
            let text = place.text()?;
            let level = Level::parse(text).ok_or_else(|| place.word(text, "`SLSA_<TRACK>_LEVEL_<n>`"))?;
            let twice = levels.iter().any(|other| match (other, &level) {
                (Level::Slsa { track, .. }, Level::Slsa { track: this, .. }) => track == this,
                (Level::Custom(_), _) | (_, Level::Custom(_)) => false,
            });
            if twice || passed && level == Level::Custom("FAILED".to_owned()) {
                let (one, other) = ("/verifiedLevels".to_owned(), place.path().to_owned());
                return Err(PredicateError::Contradiction { one, other });
            }
            levels.push(level);
        }
        Ok(Self { verifier, verified, resource, policy, passed, levels })
    }
}
