//! Slots in a folder or a bucket: `object_store` 0.14, with creation by `PutMode::Create` alone.
//!
//! Guarantees: what was created in a folder is on disk, with its name (`with_fsync`). Never does: an update by ETag,
//! which a folder cannot do and Google Cloud Storage does once a second per name; take credentials from anywhere but
//! where the client library of the cloud takes them.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::Path as Folder;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ClientConfigKey, Error, ObjectStore, ObjectStoreExt, PutMode, PutPayload, RetryConfig};

use super::shelf::Shelf;
use super::{Created, SlotError, Slots};
use crate::ledger::driver::Driver;
use crate::ledger::place::Cloud;

/// So many requests are under way at once.
const WINDOW: usize = 16;
/// So many names are held of a listing: some 10 MiB. Whoever needs more asks for those behind.
const NAMES: usize = 1 << 16;
/// So many are looked at for a few of one kind.
const LOOKED: usize = 1 << 16;
/// So many requests about small objects, of which one round of many writers has many.
const SMALL: usize = 64;
/// What is deleted, for messages.
const SHELF: &str = super::pending::FOLDER;

/// Slots in an object store.
pub(in crate::ledger) struct Objects {
    driver: Driver,
    inner: Inner,
}

#[derive(Clone)]
struct Inner {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// Whether it lists names in their order.
    in_order: bool,
}

/// What the library tries again by itself before it gives up; what it leaves open is settled by us.
fn retry() -> RetryConfig {
    let max_retries = 4;
    RetryConfig { max_retries, retry_timeout: std::time::Duration::from_secs(30), ..RetryConfig::default() }
}

/// What lets somebody on the way read the credentials, from the environment: for a server of this machine alone.
const OPEN: [ClientConfigKey; 2] = [ClientConfigKey::AllowHttp, ClientConfigKey::AllowInvalidCertificates];

fn guarded_s3(builder: AmazonS3Builder) -> AmazonS3Builder {
    let keys = [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint, AmazonS3ConfigKey::StsEndpoint];
    match here(keys.iter().filter_map(|key| builder.get_config_value(key)).collect()) {
        true => builder,
        false => OPEN
            .into_iter()
            .fold(builder, |builder, key| builder.with_config(AmazonS3ConfigKey::Client(key), "false")),
    }
}

fn guarded_google(builder: GoogleCloudStorageBuilder) -> GoogleCloudStorageBuilder {
    match here(builder.get_config_value(&GoogleConfigKey::BaseUrl).into_iter().collect()) {
        true => builder,
        false => OPEN
            .into_iter()
            .fold(builder, |builder, key| builder.with_config(GoogleConfigKey::Client(key), "false")),
    }
}

fn guarded_azure(builder: MicrosoftAzureBuilder) -> MicrosoftAzureBuilder {
    match here(builder.get_config_value(&AzureConfigKey::Endpoint).into_iter().collect()) {
        true => builder,
        false => OPEN
            .into_iter()
            .fold(builder, |builder, key| builder.with_config(AzureConfigKey::Client(key), "false")),
    }
}

/// Whether endpoints were named, and all of them are of this machine.
fn here(endpoints: Vec<String>) -> bool {
    let one = |endpoint: &String| {
        let rest = endpoint.strip_prefix("http://").or_else(|| endpoint.strip_prefix("https://"));
        let host = rest.and_then(|rest| rest.split('/').next()).unwrap_or_default();
        let local = host.strip_prefix("localhost").is_some_and(|port| {
            port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
        });
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let address = host.parse().map(|address: SocketAddr| address.ip()).or_else(|_| bare.parse());
        local || address.is_ok_and(|address: IpAddr| address.is_loopback())
    };
    !endpoints.is_empty() && endpoints.iter().all(one)
}

impl Objects {
    /// Of a folder, which is made where that is asked for.
    pub(in crate::ledger) fn folder(folder: &Folder, make: bool) -> Result<Self, SlotError> {
        if make {
            std::fs::create_dir_all(folder).map_err(|source| SlotError::Folder { source })?;
        }
        let store = LocalFileSystem::new_with_prefix(folder).map_err(settings)?.with_fsync(true);
        let mut objects = Self::over(Arc::new(store), "")?;
        objects.inner.in_order = false;
        Ok(objects)
    }

    /// Of a bucket.
    pub(in crate::ledger) fn bucket(cloud: Cloud, bucket: &str, prefix: &str) -> Result<Self, SlotError> {
        let store: Arc<dyn ObjectStore> = match cloud {
            Cloud::S3 => {
                let builder =
                    guarded_s3(AmazonS3Builder::from_env()).with_bucket_name(bucket).with_retry(retry());
                Arc::new(builder.build().map_err(settings)?)
            }
            Cloud::Google => {
                let builder = guarded_google(GoogleCloudStorageBuilder::from_env()).with_bucket_name(bucket);
                Arc::new(builder.with_retry(retry()).build().map_err(settings)?)
            }
            Cloud::Azure => {
                let builder = guarded_azure(MicrosoftAzureBuilder::from_env()).with_container_name(bucket);
                Arc::new(builder.with_retry(retry()).build().map_err(settings)?)
            }
        };
        Self::over(store, prefix)
    }

    /// Of any object store that lists in order.
    pub(in crate::ledger) fn over(store: Arc<dyn ObjectStore>, prefix: &str) -> Result<Self, SlotError> {
        let driver = Driver::new().map_err(|source| SlotError::Folder { source })?;
        Ok(Self { driver, inner: Inner { store, prefix: Path::from(prefix), in_order: true } })
    }
}

fn settings(source: Error) -> SlotError {
    SlotError::Settings { source: Box::new(source) }
}

fn failed(name: &str, source: Error) -> SlotError {
    let name = name.to_owned();
    match source {
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            SlotError::Denied { name, source: Box::new(source) }
        }
        // Not our enum.
        _ => SlotError::Failed { name, source: Box::new(source) },
    }
}

impl Inner {
    fn path(&self, name: &str) -> Path {
        self.prefix.parts().chain(Path::from(name).parts()).collect()
    }

    async fn get(&self, name: &str, limit: usize) -> Result<Option<Bytes>, SlotError> {
        let found = match self.store.get(&self.path(name)).await {
            Ok(found) => found,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(failed(name, error)),
        };
        let too_long = || SlotError::TooLong { name: name.to_owned(), limit };
        if usize::try_from(found.meta.size).map_or(true, |size| size > limit) {
            return Err(too_long());
        }
        // What is announced is not what is sent, perhaps.
        let mut bytes = BytesMut::new();
        let mut stream = found.into_stream();
        while let Some(chunk) = stream.next().await {
            bytes.extend_from_slice(&chunk.map_err(|error| failed(name, error))?);
            if bytes.len() > limit {
                return Err(too_long());
            }
        }
        Ok(Some(bytes.freeze()))
    }

    async fn create(&self, name: &str, bytes: Bytes) -> Result<Created, SlotError> {
        let payload = PutPayload::from_bytes(bytes);
        match self.store.put_opts(&self.path(name), payload, PutMode::Create.into()).await {
            Ok(_) => Ok(Created::Created),
            Err(Error::AlreadyExists { .. }) => Ok(Created::Exists),
            Err(error) => Err(failed(name, error)),
        }
    }

    async fn put(&self, name: &str, bytes: Bytes) -> Result<(), SlotError> {
        let put = self.store.put(&self.path(name), PutPayload::from_bytes(bytes)).await;
        put.map(drop).map_err(|error| failed(name, error))
    }

    async fn list(&self, prefix: &str, after: &str) -> Result<Vec<String>, SlotError> {
        let below = self.path(prefix);
        let listed = match after.is_empty() {
            true => self.store.list(Some(&below)),
            false => self.store.list_with_offset(Some(&below), &self.path(after)),
        };
        let depth = self.prefix.parts().count();
        let name = |path: &Path| {
            path.parts().skip(depth).map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/")
        };
        let mut listed = std::pin::pin!(listed);
        let mut names = BTreeSet::new();
        while let Some(object) = listed.next().await {
            names.insert(name(&object.map_err(|error| failed(prefix, error))?.location));
            if names.len() <= NAMES {
                continue;
            }
            names.pop_last();
            // A bucket is listed in order, a folder in none.
            if self.in_order {
                break;
            }
        }
        Ok(names.into_iter().collect())
    }

    async fn some(&self, prefix: &str, is: fn(&str) -> bool, count: usize) -> Result<Vec<String>, SlotError> {
        let name = |path: &Path| {
            let name = format!("{prefix}{}", path.filename()?);
            (self.path(&name) == *path && is(&name)).then_some(name)
        };
        let mut listed = std::pin::pin!(self.store.list(Some(&self.path(prefix))).take(LOOKED));
        let mut names = Vec::new();
        while names.len() < count
            && let Some(object) = listed.next().await
        {
            names.extend(name(&object.map_err(|error| failed(prefix, error))?.location));
        }
        Ok(names)
    }

    async fn is_there(&self, name: &str, limit: usize) -> Result<bool, SlotError> {
        match self.store.head(&self.path(name)).await {
            Ok(meta) => Ok(usize::try_from(meta.size).is_ok_and(|size| size <= limit)),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(failed(name, error)),
        }
    }

    async fn delete(&self, names: Vec<String>) -> Result<(), SlotError> {
        let paths: Vec<_> = names.iter().map(|name| Ok(self.path(name))).collect();
        let mut deleted = self.store.delete_stream(stream::iter(paths).boxed());
        let mut failure = None;
        while let Some(one) = deleted.next().await {
            match one {
                Ok(_) | Err(Error::NotFound { .. }) => {}
                Err(error) => failure = Some(failed(SHELF, error)),
            }
        }
        failure.map_or(Ok(()), Err)
    }
}

impl Slots for Objects {
    fn get_all(&self, names: &[String], limit: usize) -> Result<Vec<Option<Bytes>>, SlotError> {
        let (inner, names) = (self.inner.clone(), names.to_vec());
        self.driver.run(async move {
            let inner = &inner;
            let found = names.into_iter().map(|name| async move { inner.get(&name, limit).await });
            stream::iter(found).buffered(WINDOW).try_collect().await
        })
    }

    fn create_all(&self, objects: &[(String, Bytes)]) -> Result<Vec<Created>, SlotError> {
        let (inner, objects) = (self.inner.clone(), objects.to_vec());
        self.driver.run(async move {
            let inner = &inner;
            let created =
                objects.into_iter().map(|(name, bytes)| async move { inner.create(&name, bytes).await });
            stream::iter(created).buffered(WINDOW).try_collect().await
        })
    }

    fn list(&self, prefix: &str, after: &str) -> Result<Vec<String>, SlotError> {
        let (inner, prefix, after) = (self.inner.clone(), prefix.to_owned(), after.to_owned());
        self.driver.run(async move { inner.list(&prefix, &after).await })
    }

    fn put_all(&self, objects: &[(String, Bytes)]) -> Result<(), SlotError> {
        let (inner, objects) = (self.inner.clone(), objects.to_vec());
        self.driver.run(async move {
            let inner = &inner;
            let put = objects.into_iter().map(|(name, bytes)| async move { inner.put(&name, bytes).await });
            stream::iter(put).buffered(WINDOW).try_collect().await
        })
    }

    fn shelf(&self) -> Option<&dyn Shelf> {
        Some(self)
    }
}

impl Shelf for Objects {
    fn some(&self, prefix: &str, is: fn(&str) -> bool, count: usize) -> Result<Vec<String>, SlotError> {
        let (inner, prefix) = (self.inner.clone(), prefix.to_owned());
        self.driver.run(async move { inner.some(&prefix, is, count).await })
    }

    fn get_each(&self, names: &[String], limit: usize) -> Vec<Result<Option<Bytes>, SlotError>> {
        let (inner, names) = (self.inner.clone(), names.to_vec());
        self.driver.run(async move {
            let inner = &inner;
            let found = names.into_iter().map(|name| async move { inner.get(&name, limit).await });
            stream::iter(found).buffered(SMALL).collect().await
        })
    }

    fn which(&self, names: &[String], limit: usize) -> Result<Vec<bool>, SlotError> {
        let (inner, names) = (self.inner.clone(), names.to_vec());
        self.driver.run(async move {
            let inner = &inner;
            let found = names.into_iter().map(|name| async move { inner.is_there(&name, limit).await });
            stream::iter(found).buffered(SMALL).try_collect().await
        })
    }

    fn delete_all(&self, names: &[String]) -> Result<(), SlotError> {
        let (inner, names) = (self.inner.clone(), names.to_vec());
        self.driver.run(async move { inner.delete(names).await })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f4_of_a_listing_without_end_its_beginning_is_held() {
        let store = Arc::new(object_store::memory::InMemory::new());
        let folder = tempfile::tempdir().unwrap();
        let mut slots = Objects::over(store, "").unwrap();
        let name = |number: usize| format!("commits/{number:020}");
        let objects: Vec<_> = (0..NAMES + 9).rev().map(|number| (name(number), Bytes::new())).collect();
        slots.put_all(&objects).unwrap();
        for in_order in [true, false] {
            slots.inner.in_order = in_order;
            let first = slots.list("commits/", "").unwrap();
            assert_eq!((first.len(), &first[0], &first[NAMES - 1]), (NAMES, &name(0), &name(NAMES - 1)));
            let rest: Vec<_> = (NAMES..NAMES + 9).map(name).collect();
            assert_eq!(slots.list("commits/", &first[NAMES - 1]).unwrap(), rest);
        }
        let few = Objects::folder(folder.path(), false).unwrap();
        few.put_all(&objects[..3]).unwrap();
        assert_eq!(few.list("commits/", &name(NAMES + 6)).unwrap(), [name(NAMES + 7), name(NAMES + 8)]);
    }

    #[test]
    fn plain_http_and_any_certificate_are_for_this_machine_alone() {
        for (endpoint, expected) in [
            (Some("http://127.0.0.1:9000"), true),
            (Some("https://localhost:9000/x"), true),
            (Some("http://[::1]:9000"), true),
            (Some("http://[::1]"), true),
            (Some("http://localhost.example"), false),
            (Some("http://localhost:9000@evil.example"), false),
            (Some("http://127.0.0.1@evil.example/"), false),
            (Some("http://minio:9000"), false),
            (Some("127.0.0.1:9000"), false),
            (None, false),
        ] {
            for key in OPEN {
                let s3 = AmazonS3ConfigKey::Client(key);
                let mut builder = AmazonS3Builder::new().with_config(s3, "true");
                let (google, azure) = (GoogleConfigKey::Client(key), AzureConfigKey::Client(key));
                let mut of_google = GoogleCloudStorageBuilder::new().with_config(google, "true");
                let mut of_azure = MicrosoftAzureBuilder::new().with_config(azure, "true");
                if let Some(endpoint) = endpoint {
                    builder = builder.with_config(AmazonS3ConfigKey::Endpoint, endpoint);
                    of_google = of_google.with_config(GoogleConfigKey::BaseUrl, endpoint);
                    of_azure = of_azure.with_config(AzureConfigKey::Endpoint, endpoint);
                }
                let expected = Some(expected.to_string());
                assert_eq!(guarded_s3(builder).get_config_value(&s3), expected, "{endpoint:?}");
                assert_eq!(guarded_google(of_google).get_config_value(&google), expected, "{endpoint:?}");
                assert_eq!(guarded_azure(of_azure).get_config_value(&azure), expected, "{endpoint:?}");
            }
        }
        let both = AmazonS3Builder::new()
            .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp), "true")
            .with_config(AmazonS3ConfigKey::Endpoint, "http://127.0.0.1:9000")
            .with_config(AmazonS3ConfigKey::S3Endpoint, "http://s3.example");
        let allowed = AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp);
        assert_eq!(guarded_s3(both).get_config_value(&allowed).as_deref(), Some("false"));
    }
}
