//! A real registry on a loopback port: Debian's `docker-registry` (CNCF distribution 2.8), with its storage in a
//! folder that goes away. It has no referrers API, so what refers to an image lies under the fallback tag.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::peer;

/// The login of a registry that wants one.
pub(crate) const USER: &str = "samebits";
/// Its password.
pub(crate) const PASSWORD: &str = "correct horse";
/// [`PASSWORD`] as `htpasswd -B` writes it, at the lowest cost.
const HTPASSWD: &str = "samebits:$2b$04$CkDOois6iE5GOrzVqcsYLuTFV2fhgBkePrcYqwIlbMQ0P2Y.04qby\n";

/// Who may come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// Everybody.
    Open,
    /// [`USER`] with [`PASSWORD`] (HTTP Basic).
    Basic,
}

/// A running registry; stops when dropped.
pub(crate) struct DockerRegistry {
    process: Child,
    address: SocketAddr,
    _storage: TempDir,
}

impl DockerRegistry {
    /// Starts one and waits until it answers; `None`, which was said, where there is no `docker-registry`.
    pub(crate) fn start(door: Door) -> Option<Self> {
        if !peer::is_installed("docker-registry") {
            return None;
        }
        // Between looking for a free port and taking it somebody else may take it.
        let mut log = String::new();
        for _ in 0..5 {
            match Self::try_start(door) {
                Ok(registry) => return Some(registry),
                Err(said) => log = said,
            }
        }
        panic!("docker-registry did not start: five times it ended, or did not answer within 20 s\n{log}");
    }

    /// `Err` is what it logged.
    fn try_start(door: Door) -> Result<Self, String> {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let storage = tempfile::tempdir().unwrap();
        let htpasswd = storage.path().join("htpasswd");
        std::fs::write(&htpasswd, HTPASSWD).unwrap();
        let auth = match door {
            Door::Open => String::new(),
            Door::Basic => format!("auth: {{htpasswd: {{realm: test, path: '{}'}}}}\n", htpasswd.display()),
        };
        let config = format!(
            "version: 0.1\n\
             log: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: '{}'}}, delete: {{enabled: true}}}}\n\
             http: {{addr: '{address}'}}\n\
             {auth}",
            storage.path().join("data").display()
        );
        let file = storage.path().join("config.yml");
        std::fs::write(&file, config).unwrap();
        // It logs every 404 as an error; that is of interest only when it does not start.
        let log = storage.path().join("log");
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut registry = Self { process, address, _storage: storage };
        let answer = match door {
            Door::Open => 200,
            Door::Basic => 401,
        };
        for _ in 0..400 {
            if registry.process.try_wait().unwrap().is_some() {
                break;
            }
            if registry.ask("GET", "/v2/") == Some(answer) {
                return Ok(registry);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(std::fs::read_to_string(log).unwrap())
    }

    /// `127.0.0.1:PORT`, as in a reference.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// The status of a bare request, behind the back of what is tested; `None` where nobody answers.
    pub(crate) fn ask(&self, method: &str, path: &str) -> Option<u16> {
        let mut stream = TcpStream::connect_timeout(&self.address, Duration::from_secs(1)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        let host = self.address;
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        String::from_utf8_lossy(&answer).split(' ').nth(1)?.parse().ok()
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to stop.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
