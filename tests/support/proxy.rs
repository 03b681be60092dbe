//! A proxy that breaks things, between the client under test and a registry that works: plain HTTP/1.1 over TCP, so
//! that it can lie about lengths, end too early, and reset.
//!
//! ```ignore
//! let proxy = Proxy::start(registry.host());             // passes everything on
//! proxy.rule(Rule::new(|asked| asked.method == "GET", usize::MAX, Fault::ResetInside));
//! … talk to `proxy.host()` …
//! assert!(proxy.fired() > 0);
//! ```

use std::io::{Error, ErrorKind, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What goes wrong with one request.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// This answer; the registry never hears of it.
    Instead(Answer),
    /// The registry carries it out, and this is the answer.
    Afterwards(Answer),
    /// The connection is reset; the registry never hears of it.
    ResetBefore,
    /// The registry carries it out; then the connection is reset.
    ResetAfter,
    /// Half of the body, then a reset.
    ResetInside,
    /// Half of the body under the right `Content-Length`, then the end.
    Truncated,
    /// Half of the body, in chunks, and a proper end.
    ChunkedShort,
    /// A byte of the body is another one.
    WrongBytes,
    /// A byte too many, and the length says so.
    Longer,
    /// A byte too few, and the length says so.
    Shorter,
    /// Everything, a byte at a time.
    Drip,
    /// A body without end.
    Endless,
    /// Compressed, though nobody asked for it.
    Gzip,
    /// The right answer with one header set.
    Header(&'static str, String),
    /// The same path at another origin, such as `http://127.0.0.1:5001`.
    RedirectTo(String),
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn new(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self { status, headers: headers.collect(), body: body.to_vec() }
    }

    fn set(&mut self, name: &str, value: &str) {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
    }
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// With the query; `%3A` and `%2F` are decoded.
    pub(crate) target: String,
    raw_target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    /// Whether any part of it says `word`.
    pub(crate) fn says(&self, word: &str) -> bool {
        let headers = self.headers.iter().any(|(name, value)| name.contains(word) || value.contains(word));
        headers || self.raw_target.contains(word) || String::from_utf8_lossy(&self.body).contains(word)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

type Matches = Arc<dyn Fn(&Asked) -> bool + Send + Sync>;

/// Which requests go wrong, and how.
#[derive(Clone)]
pub(crate) struct Rule {
    matches: Matches,
    times: usize,
    fault: Fault,
}

impl Rule {
    /// The first `times` requests that match.
    pub(crate) fn new(
        matches: impl Fn(&Asked) -> bool + Send + Sync + 'static,
        times: usize,
        fault: Fault,
    ) -> Self {
        Self { matches: Arc::new(matches), times, fault }
    }
}

#[derive(Default)]
struct State {
    rule: Option<Rule>,
    fired: usize,
    log: Vec<Asked>,
}

/// See the module. It stops when dropped.
pub(crate) struct Proxy {
    host: String,
    state: Arc<Mutex<State>>,
    _stop: tokio::sync::oneshot::Sender<()>,
}

impl Proxy {
    /// Between the client and `upstream`, such as `127.0.0.1:5000`.
    pub(crate) fn start(upstream: &str) -> Self {
        let upstream = upstream.to_owned();
        Self::serve(move |asked, wire, state| Box::pin(pass(asked, wire, state, upstream.clone())))
    }

    /// A server that belongs to somebody else: it writes down all it is told, and asks for a login.
    pub(crate) fn stranger() -> Self {
        Self::serve(|asked, wire, _| {
            Box::pin(async move {
                let bait = Answer::new(401, &[("www-authenticate", "Basic realm=\"give\"")], b"who are you?");
                send(&mut wire.client, &asked.method, &bait).await
            })
        })
    }

    fn serve<F>(answer: F) -> Self
    where
        F: for<'a> Fn(Asked, &'a mut Wire, &'a Mutex<State>) -> Doing<'a> + Send + Sync + 'static,
    {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let state = Arc::<Mutex<State>>::default();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (kept, answer) = (Arc::clone(&state), Arc::new(answer));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                let accept = async {
                    while let Ok((client, _)) = listener.accept().await {
                        let (state, answer) = (Arc::clone(&kept), Arc::clone(&answer));
                        tokio::spawn(async move {
                            let mut wire = Wire { client: BufReader::new(client), upstream: None };
                            // However a connection ends: what counts is what the client makes of it.
                            while let Ok(Some(asked)) = read_request(&mut wire.client).await {
                                state.lock().unwrap().log.push(asked.clone());
                                if answer(asked, &mut wire, &state).await.is_err() {
                                    return;
                                }
                            }
                        });
                    }
                };
                tokio::select! {
                    () = accept => {}
                    _ = stopped => {}
                }
            });
        });
        Self { host, state, _stop: stop }
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// From now on these requests go wrong, and no others.
    pub(crate) fn rule(&self, rule: Rule) {
        let mut state = self.state.lock().unwrap();
        (state.rule, state.fired) = (Some(rule), 0);
    }

    /// From now on nothing goes wrong.
    pub(crate) fn mend(&self) {
        self.state.lock().unwrap().rule = None;
    }

    /// How many requests went wrong by the last rule.
    pub(crate) fn fired(&self) -> usize {
        self.state.lock().unwrap().fired
    }

    /// Everything that was asked so far, which is then forgotten.
    pub(crate) fn take_log(&self) -> Vec<Asked> {
        std::mem::take(&mut self.state.lock().unwrap().log)
    }
}

type Doing<'a> = std::pin::Pin<Box<dyn Future<Output = std::io::Result<()>> + Send + 'a>>;

/// One connection of the client, and the one that is held to the registry for it.
struct Wire {
    client: BufReader<TcpStream>,
    upstream: Option<BufReader<TcpStream>>,
}

async fn pass(asked: Asked, wire: &mut Wire, state: &Mutex<State>, upstream: String) -> std::io::Result<()> {
    let fault = {
        let mut state = state.lock().unwrap();
        let rule = state.rule.as_mut().filter(|rule| rule.times > 0 && (rule.matches)(&asked));
        let fault = rule.map(|rule| {
            rule.times -= 1;
            rule.fault.clone()
        });
        state.fired += usize::from(fault.is_some());
        fault
    };
    let method = asked.method.clone();
    let client = &mut wire.client;
    match &fault {
        Some(Fault::Instead(answer)) => return send(client, &method, answer).await,
        Some(Fault::ResetBefore) => return reset(client),
        Some(Fault::RedirectTo(origin)) => {
            let location = format!("{origin}{}", asked.raw_target);
            return send(client, &method, &Answer::new(307, &[("location", &location)], b"")).await;
        }
        Some(_) | None => {}
    }
    let mut answer = forward(&asked, &mut wire.upstream, &upstream).await?;
    let half = answer.body.len() / 2;
    match fault {
        None => send(client, &method, &answer).await,
        Some(Fault::Afterwards(other)) => send(client, &method, &other).await,
        Some(Fault::ResetAfter) => reset(client),
        Some(Fault::ResetInside) => {
            let text = head(&answer, &format!("content-length: {}", answer.body.len()));
            write(client, &[text.as_bytes(), &answer.body[..half]]).await?;
            reset(client)
        }
        Some(Fault::Truncated) => {
            let text = head(&answer, &format!("content-length: {}", answer.body.len().max(1)));
            write(client, &[text.as_bytes(), &answer.body[..half]]).await?;
            Err(ErrorKind::ConnectionAborted.into())
        }
        Some(Fault::ChunkedShort) => {
            let text = head(&answer, "transfer-encoding: chunked");
            let size = format!("{half:x}\r\n");
            let chunk = [size.as_bytes(), &answer.body[..half], b"\r\n"].concat();
            // A chunk of no bytes would be the end itself.
            write(client, &[text.as_bytes(), if half == 0 { b"" } else { &chunk }, b"0\r\n\r\n"]).await
        }
        Some(Fault::WrongBytes) => {
            if let Some(byte) = answer.body.get_mut(half) {
                *byte ^= 1;
            }
            send(client, &method, &answer).await
        }
        Some(Fault::Longer) => {
            answer.body.push(b' ');
            send(client, &method, &answer).await
        }
        Some(Fault::Shorter) => {
            answer.body.pop();
            send(client, &method, &answer).await
        }
        Some(Fault::Drip) => {
            let text = head(&answer, &format!("content-length: {}", answer.body.len()));
            for byte in text.as_bytes().iter().chain(&answer.body) {
                write(client, &[&[*byte]]).await?;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(ErrorKind::ConnectionAborted.into())
        }
        Some(Fault::Endless) => {
            write(client, &[head(&answer, "transfer-encoding: chunked").as_bytes()]).await?;
            let spaces = vec![b' '; 0x4000];
            loop {
                write(client, &[b"4000\r\n", &spaces, b"\r\n"]).await?;
            }
        }
        Some(Fault::Gzip) => {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            gzip.write_all(&answer.body).unwrap();
            answer.body = gzip.finish().unwrap();
            answer.set("content-encoding", "gzip");
            send(client, &method, &answer).await
        }
        Some(Fault::Header(name, value)) => {
            answer.set(name, &value);
            send(client, &method, &answer).await
        }
        Some(Fault::Instead(_) | Fault::ResetBefore | Fault::RedirectTo(_)) => {
            unreachable!("answered before the registry was asked")
        }
    }
}

/// Ends the connection so that the other side gets an error.
fn reset(client: &mut BufReader<TcpStream>) -> std::io::Result<()> {
    client.get_ref().set_zero_linger()?;
    Err(ErrorKind::ConnectionReset.into())
}

async fn write(client: &mut BufReader<TcpStream>, parts: &[&[u8]]) -> std::io::Result<()> {
    client.write_all(&parts.concat()).await?;
    client.flush().await
}

/// The lines above a body; how long that is says `framing` alone.
fn head(answer: &Answer, framing: &str) -> String {
    let mut text = format!("HTTP/1.1 {} As Told\r\n", answer.status);
    for (name, value) in &answer.headers {
        if !["content-length", "transfer-encoding", "connection"]
            .contains(&name.to_ascii_lowercase().as_str())
        {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    text + framing + "\r\n\r\n"
}

async fn send(client: &mut BufReader<TcpStream>, method: &str, answer: &Answer) -> std::io::Result<()> {
    // To a HEAD the length is that of the body that is not sent.
    let of_head = answer.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = match of_head.filter(|_| method == "HEAD") {
        Some((_, length)) => length.clone(),
        None => answer.body.len().to_string(),
    };
    let text = head(answer, &format!("content-length: {length}"));
    let body: &[u8] = if method == "HEAD" { b"" } else { &answer.body };
    write(client, &[text.as_bytes(), body]).await
}

/// Asks the registry, over the connection that is open or, where it has ended meanwhile, a new one.
async fn forward(
    asked: &Asked,
    held: &mut Option<BufReader<TcpStream>>,
    upstream: &str,
) -> std::io::Result<Answer> {
    let mut text = format!("{} {} HTTP/1.1\r\n", asked.method, asked.raw_target);
    for (name, value) in &asked.headers {
        if !["content-length", "transfer-encoding", "connection"]
            .contains(&name.to_ascii_lowercase().as_str())
        {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    text.push_str(&format!("content-length: {}\r\n\r\n", asked.body.len()));
    if let Some(mut wire) = held.take()
        && let Ok(answer) = ask(&mut wire, &text, asked).await
    {
        *held = Some(wire);
        return Ok(answer);
    }
    let mut wire = BufReader::new(TcpStream::connect(upstream).await?);
    let answer = ask(&mut wire, &text, asked).await?;
    *held = Some(wire);
    Ok(answer)
}

async fn ask(wire: &mut BufReader<TcpStream>, text: &str, asked: &Asked) -> std::io::Result<Answer> {
    write(wire, &[text.as_bytes(), &asked.body]).await?;
    let (first, headers) = read_head(wire).await?.ok_or(ErrorKind::UnexpectedEof)?;
    let status =
        first.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(ErrorKind::InvalidData)?;
    let bodiless = asked.method == "HEAD" || status == 204 || status == 304;
    let body = if bodiless { Vec::new() } else { read_body(wire, &headers).await? };
    Ok(Answer { status, headers, body })
}

/// `None` when the client has gone.
async fn read_request(client: &mut BufReader<TcpStream>) -> std::io::Result<Option<Asked>> {
    let Some((first, headers)) = read_head(client).await? else { return Ok(None) };
    let mut words = first.split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(ErrorKind::InvalidData.into());
    };
    let body = read_body(client, &headers).await?;
    Ok(Some(Asked {
        method: method.to_owned(),
        target: target.replace("%3A", ":").replace("%2F", "/").replace("%2C", ","),
        raw_target: target.to_owned(),
        headers,
        body,
    }))
}

type Head = (String, Vec<(String, String)>);

async fn read_head(wire: &mut BufReader<TcpStream>) -> std::io::Result<Option<Head>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if wire.read_line(&mut line).await? == 0 {
            return if lines.is_empty() { Ok(None) } else { Err(ErrorKind::UnexpectedEof.into()) };
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        lines.push(line.to_owned());
    }
    let mut lines = lines.into_iter();
    let first = lines.next().ok_or_else(|| Error::from(ErrorKind::InvalidData))?;
    let headers = lines.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_owned(), value.trim().to_owned()))
    });
    Ok(Some((first, headers.collect())))
}

async fn read_body(
    wire: &mut BufReader<TcpStream>,
    headers: &[(String, String)],
) -> std::io::Result<Vec<u8>> {
    let value = |name: &str| headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    let mut body = Vec::new();
    if value("transfer-encoding").is_none() {
        let length = value("content-length").and_then(|(_, length)| length.parse().ok()).unwrap_or(0);
        body.resize(length, 0);
        wire.read_exact(&mut body).await?;
        return Ok(body);
    }
    loop {
        let mut line = String::new();
        wire.read_line(&mut line).await?;
        let size = usize::from_str_radix(line.trim(), 16).map_err(|_| ErrorKind::InvalidData)?;
        let start = body.len();
        body.resize(start + size, 0);
        wire.read_exact(&mut body[start..]).await?;
        wire.read_line(&mut line).await?;
        if size == 0 {
            return Ok(body);
        }
    }
}
