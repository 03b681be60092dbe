//! TLS in front of the in-process registry: it offers protocols by ALPN (RFC 7301), writes down which was agreed, and may
//! treat its first connections badly. What it passes on is in the clear; the registry tells the protocols apart.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::peer;

/// How a connection is treated.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Manner {
    /// HTTP/2: its first stream is reset with REFUSED_STREAM (RFC 9113, section 8.7), and the connection ended.
    RefuseStreams,
    /// HTTP/2: GOAWAY as soon as something is asked.
    Goodbye,
    /// The connection ends as soon as something is asked.
    Cut,
    /// All is passed on, until so many bytes went towards the registry.
    Pass {
        /// As many.
        at_most: usize,
    },
}

/// See the module. It stops when dropped.
pub(crate) struct Front {
    host: String,
    agreed: Arc<Mutex<Vec<Option<String>>>>,
    folder: TempDir,
    _stop: tokio::sync::oneshot::Sender<()>,
}

impl Front {
    /// Starts one in front of `upstream`; `None`, which was said, where openssl is missing. One connection after the other
    /// is treated in one of the manners, those behind them well.
    pub(crate) fn start(upstream: &str, offers: &[&str], manners: &[Manner]) -> Option<Self> {
        if !peer::is_installed("openssl") {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let key =
            ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "key.pem"];
        let names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"];
        let no_authority = ["-addext", "basicConstraints=critical,CA:FALSE"];
        let make = ["req", "-x509", "-days", "2", "-out", "cert.pem"];
        let args = [&make, &key[..], &names, &no_authority].concat();
        peer::said(peer::alone("openssl", folder.path()).args(args)).unwrap();
        let acceptor = acceptor(&folder, offers);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let agreed = Arc::<Mutex<Vec<Option<String>>>>::default();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (upstream, written) = (upstream.to_owned(), Arc::clone(&agreed));
        let mut manners = Vec::from(manners).into_iter();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                let accept = async {
                    while let Ok((wire, _)) = listener.accept().await {
                        let Ok(wire) = acceptor.accept(wire).await else { continue };
                        let protocol = wire.get_ref().1.alpn_protocol();
                        let protocol = protocol.map(|name| String::from_utf8(name.to_vec()).unwrap());
                        written.lock().unwrap().push(protocol);
                        let manner = manners.next().unwrap_or(Manner::Pass { at_most: usize::MAX });
                        tokio::spawn(treat(wire, upstream.clone(), manner));
                    }
                };
                tokio::select! {
                    () = accept => {}
                    _ = stopped => {}
                }
            });
        });
        Some(Self { host, agreed, folder, _stop: stop })
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Whom to trust.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// What was agreed on each connection so far.
    pub(crate) fn agreed(&self) -> Vec<Option<String>> {
        self.agreed.lock().unwrap().clone()
    }
}

fn acceptor(folder: &TempDir, offers: &[&str]) -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_file(folder.path().join("cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.path().join("key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let mut config = config.with_single_cert(vec![certificate], key).unwrap();
    config.alpn_protocols = offers.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

/// However it ends: what counts is what the client makes of it.
async fn treat(wire: TlsStream<TcpStream>, upstream: String, manner: Manner) {
    match manner {
        Manner::RefuseStreams => {
            let Ok(mut connection) = h2::server::handshake(wire).await else { return };
            if let Some(Ok((_, mut respond))) = connection.accept().await {
                respond.send_reset(h2::Reason::REFUSED_STREAM);
                connection.graceful_shutdown();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    respond.send_reset(h2::Reason::REFUSED_STREAM);
                }
            }
        }
        Manner::Goodbye => {
            let Ok(mut connection) = h2::server::handshake(wire).await else { return };
            if let Some(Ok(asked)) = connection.accept().await {
                connection.abrupt_shutdown(h2::Reason::NO_ERROR);
                drop(asked);
                while connection.accept().await.is_some() {}
            }
        }
        Manner::Cut => {
            let (mut wire, mut some) = (wire, [0; 64]);
            let _ = wire.read(&mut some).await;
        }
        Manner::Pass { at_most } => {
            let Ok(server) = TcpStream::connect(upstream).await else { return };
            let _ = pass(wire, server, at_most).await;
        }
    }
}

async fn pass(client: TlsStream<TcpStream>, mut server: TcpStream, at_most: usize) -> std::io::Result<()> {
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = server.split();
    let up = async {
        let (mut buffer, mut carried) = (vec![0; 16 << 10], 0);
        while carried <= at_most {
            let read = from_client.read(&mut buffer).await?;
            if read == 0 {
                break;
            }
            carried += read;
            to_server.write_all(&buffer[..read]).await?;
        }
        Ok(())
    };
    tokio::select! {
        ended = up => ended,
        ended = tokio::io::copy(&mut from_server, &mut to_client) => ended.map(drop),
    }
}
