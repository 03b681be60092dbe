//! A real PostgreSQL on a socket and a loopback port, in a folder that goes away. Debian's, which is not on the PATH;
//! it refuses to run as root, so root runs it as `postgres`.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tempfile::TempDir;

use super::peer;

/// The login that needs a password on the port; on the socket nobody does.
pub(crate) const USER: &str = "ci";
/// Its password.
pub(crate) const PASSWORD: &str = "correct horse";

const ACCESS: &str =
    "local all all trust\nhost all trusted 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n";

/// A running server; stops when the last test that uses it drops it.
pub(crate) struct Postgres {
    process: Child,
    folder: TempDir,
    bin: PathBuf,
    port: u16,
}

static RUNNING: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());

impl Postgres {
    /// The server that the tests of this program share; `None`, which was said, where there is no PostgreSQL.
    pub(crate) fn shared() -> Option<Arc<Self>> {
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = running.upgrade() {
            return Some(running);
        }
        let started = Arc::new(Self::start()?);
        *running = Arc::downgrade(&started);
        Some(started)
    }

    /// One of one's own.
    pub(crate) fn start() -> Option<Self> {
        let bin = newest();
        if !peer::is_installed(bin.join("postgres").to_str().unwrap()) {
            return None;
        }
        // Between looking for a free port and taking it somebody else may take it.
        let mut log = String::new();
        for _ in 0..5 {
            match Self::try_start(&bin) {
                Ok(server) => return Some(server),
                Err(said) => log = said,
            }
        }
        panic!("PostgreSQL did not start: five times it ended, or did not answer within 20 s\n{log}");
    }

    /// `Err` is what it logged.
    fn try_start(bin: &Path) -> Result<Self, String> {
        let folder = tempfile::tempdir().unwrap();
        let (data, log) = (folder.path().join("data"), folder.path().join("log"));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        std::fs::create_dir(&data).unwrap();
        certificate(folder.path());
        if is_root() {
            peer::said(Command::new("chown").arg("-R").arg("postgres").arg(folder.path())).unwrap();
        }
        let file = |name: &str| folder.path().join(name).display().to_string();
        let (socket, certificate, key) = (file(""), file("server.crt"), file("server.key"));
        let mut initdb = program(bin, "initdb");
        initdb.arg("-D").arg(&data).args(["-U", "postgres", "-E", "UTF8", "--no-locale", "--no-sync"]);
        peer::said(&mut initdb)?;
        std::fs::write(data.join("pg_hba.conf"), ACCESS).unwrap();
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{socket}'\n\
             ssl = on\nssl_cert_file = '{certificate}'\nssl_key_file = '{key}'\nshared_buffers = 16MB\n\
             max_connections = 50\n"
        );
        let mut file = std::fs::OpenOptions::new().append(true).open(data.join("postgresql.conf")).unwrap();
        file.write_all(settings.as_bytes()).unwrap();
        let process = serve(bin, folder.path());
        let mut server = Self { process, folder, bin: bin.to_owned(), port };
        if !server.answers() {
            return Err(std::fs::read_to_string(log).unwrap());
        }
        server.sql(
            "postgres",
            &format!(
                "CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'; CREATE ROLE trusted SUPERUSER LOGIN;
                 CREATE ROLE reader LOGIN"
            ),
        );
        Ok(server)
    }

    /// Waits until it does; no if it ends, or after 20 s.
    fn answers(&mut self) -> bool {
        for _ in 0..400 {
            if self.process.try_wait().unwrap().is_some() {
                return false;
            }
            if self.try_sql("postgres", "SELECT 1").is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        false
    }

    #[allow(dead_code, reason = "what benches/crash asks")]
    /// Ends the server at once, as a machine that loses its power, and starts it again.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.process = serve(&self.bin, self.folder.path());
        assert!(self.answers(), "{}", std::fs::read_to_string(self.folder.path().join("log")).unwrap());
    }

    #[allow(dead_code, reason = "what benches/crash asks")]
    /// SIGKILL to the process of somebody's session, if there is one; the server then ends all others and recovers.
    pub(crate) fn kill_backend(&mut self, any: u64) {
        let sessions = format!("SELECT pid FROM pg_stat_activity WHERE usename = '{USER}' ORDER BY pid");
        let Ok(pids) = self.try_sql("postgres", &sessions) else { return };
        let pids: Vec<&str> = pids.lines().collect();
        if let Some(pid) = usize::try_from(any).ok().and_then(|any| pids.get(any % pids.len().max(1))) {
            // It may have ended meanwhile.
            let _ = Command::new("kill").args(["-KILL", pid]).stderr(Stdio::null()).status();
            assert!(self.answers(), "{}", std::fs::read_to_string(self.folder.path().join("log")).unwrap());
        }
    }

    /// At once, and by a signal that lets it take its children along.
    fn stop(&mut self) {
        let stopped = Command::new("kill").args(["-QUIT", &self.process.id().to_string()]).status();
        if !stopped.is_ok_and(|status| status.success()) {
            let _ = self.process.kill();
        }
        let _ = self.process.wait();
    }

    /// The loopback port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The folder of the socket, with `ca.pem` in it.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A new database that [`USER`] may make a ledger in.
    pub(crate) fn database(&self, name: &str) {
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.sql("postgres", &format!("GRANT CREATE ON DATABASE {name} TO {USER}"));
    }

    /// The URL of the ledger in a database, by the socket.
    pub(crate) fn url(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}@/{database}?host={}&port={}", self.folder().display(), self.port)
    }

    /// What `psql` prints as the administrator.
    #[track_caller]
    pub(crate) fn sql(&self, database: &str, sql: &str) -> String {
        self.try_sql(database, sql).unwrap()
    }

    fn try_sql(&self, database: &str, sql: &str) -> Result<String, String> {
        let said = peer::said(self.psql(database).arg("-c").arg(sql))?;
        Ok(String::from_utf8(said).unwrap().trim().to_owned())
    }

    /// `psql` as the administrator.
    pub(crate) fn psql(&self, database: &str) -> Command {
        let mut command = peer::alone(self.bin.join("psql").to_str().unwrap(), self.folder());
        command.arg("-h").arg(self.folder()).args([
            "-p",
            &self.port.to_string(),
            "-U",
            "postgres",
            "-d",
            database,
        ]);
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]);
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The server of a folder.
fn serve(bin: &Path, folder: &Path) -> Child {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("log")).unwrap();
    let mut server = program(bin, "postgres");
    server.arg("-D").arg(folder.join("data")).stderr(log).stdout(Stdio::null()).spawn().unwrap()
}

/// Where Debian keeps the newest.
fn newest() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let version = versions.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).max();
    version.map(|version| format!("/usr/lib/postgresql/{version}/bin").into()).unwrap_or_default()
}

fn is_root() -> bool {
    peer::said(Command::new("id").arg("-u")).unwrap() == b"0\n"
}

/// `program`, as somebody it agrees to be run by; the same process, so that it can be stopped.
fn program(bin: &Path, program: &str) -> Command {
    let mut command = match is_root() {
        true => {
            let mut command = peer::alone("setpriv", Path::new("/"));
            command
                .args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"])
                .arg(bin.join(program));
            command
        }
        false => peer::alone(bin.join(program).to_str().unwrap(), Path::new("/")),
    };
    command.env_remove("HOME").env("LC_ALL", "C");
    command
}

/// A root, and a certificate of it for `localhost`.
fn certificate(folder: &Path) {
    let openssl = |arguments: &str| {
        peer::said(peer::alone("openssl", folder).args(arguments.split(' '))).unwrap();
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    openssl(&format!("req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=test"));
    openssl(&format!(
        "req -x509 {key} -CA ca.pem -CAkey ca.key -keyout server.key -out server.crt -subj /CN=localhost \
         -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE"
    ));
}
