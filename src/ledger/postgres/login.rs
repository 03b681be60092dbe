//! Who logs in, as PostgreSQL's own programs have it: PGUSER, PGPASSWORD, and the file PGPASSFILE or `~/.pgpass`
//! (PostgreSQL 17 documentation, 32.15 "Environment Variables", 32.16 "The Password File").
//!
//! Guarantees: a password file that others can read is an error, not used. Never does: put a password into a message.

use std::fs;
use std::path::PathBuf;

use zeroize::Zeroizing;

use super::error::PostgresError;
use super::url::{Host, Server};

/// The largest password file that is read, in bytes.
const LIMIT: u64 = 1 << 20;

/// What the process was given. Nothing is decided by it: it opens the door to a store that is believed nothing.
#[derive(Default)]
pub(super) struct Environment {
    pub(super) user: Option<String>,
    pub(super) password: Option<Zeroizing<String>>,
    /// The password file, and whether it was named.
    pub(super) file: Option<(PathBuf, bool)>,
}

impl Environment {
    #[allow(clippy::disallowed_methods, reason = "the login of a store, where every client of it reads it")]
    pub(super) fn of_this_process() -> Self {
        let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
        let named = variable("PGPASSFILE").map(|file| (file.into(), true));
        let home = || std::env::home_dir().map(|home| (home.join(".pgpass"), false));
        Self {
            user: variable("PGUSER"),
            password: variable("PGPASSWORD").map(Zeroizing::new),
            file: named.or_else(home),
        }
    }

    /// The user and the password for `server`, as far as they were given.
    pub(super) fn login(
        self,
        server: &Server,
    ) -> Result<(Option<String>, Option<Zeroizing<String>>), PostgresError> {
        let user = server.user.clone().or(self.user);
        let password = match (self.password, self.file) {
            (Some(password), _) => Some(password),
            (None, Some((file, named))) => {
                read(file, named)?.and_then(|lines| find(&lines, server, user.as_deref()))
            }
            (None, None) => None,
        };
        Ok((user, password))
    }
}

/// The password file; `None` where there is none and none was named.
fn read(file: PathBuf, named: bool) -> Result<Option<Zeroizing<String>>, PostgresError> {
    let wrong = |file: PathBuf, why| Err(PostgresError::PassFile { file, why });
    let about = match fs::metadata(&file) {
        Ok(about) => about,
        Err(_) if !named => return Ok(None),
        Err(_) => return wrong(file, "it cannot be read"),
    };
    if !about.is_file() || about.len() > LIMIT {
        return wrong(file, "it is not a file of at most 1 MiB");
    }
    #[cfg(unix)]
    if std::os::unix::fs::PermissionsExt::mode(&about.permissions()) & 0o077 != 0 {
        return wrong(file, "others can read it");
    }
    match fs::read_to_string(&file) {
        Ok(lines) => Ok(Some(Zeroizing::new(lines))),
        Err(_) => wrong(file, "it cannot be read"),
    }
}

/// The password in the first line that matches: `hostname:port:database:username:password`, `*` for any, `\` before a
/// colon or a backslash. A socket goes by the name `localhost` or by its folder.
fn find(lines: &str, server: &Server, user: Option<&str>) -> Option<Zeroizing<String>> {
    let folder = match &server.host {
        Host::Tcp(_) => None,
        Host::Unix(folder) => Some(folder.display().to_string()),
    };
    let host = match &server.host {
        Host::Tcp(host) => host,
        Host::Unix(_) => "localhost",
    };
    let port = server.port.to_string();
    let is = |field: &str, wanted: &str| field == "*" || plain(field).as_str() == wanted;
    lines.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let mut fields = fields(line);
        let (name, number, database, login) =
            (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let here = is(name, host) || folder.as_deref().is_some_and(|folder| is(name, folder));
        let login = login == "*" || user.is_some_and(|user| is(login, user));
        let password = fields.next()?;
        (here && is(number, &port) && is(database, &server.database) && login).then(|| plain(password))
    })
}

/// What lies between colons that no backslash stands before.
fn fields(line: &str) -> impl Iterator<Item = &str> {
    let mut escaped = false;
    line.split(move |c: char| {
        let colon = c == ':' && !escaped;
        escaped = c == '\\' && !escaped;
        colon
    })
}

fn plain(field: &str) -> Zeroizing<String> {
    let mut plain = Zeroizing::new(String::with_capacity(field.len()));
    let mut characters = field.chars();
    while let Some(c) = characters.next() {
        plain.push(if c == '\\' { characters.next().unwrap_or(c) } else { c });
    }
    plain
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn server(url: &str) -> Server {
        Server::parse(url.strip_prefix("postgres:").unwrap(), Path::new("/")).unwrap()
    }

    #[test]
    fn the_first_line_that_matches_has_the_password() {
        let lines = "# db.example:*:*:*:comment\nnonsense\ndb.example:5433:*:ci:port\ndb.example:*:shop:ci:a\\:b\\\\c\n\
                     [:*:*:*:x\nlocalhost:*:*:ci:socket\n/run/pg:*:*:*:folder\n*:*:d\\:e:*:colon\n";
        let of = |url: &str, user| find(lines, &server(url), user).map(|found| found.to_string());
        for (url, user, expected) in [
            ("postgres://db.example/shop", Some("ci"), Some("a:b\\c")),
            ("postgres://db.example:5433/shop", Some("ci"), Some("port")),
            ("postgres://db.example/shop", Some("other"), None),
            ("postgres://db.example/shop", None, None),
            ("postgres://db.example/other", Some("ci"), None),
            ("postgres:///x?host=/run/pg", Some("ci"), Some("socket")),
            ("postgres:///x?host=/run/pg", None, Some("folder")),
            ("postgres://other.example/d:e", None, Some("colon")),
        ] {
            assert_eq!(of(url, user).as_deref(), expected, "{url} {user:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_password_file_that_others_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pgpass");
        let login = |named| {
            let environment = Environment { file: Some((file.clone(), named)), ..Environment::default() };
            environment.login(&server("postgres://ci@db.example/shop"))
        };
        assert!(login(false).unwrap().1.is_none());
        assert!(matches!(login(true), Err(PostgresError::PassFile { .. })));
        fs::write(&file, "*:*:*:*:hunter2\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let refused = login(false).unwrap_err();
        assert!(refused.to_string().ends_with("others can read it"), "{refused}");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let (user, password) = login(false).unwrap();
        assert_eq!((user.as_deref(), password.unwrap().as_str()), (Some("ci"), "hunter2"));
    }

    #[test]
    fn the_url_names_the_user_and_the_environment_the_password() {
        let environment = || Environment {
            user: Some("from-environment".to_owned()),
            password: Some(Zeroizing::new("secret".to_owned())),
            file: Some(("/nowhere".into(), true)),
        };
        let user = |url| environment().login(&server(url)).unwrap().0.unwrap();
        assert_eq!(user("postgres://ci@db.example/shop"), "ci");
        assert_eq!(user("postgres://db.example/shop"), "from-environment");
    }
}
