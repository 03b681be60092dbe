//! Which addresses another host may have: a registry on the public internet sends nobody into our own network.
//!
//! Guarantees: an address that is loopback, link-local (cloud metadata) or private is contacted on behalf of a
//! registry only when the registry itself has an address of that kind; the check is made on the very addresses that
//! are then connected to (attacks F1, F2).
//! BUG: behind a proxy the proxy resolves names, and only literal addresses are checked.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Where an address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Public,
    Private,
    LinkLocal,
    Loopback,
}

fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(v4) => reach_v4(v4),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => reach_v4(v4),
            None if v6.is_loopback() || v6.is_unspecified() => Reach::Loopback,
            None if v6.is_unicast_link_local() => Reach::LinkLocal,
            None if v6.is_unique_local() => Reach::Private,
            // 64:ff9b::/96 (NAT64, RFC 6052) carries an IPv4 address.
            None if v6.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0] => {
                let [.., a, b, c, d] = v6.octets();
                reach_v4(Ipv4Addr::new(a, b, c, d))
            }
            None => Reach::Public,
        },
    }
}

fn reach_v4(v4: Ipv4Addr) -> Reach {
    let [a, b, ..] = v4.octets();
    if v4.is_loopback() || a == 0 {
        Reach::Loopback
    } else if v4.is_link_local() {
        Reach::LinkLocal
    } else if v4.is_private() || (a == 100 && b & 0xc0 == 64) || v4.is_broadcast() || v4.is_multicast() {
        // 100.64.0.0/10: shared address space, RFC 6598.
        Reach::Private
    } else {
        Reach::Public
    }
}

/// Resolves names of hosts other than the registry's.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    /// The registry's host.
    home: String,
    /// Hosts the operator named.
    named: Vec<String>,
}

/// The refusal.
#[derive(Debug, thiserror::Error)]
#[error("`{host}` has a loopback, link-local or private address, and the registry does not")]
pub(super) struct NotPublic {
    host: String,
}

impl Guard {
    pub(super) fn new(home: &Url, named: &[String]) -> Self {
        Self { home: home.host_str().unwrap_or_default().to_owned(), named: named.to_vec() }
    }

    /// Whether a URL with a literal address may be followed. Names are checked when they are resolved.
    pub(super) fn accepts_literal(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        match literal(host) {
            None => true,
            Some(address) => {
                let reach = reach(address);
                reach == Reach::Public
                    || self.named.iter().any(|named| named == host)
                    || lookup(&self.home)
                        .is_ok_and(|home| home.iter().any(|at| self::reach(at.ip()) == reach))
            }
        }
    }

    /// The addresses of `host`, all of them acceptable.
    fn resolve_now(&self, host: &str) -> Result<Vec<SocketAddr>, Box<dyn std::error::Error + Send + Sync>> {
        let found = lookup(host)?;
        if self.named.iter().any(|named| named == host)
            || found.iter().all(|at| reach(at.ip()) == Reach::Public)
        {
            return Ok(found);
        }
        let home = lookup(&self.home)?;
        let shared = |at: &SocketAddr| {
            reach(at.ip()) == Reach::Public || home.iter().any(|home| reach(home.ip()) == reach(at.ip()))
        };
        if found.iter().all(shared) { Ok(found) } else { Err(NotPublic { host: host.to_owned() }.into()) }
    }
}

fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Blocks, unless `host` is a literal address.
fn lookup(host: &str) -> std::io::Result<Vec<SocketAddr>> {
    match literal(host) {
        Some(address) => Ok(vec![SocketAddr::new(address, 0)]),
        None => Ok((host, 0).to_socket_addrs()?.collect()),
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found = tokio::task::spawn_blocking(move || guard.resolve_now(&host)).await??;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(home: &str) -> Guard {
        Guard::new(&Url::parse(home).unwrap(), &["10.9.9.9".to_owned()])
    }

    #[test]
    fn f2_a_public_registry_leads_nobody_inside() {
        let guard = guard("https://8.8.8.8/");
        for inside in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "[::1]",
            "[::]",
            "[fe80::1]",
            "[fd00::1]",
            "[::ffff:127.0.0.1]",
            "[64:ff9b::a9fe:a9fe]",
            "2130706433",
            "0x7f.1",
        ] {
            let url = Url::parse(&format!("https://{inside}/blob")).unwrap();
            assert!(!guard.accepts_literal(&url), "{inside}");
        }
        for outside in ["1.1.1.1", "[2606:4700::1111]", "10.9.9.9", "cdn.example"] {
            let url = Url::parse(&format!("https://{outside}/blob")).unwrap();
            assert!(guard.accepts_literal(&url), "{outside}");
        }
        assert!(guard.resolve_now("localhost").is_err());
    }

    #[test]
    fn f2_a_registry_inside_may_lead_to_its_own_kind_only() {
        let guard = guard("https://10.0.0.5/");
        let accepts = |host: &str| guard.accepts_literal(&Url::parse(&format!("https://{host}/")).unwrap());
        assert!(accepts("10.0.0.6") && accepts("8.8.8.8"));
        assert!(!accepts("127.0.0.1") && !accepts("169.254.169.254"));
    }
}
