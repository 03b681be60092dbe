//! One login: how a server is reached, what it must promise, how it is asked.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Error, NoTls, Row, Socket, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::PostgresError;
use super::login::Environment;
use super::url::{Host, Server, Tls};
use crate::ledger::Place;

/// From knocking to being logged in.
const PATIENCE: Duration = Duration::from_secs(30);
/// A server that is gone without a word is noticed after about a minute.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// A parameter of a statement.
pub(super) type Value = Box<dyn ToSql + Sync + Send>;

/// A parameter, owned: the statement is run elsewhere.
pub(super) fn value(of: impl ToSql + Sync + Send + 'static) -> Value {
    Box::new(of)
}

/// Somebody who is logged in, and the statements that the server has prepared for him.
pub(super) struct Session {
    pub(super) client: Client,
    statements: Mutex<HashMap<String, Statement>>,
    schema: String,
}

impl Session {
    /// Logs in. Names in statements are those of PostgreSQL itself (17 documentation, 5.10.5), then those of the
    /// ledger: whoever can write the schema cannot put a function of his own before one that is meant.
    pub(super) async fn open(server: Server, place: Place) -> Result<Self, PostgresError> {
        let (config, tls) = (config(&server)?, connector(&server.tls, &place)?);
        let client = match tls {
            None => reach(config, NoTls, &place).await?,
            Some(tls) => reach(config, tls, &place).await?,
        };
        let session = Self { client, statements: Mutex::default(), schema: server.schema };
        let set = session.client.batch_execute(&session.settings(false)).await;
        set.map_err(|source| PostgresError::asking(&place, source))?;
        Ok(session)
    }

    /// Begins a transaction as `begin` says. What it relies on is set in it once more, and for it alone: a pooler between
    /// us and the server may have given this session another one's connection, with other settings.
    pub(super) async fn begin(&self, begin: &str) -> Result<(), Error> {
        self.client.batch_execute(&format!("{begin}; {}", self.settings(true))).await
    }

    fn settings(&self, local: bool) -> String {
        // The schema's name is one that needs no quotes; `remote_apply` promises more than `on`, everything else less.
        format!(
            "SELECT set_config('search_path', '{}, pg_temp', {local}), set_config('lock_timeout', '30s', {local}),
                    CASE WHEN current_setting('synchronous_commit') <> 'remote_apply'
                         THEN set_config('synchronous_commit', 'on', {local}) END",
            self.schema
        )
    }

    pub(super) async fn rows(&self, sql: &str, values: &[Value]) -> Result<Vec<Row>, Error> {
        let statement = self.statement(sql).await?;
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| &**value as _).collect();
        self.client.query(&statement, &values).await
    }

    async fn statement(&self, sql: &str) -> Result<Statement, Error> {
        // A panic elsewhere leaves a map that is whole.
        let statements = || self.statements.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(prepared) = statements().get(sql).cloned() {
            return Ok(prepared);
        }
        let prepared = self.client.prepare(sql).await?;
        statements().insert(sql.to_owned(), prepared.clone());
        Ok(prepared)
    }
}

fn config(server: &Server) -> Result<Config, PostgresError> {
    let (user, password) = Environment::of_this_process().login(server)?;
    let mut config = Config::new();
    match &server.host {
        Host::Tcp(host) => config.host(host),
        #[cfg(unix)]
        Host::Unix(folder) => config.host_path(folder),
        #[cfg(not(unix))]
        Host::Unix(folder) => config.host(folder.display().to_string()),
    };
    config.port(server.port).dbname(&server.database).application_name("samebits");
    config.connect_timeout(PATIENCE).tcp_user_timeout(4 * KEEPALIVE);
    config.keepalives_idle(KEEPALIVE).keepalives_interval(KEEPALIVE).keepalives_retries(3);
    config.ssl_mode(match server.tls {
        Tls::Disabled => SslMode::Disable,
        Tls::Verified | Tls::VerifiedBy(_) => SslMode::Require,
    });
    if let Some(user) = user {
        config.user(user);
    }
    if let Some(password) = password {
        config.password(password.as_bytes());
    }
    Ok(config)
}

/// How the server proves its name; `None` where it need not.
fn connector(tls: &Tls, place: &Place) -> Result<Option<MakeRustlsConnect>, PostgresError> {
    let broken = |source| PostgresError::Provider { place: place.clone(), source };
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let builder = || {
        ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .map_err(broken)
    };
    let config = match tls {
        Tls::Disabled => return Ok(None),
        // As every other client in this program.
        Tls::Verified => builder()?.with_platform_verifier().map_err(broken)?,
        Tls::VerifiedBy(file) => {
            let none = || PostgresError::Roots { file: file.clone() };
            let text = std::fs::read(file).map_err(|_| none())?;
            let parsed = pem::parse_many(text).map_err(|_| none())?;
            let mut roots = RootCertStore::empty();
            for part in parsed.into_iter().filter(|part| part.tag() == "CERTIFICATE") {
                roots.add(part.into_contents().into()).map_err(|_| none())?;
            }
            if roots.is_empty() {
                return Err(none());
            }
            builder()?.with_root_certificates(roots)
        }
    };
    Ok(Some(MakeRustlsConnect::new(config.with_no_client_auth())))
}

async fn reach<T>(config: Config, tls: T, place: &Place) -> Result<Client, PostgresError>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
{
    let reached = tokio::time::timeout(PATIENCE, config.connect(tls)).await;
    let timed_out = |_| PostgresError::TimedOut { place: place.clone(), seconds: PATIENCE.as_secs() };
    let (client, connection) =
        reached.map_err(timed_out)?.map_err(|source| PostgresError::connecting(place, source))?;
    // How it ends is told to whoever asks next.
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}
