//! Slots in a folder or a bucket: `object_store` 0.14, with creation by `PutMode::Create` alone.
//!
//! Guarantees: what was created in a folder is on disk, with its name (`with_fsync`). Never does: an update by ETag,
//! which a folder cannot do and Google Cloud Storage does once a second per name; take credentials from anywhere but
//! where the client library of the cloud takes them.

use std::path::Path as Folder;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutPayload, RetryConfig};

use super::{Created, SlotError, Slots};
use crate::ledger::driver::Driver;
use crate::ledger::place::Cloud;

/// So many requests are under way at once.
const WINDOW: usize = 16;

/// Slots in an object store.
pub(in crate::ledger) struct Objects {
    driver: Driver,
    inner: Inner,
}

#[derive(Clone)]
struct Inner {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
}

/// What the library tries again by itself before it gives up; what it leaves open is settled by us.
fn retry() -> RetryConfig {
    let max_retries = 4;
    RetryConfig { max_retries, retry_timeout: std::time::Duration::from_secs(30), ..RetryConfig::default() }
}

impl Objects {
    /// Of a folder, which is made where that is asked for.
    pub(in crate::ledger) fn folder(folder: &Folder, make: bool) -> Result<Self, SlotError> {
        if make {
            std::fs::create_dir_all(folder).map_err(|source| SlotError::Folder { source })?;
        }
        let store = LocalFileSystem::new_with_prefix(folder).map_err(settings)?.with_fsync(true);
        Self::over(Arc::new(store), "")
    }

    /// Of a bucket.
    pub(in crate::ledger) fn bucket(cloud: Cloud, bucket: &str, prefix: &str) -> Result<Self, SlotError> {
        let store: Arc<dyn ObjectStore> = match cloud {
            Cloud::S3 => {
                let builder = AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(retry());
                Arc::new(builder.build().map_err(settings)?)
            }
            Cloud::Google => {
                let builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket);
                Arc::new(builder.with_retry(retry()).build().map_err(settings)?)
            }
            Cloud::Azure => {
                let builder = MicrosoftAzureBuilder::from_env().with_container_name(bucket);
                Arc::new(builder.with_retry(retry()).build().map_err(settings)?)
            }
        };
        Self::over(store, prefix)
    }

    /// Of any object store.
    pub(super) fn over(store: Arc<dyn ObjectStore>, prefix: &str) -> Result<Self, SlotError> {
        let driver = Driver::new().map_err(|source| SlotError::Folder { source })?;
        Ok(Self { driver, inner: Inner { store, prefix: Path::from(prefix) } })
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
        let listed: Vec<_> = listed.try_collect().await.map_err(|error| failed(prefix, error))?;
        let depth = self.prefix.parts().count();
        let name = |path: &Path| {
            path.parts().skip(depth).map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/")
        };
        let mut names: Vec<_> = listed.iter().map(|object| name(&object.location)).collect();
        names.sort();
        Ok(names)
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
}
