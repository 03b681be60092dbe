//! TUF: the one file that knows `sigstore-tuf` (The Update Framework specification 1.0.33).
//!
//! Guarantees: nothing comes out that the `root.json` at the beginning does not vouch for at `now`: root chain,
//! signature thresholds, expiry of every role, no version lower than one that was seen, length and hash of the target.
//! The cache is verified like the network. A repository that answers and is refused is an error even where the cache
//! is good. Never does: anything else than fetch one target, `trusted_root.json`.

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use reqwest::Url;
use sigstore_tuf::transport::FetchFuture;
use sigstore_tuf::{Error, FileStore, MetadataStore, Repository, StoreRepository, Updater, UpdaterConfig};

use super::error::{RootsError, Wrong};
use super::wire::{Fault, Wire};
use super::{Network, Settings, Unreached};
use crate::digest::{Digest, shorten};
use crate::verify::RootName;

/// The target that is a root (sigstore/root-signing).
const TARGET: &str = "trusted_root.json";

/// The longest root that is read, in bytes; the public one has 7 KB.
const TARGET_LIMIT: u64 = 4 << 20;

/// Beside the metadata: when it was last fetched. Only shown, and compared with `max-age`.
const REFRESHED: &str = "refreshed";

/// Beside the metadata: held while it is read or written, so that two runs do not mix two versions.
const LOCK: &str = "lock";

/// Where trust in the two public instances begins, and the repository of each.
pub(super) fn own(name: &RootName) -> Option<(&'static str, &'static [u8])> {
    match name {
        RootName::PublicGood => {
            Some(("https://tuf-repo-cdn.sigstore.dev", include_bytes!("bootstrap/public-good.root.json")))
        }
        RootName::GitHub => {
            Some(("https://tuf-repo.github.com", include_bytes!("bootstrap/github.root.json")))
        }
        RootName::Private(_) => None,
    }
}

/// A repository, and where trust in it begins.
pub(super) struct Chain<'a> {
    name: &'a RootName,
    url: &'a str,
    bootstrap: &'a [u8],
    folder: PathBuf,
    settings: &'a Settings,
}

/// What a repository vouches for.
pub(super) struct Fetched {
    pub(super) json: String,
    pub(super) refreshed_on: Timestamp,
    pub(super) expires: Timestamp,
    pub(super) unreached: Option<Unreached>,
}

/// Why a chain did not lead to the target.
enum Broken {
    Unreachable { cause: String },
    Wrong(Wrong),
}

impl<'a> Chain<'a> {
    pub(super) fn new(
        name: &'a RootName,
        url: &'a str,
        bootstrap: &'a [u8],
        settings: &'a Settings,
    ) -> Result<Self, RootsError> {
        let cache = settings.cache.as_ref().ok_or_else(|| RootsError::NoCache { root: name.clone() })?;
        Ok(Self { name, url, bootstrap, folder: cache.join(folder_of(url)), settings })
    }

    pub(super) async fn fetch(&self, network: Network, now: Timestamp) -> Result<Fetched, RootsError> {
        let _lock = self.lock(network)?;
        match network {
            Network::Offline => self.cached(Unreached::Offline, now).await,
            Network::Refresh | Network::Required => match self.online(now).await? {
                Ok(fetched) => Ok(fetched),
                Err(Broken::Wrong(source)) => Err(self.refused(source)),
                Err(Broken::Unreachable { cause }) if network == Network::Required => {
                    Err(self.unreachable(cause, None))
                }
                Err(Broken::Unreachable { cause }) => {
                    let unreached = Unreached::Unreachable { cause: cause.clone() };
                    let cached = self.cached(unreached, now).await;
                    cached.map_err(|before| self.unreachable(cause, Some(Box::new(before))))
                }
            },
        }
    }

    /// From the network; what was verified is kept, and what is kept is the least that the network may answer.
    async fn online(&self, now: Timestamp) -> Result<Result<Fetched, Broken>, RootsError> {
        let base = Url::parse(self.url).map_err(|_| RootsError::Url { url: shorten(self.url) })?;
        let client = self.settings.http.direct_client();
        let client = client
            .map_err(|source| RootsError::Client { root: self.name.clone(), source: Box::new(source) })?;
        let fault = Arc::default();
        let remote = Remote { wire: Wire::new(client, base, &self.settings.http), fault: Arc::clone(&fault) };
        let store = Kept { files: FileStore::new(&self.folder), failed: Arc::default() };
        let failed = Arc::clone(&store.failed);
        let walked = self.walk(remote, store, now).await;
        // A cache that could not be written whole would be older than the time that is noted beside it.
        if let Some(source) = failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(self.cache(source));
        }
        // What the wire says is the cause; the client above it only passes it on.
        let fault = fault.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (json, expires) = match (walked, fault) {
            (Ok(found), _) => found,
            (Err(_), Some(Fault::Unreachable { cause })) => return Ok(Err(Broken::Unreachable { cause })),
            (Err(_), Some(Fault::Wrong(wrong))) | (Err(wrong), None) => return Ok(Err(Broken::Wrong(wrong))),
        };
        std::fs::write(self.folder.join(REFRESHED), now.to_string()).map_err(|source| self.cache(source))?;
        Ok(Ok(Fetched { json, refreshed_on: now, expires, unreached: None }))
    }

    /// From the cache, verified again from the beginning, at `now`.
    async fn cached(&self, unreached: Unreached, now: Timestamp) -> Result<Fetched, RootsError> {
        let refreshed_on = std::fs::read_to_string(self.folder.join(REFRESHED));
        let Some(refreshed_on) = refreshed_on.ok().and_then(|text| text.trim().parse().ok()) else {
            return Err(self.never_refreshed());
        };
        let store = FileStore::new(&self.folder);
        let (json, expires) =
            self.walk(StoreRepository::new(store.clone()), store, now).await.map_err(|source| {
                RootsError::CacheRefused { root: self.name.clone(), folder: self.folder.clone(), source }
            })?;
        Ok(Fetched { json, refreshed_on, expires, unreached: Some(unreached) })
    }

    /// The client workflow, section 5.3 (root) to 5.7 (target). Returns the target, and until when the metadata that
    /// leads to it is good.
    async fn walk(
        &self,
        from: impl Repository + 'static,
        store: impl MetadataStore + 'static,
        now: Timestamp,
    ) -> Result<(String, Timestamp), Wrong> {
        let mut limits = UpdaterConfig::default();
        limits.target_max_length = TARGET_LIMIT;
        let updater = Updater::new(from, self.bootstrap).map_err(wrong)?;
        let mut updater = updater.with_config(limits).with_store(store);
        updater.refresh(now).await.map_err(wrong)?;
        let target = updater.get_target(TARGET, now).await.map_err(wrong)?;
        let json = String::from_utf8(target)
            .map_err(|_| Wrong::Malformed { detail: format!("{TARGET} is not UTF-8") })?;
        let trusted = updater.trusted();
        let expires = [
            Some(trusted.root().expires),
            trusted.timestamp().map(|role| role.expires),
            trusted.snapshot().map(|role| role.expires),
            trusted.targets_role("targets").map(|role| role.expires),
        ];
        // None is absent after a refresh; an absent one would be good for no time at all.
        let expires = expires.into_iter().map(|role| role.unwrap_or(now)).min().unwrap_or(now);
        Ok((json, expires))
    }

    /// Until it is dropped, nobody else of ours changes the folder. Waits for whoever does.
    fn lock(&self, network: Network) -> Result<File, RootsError> {
        let file = self.folder.join(LOCK);
        let lock = match network {
            // The folder may be a part of a read-only image.
            Network::Offline => match File::open(file) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    return Err(self.never_refreshed());
                }
                opened => opened.and_then(|lock| lock.lock_shared().map(|()| lock)),
            },
            Network::Refresh | Network::Required => private(&self.folder)
                .and_then(|()| File::options().create(true).truncate(false).write(true).open(file))
                .and_then(|lock| lock.lock().map(|()| lock)),
        };
        lock.map_err(|source| self.cache(source))
    }

    fn never_refreshed(&self) -> RootsError {
        RootsError::NeverRefreshed { root: self.name.clone(), url: self.url.to_owned() }
    }

    fn cache(&self, source: std::io::Error) -> RootsError {
        RootsError::Cache { root: self.name.clone(), folder: self.folder.clone(), source }
    }

    fn refused(&self, source: Wrong) -> RootsError {
        RootsError::Refused { root: self.name.clone(), url: self.url.to_owned(), source }
    }

    fn unreachable(&self, cause: String, before: Option<Box<RootsError>>) -> RootsError {
        RootsError::Unreachable { root: self.name.clone(), url: self.url.to_owned(), cause, before }
    }
}

/// The cache while it is written: the client goes on after a failure, we do not.
struct Kept {
    files: FileStore,
    failed: Arc<Mutex<Option<std::io::Error>>>,
}

impl MetadataStore for Kept {
    fn load(&self, name: &str) -> sigstore_tuf::Result<Option<Vec<u8>>> {
        self.files.load(name)
    }

    fn store(&self, name: &str, bytes: &[u8]) -> sigstore_tuf::Result<()> {
        self.files.store(name, bytes).inspect_err(|error| {
            let source = std::io::Error::other(shorten(&error.to_string()));
            *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(source);
        })
    }
}

/// A repository on the other side of a wire. The client has one error for all that can be wrong with it: what was wrong
/// is kept beside.
struct Remote {
    wire: Wire,
    fault: Arc<Mutex<Option<Fault>>>,
}

impl Remote {
    async fn read(&self, folders: &[&str], name: &str, limit: u64) -> sigstore_tuf::Result<Option<Vec<u8>>> {
        self.wire.read(folders, name, limit).await.map_err(|fault| {
            *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
            Error::transport(shorten(name))
        })
    }
}

impl Repository for Remote {
    fn fetch_metadata<'a>(&'a self, name: &'a str, max_length: u64) -> FetchFuture<'a> {
        Box::pin(self.read(&[], name, max_length))
    }

    fn fetch_target<'a>(&'a self, path: &'a str, max_length: u64) -> FetchFuture<'a> {
        Box::pin(self.read(&["targets"], path, max_length))
    }
}

/// The name of a repository's folder: readable, and never that of another repository.
fn folder_of(url: &str) -> String {
    let url = url.trim_end_matches('/');
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    let host = url.split("://").last().unwrap_or_default();
    let readable: String = host.chars().take(60).map(|c| if good(c) { c } else { '_' }).collect();
    format!("{readable}-{}", Digest::of(url.as_bytes()).short())
}

fn wrong(error: Error) -> Wrong {
    match error {
        Error::Expired { role, expires } => Wrong::Expired { role: shorten(&role), at: expires },
        Error::Rollback { role, trusted, new } => {
            Wrong::Rollback { role: shorten(&role), seen: trusted, found: new }
        }
        Error::ThresholdNotMet { role, found, threshold } => {
            Wrong::Signatures { role: shorten(&role), found, threshold }
        }
        Error::IntegrityMismatch(detail) => Wrong::Changed { detail: shorten(&detail) },
        Error::TargetNotFound(name) => Wrong::Absent { name: shorten(&name) },
        Error::Transport { message, .. } => match message.strip_suffix(" not found") {
            Some(name) => Wrong::Absent { name: shorten(name) },
            None => Wrong::Malformed { detail: shorten(&message) },
        },
        // Not a closed set of ours: whatever else is wrong is wrong.
        other => Wrong::Malformed { detail: shorten(&other.to_string()) },
    }
}

/// Makes a folder, and those above it that are not there, for this user alone: ledgers lie beside it in the cache.
fn private(folder: &std::path::Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Taken with `sigstore-trust-root` 0.15.1: other bytes need another line in `bootstrap/README.md`.
    #[test]
    fn f11_trust_begins_with_these_bytes() {
        for (name, url, bytes, version) in [
            (
                RootName::PublicGood,
                "https://tuf-repo-cdn.sigstore.dev",
                "sha256:27aea7e372aa7864065174f0661784fcf8b0e28b1dbfebeada31a0f1fb19167f",
                16,
            ),
            (
                RootName::GitHub,
                "https://tuf-repo.github.com",
                "sha256:eb303461e0109458144b6ebcbfd62aaa6f6d7481e9ca77504b85f17761661462",
                9,
            ),
        ] {
            let (found, bootstrap) = own(&name).unwrap();
            assert_eq!((found, Digest::of(bootstrap).to_string().as_str()), (url, bytes));
            // Signed by as many of its own keys as it asks for.
            let trusted = sigstore_tuf::TrustedMetadataSet::from_root(bootstrap).unwrap();
            assert_eq!(trusted.root().version, version);
        }
        assert!(own(&"acme".parse().unwrap()).is_none());
    }

    #[test]
    fn every_repository_has_a_folder_of_its_own() {
        let one = folder_of("https://tuf.example/a");
        assert!(one.starts_with("tuf.example_a-"), "{one}");
        assert_eq!(one, folder_of("https://tuf.example/a/"));
        for other in
            ["https://tuf.example/b", "http://tuf.example/a", "https://tuf.example_a", "https://../.."]
        {
            assert_ne!(one, folder_of(other), "{other}");
            assert!(!folder_of(other).contains('/'), "{other}");
        }
    }
}
