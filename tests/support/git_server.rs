//! A git server on a loopback port: git's own `git-http-backend`(1), behind TLS and a password. Its certificate is its
//! own, made by openssl.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode, header};
use axum::serve::Listener;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::peer;

const USER: &str = "ci";
pub(crate) const PASSWORD: &str = "hunter2-of-the-branch";
/// The longest request that is taken.
const LIMIT: usize = 64 << 20;

/// A running server of one empty repository; stops when dropped.
pub(crate) struct GitServer {
    folder: TempDir,
    port: u16,
    _runtime: Runtime,
}

/// Connections whose handshake is done.
struct Secure {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Secure {
    type Io = TlsStream<TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, from)) = self.listener.accept().await else { continue };
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, from);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

impl GitServer {
    /// Starts one; `None`, which was said, where git or openssl is missing.
    pub(crate) fn start() -> Option<Self> {
        if !peer::is_installed("git") || !peer::is_installed("openssl") {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let run = |program: &str, args: &[&str]| {
            peer::said(peer::alone(program, folder.path()).args(args)).unwrap();
        };
        run("git", &["init", "--quiet", "--bare", "ledger.git"]);
        let key =
            ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "key.pem"];
        let names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"];
        run("openssl", &[&["req", "-x509", "-days", "2", "-out", "cert.pem"], &key[..], &names].concat());
        let runtime = Runtime::new().unwrap();
        let acceptor = acceptor(folder.path());
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let root = folder.path().to_owned();
        runtime.spawn(async move {
            let app = axum::Router::new().fallback(answer).with_state(root);
            axum::serve(Secure { listener, acceptor }, app).await
        });
        let server = Self { folder, port, _runtime: runtime };
        server.write("password", &format!("https://{USER}:{PASSWORD}@127.0.0.1:{port}\n"));
        Some(server)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn url(&self) -> String {
        format!("git+https://127.0.0.1:{}/ledger.git#ledger", self.port)
    }

    /// What a user's own configuration of git says of the server.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        self.variables_without("nothing")
    }

    /// The same without one setting.
    pub(crate) fn variables_without(&self, setting: &str) -> Vec<(&'static str, String)> {
        let folder = self.folder().display();
        let settings = [
            ("http", "sslCAInfo", format!("{folder}/cert.pem")),
            ("credential", "helper", format!("store --file={folder}/password")),
        ];
        let settings = settings.iter().filter(|(_, name, _)| *name != setting);
        let text: String =
            settings.map(|(of, name, value)| format!("[{of}]\n\t{name} = {value}\n")).collect();
        let file = self.write(&format!("config-without-{setting}"), &text);
        vec![
            ("GIT_CONFIG_GLOBAL", file.display().to_string()),
            ("PATH", "/usr/local/bin:/usr/bin:/bin".to_owned()),
        ]
    }

    /// The branches there are, a line each.
    pub(crate) fn branches(&self) -> String {
        let args = ["--git-dir=ledger.git", "for-each-ref", "--format=%(refname:short)", "refs/heads"];
        let said = peer::said(peer::alone("git", self.folder()).args(args)).unwrap();
        String::from_utf8(said).unwrap().trim().to_owned()
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

fn acceptor(folder: &Path) -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_file(folder.join("cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    TlsAcceptor::from(Arc::new(config.with_single_cert(vec![certificate], key).unwrap()))
}

/// What git answers (RFC 3875), to who has the password.
async fn answer(State(root): State<PathBuf>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let said = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    if said("authorization") != Some(format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")))) {
        let asked = Response::builder().status(StatusCode::UNAUTHORIZED);
        return asked.header(header::WWW_AUTHENTICATE, "Basic realm=\"git\"").body(Body::empty()).unwrap();
    }
    let mut program = peer::alone("git", &root);
    program.arg("http-backend").env("GIT_PROJECT_ROOT", &root).env("GIT_HTTP_EXPORT_ALL", "1");
    program.env("REQUEST_METHOD", head.method.as_str()).env("PATH_INFO", head.uri.path());
    program.env("QUERY_STRING", head.uri.query().unwrap_or_default());
    program.env("REMOTE_USER", USER).env("REMOTE_ADDR", "127.0.0.1");
    for (name, variable) in [
        ("content-type", "CONTENT_TYPE"),
        ("content-encoding", "HTTP_CONTENT_ENCODING"),
        ("git-protocol", "GIT_PROTOCOL"),
    ] {
        program.envs(said(name).map(|value| (variable, value)));
    }
    let body = to_bytes(body, LIMIT).await.unwrap();
    let output = tokio::task::spawn_blocking(move || {
        let mut running = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut input = running.stdin.take().unwrap();
        // It may have heard enough.
        std::thread::spawn(move || drop(input.write_all(&body)));
        running.wait_with_output().unwrap().stdout
    });
    let output = output.await.unwrap();
    let end = output.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let mut response = Response::builder();
    for line in std::str::from_utf8(&output[..end]).unwrap().lines() {
        let (name, value) = line.split_once(": ").unwrap();
        response = match name {
            "Status" => response.status(value.split(' ').next().unwrap().parse::<u16>().unwrap()),
            other => response.header(other, value),
        };
    }
    response.body(Body::from(output[end + 4..].to_vec())).unwrap()
}
