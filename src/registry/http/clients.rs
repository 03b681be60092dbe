//! The two ways out: to the registry's own origin, and to others that it names.
//!
//! Guarantees: what goes to another origin goes through the [`Guard`]. The machine's roots of TLS, some hundred
//! files, are read where TLS is spoken, and not before.

use std::sync::{Arc, OnceLock};

use reqwest::{Client, Url};

use super::config::{HttpConfig, Peer};
use super::guard::Guard;
use crate::registry::error::RegistryError;

/// See the module. Clones share their connections.
#[derive(Clone)]
pub(super) struct Clients(Arc<Ways>);

struct Ways {
    home: Url,
    at_home: Client,
    /// Made when it is wanted: most registries send nobody away.
    away: OnceLock<Client>,
    config: HttpConfig,
    guard: Guard,
}

impl Clients {
    pub(super) fn new(config: &HttpConfig, home: &Url, guard: &Guard) -> Result<Self, RegistryError> {
        let at_home = config.client(Peer::Home(home))?;
        let (home, config, guard) = (home.clone(), config.clone(), guard.clone());
        Ok(Self(Arc::new(Ways { home, at_home, away: OnceLock::new(), config, guard })))
    }

    /// The client for `url`.
    pub(super) fn to(&self, url: &Url) -> Result<&Client, RegistryError> {
        let ways = &self.0;
        if url.origin() == ways.home.origin() {
            return Ok(&ways.at_home);
        }
        if let Some(away) = ways.away.get() {
            return Ok(away);
        }
        let away = ways.config.client(Peer::Away(&ways.guard))?;
        Ok(ways.away.get_or_init(|| away))
    }
}
