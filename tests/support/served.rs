//! Registries of other people, each a process on a loopback port with nothing in it and nothing on disk: `crane registry
//! serve` (go-containerregistry) and olareg, which has the referrers API.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::peer;

/// Whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Maker {
    Crane,
    Olareg,
}

/// A running registry; stops when dropped.
pub(crate) struct Served {
    process: Child,
    address: SocketAddr,
    _home: TempDir,
}

impl Served {
    /// Starts one and waits until it answers; `None`, which was said, where the program is not installed.
    pub(crate) fn start(maker: Maker) -> Option<Self> {
        let program = match maker {
            Maker::Crane => "crane",
            Maker::Olareg => "olareg",
        };
        if !peer::is_installed(program) {
            return None;
        }
        // Between looking for a free port and taking it somebody else may take it.
        (0..5).find_map(|_| Self::try_start(maker, program)).or_else(|| panic!("{program} did not start"))
    }

    fn try_start(maker: Maker, program: &str) -> Option<Self> {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let home = tempfile::tempdir().unwrap();
        let (whole, port) = (address.to_string(), address.port().to_string());
        let args = match maker {
            Maker::Crane => vec!["registry", "serve", "--address", &whole],
            Maker::Olareg => vec!["serve", "--addr", "127.0.0.1", "--port", &port, "--store-type", "mem"],
        };
        let mut command = peer::alone(program, home.path());
        let process = command.args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut served = Self { process, address, _home: home };
        for _ in 0..400 {
            if served.process.try_wait().unwrap().is_some() {
                return None;
            }
            if served.answers() {
                return Some(served);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        None
    }

    /// `127.0.0.1:PORT`, as in a reference.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect_timeout(&self.address, Duration::from_secs(1)) else {
            return false;
        };
        let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
        let host = self.address;
        let asked = write!(stream, "GET /v2/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let mut answer = Vec::new();
        asked.and_then(|()| stream.read_to_end(&mut answer)).is_ok() && answer.starts_with(b"HTTP/1.1 200")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to stop.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
