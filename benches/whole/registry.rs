//! A real registry on a loopback port: Debian's `docker-registry` (CNCF distribution 2.8).

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};

/// A running registry; stops when dropped.
pub(crate) struct DockerRegistry {
    process: Child,
    host: String,
    log: PathBuf,
}

/// What a registry has done since it started.
pub(crate) struct Work {
    /// Requests it has answered.
    pub(crate) requests: usize,
    /// Bytes it has read and written, on sockets and files; `None` without `/proc`.
    pub(crate) moved: Option<u64>,
}

impl DockerRegistry {
    /// Starts one with its storage in `folder` and waits until it answers.
    pub(crate) fn start(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr())?;
        let config = format!(
            "version: 0.1\n\
             log: {{level: error}}\n\
             storage: {{filesystem: {{rootdirectory: '{}'}}}}\n\
             http: {{addr: '{address}'}}\n",
            folder.join("data").display()
        );
        let (file, log) = (folder.join("config.yml"), folder.join("access.log"));
        fs::write(&file, config).context("writing the registry's configuration")?;
        let mut command = Command::new("docker-registry");
        // It complains about every 404; it is heard only when it does not start.
        let complaints = folder.join("error.log");
        command.arg("serve").arg(&file).stdin(Stdio::null());
        command.stdout(File::create(&log)?).stderr(File::create(&complaints)?);
        let process = command.spawn();
        let process = process.context("running docker-registry")?;
        let mut registry = Self { process, host: address.to_string(), log };
        for _ in 0..400 {
            if let Some(status) = registry.process.try_wait()? {
                let complaint = fs::read_to_string(&complaints).unwrap_or_default();
                bail!("docker-registry ended with {status}: {complaint}");
            }
            if answers(&address) {
                return Ok(registry);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("docker-registry does not answer on {address}");
    }

    /// `127.0.0.1:PORT`, as in a reference.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn work(&self) -> Work {
        let requests = fs::read(&self.log).unwrap_or_default().iter().filter(|byte| **byte == b'\n').count();
        let io = fs::read_to_string(format!("/proc/{}/io", self.process.id())).unwrap_or_default();
        let count =
            |name: &str| io.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        Work { requests, moved: count("rchar:").zip(count("wchar:")).map(|(read, written)| read + written) }
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

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to stop.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
