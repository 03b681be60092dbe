//! Settings of the registry client, as plain data, and the HTTP clients made of them.
//!
//! Guarantees: no setting is read from the environment here; a CA file that cannot be used is an error, never
//! silence. Start at [`HttpConfig`].

use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use reqwest::{Certificate, Client, NoProxy, Proxy, Url};

use super::guard::Guard;
use super::retry::Retry;
use crate::registry::error::RegistryError;

/// Settings of the registry client. The default trusts the system's CAs, knows no login and uses no proxy.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// Files to look for logins in, in order: docker's `config.json`, podman's `auth.json`. Absent ones are skipped.
    pub login_files: Vec<PathBuf>,
    /// Hosts (with port, as typed) that the policy allows to be spoken to without TLS.
    pub plain_http_hosts: Vec<String>,
    /// Loopback hosts (with port, as typed) that speak TLS all the same.
    pub tls_hosts: Vec<String>,
    /// Hosts that may be a token server for any registry, besides the registry's own host.
    pub token_hosts: Vec<String>,
    /// PEM files of further certificate authorities.
    pub ca_files: Vec<PathBuf>,
    /// Proxies.
    pub proxies: Proxies,
    /// Time to connect.
    pub connect_timeout: Duration,
    /// Time for one small answer, body included.
    pub answer_timeout: Duration,
    /// Time a blob may stand still, and time a registry may take to store one that has arrived.
    pub idle_timeout: Duration,
    /// What is too slow for a blob, though it does not stand still.
    pub least_rate: Rate,
    /// Patience.
    pub retry: Retry,
}

/// A rate, over a while: a blob that drips is not waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// So many bytes,
    pub bytes: u64,
    /// in so long.
    pub within: Duration,
}

/// Proxies, spelled as in `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`.
#[derive(Clone, Default)]
pub struct Proxies {
    /// For plain http.
    pub http: Option<String>,
    /// For https.
    pub https: Option<String>,
    /// Hosts to reach directly.
    pub except: Option<String>,
}

impl std::fmt::Debug for Proxies {
    /// A proxy URL may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { http, https, except } = self;
        write!(f, "Proxies {{ http: {}, https: {}, except: {except:?} }}", http.is_some(), https.is_some())
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            login_files: Vec::new(),
            plain_http_hosts: Vec::new(),
            tls_hosts: Vec::new(),
            token_hosts: Vec::new(),
            ca_files: Vec::new(),
            proxies: Proxies::default(),
            connect_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(120),
            // 1 KiB a second.
            least_rate: Rate { bytes: 60 << 10, within: Duration::from_secs(60) },
            retry: Retry::default(),
        }
    }
}

/// Whom a client is for.
#[derive(Clone, Copy)]
pub(super) enum Peer<'a> {
    /// A place that the policy names.
    Named,
    /// The origin of a registry, and nothing else.
    Home(&'a Url),
    /// Where a registry sends.
    Away(&'a Guard),
}

impl HttpConfig {
    /// Where the registry called `host` is reached: plain http for a loopback host that is not named in
    /// `tls_hosts` and for hosts the policy names, https for all others (attack F6).
    ///
    /// # Errors
    /// [`RegistryError::Host`] when `host` is more or less than a host and a port.
    pub(crate) fn base(&self, host: &str) -> Result<Url, RegistryError> {
        let wrong = || RegistryError::Host { host: crate::digest::shorten(host) };
        let served_by =
            if matches!(host, "docker.io" | "index.docker.io") { "registry-1.docker.io" } else { host };
        let url = Url::parse(&format!("https://{served_by}/")).map_err(|_| wrong())?;
        let only_host = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if !only_host
            || !url.username().is_empty()
            || url.password().is_some()
            || host.contains(['/', '\\', '@'])
        {
            return Err(wrong());
        }
        if !self.speaks_plain_http(&url, host) {
            return Ok(url);
        }
        Url::parse(&format!("http://{served_by}/")).map_err(|_| wrong())
    }

    /// Whether plain http is acceptable for `url`, whose host and port are spelled `host`.
    fn speaks_plain_http(&self, url: &Url, host: &str) -> bool {
        let named = |hosts: &[String]| hosts.iter().any(|named| named == host);
        let bare = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let loopback = bare == "localhost"
            || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        (loopback && !named(&self.tls_hosts)) || named(&self.plain_http_hosts)
    }

    /// Whether an address that a registry names may be plain http.
    pub(crate) fn accepts_plain_http(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default();
        let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        self.speaks_plain_http(url, &host)
    }

    /// The client for a place that the policy names itself: see [`HttpConfig::client`].
    pub(crate) fn direct_client(&self) -> Result<Client, RegistryError> {
        self.client(Peer::Named)
    }

    /// A client that follows no redirect, asks for no compression and keeps no cookie.
    pub(super) fn client(&self, peer: Peer<'_>) -> Result<Client, RegistryError> {
        let refused = |source| RegistryError::Client { source };
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let mut builder = Client::builder()
            .user_agent(concat!("samebits/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            // A digest is over what was sent (F4), whichever features another crate turns on.
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .no_proxy()
            .connect_timeout(self.connect_timeout);
        // What is on this machine is not on the proxy's.
        let except = self.proxies.except.as_deref().unwrap_or_default();
        let except = NoProxy::from_string(&format!("{except},localhost,127.0.0.0/8,::1"));
        if let Some(proxy) = &self.proxies.http {
            builder = builder.proxy(Proxy::http(proxy).map_err(refused)?.no_proxy(except.clone()));
        }
        if let Some(proxy) = &self.proxies.https {
            builder = builder.proxy(Proxy::https(proxy).map_err(refused)?.no_proxy(except));
        }
        if let Peer::Away(guard) = peer {
            builder = builder.dns_resolver(guard.clone());
        }
        if !self.ca_files.is_empty() {
            builder = builder.tls_certs_merge(self.authorities()?);
        } else if matches!(peer, Peer::Home(home) if home.scheme() == "http") && self.proxies.http.is_none() {
            // No TLS will be spoken, so nobody is trusted, and no roots are read.
            builder = builder.tls_certs_only([]);
        }
        builder.build().map_err(refused)
    }

    fn authorities(&self) -> Result<Vec<Certificate>, RegistryError> {
        let mut all = Vec::new();
        for file in &self.ca_files {
            let text =
                std::fs::read(file).map_err(|source| RegistryError::CaFile { file: file.clone(), source })?;
            let malformed = || RegistryError::CaMalformed { file: file.clone() };
            let some = Certificate::from_pem_bundle(&text).map_err(|_| malformed())?;
            // A bundle without certificates parses; only building a client looks inside them.
            if some.is_empty() || Client::builder().no_proxy().tls_certs_only(some.clone()).build().is_err() {
                return Err(malformed());
            }
            all.extend(some);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f6_plain_http_is_for_loopback_and_for_hosts_the_policy_names() {
        let config = HttpConfig {
            plain_http_hosts: vec!["registry.lan:5000".into()],
            tls_hosts: vec!["localhost:5443".into()],
            ..HttpConfig::default()
        };
        for (host, base) in [
            ("localhost:5000", "http://localhost:5000/"),
            ("127.0.0.1:5000", "http://127.0.0.1:5000/"),
            ("127.3.2.1", "http://127.3.2.1/"),
            ("[::1]:5000", "http://[::1]:5000/"),
            ("registry.lan:5000", "http://registry.lan:5000/"),
            ("localhost:5443", "https://localhost:5443/"),
            ("registry.lan", "https://registry.lan/"),
            ("registry.lan:5001", "https://registry.lan:5001/"),
            ("localhost.example", "https://localhost.example/"),
            ("10.0.0.1:5000", "https://10.0.0.1:5000/"),
            ("docker.io", "https://registry-1.docker.io/"),
        ] {
            assert_eq!(config.base(host).unwrap().as_str(), base, "{host}");
        }
        for wrong in ["", "a/b", "u@registry.example", "a b", "registry.example?x", "registry.example#x"] {
            assert!(matches!(config.base(wrong), Err(RegistryError::Host { .. })), "{wrong}");
        }
    }

    #[test]
    fn a_broken_ca_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let with = |name: &str, text: Option<&str>| {
            let file = folder.path().join(name);
            if let Some(text) = text {
                std::fs::write(&file, text).unwrap();
            }
            let home = Url::parse("https://registry.example/").unwrap();
            HttpConfig { ca_files: vec![file], ..HttpConfig::default() }.client(Peer::Home(&home))
        };
        for (name, text) in [
            ("rubbish.pem", "rubbish"),
            ("empty.pem", ""),
            ("hollow.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        ] {
            let error = with(name, Some(text)).unwrap_err();
            assert!(matches!(error, RegistryError::CaMalformed { .. }), "{name}: {error}");
            assert!(error.to_string().contains(name), "{error}");
        }
        assert!(matches!(with("absent.pem", None), Err(RegistryError::CaFile { .. })));
    }
}
