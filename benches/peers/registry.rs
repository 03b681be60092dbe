//! Real registries on loopback ports.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};

/// Whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Maker {
    /// Debian's `docker-registry` (CNCF distribution 2.8): no referrers API.
    Docker,
    /// regclient's `olareg`: with the referrers API.
    Olareg,
}

impl Maker {
    pub(crate) const ALL: [Self; 2] = [Self::Docker, Self::Olareg];

    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Docker => "docker-registry",
            Self::Olareg => "olareg",
        }
    }
}

/// A running registry with its storage in a folder; stops when dropped, and the storage goes.
pub(crate) struct Registry {
    process: Child,
    host: String,
    folder: std::path::PathBuf,
}

impl Registry {
    /// Starts one with its storage in `folder` and waits until it answers.
    pub(crate) fn start(maker: Maker, folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr())?;
        let mut command = Command::new(maker.program());
        command.current_dir(folder).stdin(Stdio::null());
        match maker {
            Maker::Docker => {
                let config = format!(
                    "version: 0.1\n\
                     log: {{level: error, accesslog: {{disabled: true}}}}\n\
                     storage: {{filesystem: {{rootdirectory: '{}'}}}}\n\
                     http: {{addr: '{address}'}}\n",
                    folder.join("data").display()
                );
                let file = folder.join("config.yml");
                fs::write(&file, config).context("writing the registry's configuration")?;
                command.arg("serve").arg(&file);
            }
            Maker::Olareg => {
                let port = address.port().to_string();
                command.args([
                    "serve",
                    "--addr",
                    "127.0.0.1",
                    "--port",
                    &port,
                    "--store-type",
                    "mem",
                    "--dir",
                ]);
                command.arg(folder.join("data"));
                fs::create_dir_all(folder.join("data")).context("creating the registry's storage")?;
            }
        }
        // It complains about every 404; it is heard only when it does not start.
        let complaints = folder.join("error.log");
        command.stdout(Stdio::null()).stderr(File::create(&complaints)?);
        let process = command.spawn().with_context(|| format!("running {}", maker.program()))?;
        let mut registry = Self { process, host: address.to_string(), folder: folder.to_owned() };
        for _ in 0..2000 {
            if let Some(status) = registry.process.try_wait()? {
                let complaint = fs::read_to_string(&complaints).unwrap_or_default();
                bail!("{} ended with {status}: {complaint}", maker.program());
            }
            if answers(&address) {
                return Ok(registry);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("{} does not answer on {address}", maker.program());
    }

    /// Of its process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// `127.0.0.1:PORT`, as in a reference.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }
}

fn answers(address: &SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET /v2/ HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer.starts_with(b"HTTP/1.1 200"))
    };
    ask().unwrap_or(false)
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to stop.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
