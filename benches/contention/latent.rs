//! An object store in memory that answers late, and counts what it is asked. `object_store`'s own `ThrottledStore` counts
//! nothing, and waits once for each name of a DELETE of many.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// Of GET, HEAD and LIST.
pub(crate) const GET: Duration = Duration::from_millis(15);
/// Of PUT and DELETE.
pub(crate) const PUT: Duration = Duration::from_millis(40);

/// How often it was asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    pub(crate) gets: u64,
    pub(crate) lists: u64,
    pub(crate) puts: u64,
}

impl Counted {
    pub(crate) fn since(self, before: Self) -> Self {
        let Self { gets, lists, puts } = before;
        Self { gets: self.gets - gets, lists: self.lists - lists, puts: self.puts - puts }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Latent {
    inner: InMemory,
    late: AtomicBool,
    gets: AtomicU64,
    lists: AtomicU64,
    puts: AtomicU64,
}

impl Latent {
    pub(crate) fn answer_late(&self) {
        self.late.store(true, Ordering::SeqCst);
    }

    pub(crate) fn answer_at_once(&self) {
        self.late.store(false, Ordering::SeqCst);
    }

    pub(crate) fn counted(&self) -> Counted {
        let count = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        Counted { gets: count(&self.gets), lists: count(&self.lists), puts: count(&self.puts) }
    }

    fn latency(&self, of: Duration) -> Duration {
        if self.late.load(Ordering::SeqCst) { of } else { Duration::ZERO }
    }

    async fn wait(&self, of: Duration) {
        tokio::time::sleep(self.latency(of)).await;
    }
}

impl fmt::Display for Latent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Latent")
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::SeqCst);
}

#[async_trait]
impl ObjectStore for Latent {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        count(&self.puts);
        self.wait(PUT).await;
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        count(&self.gets);
        self.wait(GET).await;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (deleted, latency) = (self.inner.delete_stream(locations), self.latency(PUT));
        stream::once(async move {
            tokio::time::sleep(latency).await;
            deleted
        })
        .flatten()
        .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        count(&self.lists);
        let (listed, latency) = (self.inner.list(prefix), self.latency(GET));
        stream::once(async move {
            tokio::time::sleep(latency).await;
            listed
        })
        .flatten()
        .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        count(&self.lists);
        self.wait(GET).await;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
