//! A wire that breaks: between the client under test and a registry, it passes bytes on until a connection has carried
//! too many towards the registry, and is then reset. The registry has seen its end before the client does.
//!
//! ```ignore
//! let cut = Cut::start(registry.host(), 100_000, 2);   // the first two that carry more
//! … talk to `cut.host()` …
//! assert_eq!(cut.count(), 2);
//! ```
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// See the module. It stops when dropped.
pub struct Cut {
    host: String,
    done: Arc<AtomicUsize>,
    carried: Arc<AtomicU64>,
    _stop: tokio::sync::oneshot::Sender<()>,
}

impl Cut {
    /// In front of `upstream`; the first `times` connections that carry more than `bytes` towards it are reset.
    pub fn start(upstream: &str, bytes: usize, times: usize) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (done, upstream) = (Arc::<AtomicUsize>::default(), upstream.to_owned());
        let carried = Arc::<AtomicU64>::default();
        let counted = (Arc::clone(&done), Arc::clone(&carried));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                let accept = async {
                    while let Ok((client, _)) = listener.accept().await {
                        let (upstream, counted) = (upstream.clone(), counted.clone());
                        tokio::spawn(async move {
                            // However a connection ends: what counts is what the client makes of it.
                            let _ = pass(client, &upstream, bytes, times, &counted).await;
                        });
                    }
                };
                tokio::select! {
                    () = accept => {}
                    _ = stopped => {}
                }
            });
        });
        Self { host, done, carried, _stop: stop }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// How many connections were reset.
    pub fn count(&self) -> usize {
        self.done.load(Ordering::SeqCst)
    }

    /// Bytes that went on towards the registry.
    pub fn carried(&self) -> u64 {
        self.carried.load(Ordering::SeqCst)
    }
}

async fn pass(
    mut client: TcpStream,
    upstream: &str,
    bytes: usize,
    times: usize,
    (done, all): &(Arc<AtomicUsize>, Arc<AtomicU64>),
) -> std::io::Result<()> {
    let mut server = TcpStream::connect(upstream).await?;
    let broken = {
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let up = async {
            let (mut buffer, mut carried) = (vec![0; 16 << 10], 0);
            loop {
                let read = from_client.read(&mut buffer).await?;
                if read == 0 {
                    to_server.shutdown().await?;
                    return std::io::Result::Ok(false);
                }
                carried += read;
                let room = read - carried.saturating_sub(bytes).min(read);
                if room < read && done.load(Ordering::SeqCst) < times {
                    done.fetch_add(1, Ordering::SeqCst);
                    all.fetch_add(room as u64, Ordering::SeqCst);
                    to_server.write_all(&buffer[..room]).await?;
                    to_server.shutdown().await?;
                    return Ok(true);
                }
                all.fetch_add(read as u64, Ordering::SeqCst);
                to_server.write_all(&buffer[..read]).await?;
            }
        };
        let down = tokio::io::copy(&mut from_server, &mut to_client);
        tokio::pin!(down);
        tokio::select! {
            broken = up => broken?,
            ended = &mut down => return ended.map(drop),
        }
    };
    // The registry ends the connection when it is done with what it got.
    tokio::io::copy(&mut server, &mut tokio::io::sink()).await?;
    if broken {
        client.set_zero_linger()?;
    }
    Ok(())
}
