//! Which services sign: a Sigstore signing config (sigstore/protobuf-specs `sigstore_trustroot.proto`,
//! `SigningConfig`, v0.2).

use reqwest::Url;
use sigstore_sign::rekor::RekorApiVersion;
use sigstore_sign::trust_root::{SIGSTORE_PRODUCTION_SIGNING_CONFIG, SigningConfig};
use sigstore_sign::{ConfigError, SigningServices};

use crate::digest::shorten;
use crate::json::{self, JsonError, Limits};
use crate::registry::HttpConfig;

/// A certificate authority, a transparency log and a timestamp authority.
#[derive(Clone, Debug)]
pub struct Services {
    chosen: SigningServices,
    timestamps: String,
}

/// Why a signing config names no services that can be used.
#[derive(Debug, thiserror::Error)]
pub enum ServicesError {
    /// Not strict JSON.
    #[error("the signing config is not strict JSON")]
    Json(#[from] JsonError),
    /// Not a signing config, or one that asks for what is not done here.
    #[error("the signing config cannot be used: {detail}")]
    Unusable {
        /// What is wrong, neutralised.
        detail: String,
    },
    /// An address that a token must not be sent to.
    #[error("the signing config names {url}: expected https, or http on this machine")]
    Address {
        /// The address, neutralised.
        url: String,
    },
}

impl Services {
    /// The Sigstore project's own services, from the snapshot in this binary.
    ///
    /// # Errors
    /// [`ServicesError`] if the snapshot cannot be read; a test reads it.
    pub fn public_good(config: &HttpConfig) -> Result<Self, ServicesError> {
        Self::read(SIGSTORE_PRODUCTION_SIGNING_CONFIG, config)
    }

    /// The best services of a `signing_config.json` (v0.2): of each kind the newest version that is valid now and
    /// spoken here; one log and one timestamp authority.
    ///
    /// # Errors
    /// [`ServicesError`] for what is no signing config, lacks a service, or wants more than one of a kind.
    pub fn read(text: &str, config: &HttpConfig) -> Result<Self, ServicesError> {
        json::parse(text.as_bytes(), Limits::default())?;
        let unusable = |error: String| ServicesError::Unusable { detail: shorten(&error) };
        let read = SigningConfig::from_json(text).map_err(|error| unusable(error.to_string()))?;
        let chosen =
            SigningServices::from_signing_config(&read).map_err(|error| unusable(error.to_string()))?;
        let lacks = || ConfigError::TimestampAuthorityRequired.to_string();
        let timestamps = chosen.tsa_url().ok_or_else(|| unusable(lacks()))?.to_owned();
        for url in [chosen.fulcio_url(), chosen.rekor_url(), timestamps.as_str()] {
            let address = || ServicesError::Address { url: shorten(url) };
            let parsed = Url::parse(url).map_err(|_| address())?;
            if parsed.scheme() != "https"
                && !(parsed.scheme() == "http" && config.accepts_plain_http(&parsed))
            {
                return Err(address());
            }
        }
        Ok(Self { chosen, timestamps })
    }

    pub(super) fn fulcio(&self) -> &str {
        self.chosen.fulcio_url()
    }

    pub(super) fn log(&self) -> (&str, RekorApiVersion) {
        (self.chosen.rekor_url(), self.chosen.rekor_api_version())
    }

    pub(super) fn timestamps(&self) -> &str {
        &self.timestamps
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn changed(change: impl FnOnce(&mut Value)) -> Result<Services, ServicesError> {
        let mut config = serde_json::from_str(SIGSTORE_PRODUCTION_SIGNING_CONFIG).unwrap();
        change(&mut config);
        Services::read(&config.to_string(), &HttpConfig::default())
    }

    #[test]
    fn the_snapshot_names_the_public_services() {
        let services = Services::public_good(&HttpConfig::default()).unwrap();
        assert_eq!(services.fulcio(), "https://fulcio.sigstore.dev");
        assert_eq!(services.log().0, "https://rekor.sigstore.dev");
        assert_eq!(services.timestamps(), "https://timestamp.sigstore.dev/api/v1/timestamp");
    }

    #[test]
    fn the_newest_log_is_taken() {
        let services = changed(|config| {
            let newer = json!({ "url": "https://log.example", "majorApiVersion": 2, "operator": "sigstore.dev",
                                "validFor": { "start": "2025-01-01T00:00:00Z" } });
            config["rekorTlogUrls"].as_array_mut().unwrap().push(newer);
        });
        assert_eq!(services.unwrap().log().0, "https://log.example");
    }

    #[test]
    fn f6_a_token_is_not_sent_in_the_clear() {
        for (url, good) in [
            ("http://fulcio.example", false),
            ("http://127.0.0.1:9", true),
            ("http://localhost.example", false),
            ("ftp://127.0.0.1", false),
            ("fulcio.example", false),
        ] {
            let read = changed(|config| config["caUrls"][0]["url"] = url.into());
            assert_eq!(read.is_ok(), good, "{url}");
            assert!(good || matches!(read, Err(ServicesError::Address { .. })), "{url}");
        }
    }

    #[test]
    fn what_is_missing_or_too_much_is_said() {
        for member in ["caUrls", "rekorTlogUrls", "tsaUrls"] {
            let read = changed(|config| config[member] = json!([]));
            assert!(matches!(read, Err(ServicesError::Unusable { .. })), "{member}");
        }
        let all = changed(|config| {
            config["rekorTlogConfig"] = json!({ "selector": "EXACT", "count": 2 });
        });
        assert!(matches!(all, Err(ServicesError::Unusable { .. })));
        assert!(matches!(Services::read("{", &HttpConfig::default()), Err(ServicesError::Json(_))));
        assert!(Services::read("{}", &HttpConfig::default()).is_err());
    }
}
