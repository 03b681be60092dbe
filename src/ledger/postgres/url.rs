//! What a URL says of a server: `postgres://[USER@][HOST[:PORT]]/DATABASE[?schema=…][&host=…][&sslmode=…][&sslrootcert=…]`
//! (PostgreSQL 17 documentation, 32.1.1.2 "Connection URIs", without what a ledger has no use for).
//!
//! Guarantees: no password is taken from a URL, which lies in a repository; beyond the loopback, a server proves its
//! name by a certificate unless the URL says `sslmode=disable`. Never does: guess a host or a database.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::error::PostgresError;
use crate::digest::shorten;

/// The schema that the tables are in where the URL names none.
const SCHEMA: &str = "samebits";
const PORT: u16 = 5432;
/// The longest name in bytes (NAMEDATALEN less one).
const MAX_NAME: usize = 63;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ledger) enum Host {
    /// A name or an address.
    Tcp(String),
    /// The folder of its socket.
    Unix(PathBuf),
}

/// How a server proves who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ledger) enum Tls {
    /// Not at all: it is on this machine, or the URL says so.
    Disabled,
    /// By a certificate for the host's name, from a root that this machine trusts.
    Verified,
    /// By a certificate for the host's name, from a root in this file.
    VerifiedBy(PathBuf),
}

/// What a URL says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ledger) struct Server {
    pub(super) host: Host,
    pub(super) port: u16,
    pub(super) database: String,
    pub(super) user: Option<String>,
    pub(super) schema: String,
    pub(super) tls: Tls,
}

impl Server {
    /// Reads what follows `postgres:`; files are relative to `base`.
    pub(in crate::ledger) fn parse(rest: &str, base: &Path) -> Result<Self, PostgresError> {
        let rest = rest.strip_prefix("//").ok_or_else(|| wrong(rest, "`//` after the scheme"))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, address) = match authority.rsplit_once('@') {
            // Whatever follows the colon is not repeated.
            Some((user, _)) if user.contains(':') => return Err(PostgresError::Password),
            Some((user, address)) => (Some(decoded(user)?), address),
            None => (None, authority),
        };
        if user.as_deref() == Some("") {
            return Err(wrong(authority, "a user before the `@`"));
        }
        let database = decoded(database)?;
        if database.is_empty() || database.contains('/') {
            return Err(wrong(&database, "the name of a database after the host"));
        }
        let asked = Query::parse(query)?;
        let (host, port) = match asked.host {
            None => tcp(address)?,
            Some(_) if !address.is_empty() => {
                return Err(wrong(address, "one host: an address, or the folder of a socket in `host=`"));
            }
            Some(folder) => (Host::Unix(folder), asked.port.unwrap_or(PORT)),
        };
        let tls = tls(&host, asked.mode, asked.root.map(|file| base.join(file)))?;
        let schema = asked.schema.unwrap_or_else(|| SCHEMA.to_owned());
        Ok(Self { host, port, database, user, schema, tls })
    }
}

/// The server and the schema, without anything secret; that a server far away is believed is not hidden.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match &self.host {
            Host::Tcp(host) if host.contains(':') => write!(f, "[{host}]:{}", self.port)?,
            Host::Tcp(host) => write!(f, "{host}:{}", self.port)?,
            Host::Unix(_) => {}
        }
        write!(f, "/{}?schema={}", self.database, self.schema)?;
        if let Host::Unix(folder) = &self.host {
            write!(f, "&host={}", folder.display())?;
            if self.port != PORT {
                write!(f, "&port={}", self.port)?;
            }
        }
        match (&self.tls, is_here(&self.host)) {
            (Tls::Disabled, false) => f.write_str("&sslmode=disable"),
            (Tls::Disabled, true) | (Tls::Verified | Tls::VerifiedBy(_), _) => Ok(()),
        }
    }
}

/// What stands after the question mark.
#[derive(Default)]
struct Query {
    schema: Option<String>,
    host: Option<PathBuf>,
    port: Option<u16>,
    mode: Option<Mode>,
    root: Option<PathBuf>,
}

#[derive(Clone, Copy)]
enum Mode {
    Disable,
    VerifyFull,
}

impl Query {
    fn parse(text: &str) -> Result<Self, PostgresError> {
        let mut query = Self::default();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decoded(value)?;
            let twice = match key {
                "password" | "passfile" => return Err(PostgresError::Password),
                "schema" => query.schema.replace(schema(value)?).is_some(),
                "host" if value.starts_with('/') => query.host.replace(value.into()).is_some(),
                "host" => return Err(wrong(&value, "the folder of a socket in `host=`, from `/`")),
                "port" => query.port.replace(port(&value)?).is_some(),
                "sslmode" => query.mode.replace(mode(&value)?).is_some(),
                "sslrootcert" if !value.is_empty() => query.root.replace(value.into()).is_some(),
                _ => {
                    return Err(wrong(key, "`schema`, `host`, `port`, `sslmode` or `sslrootcert`"));
                }
            };
            if twice {
                return Err(wrong(key, "each parameter once"));
            }
        }
        if query.port.is_some() && query.host.is_none() {
            return Err(wrong("port", "`:PORT` after the host"));
        }
        Ok(query)
    }
}

/// A name that needs no quotes, so that it is spelt in one way, and is not one of PostgreSQL's own.
fn schema(name: String) -> Result<String, PostgresError> {
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let first = name.chars().next().is_some_and(|c| !c.is_ascii_digit());
    let own = name.starts_with("pg_") || name == "information_schema";
    match first && !own && name.len() <= MAX_NAME && name.chars().all(letters) {
        true => Ok(name),
        false => Err(wrong(&name, "a schema of a-z, 0-9 and `_`, not one of PostgreSQL's own")),
    }
}

fn port(text: &str) -> Result<u16, PostgresError> {
    match text.parse() {
        Ok(port) if port > 0 && text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(port),
        Ok(_) | Err(_) => Err(wrong(text, "a port from 1 to 65535")),
    }
}

fn mode(text: &str) -> Result<Mode, PostgresError> {
    match text {
        "disable" => Ok(Mode::Disable),
        "verify-full" => Ok(Mode::VerifyFull),
        // The modes between them encrypt to whoever answers.
        _ => Err(wrong(text, "`sslmode=verify-full`, or `sslmode=disable` on a network that is trusted")),
    }
}

fn tcp(address: &str) -> Result<(Host, u16), PostgresError> {
    let expected = "one host, as in `db.example:5432`";
    let (host, rest) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or_else(|| wrong(address, expected))?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| wrong(address, expected))?;
            (host, rest)
        }
        None => {
            let end = address.find(':').unwrap_or(address.len());
            let (host, rest) = address.split_at(end);
            let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            if host.is_empty() || !host.chars().all(letters) {
                return Err(wrong(address, expected));
            }
            (host, rest)
        }
    };
    let port = match rest.strip_prefix(':') {
        Some(text) => port(text)?,
        None if rest.is_empty() => PORT,
        None => return Err(wrong(address, expected)),
    };
    Ok((Host::Tcp(host.to_owned()), port))
}

/// Whether nobody else is on the way to it.
fn is_here(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    }
}

fn tls(host: &Host, mode: Option<Mode>, root: Option<PathBuf>) -> Result<Tls, PostgresError> {
    match (mode, root) {
        (Some(Mode::VerifyFull), _) if matches!(host, Host::Unix(_)) => {
            Err(wrong("sslmode=verify-full", "no `sslmode` for a socket: PostgreSQL has no TLS there"))
        }
        (Some(Mode::Disable), None) => Ok(Tls::Disabled),
        (Some(Mode::Disable), Some(_)) => Err(wrong("sslrootcert", "`sslmode=verify-full` beside it")),
        (None, None) if is_here(host) => Ok(Tls::Disabled),
        (None | Some(Mode::VerifyFull), None) => Ok(Tls::Verified),
        (None, Some(_)) if matches!(host, Host::Unix(_)) => {
            Err(wrong("sslrootcert", "none for a socket: PostgreSQL has no TLS there"))
        }
        (None | Some(Mode::VerifyFull), Some(file)) => Ok(Tls::VerifiedBy(file)),
    }
}

/// Undoes `%2F` and the like.
fn decoded(text: &str) -> Result<String, PostgresError> {
    let expected = "UTF-8, anything unusual as `%` and two hexadecimal digits";
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).ok_or_else(|| wrong(text, expected))?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong(text, expected));
        }
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| wrong(text, expected))?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    match String::from_utf8(bytes) {
        Ok(plain) if !plain.contains('\0') => Ok(plain),
        Ok(_) | Err(_) => Err(wrong(text, expected)),
    }
}

fn wrong(found: &str, expected: &'static str) -> PostgresError {
    PostgresError::Url { found: shorten(found), expected }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(url: &str) -> Result<Server, PostgresError> {
        Server::parse(url.strip_prefix("postgres:").unwrap(), Path::new("/srv/policy"))
    }

    #[test]
    fn a_server_is_named_whole() {
        let server = parse("postgres://ci%40x@db.example:5433/shop?schema=prod_1").unwrap();
        assert_eq!(
            server,
            Server {
                host: Host::Tcp("db.example".to_owned()),
                port: 5433,
                database: "shop".to_owned(),
                user: Some("ci@x".to_owned()),
                schema: "prod_1".to_owned(),
                tls: Tls::Verified,
            }
        );
        assert_eq!(server.to_string(), "postgres://ci@x@db.example:5433/shop?schema=prod_1");
        let socket = parse("postgres:///shop?host=/run/postgresql&port=5434").unwrap();
        assert_eq!((&socket.host, socket.port), (&Host::Unix("/run/postgresql".into()), 5434));
        assert_eq!((&*socket.schema, &socket.user), ("samebits", &None));
        assert_eq!(socket.to_string(), "postgres:///shop?schema=samebits&host=/run/postgresql&port=5434");
        assert_eq!(
            parse("postgres://[::1]/shop").unwrap().to_string(),
            "postgres://[::1]:5432/shop?schema=samebits"
        );
    }

    #[test]
    fn a_server_far_away_proves_its_name_unless_the_url_says_otherwise_and_then_messages_do() {
        let of = |url: &str| parse(url).unwrap().tls;
        for here in ["localhost", "127.0.0.1", "127.9.9.9", "[::1]"] {
            assert_eq!(of(&format!("postgres://{here}/d")), Tls::Disabled, "{here}");
            assert_eq!(of(&format!("postgres://{here}/d?sslmode=verify-full")), Tls::Verified, "{here}");
        }
        for far in ["db.example", "10.0.0.1", "localhost.example", "[2001:db8::1]", "0.0.0.0"] {
            assert_eq!(of(&format!("postgres://{far}/d")), Tls::Verified, "{far}");
        }
        assert_eq!(
            of("postgres://db.example/d?sslrootcert=ca.pem"),
            Tls::VerifiedBy("/srv/policy/ca.pem".into())
        );
        let told = parse("postgres://db.example/d?sslmode=disable").unwrap();
        assert_eq!(told.tls, Tls::Disabled);
        assert!(told.to_string().ends_with("&sslmode=disable"), "{told}");
        for half in ["require", "prefer", "allow", "verify-ca", ""] {
            let refused = parse(&format!("postgres://db.example/d?sslmode={half}")).unwrap_err();
            assert!(refused.to_string().contains("verify-full"), "{refused}");
        }
    }

    #[test]
    fn a_password_is_refused_and_not_repeated() {
        for url in [
            "postgres://ci:hunter2@db.example/d",
            "postgres://ci:@db.example/d",
            "postgres://ci:hunter2@x@db.example/d",
            "postgres://db.example/d?password=hunter2",
            "postgres://db.example/d?passfile=hunter2",
        ] {
            let refused = parse(url).unwrap_err();
            assert!(matches!(refused, PostgresError::Password), "{url}: {refused}");
            assert!(!format!("{refused} {refused:?}").contains("hunter2"));
        }
    }

    #[test]
    fn nothing_is_guessed() {
        for url in [
            "postgres:db.example/d",
            "postgres:///d",
            "postgres://db.example",
            "postgres://db.example/",
            "postgres://db.example/d/e",
            "postgres://a,b/d",
            "postgres://@db.example/d",
            "postgres://db.example:0/d",
            "postgres://db.example:65536/d",
            "postgres://db.example:/d",
            "postgres://db.example:+1/d",
            "postgres://[::1/d",
            "postgres://[db.example]/d",
            "postgres://db.example/d?schema=",
            "postgres://db.example/d?schema=Shop",
            "postgres://db.example/d?schema=pg_catalog",
            "postgres://db.example/d?schema=information_schema",
            "postgres://db.example/d?schema=1a",
            "postgres://db.example/d?schema=a%22b",
            "postgres://db.example/d?schema=a&schema=b",
            "postgres://db.example/d?options=-c",
            "postgres://db.example/d?host=/run",
            "postgres://db.example/d?port=1",
            "postgres:///d?host=run",
            "postgres:///d?host=/run&sslmode=verify-full",
            "postgres:///d?host=/run&sslrootcert=ca.pem",
            "postgres://db.example/d?sslmode=disable&sslrootcert=ca.pem",
            "postgres://db.example/%zz",
            "postgres://db.example/%ff",
            "postgres://db.example/a%00b",
            "postgres://db.example/a%0",
        ] {
            assert!(matches!(parse(url), Err(PostgresError::Url { .. })), "{url}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_urls_never_panic(text: String) {
            let _ = parse(&format!("postgres://{text}"));
            let _ = parse(&format!("postgres://db.example/d?{text}"));
        }
    }
}
