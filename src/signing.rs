//! Signing without a key of one's own: a certificate for an identity that the CI system vouches for, an entry in a
//! transparency log, a timestamp (sigstore/architecture-docs `client-spec.md`, section "Signing").
//!
//! Guarantees: what [`Workload`] signs has been verified again by [`verify::bundle`](crate::verify::bundle()), under
//! the root it was made for, and says the identity that was announced; a token or a signature leaves for the services
//! of the signing config alone, over TLS (plain HTTP on loopback only), and never across a redirect.
//! Never does: decide who may sign, or open a browser: without a token of the CI system there is no identity.
//! Start at [`Workload::open`]. The services are those of a [`Services`], from a signing config.

mod services;
mod token;

use std::sync::Mutex;
use std::time::Duration;

use futures_util::try_join;
use jiff::{SignedDuration, Timestamp};
use sigstore_sign::bundle::BundleV03;
use sigstore_sign::crypto::{KeyPair, sha256};
use sigstore_sign::fulcio::FulcioClient;
use sigstore_sign::rekor::{
    DsseEntry, HashedRekordV2, RekorApiVersion, RekorClient, RekorV2Client, RekorV2KeyDetails,
};
use sigstore_sign::tsa::TimestampClient;
use sigstore_sign::types::{
    self, DerCertificate, DsseEnvelope, DsseSignature, KeyId, KindVersion, PayloadBytes, SignatureBytes,
    TimestampToken, TransparencyLogEntry,
};
use tokio::runtime::Runtime;

use crate::digest::shorten;
use crate::registry::{HttpConfig, RegistryError};
use crate::verify::{self, Author, Reason, Rejected, RootName, Sign, SignError, Trust};

pub use services::{Services, ServicesError};
pub use token::{AUDIENCE, Token, TokenError};

const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// A certificate is not used for what it may not outlive.
const MARGIN: SignedDuration = SignedDuration::from_secs(60);
/// How often a service is asked that answers with trouble of its own.
const TRIES: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_millis(300);

/// Why there is no signature by certificate.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// No client for these settings.
    #[error("the services that sign cannot be reached with these settings")]
    Client(#[source] Box<RegistryError>),
    /// No identity.
    #[error("there is no identity to sign with")]
    Token(#[from] TokenError),
    /// Fulcio gave no certificate.
    #[error("{url} gave no certificate: {detail}")]
    Certificate {
        /// The certificate authority.
        url: String,
        /// What went wrong, neutralised.
        detail: String,
    },
    /// The certificate is not one that verification would take.
    #[error("the certificate of {url} cannot be used")]
    Unusable {
        /// The certificate authority.
        url: String,
        /// Why.
        source: Box<Reason>,
    },
    /// A renewed certificate is somebody else's.
    #[error("the identity changed from {before} to {after} while this ran")]
    Identity {
        /// Who began.
        before: String,
        /// Whom the renewed certificate names.
        after: String,
    },
    /// Rekor took no entry.
    #[error("the transparency log {url} took no entry: {detail}")]
    Log {
        /// The log.
        url: String,
        /// What went wrong, neutralised.
        detail: String,
    },
    /// No timestamp.
    #[error("the timestamp authority {url} gave no timestamp: {detail}")]
    Timestamp {
        /// The authority.
        url: String,
        /// What went wrong, neutralised.
        detail: String,
    },
    /// The ephemeral key.
    #[error("an ephemeral key cannot be used: {detail}")]
    Key {
        /// What went wrong.
        detail: String,
    },
    /// What was made does not verify: services and root do not belong together.
    #[error("the signature does not verify under the root `{root}`")]
    NotVerified {
        /// The root.
        root: RootName,
        /// Why.
        source: Box<Rejected>,
    },
    /// No thread or runtime to work on.
    #[error("signing cannot be started")]
    Runtime(#[source] std::io::Error),
}

/// A workload with an identity, and the services that vouch for what it signs.
///
/// One certificate serves until it is about to run out; then another is asked for, for the same identity.
pub struct Workload {
    services: Services,
    root: RootName,
    trust: Trust,
    token: Token,
    fulcio: FulcioClient,
    timestamps: TimestampClient,
    log: Log,
    clock: fn() -> Timestamp,
    runtime: Apart,
    author: Author,
    held: Mutex<Held>,
}

/// A log of the one or the other version.
enum Log {
    One(RekorClient),
    Two(RekorV2Client),
}

/// An ephemeral key and its certificate.
struct Held {
    key: KeyPair,
    certificate: DerCertificate,
    /// When the certificate runs out.
    until: Timestamp,
}

impl Workload {
    /// Asks for a certificate, so that it is known who signs. `trust` must know the root called `root`: what is
    /// signed here is verified under it before it goes anywhere.
    ///
    /// # Errors
    /// [`SigningError`] when there is no token, a service cannot be reached or refuses.
    pub fn open(
        services: Services,
        root: RootName,
        trust: Trust,
        token: Token,
        config: &HttpConfig,
        clock: fn() -> Timestamp,
    ) -> Result<Self, SigningError> {
        let http = config.direct_client().map_err(|source| SigningError::Client(Box::new(source)))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map(|runtime| Apart(Some(runtime)))
            .map_err(SigningError::Runtime)?;
        let fulcio = FulcioClient::builder(services.fulcio()).with_http_client(http.clone()).build();
        let fulcio = fulcio.map_err(|error| certificate(&services, &error))?;
        let timestamps = TimestampClient::builder(services.timestamps()).with_http_client(http.clone());
        let timestamps = timestamps.build().map_err(|error| timestamp(&services, &error))?;
        let log = match services.log() {
            (url, RekorApiVersion::V1) => {
                RekorClient::builder(url).with_http_client(http).build().map(Log::One)
            }
            (url, _) => RekorV2Client::builder(url).with_http_client(http).build().map(Log::Two),
        };
        let log = log.map_err(|error| log_entry(&services, &error))?;
        let (held, author) = runtime.run(async || hold(&services, &root, &token, &fulcio).await)??;
        let held = Mutex::new(held);
        Ok(Self { services, root, trust, token, fulcio, timestamps, log, clock, runtime, author, held })
    }

    /// Signs, logs, has it timestamped, and verifies what came out.
    fn bundle(&self, statement: &[u8]) -> Result<Vec<u8>, SigningError> {
        // A poisoned lock held a certificate that may be used up; it is looked at below.
        let mut held = self.held.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if (self.clock)() + MARGIN >= held.until {
            let renew = async || hold(&self.services, &self.root, &self.token, &self.fulcio).await;
            let (renewed, author) = self.runtime.run(renew)??;
            if author.identity() != self.author.identity() {
                return Err(SigningError::Identity {
                    before: self.author.identity().to_string(),
                    after: author.identity().to_string(),
                });
            }
            *held = renewed;
        }
        let bytes = self.runtime.run(async || self.sign_with(&held, statement).await)??;
        // The absence of an error is weak evidence: the same check that readers make.
        let verified = verify::bundle(&bytes, &self.trust).map_err(|source| {
            let source = Box::new(source);
            SigningError::NotVerified { root: self.root.clone(), source }
        })?;
        if verified.identity() != self.author.identity() {
            return Err(SigningError::Identity {
                before: self.author.identity().to_string(),
                after: verified.identity().to_string(),
            });
        }
        Ok(bytes)
    }

    async fn sign_with(&self, held: &Held, statement: &[u8]) -> Result<Vec<u8>, SigningError> {
        let broken =
            |error: &dyn std::fmt::Display| SigningError::Key { detail: shorten(&error.to_string()) };
        // 1. Sign: DSSE v1 pre-authentication encoding.
        let message = types::pae(PAYLOAD_TYPE, statement);
        let signature = held.key.sign(&message).map_err(|error| broken(&error))?;
        let signed = DsseSignature::new(signature.clone(), KeyId::default());
        let payload = PayloadBytes::new(statement.to_vec());
        let envelope = DsseEnvelope::new(PAYLOAD_TYPE.to_owned(), payload, signed);
        // 2. Log it, and 3. have it timestamped: neither waits for the other.
        let (entry, token) =
            try_join!(self.logged(held, &envelope, &message, &signature), self.timestamped(&signature))?;
        // 4. The bundle, v0.3.
        let bundle = BundleV03::with_certificate_and_dsse(held.certificate.clone(), envelope)
            .with_tlog_entry(entry)
            .with_rfc3161_timestamp(token)
            .into_bundle();
        let json = bundle.to_json().map_err(|error| broken(&error))?;
        Ok(json.into_bytes())
    }

    async fn logged(
        &self,
        held: &Held,
        envelope: &DsseEnvelope,
        message: &[u8],
        signature: &SignatureBytes,
    ) -> Result<TransparencyLogEntry, SigningError> {
        let trouble = |error| log_entry(&self.services, &error);
        match &self.log {
            Log::One(client) => {
                let ask = async || {
                    let entry = DsseEntry::new(envelope, &held.certificate)?;
                    let entry = client.create_dsse_entry(entry).await?;
                    entry
                        .to_bundle_entry(KindVersion::DsseV001)
                        .map_err(|error| sigstore_sign::rekor::Error::InvalidResponse(error.to_string()))
                };
                patiently(ask, log_is_busy).await.map_err(trouble)
            }
            Log::Two(client) => {
                let ask = async || {
                    client
                        .create_entry(HashedRekordV2::new_with_certificate(
                            &sha256(message),
                            signature,
                            &held.certificate,
                            RekorV2KeyDetails::PkixEcdsaP256Sha256,
                        ))
                        .await
                };
                patiently(ask, log_is_busy).await.map_err(trouble)
            }
        }
    }

    async fn timestamped(&self, signature: &SignatureBytes) -> Result<TimestampToken, SigningError> {
        let ask = async || self.timestamps.timestamp_signature(signature).await;
        let busy = |error: &_| matches!(error, sigstore_sign::tsa::Error::Http(_));
        patiently(ask, busy).await.map_err(|error| timestamp(&self.services, &error))
    }
}

impl Sign for Workload {
    fn author(&self) -> Author {
        self.author.clone()
    }

    fn sign(&self, statement: &[u8]) -> Result<Vec<u8>, SignError> {
        self.bundle(statement).map_err(|error| SignError::Service(Box::new(error)))
    }
}

/// A fresh key and a certificate for it.
async fn hold(
    services: &Services,
    root: &RootName,
    token: &Token,
    fulcio: &FulcioClient,
) -> Result<(Held, Author), SigningError> {
    // 1. An identity token, fresh where the CI system makes them.
    let token = token.fetch().await?;
    // 2. An ephemeral key; possession is proved by signing the token's subject.
    let key = KeyPair::generate_ecdsa_p256();
    let key = key.map_err(|error| SigningError::Key { detail: shorten(&error.to_string()) })?;
    // 3. The certificate.
    let ask = async || fulcio.create_signing_certificate(&token, &key).await;
    let issued = patiently(ask, fulcio_is_busy).await.map_err(|error| certificate(services, &error))?;
    let leaf = issued.leaf_certificate().clone();
    let (author, until) = Author::of_certificate(leaf.as_bytes(), root.clone()).map_err(|source| {
        SigningError::Unusable { url: services.fulcio().to_owned(), source: Box::new(source) }
    })?;
    Ok((Held { key, certificate: leaf, until }, author))
}

/// A runtime to wait for from wherever the caller stands: within another runtime too, which is stalled for as long.
/// `None` only while it is dropped.
struct Apart(Option<Runtime>);

impl Apart {
    fn run<T: Send>(&self, work: impl AsyncFnOnce() -> T + Send) -> Result<T, SigningError> {
        let runtime =
            self.0.as_ref().ok_or_else(|| SigningError::Runtime(std::io::ErrorKind::Other.into()))?;
        let ended = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("signing".to_owned());
            Ok(thread.spawn_scoped(scope, || runtime.block_on(work()))?.join())
        });
        match ended.map_err(SigningError::Runtime)? {
            Ok(value) => Ok(value),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl Drop for Apart {
    /// Without waiting, which is forbidden within another runtime; nothing is under way.
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

/// Asks again while the service speaks of the moment rather than of the request.
async fn patiently<T, E>(
    mut ask: impl AsyncFnMut() -> Result<T, E>,
    of_the_moment: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let mut wait = FIRST_WAIT;
    for _ in 1..TRIES {
        match ask().await {
            Err(error) if of_the_moment(&error) => tokio::time::sleep(wait).await,
            answer => return answer,
        }
        wait *= 3;
    }
    ask().await
}

fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
}

fn fulcio_is_busy(error: &sigstore_sign::fulcio::Error) -> bool {
    use sigstore_sign::fulcio::Error;
    match error {
        Error::Http(_) => true,
        Error::Status { status, .. } => is_passing(*status),
        _ => false,
    }
}

fn log_is_busy(error: &sigstore_sign::rekor::Error) -> bool {
    use sigstore_sign::rekor::Error;
    match error {
        Error::Http(_) => true,
        Error::Status { status, .. } => is_passing(*status),
        _ => false,
    }
}

fn certificate(services: &Services, error: &sigstore_sign::fulcio::Error) -> SigningError {
    SigningError::Certificate { url: services.fulcio().to_owned(), detail: shorten(&error.to_string()) }
}

fn log_entry(services: &Services, error: &sigstore_sign::rekor::Error) -> SigningError {
    SigningError::Log { url: services.log().0.to_owned(), detail: shorten(&error.to_string()) }
}

fn timestamp(services: &Services, error: &sigstore_sign::tsa::Error) -> SigningError {
    SigningError::Timestamp { url: services.timestamps().to_owned(), detail: shorten(&error.to_string()) }
}
