//! The places a ledger can be in, each started for this run alone.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::appender::at;
use crate::load::Random;
use crate::peer;
use crate::postgres::{Postgres, USER};
use crate::s3::{BUCKET, S3};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    File,
    S3,
    Git,
    Postgres,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [Self::Sqlite, Self::File, Self::S3, Self::Git, Self::Postgres];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::File => "file",
            Self::S3 => "s3",
            Self::Git => "git",
            Self::Postgres => "postgres",
        }
    }

    pub(crate) fn named(name: &str) -> Self {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == name);
        found.unwrap_or_else(|| panic!("{name}: expected sqlite, file, s3, git or postgres"))
    }
}

/// What keeps it up.
enum Server {
    None,
    S3(S3),
    Postgres(Box<Postgres>),
}

/// A place, with an empty ledger in it.
pub(crate) struct Store {
    pub(crate) kind: Kind,
    folder: PathBuf,
    url: String,
    server: Server,
}

impl Store {
    /// `None` where what it takes is not installed.
    pub(crate) fn start(kind: Kind, folder: &Path) -> Option<Self> {
        std::fs::create_dir_all(folder).unwrap();
        let (url, server) = match kind {
            Kind::Sqlite => ("sqlite:ledger.db".to_owned(), Server::None),
            Kind::File => ("file:ledger".to_owned(), Server::None),
            Kind::S3 => (format!("s3://{BUCKET}/ledger"), Server::S3(S3::start()?)),
            Kind::Git => {
                if !peer::is_installed("git") {
                    return None;
                }
                let bare = at(folder, "ledger.git");
                let git = |args: &[&str]| peer::said(peer::alone("git", folder).args(args)).unwrap();
                git(&["init", "--quiet", "--bare", &bare]);
                git(&["--git-dir", &bare, "config", "receive.denyNonFastForwards", "true"]);
                (format!("git+file://{bare}#ledger"), Server::None)
            }
            Kind::Postgres => {
                let server = Postgres::start()?;
                server.database("crash");
                (server.url(USER, "crash"), Server::Postgres(Box::new(server)))
            }
        };
        let store = Self { kind, folder: folder.to_owned(), url, server };
        assert!(store.command("create").status().unwrap().success());
        Some(store)
    }

    /// A process of this very program that does something with the ledger.
    pub(crate) fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--as", verb]).arg(&self.folder).arg(&self.url).stdin(Stdio::null());
        if let Server::S3(server) = &self.server {
            command.envs(server.variables());
        }
        command
    }

    /// Kills the server, or a part of it, if it is its turn.
    pub(crate) fn kill_server(&mut self, turn: u64, random: &mut Random) -> bool {
        let Server::Postgres(server) = &mut self.server else { return false };
        match (turn % 100, turn % 20) {
            (0, _) => server.restart(),
            (_, 0) => server.kill_backend(random.below(1 << 20)),
            _ => return false,
        }
        true
    }
}
