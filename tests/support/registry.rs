//! An OCI registry (distribution-spec v1.1) on a loopback socket, in a thread of its own, that can be told to
//! misbehave and writes down what it was asked.
//!
//! ```ignore
//! let fake = Fake::start();                                  // well-behaved, no login
//! let fake = Fake::with(Behaviour { referrers_api: false, ..Behaviour::default() });
//! let digest = fake.seed_manifest("shop", MANIFEST, b"{}");  // "sha256:…"; tags: fake.tag("shop", "1", &digest)
//! fake.on("GET", "/manifests/", 2, Reply::status(503));      // the next two; usize::MAX for all
//! … talk to `fake.host()` ("127.0.0.1:PORT") …
//! assert_eq!(fake.count("PUT", "/blobs/"), 0);
//! ```
//!
//! Digests are text here, so that unit tests of the library and integration tests can share the file.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use base64::Engine;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// How the registry is built. Change it later with [`Fake::behave`].
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// Serves `/referrers/`; otherwise a bare 404.
    pub referrers_api: bool,
    /// Answers `OCI-Subject` to a manifest with a subject.
    pub subject_header: bool,
    /// Answers this status to a manifest with a subject, and does not take it.
    pub refuses_subject: Option<u16>,
    /// Descriptors per page of referrers.
    pub page: Option<usize>,
    /// Applies `artifactType=` of the referrers API.
    pub filters: bool,
    /// Takes blobs from other repositories.
    pub mounts: bool,
    /// Answers `Docker-Content-Digest`.
    pub digest_header: bool,
    pub login: Login,
    /// How long every answer takes to come.
    pub latency: Duration,
    /// Keeps what has arrived of an upload that broke off, and says how much that is.
    pub resumes: bool,
    /// Longer bodies are refused with 413, before they are read.
    pub longest: Option<u64>,
    /// `OCI-Chunk-Min-Length`; after a shorter chunk nothing but the end is taken.
    pub chunk_min: Option<u64>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            referrers_api: true,
            subject_header: true,
            refuses_subject: None,
            page: None,
            filters: true,
            mounts: true,
            digest_header: true,
            login: Login::None,
            latency: Duration::ZERO,
            resumes: true,
            longest: None,
            chunk_min: None,
        }
    }
}

/// Who may do what. The login is `user` / `password`; the identity token is `refresh`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    None,
    Basic,
    /// Tokens from `/token` of the same server; each request needs its own scope in the token.
    Bearer {
        /// Whether tokens to pull are given without a login.
        anonymous_pull: bool,
        expires_in: Option<u64>,
        /// What `realm` says instead of the own `/token`.
        realm: Option<String>,
    },
}

impl Login {
    pub fn bearer() -> Self {
        Self::Bearer { anonymous_pull: false, expires_in: None, realm: None }
    }
}

/// A login file's text for [`Login::Basic`] and [`Login::Bearer`] at `host`.
pub fn login_file(host: &str) -> String {
    json!({ "auths": { host: { "auth": base64("user:password") } } }).to_string()
}

/// What happens instead of, or to, the right answer.
#[derive(Clone, Debug)]
pub enum Reply {
    /// This and nothing else.
    Instead { status: u16, headers: Vec<(&'static str, String)>, body: Vec<u8> },
    /// The right answer with one header set.
    Header(&'static str, String),
    /// The right answer with other bytes.
    Bytes(Vec<u8>),
    /// The right answer, broken off after so many bytes.
    CutAfter(usize),
    /// 200 and bytes without end.
    Endless,
    /// The same path at another origin, such as `http://127.0.0.1:5001`.
    RedirectTo(String),
    /// What was asked for is done, and the answer is this status and nothing else.
    DoneBut(u16),
}

/// Looks at every request before it is answered: the method, the path with its query, the body. What it returns
/// comes before the rules of [`Fake::on`].
pub type Watch = Box<dyn FnMut(&str, &str, &[u8]) -> Option<Reply> + Send>;

impl Reply {
    pub fn status(status: u16) -> Self {
        Self::Instead { status, headers: vec![], body: vec![] }
    }

    pub fn error(status: u16, code: &str) -> Self {
        let body = json!({ "errors": [{ "code": code, "message": "as told" }] }).to_string().into_bytes();
        Self::Instead { status, headers: vec![("content-type", "application/json".into())], body }
    }

    pub fn busy(retry_after: u64) -> Self {
        Self::Instead { status: 429, headers: vec![("retry-after", retry_after.to_string())], body: vec![] }
    }

    pub fn html(status: u16) -> Self {
        let headers = vec![("content-type", "text/html; charset=utf-8".into())];
        Self::Instead { status, headers, body: b"<html>not here</html>".to_vec() }
    }
}

/// One request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    pub method: String,
    /// With the query.
    pub path: String,
    /// The whole `Authorization`.
    pub authorization: Option<String>,
    /// Length of the body in bytes.
    pub received: u64,
    pub status: u16,
    /// When it arrived, and when the answer left.
    pub time: (Instant, Instant),
}

/// The registry. It stops when dropped.
pub struct Fake {
    host: String,
    state: Arc<Inner>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
}

#[derive(Default)]
struct Repository {
    blobs: HashMap<String, Bytes>,
    manifests: BTreeMap<String, (String, Bytes)>,
    tags: HashMap<String, String>,
}

struct Rule {
    method: &'static str,
    path: String,
    times: usize,
    reply: Reply,
}

struct Data {
    behaviour: Behaviour,
    repositories: HashMap<String, Repository>,
    rules: Vec<Rule>,
    watch: Option<Watch>,
    log: Vec<Logged>,
    scopes: Vec<Vec<String>>,
    tokens: HashMap<String, BTreeSet<String>>,
    uploads: Vec<Upload>,
}

/// An upload that was opened.
#[derive(Default)]
struct Upload {
    bytes: Vec<u8>,
    /// How often its location changed.
    turn: usize,
    /// A chunk was shorter than they may be.
    short: bool,
    closed: bool,
}

struct Inner {
    host: String,
    data: Mutex<Data>,
}

pub fn digest(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn base64(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(text)
}

impl Fake {
    pub fn start() -> Self {
        Self::with(Behaviour::default())
    }

    pub fn with(behaviour: Behaviour) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let data = Data {
            behaviour,
            repositories: HashMap::new(),
            rules: Vec::new(),
            watch: None,
            log: Vec::new(),
            scopes: Vec::new(),
            tokens: HashMap::new(),
            uploads: Vec::new(),
        };
        let state = Arc::new(Inner { host: host.clone(), data: Mutex::new(data) });
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let app = Router::new().fallback(serve).with_state(Arc::clone(&state));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    outcome = axum::serve(listener, app) => outcome.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        Self { host, state, stop: Some(stop) }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// `http://127.0.0.1:PORT`.
    pub fn origin(&self) -> String {
        format!("http://{}", self.host)
    }

    fn data(&self) -> MutexGuard<'_, Data> {
        self.state.data.lock().unwrap()
    }

    pub fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.data().behaviour);
    }

    /// The next `times` requests whose method is `method` (`""`: any) and whose path contains `path` get `reply`.
    /// Earlier rules come first.
    pub fn on(&self, method: &'static str, path: &str, times: usize, reply: Reply) {
        self.data().rules.push(Rule { method, path: path.to_owned(), times, reply });
    }

    /// Every request is shown to `watch` from now on. It may not ask this registry anything.
    pub fn watch(&self, watch: Watch) {
        self.data().watch = Some(watch);
    }

    /// Opens an upload nobody asked for; the first has the number 1.
    pub fn open(&self) {
        self.data().uploads.push(Upload::default());
    }

    pub fn seed_blob(&self, repository: &str, bytes: &[u8]) -> String {
        let digest = digest(bytes);
        let mut data = self.data();
        let blobs = &mut data.repositories.entry(repository.to_owned()).or_default().blobs;
        blobs.insert(digest.clone(), Bytes::copy_from_slice(bytes));
        digest
    }

    pub fn seed_manifest(&self, repository: &str, media_type: &str, bytes: &[u8]) -> String {
        let digest = digest(bytes);
        let mut data = self.data();
        let manifests = &mut data.repositories.entry(repository.to_owned()).or_default().manifests;
        manifests.insert(digest.clone(), (media_type.to_owned(), Bytes::copy_from_slice(bytes)));
        digest
    }

    /// Sets or moves a tag.
    pub fn tag(&self, repository: &str, tag: &str, digest: &str) {
        let mut data = self.data();
        let tags = &mut data.repositories.entry(repository.to_owned()).or_default().tags;
        tags.insert(tag.to_owned(), digest.to_owned());
    }

    pub fn untag(&self, repository: &str, tag: &str) {
        self.data().repositories.entry(repository.to_owned()).or_default().tags.remove(tag);
    }

    /// What a tag means.
    pub fn tagged(&self, repository: &str, tag: &str) -> Option<String> {
        self.data().repositories.get(repository)?.tags.get(tag).cloned()
    }

    pub fn manifest(&self, repository: &str, digest: &str) -> Option<Bytes> {
        Some(self.data().repositories.get(repository)?.manifests.get(digest)?.1.clone())
    }

    /// The bytes of every manifest of a repository.
    pub fn manifests(&self, repository: &str) -> Vec<Bytes> {
        let data = self.data();
        let manifests = data.repositories.get(repository).map(|repository| repository.manifests.values());
        manifests.into_iter().flatten().map(|(_, bytes)| bytes.clone()).collect()
    }

    pub fn blob(&self, repository: &str, digest: &str) -> Option<Bytes> {
        self.data().repositories.get(repository)?.blobs.get(digest).cloned()
    }

    /// Loses a blob or manifest, as a garbage collection would.
    pub fn lose(&self, repository: &str, digest: &str) {
        if let Some(repository) = self.data().repositories.get_mut(repository) {
            repository.blobs.remove(digest);
            repository.manifests.remove(digest);
        }
    }

    pub fn log(&self) -> Vec<Logged> {
        self.data().log.clone()
    }

    /// How many requests had this method (`""`: any) and a path that contains `path`.
    pub fn count(&self, method: &str, path: &str) -> usize {
        let matches = |one: &&Logged| (method.is_empty() || one.method == method) && one.path.contains(path);
        self.data().log.iter().filter(matches).count()
    }

    /// Bytes of the request bodies so far.
    pub fn received(&self) -> u64 {
        self.data().log.iter().map(|one| one.received).sum()
    }

    /// The longest chain of requests of which each began after the one before it was answered: how often somebody
    /// waited for an answer to know what to ask next.
    pub fn depth(&self) -> usize {
        let mut times: Vec<_> = self.data().log.iter().map(|one| one.time).collect();
        times.sort_by_key(|(_, ended)| *ended);
        let (mut depth, mut last) = (0, None);
        for (began, ended) in times {
            if last.is_none_or(|last| began >= last) {
                depth += 1;
                last = Some(ended);
            }
        }
        depth
    }

    pub fn forget_log(&self) {
        self.data().log.clear();
    }

    /// The scopes of every token request, in order.
    pub fn scopes(&self) -> Vec<Vec<String>> {
        self.data().scopes.clone()
    }

    /// All tokens handed out so far are refused from now on.
    pub fn revoke_tokens(&self) {
        self.data().tokens.clear();
    }
}

impl Data {
    /// What arrived of a request for an upload, before it broke off.
    fn keep(&mut self, method: &Method, path: &str, body: &Bytes) {
        let resumes = self.behaviour.resumes && matches!(*method, Method::PUT | Method::PATCH);
        let id =
            path.split_once("/blobs/uploads/").and_then(|(_, rest)| rest.split('?').next()?.parse().ok());
        if let Some(upload) = id.and_then(|id: usize| self.uploads.get_mut(id.checked_sub(1)?))
            && resumes
        {
            upload.bytes.extend_from_slice(body);
        }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

async fn serve(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or_else(String::new, ToString::to_string);
    let length =
        parts.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let longest = inner.data.lock().unwrap().behaviour.longest;
    let too_long = length.zip(longest).is_some_and(|(length, longest): (u64, u64)| length > longest);
    let (mut chunks, mut whole, mut all) = (body.into_data_stream(), true, Vec::new());
    // Whoever refuses it reads on a while, as nginx does, so that the refusal arrives.
    while let Some(chunk) = chunks.next().await {
        match chunk {
            Ok(chunk) if !too_long => all.extend_from_slice(&chunk),
            Ok(_) => {}
            Err(_) => {
                whole = false;
                break;
            }
        }
    }
    let body = Bytes::from(all);
    if too_long || !whole {
        let mut data = inner.data.lock().unwrap();
        // A body that breaks off never was a request, but for what an upload keeps of it.
        if !too_long {
            data.keep(&parts.method, &path, &body);
        }
        let (method, received, now) = (parts.method.to_string(), body.len() as u64, Instant::now());
        let status = if too_long { 413 } else { 499 };
        data.log.push(Logged { method, path, authorization: None, received, status, time: (now, now) });
        return reply(StatusCode::from_u16(status).unwrap(), &[], "");
    }
    let authorization = parts.headers.get(header::AUTHORIZATION);
    let authorization = authorization.map(|value| value.to_str().unwrap_or_default().to_owned());
    let began = Instant::now();
    let latency = inner.data.lock().unwrap().behaviour.latency;
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    let mut data = inner.data.lock().unwrap();
    let told = data.watch.as_mut().and_then(|watch| watch(parts.method.as_str(), &path, &body));
    let rule = told.or_else(|| {
        let rule = data.rules.iter_mut().find(|rule| {
            rule.times > 0
                && (rule.method.is_empty() || rule.method == parts.method.as_str())
                && path.contains(&rule.path)
        });
        rule.map(|rule| {
            rule.times = rule.times.saturating_sub(1);
            rule.reply.clone()
        })
    });
    let asked = Asked { data: &mut data, host: &inner.host, headers: &parts.headers, body: body.clone() };
    let query = parts.uri.query().unwrap_or_default();
    let response = match rule {
        Some(Reply::Instead { status, headers, body }) => {
            let headers: Vec<(&str, &str)> =
                headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            reply(StatusCode::from_u16(status).unwrap(), &headers, body)
        }
        Some(Reply::RedirectTo(origin)) => {
            let location = if origin.contains("/v2/") { origin } else { format!("{origin}{path}") };
            reply(StatusCode::TEMPORARY_REDIRECT, &[("location", &location)], "")
        }
        Some(Reply::Endless) => {
            let chunks = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 16 * 1024])));
            let mut response = reply(StatusCode::OK, &[("content-type", MANIFEST)], "");
            response.headers_mut().remove(header::CONTENT_LENGTH);
            *response.body_mut() = Body::from_stream(chunks);
            response
        }
        Some(Reply::DoneBut(status)) => {
            let _done = asked.answer(&parts.method, parts.uri.path(), query);
            reply(StatusCode::from_u16(status).unwrap(), &[], "")
        }
        None => asked.answer(&parts.method, parts.uri.path(), query),
        Some(change) => change_answer(asked.answer(&parts.method, parts.uri.path(), query), change),
    };
    data.log.push(Logged {
        method: parts.method.to_string(),
        path,
        authorization,
        received: body.len() as u64,
        status: response.status().as_u16(),
        time: (began, Instant::now()),
    });
    response
}

fn change_answer(mut response: Response, change: Reply) -> Response {
    match change {
        Reply::Header(name, value) => {
            let (name, value) = (HeaderName::from_static(name), HeaderValue::from_str(&value).unwrap());
            response.headers_mut().insert(name, value);
        }
        Reply::Bytes(bytes) => {
            response.headers_mut().insert(header::CONTENT_LENGTH, bytes.len().into());
            *response.body_mut() = Body::from(bytes);
        }
        Reply::CutAfter(count) => {
            let body = std::mem::take(response.body_mut());
            let chunks = stream::once(async move {
                let whole = to_bytes(body, usize::MAX).await.unwrap();
                let cut = whole.slice(..count.min(whole.len()));
                // The pause lets what was sent arrive before the connection goes away.
                stream::iter([Ok(cut)]).chain(stream::once(async {
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    Err(std::io::Error::other("cut"))
                }))
            });
            *response.body_mut() = Body::from_stream(chunks.flatten());
        }
        Reply::Instead { .. } | Reply::Endless | Reply::RedirectTo(_) | Reply::DoneBut(_) => {
            unreachable!("answered before")
        }
    }
    response
}

/// One request that is answered as it should be.
struct Asked<'a> {
    data: &'a mut Data,
    host: &'a str,
    headers: &'a HeaderMap,
    body: Bytes,
}

impl Asked<'_> {
    fn answer(mut self, method: &Method, path: &str, query: &str) -> Response {
        let query: HashMap<String, String> = pairs(query).into_iter().collect();
        if path == "/token" {
            return self.token(query_text(method, &self.body, &query));
        }
        let Some(rest) = path.strip_prefix("/v2/") else { return reply(StatusCode::NOT_FOUND, &[], "") };
        for kind in ["/manifests/", "/blobs/uploads/", "/blobs/", "/referrers/"] {
            let Some((name, what)) = rest.rsplit_once(kind) else { continue };
            if let Some(refused) = self.refuse(method, name) {
                return refused;
            }
            return match (kind, method.as_str()) {
                ("/manifests/", "GET" | "HEAD") => self.read_manifest(name, what),
                ("/manifests/", "PUT") => self.write_manifest(name, what),
                ("/blobs/", "GET" | "HEAD") => self.read_blob(name, what),
                ("/blobs/uploads/", "POST") => self.open_upload(name, &query),
                ("/blobs/uploads/", "GET") => self.look(name, what, &query),
                ("/blobs/uploads/", "PATCH") => self.write_chunk(name, what, &query),
                ("/blobs/uploads/", "PUT") => self.write_blob(name, what, &query),
                ("/referrers/", "GET") => self.referrers(name, what, &query),
                _ => error(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED"),
            };
        }
        match rest.strip_suffix("/tags/list") {
            Some(name) => self.refuse(method, name).unwrap_or_else(|| self.tags(name, &query)),
            None if rest.is_empty() => reply(StatusCode::OK, &[], "{}"),
            None => reply(StatusCode::NOT_FOUND, &[], "404 page not found"),
        }
    }

    /// Sorted, in pages of at most `n`.
    fn tags(&self, name: &str, query: &HashMap<String, String>) -> Response {
        let Some(repository) = self.data.repositories.get(name) else {
            return error(StatusCode::NOT_FOUND, "NAME_UNKNOWN");
        };
        let n = query.get("n").and_then(|n| n.parse().ok()).unwrap_or(usize::MAX);
        let last = query.get("last").map(String::as_str).unwrap_or_default();
        let tags: BTreeSet<&str> = repository.tags.keys().map(String::as_str).collect();
        let mut rest = tags.into_iter().filter(|tag| *tag > last);
        let page: Vec<&str> = rest.by_ref().take(n).collect();
        let next = format!("</v2/{name}/tags/list?n={n}&last={}>; rel=\"next\"", page.last().unwrap_or(&""));
        let mut headers = vec![("content-type", "application/json")];
        if rest.next().is_some() {
            headers.push(("link", &next));
        }
        reply(StatusCode::OK, &headers, json!({ "name": name, "tags": page }).to_string())
    }

    /// A 401 with a challenge, when what was presented is not enough. A mount without pull on its source is
    /// refused later, by a 202.
    fn refuse(&self, method: &Method, name: &str) -> Option<Response> {
        let presented = self.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let challenge = match &self.data.behaviour.login {
            Login::None => return None,
            Login::Basic => {
                if presented == Some(&format!("Basic {}", base64("user:password"))) {
                    return None;
                }
                r#"Basic realm="fake""#.to_owned()
            }
            Login::Bearer { realm, .. } => {
                let write = !matches!(*method, Method::GET | Method::HEAD);
                let action = if write { "push" } else { "pull" };
                let needed = format!("{name}:{action}");
                let token = presented.and_then(|presented| presented.strip_prefix("Bearer "));
                let granted = token.and_then(|token| self.data.tokens.get(token));
                if granted.is_some_and(|granted| granted.contains(&needed)) {
                    return None;
                }
                let realm = realm.clone().unwrap_or_else(|| format!("http://{}/token", self.host));
                format!(r#"Bearer realm="{realm}",service="fake",scope="repository:{name}:{action}""#)
            }
        };
        let headers = [("www-authenticate", challenge.as_str()), ("content-type", "application/json")];
        let body = json!({ "errors": [{ "code": "UNAUTHORIZED", "message": "log in" }] }).to_string();
        Some(reply(StatusCode::UNAUTHORIZED, &headers, body))
    }

    fn token(&mut self, parameters: Vec<(String, String)>) -> Response {
        let value =
            |name: &str| parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let scopes: Vec<String> = parameters
            .iter()
            .filter(|(name, _)| name == "scope")
            .flat_map(|(_, scope)| scope.split(' ').map(ToOwned::to_owned))
            .collect();
        self.data.scopes.push(scopes.clone());
        let Login::Bearer { anonymous_pull, expires_in, .. } = self.data.behaviour.login.clone() else {
            return reply(StatusCode::NOT_FOUND, &[], "");
        };
        let presented = self.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let known = presented == Some(&format!("Basic {}", base64("user:password")))
            || (value("grant_type") == Some("refresh_token") && value("refresh_token") == Some("refresh"));
        let anonymous = presented.is_none() && value("grant_type").is_none();
        let admitted = known || (anonymous && anonymous_pull);
        if !admitted {
            return error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
        }
        let mut granted = BTreeSet::new();
        for scope in &scopes {
            let parts: Vec<&str> = scope.split(':').collect();
            let [_, name, actions] = parts[..] else { continue };
            for action in actions.split(',').filter(|action| known || *action == "pull") {
                granted.insert(format!("{name}:{action}"));
            }
        }
        let token = format!("token-{}", self.data.scopes.len());
        self.data.tokens.insert(token.clone(), granted);
        let mut body = json!({ "token": token });
        if let Some(seconds) = expires_in {
            body["expires_in"] = json!(seconds);
        }
        reply(StatusCode::OK, &[("content-type", "application/json")], body.to_string())
    }

    fn read_manifest(&self, name: &str, reference: &str) -> Response {
        let Some(repository) = self.data.repositories.get(name) else {
            return error(StatusCode::NOT_FOUND, "NAME_UNKNOWN");
        };
        let digest = repository.tags.get(reference).map_or(reference, String::as_str);
        match repository.manifests.get(digest) {
            Some((media_type, bytes)) => self.found(digest, media_type, bytes),
            None => error(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
        }
    }

    fn found(&self, digest: &str, media_type: &str, bytes: &Bytes) -> Response {
        let mut headers = vec![("content-type", media_type)];
        if self.data.behaviour.digest_header {
            headers.push(("docker-content-digest", digest));
        }
        let range = self.headers.get(header::RANGE).and_then(|range| range.to_str().ok());
        let start =
            range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
        match start {
            Some(start) if start < bytes.len() => {
                let range = format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
                headers.push(("content-range", &range));
                reply(StatusCode::PARTIAL_CONTENT, &headers, bytes.slice(start..))
            }
            _ => reply(StatusCode::OK, &headers, bytes.clone()),
        }
    }

    fn write_manifest(&mut self, name: &str, reference: &str) -> Response {
        let media_type = self.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let Some(media_type) = media_type else { return error(StatusCode::BAD_REQUEST, "MANIFEST_INVALID") };
        let found = digest(&self.body);
        let parsed: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        if reference.starts_with("sha256:") && reference != found {
            return error(StatusCode::BAD_REQUEST, "DIGEST_INVALID");
        }
        if let Some(status) = self.data.behaviour.refuses_subject.filter(|_| parsed.get("subject").is_some())
        {
            return error(StatusCode::from_u16(status).unwrap(), "MANIFEST_INVALID");
        }
        let repository = self.data.repositories.entry(name.to_owned()).or_default();
        // What a manifest lists must be there, as in docker-registry and zot.
        let blobs = parsed["layers"].as_array().into_iter().flatten().chain(parsed.get("config"));
        let blobs_there = blobs.clone().all(|blob| {
            blob["urls"].is_array()
                || repository.blobs.contains_key(blob["digest"].as_str().unwrap_or_default())
        });
        let mut children = parsed["manifests"].as_array().into_iter().flatten();
        // The fallback tag lists what a registry without the API need not check.
        let children_there = reference.starts_with("sha256-")
            || children
                .all(|one| repository.manifests.contains_key(one["digest"].as_str().unwrap_or_default()));
        if !blobs_there || !children_there {
            return error(StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN");
        }
        repository.manifests.insert(found.clone(), (media_type.to_owned(), self.body.clone()));
        if !reference.starts_with("sha256:") {
            repository.tags.insert(reference.to_owned(), found.clone());
        }
        let location = format!("/v2/{name}/manifests/{found}");
        let mut headers = vec![("location", location.as_str())];
        if self.data.behaviour.digest_header {
            headers.push(("docker-content-digest", &found));
        }
        if let Some(subject) =
            parsed["subject"]["digest"].as_str().filter(|_| self.data.behaviour.subject_header)
        {
            headers.push(("oci-subject", subject));
        }
        reply(StatusCode::CREATED, &headers, "")
    }

    fn read_blob(&self, name: &str, digest: &str) -> Response {
        match self.data.repositories.get(name).and_then(|repository| repository.blobs.get(digest)) {
            Some(bytes) => self.found(digest, "application/octet-stream", bytes),
            None => error(StatusCode::NOT_FOUND, "BLOB_UNKNOWN"),
        }
    }

    fn open_upload(&mut self, name: &str, query: &HashMap<String, String>) -> Response {
        if let (Some(digest), Some(from), true) =
            (query.get("mount"), query.get("from"), self.data.behaviour.mounts)
        {
            let token = self.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
            let granted = token.and_then(|token| self.data.tokens.get(token.strip_prefix("Bearer ")?));
            let readable = !matches!(self.data.behaviour.login, Login::Bearer { .. })
                || granted.is_some_and(|granted| granted.contains(&format!("{from}:pull")));
            let bytes = self.data.repositories.get(from).and_then(|from| from.blobs.get(digest)).cloned();
            if let Some(bytes) = bytes.filter(|_| readable) {
                self.data
                    .repositories
                    .entry(name.to_owned())
                    .or_default()
                    .blobs
                    .insert(digest.clone(), bytes);
                let location = format!("/v2/{name}/blobs/{digest}");
                let headers = [("location", location.as_str()), ("docker-content-digest", digest)];
                return reply(StatusCode::CREATED, &headers, "");
            }
        }
        self.data.uploads.push(Upload::default());
        let id = self.data.uploads.len();
        let least = self.data.behaviour.chunk_min.map(|least| least.to_string());
        let location = self.location(name, id);
        let mut headers = vec![("location", location.as_str()), ("range", "0-0")];
        if let Some(least) = &least {
            headers.push(("oci-chunk-min-length", least));
        }
        reply(StatusCode::ACCEPTED, &headers, "")
    }

    /// Relative, and with state of its own in the query, which changes with every chunk.
    fn location(&self, name: &str, id: usize) -> String {
        format!("/v2/{name}/blobs/uploads/{id}?_state=a%2Fb%3D&turn={}", self.data.uploads[id - 1].turn)
    }

    /// The upload of this location, if it is open.
    fn upload(&mut self, id: &str, query: &HashMap<String, String>) -> Option<(usize, &mut Upload)> {
        let id: usize = id.parse().ok()?;
        let upload = self.data.uploads.get_mut(id.checked_sub(1)?)?;
        let known = query.get("_state").map(String::as_str) == Some("a/b=")
            && query.get("turn").is_none_or(|turn| *turn == upload.turn.to_string());
        (known && !upload.closed).then_some((id, upload))
    }

    fn how_far(&self, status: StatusCode, name: &str, id: usize) -> Response {
        let range = format!("0-{}", self.data.uploads[id - 1].bytes.len().max(1) - 1);
        reply(status, &[("location", &self.location(name, id)), ("range", &range)], "")
    }

    fn look(&mut self, name: &str, id: &str, query: &HashMap<String, String>) -> Response {
        let resumes = self.data.behaviour.resumes;
        // An earlier location will do.
        let query: HashMap<String, String> = query
            .iter()
            .filter(|(name, _)| *name != "turn")
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        match self.upload(id, &query) {
            Some((id, _)) if resumes => self.how_far(StatusCode::NO_CONTENT, name, id),
            _ => error(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN"),
        }
    }

    fn write_chunk(&mut self, name: &str, id: &str, query: &HashMap<String, String>) -> Response {
        let (body, least) = (self.body.clone(), self.data.behaviour.chunk_min.unwrap_or(0));
        let range = self.headers.get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
        let range = range.map(ToOwned::to_owned);
        let Some((id, upload)) = self.upload(id, query) else {
            return error(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN");
        };
        let wanted = format!("{}-{}", upload.bytes.len(), upload.bytes.len() + body.len().max(1) - 1);
        if upload.short || range.is_some_and(|range| range != wanted) {
            return self.how_far(StatusCode::RANGE_NOT_SATISFIABLE, name, id);
        }
        upload.bytes.extend_from_slice(&body);
        upload.short = (body.len() as u64) < least;
        upload.turn += 1;
        self.how_far(StatusCode::ACCEPTED, name, id)
    }

    fn write_blob(&mut self, name: &str, id: &str, query: &HashMap<String, String>) -> Response {
        let body = self.body.clone();
        let Some((_, upload)) = self.upload(id, query) else {
            return error(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN");
        };
        let bytes = Bytes::from([&upload.bytes[..], &body].concat());
        let found = digest(&bytes);
        upload.closed = true;
        if query.get("digest") != Some(&found) {
            return error(StatusCode::BAD_REQUEST, "DIGEST_INVALID");
        }
        self.body = bytes;
        self.data
            .repositories
            .entry(name.to_owned())
            .or_default()
            .blobs
            .insert(found.clone(), self.body.clone());
        let location = format!("/v2/{name}/blobs/{found}");
        let mut headers = vec![("location", location.as_str())];
        if self.data.behaviour.digest_header {
            headers.push(("docker-content-digest", &found));
        }
        reply(StatusCode::CREATED, &headers, "")
    }

    fn referrers(&self, name: &str, subject: &str, query: &HashMap<String, String>) -> Response {
        let behaviour = &self.data.behaviour;
        if !behaviour.referrers_api {
            return reply(StatusCode::NOT_FOUND, &[("content-type", "text/plain")], "404 page not found");
        }
        let Some(repository) = self.data.repositories.get(name) else {
            return error(StatusCode::NOT_FOUND, "NAME_UNKNOWN");
        };
        let wanted = query.get("artifactType").filter(|_| behaviour.filters);
        let mut all: Vec<Value> = Vec::new();
        for (digest, (media_type, bytes)) in &repository.manifests {
            let parsed: Value = serde_json::from_slice(bytes).unwrap_or_default();
            let artifact_type = [&parsed["artifactType"], &parsed["config"]["mediaType"]];
            let artifact_type = artifact_type.iter().find_map(|text| text.as_str()).unwrap_or_default();
            if parsed["subject"]["digest"] == subject && wanted.is_none_or(|wanted| wanted == artifact_type) {
                let mut entry = json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() });
                entry["artifactType"] = json!(artifact_type);
                entry["annotations"] = parsed["annotations"].clone();
                all.push(entry);
            }
        }
        let start: usize = query.get("from").and_then(|from| from.parse().ok()).unwrap_or(0).min(all.len());
        let end = all.len().min(start + behaviour.page.unwrap_or(usize::MAX - start));
        let link = format!("</v2/{name}/referrers/{subject}?from={end}>; rel=\"next\"");
        let mut headers = vec![("content-type", INDEX)];
        if end < all.len() {
            headers.push(("link", &link));
        }
        if wanted.is_some() {
            headers.push(("oci-filters-applied", "artifactType"));
        }
        let body = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": all[start..end] });
        reply(StatusCode::OK, &headers, body.to_string())
    }
}

/// The parameters of a token request: of the query (GET, repeated names kept) or of the form (POST).
fn query_text(method: &Method, body: &Bytes, query: &HashMap<String, String>) -> Vec<(String, String)> {
    if method == Method::POST {
        return pairs(std::str::from_utf8(body).unwrap_or_default());
    }
    query.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// `a=b&c=d`, decoded; several values of one name are joined by spaces.
fn pairs(text: &str) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            match byte {
                b'+' => bytes.push(b' '),
                b'%' => {
                    let hex = [rest.next().unwrap_or(b'0'), rest.next().unwrap_or(b'0')];
                    let hex = std::str::from_utf8(&hex).unwrap_or("00");
                    bytes.push(u8::from_str_radix(hex, 16).unwrap_or_default());
                }
                byte => bytes.push(byte),
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let mut all: Vec<(String, String)> = Vec::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decode(name), decode(value));
        match all.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = format!("{known} {value}"),
            None => all.push((name, value)),
        }
    }
    all
}

fn error(status: StatusCode, code: &str) -> Response {
    let body = json!({ "errors": [{ "code": code, "message": "from the fake" }] }).to_string();
    reply(status, &[("content-type", "application/json")], body)
}

fn reply(status: StatusCode, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Response {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    let body: Bytes = body.into();
    response = response.header(header::CONTENT_LENGTH, body.len());
    response.body(Body::from(body)).unwrap()
}
