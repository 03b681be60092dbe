//! A proxy that counts: plain HTTP/1.1 between a client and a registry, connections kept on both sides, bodies passed
//! on as they come. It changes nothing, the `Host` included, so that a registry's absolute `Location` leads back to
//! it. With a round trip to add, a connection costs one, and each request half of it there and half of it back.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A running proxy; stops when dropped.
pub(crate) struct Counter {
    host: String,
    log: Arc<Mutex<Log>>,
    /// Connections.
    open: Arc<AtomicUsize>,
    _runtime: tokio::runtime::Runtime,
}

/// What passed through.
#[derive(Clone, Default)]
pub(crate) struct Log {
    exchanges: Vec<Exchange>,
    /// Bytes from the client to the registry, heads included.
    pub(crate) up: u64,
    /// Bytes from the registry to the client.
    pub(crate) down: u64,
}

/// One request and its answer.
#[derive(Clone)]
struct Exchange {
    /// Such as `GET manifest`.
    kind: String,
    start: Instant,
    end: Instant,
}

impl Log {
    pub(crate) fn requests(&self) -> usize {
        self.exchanges.len()
    }

    /// The longest chain of requests of which each began after the one before had been answered.
    pub(crate) fn depth(&self) -> usize {
        let mut exchanges: Vec<&Exchange> = self.exchanges.iter().collect();
        exchanges.sort_by_key(|exchange| exchange.start);
        let mut depths: Vec<(Instant, usize)> = Vec::new();
        for exchange in exchanges {
            let before = depths.iter().filter(|(end, _)| *end <= exchange.start);
            let depth = before.map(|(_, depth)| *depth).max().unwrap_or(0);
            depths.push((exchange.end, depth + 1));
        }
        depths.iter().map(|(_, depth)| *depth).max().unwrap_or(0)
    }

    /// How many of each kind, such as `4 GET manifest`.
    pub(crate) fn kinds(&self) -> String {
        let mut kinds = BTreeMap::<&str, usize>::new();
        for exchange in &self.exchanges {
            *kinds.entry(&exchange.kind).or_default() += 1;
        }
        let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        kinds.join(", ")
    }

    /// Both, as one.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.exchanges.extend(other.exchanges);
        Self { up: self.up + other.up, down: self.down + other.down, exchanges: self.exchanges }
    }
}

impl Counter {
    /// Between the client and `upstream`, such as `127.0.0.1:5000`.
    pub(crate) fn start(upstream: &str, round_trip: Duration) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.context("starting the proxy's runtime")?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).context("binding the proxy")?;
        let host = listener.local_addr().context("binding the proxy")?.to_string();
        let log = Arc::<Mutex<Log>>::default();
        let open = Arc::<AtomicUsize>::default();
        let (kept, count, upstream) = (Arc::clone(&log), Arc::clone(&open), upstream.to_owned());
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (log, open, upstream) = (Arc::clone(&kept), Arc::clone(&count), upstream.clone());
                open.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    // However a connection ends: what counts is what the client makes of it.
                    let _ = serve(client, &upstream, round_trip, &log).await;
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Ok(Self { host, log, open, _runtime: runtime })
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// What passed through since this was asked last, once the connections have ended.
    pub(crate) fn take_log(&self) -> Log {
        for _ in 0..200 {
            if self.open.load(Ordering::SeqCst) == 0 {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        std::mem::take(&mut lock(&self.log))
    }
}

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(
    client: TcpStream,
    upstream: &str,
    round_trip: Duration,
    log: &Mutex<Log>,
) -> std::io::Result<()> {
    let wire = |stream: TcpStream| -> std::io::Result<_> {
        stream.set_nodelay(true)?;
        Ok(BufReader::with_capacity(256 << 10, stream))
    };
    let mut client = wire(client)?;
    let mut registry = wire(TcpStream::connect(upstream).await?)?;
    // What a handshake takes.
    wait(round_trip).await;
    while let Some(asked) = Head::read(&mut client).await? {
        let start = Instant::now();
        wait(round_trip / 2).await;
        registry.get_mut().write_all(asked.text.as_bytes()).await?;
        let body = asked.body(true);
        let up = asked.text.len() as u64 + relay(&mut client, &mut registry, body).await?;
        let (mut down, mut status) = (0, 100);
        while (100..200).contains(&status) {
            let answer = Head::read(&mut registry).await?.ok_or(ErrorKind::UnexpectedEof)?;
            status = answer.status()?;
            if down == 0 {
                wait(round_trip / 2).await;
            }
            client.get_mut().write_all(answer.text.as_bytes()).await?;
            let bodiless = asked.method() == "HEAD" || matches!(status, 100..200 | 204 | 304);
            let body = if bodiless { Body::Length(0) } else { answer.body(false) };
            down += answer.text.len() as u64 + relay(&mut registry, &mut client, body).await?;
        }
        let mut log = lock(log);
        (log.up, log.down) = (log.up + up, log.down + down);
        log.exchanges.push(Exchange { kind: asked.kind(status), start, end: Instant::now() });
    }
    Ok(())
}

async fn wait(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

/// First line and headers, as they came.
struct Head {
    text: String,
}

/// How long a body is (RFC 9112, section 6.3).
enum Body {
    Length(u64),
    Chunked,
    UntilEnd,
}

impl Head {
    /// `None` at the end.
    async fn read(wire: &mut BufReader<TcpStream>) -> std::io::Result<Option<Self>> {
        let mut text = String::new();
        while !text.ends_with("\r\n\r\n") {
            if wire.read_line(&mut text).await? == 0 {
                return if text.is_empty() { Ok(None) } else { Err(ErrorKind::UnexpectedEof.into()) };
            }
        }
        Ok(Some(Self { text }))
    }

    fn word(&self, position: usize) -> &str {
        self.text.lines().next().and_then(|line| line.split(' ').nth(position)).unwrap_or_default()
    }

    fn method(&self) -> &str {
        self.word(0)
    }

    fn status(&self) -> std::io::Result<u16> {
        self.word(1).parse().map_err(|_| Error::from(ErrorKind::InvalidData))
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.text.lines().skip(1).filter_map(|line| line.split_once(':'));
        headers.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    fn body(&self, of_request: bool) -> Body {
        if self.header("transfer-encoding").is_some() {
            return Body::Chunked;
        }
        match self.header("content-length").and_then(|length| length.parse().ok()) {
            Some(length) => Body::Length(length),
            None if of_request => Body::Length(0),
            None => Body::UntilEnd,
        }
    }

    /// What the distribution-spec calls such a request.
    fn kind(&self, status: u16) -> String {
        let target = self.word(1);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let what = match path {
            "/v2/" | "/v2" => "version",
            _ if query.contains("mount=") && status == 201 => "mount",
            _ if query.contains("mount=") => "mount, refused",
            _ if path.contains("/blobs/uploads") => "upload",
            _ if path.contains("/blobs/") => "blob",
            _ if path.contains("/manifests/sha256:") => "manifest",
            _ if path.contains("/manifests/sha256-") && path.contains('.') => "cosign tag",
            _ if path.contains("/manifests/sha256-") => "fallback tag",
            _ if path.contains("/manifests/") => "tag",
            _ if path.contains("/referrers/") => "referrers",
            _ if path.contains("/tags/list") => "list of tags",
            _ => "other",
        };
        let missing = if status >= 400 { format!(" ({status})") } else { String::new() };
        format!("{} {what}{missing}", self.method())
    }
}

/// Passes a body on; how many bytes it had.
async fn relay(
    from: &mut BufReader<TcpStream>,
    to: &mut BufReader<TcpStream>,
    body: Body,
) -> std::io::Result<u64> {
    match body {
        Body::Length(length) => pass(from, to, length).await,
        Body::UntilEnd => pass(from, to, u64::MAX).await,
        Body::Chunked => {
            let mut total = 0;
            loop {
                let mut line = String::new();
                from.read_line(&mut line).await?;
                to.get_mut().write_all(line.as_bytes()).await?;
                let digits = line.split(';').next().unwrap_or_default().trim();
                let size = u64::from_str_radix(digits, 16).map_err(|_| ErrorKind::InvalidData)?;
                // With the line end; no trailers are sent by anybody here.
                total += line.len() as u64 + pass(from, to, size + 2).await?;
                if size == 0 {
                    return Ok(total);
                }
            }
        }
    }
}

async fn pass(
    from: &mut BufReader<TcpStream>,
    to: &mut BufReader<TcpStream>,
    length: u64,
) -> std::io::Result<u64> {
    let mut left = length;
    while left > 0 {
        let bytes = from.fill_buf().await?;
        if bytes.is_empty() {
            return if length == u64::MAX { Ok(length - left) } else { Err(ErrorKind::UnexpectedEof.into()) };
        }
        let count = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        to.get_mut().write_all(&bytes[..count]).await?;
        from.consume(count);
        left -= count as u64;
    }
    Ok(length - left)
}
