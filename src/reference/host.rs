//! Hosts of registries: how they are written, and which of them are known to be the same.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `host`, `host:port`, `1.2.3.4:port`, `[::1]:port`, each in the one way in which it is usually written: a URL says the
/// same for `127.1` and `127.0.0.1`, and for `:05000` and `:5000`; here only the second of each is a host.
pub(super) fn is_host(host: &str) -> bool {
    let (name, port) = parts(host);
    let name_is_good = match name.strip_prefix('[') {
        Some(address) => address.strip_suffix(']').is_some_and(is_v6),
        None => is_name(name),
    };
    name_is_good && port.is_none_or(is_port)
}

/// The name or address, and what is behind its `:`.
fn parts(host: &str) -> (&str, Option<&str>) {
    let name = if host.starts_with('[') { host.find(']').map_or(host.len(), |end| end + 1) } else { 0 };
    match host[name..].find(':') {
        Some(colon) => (&host[..name + colon], Some(&host[name + colon + 1..])),
        None => (host, None),
    }
}

fn is_v6(address: &str) -> bool {
    address.parse::<Ipv6Addr>().is_ok_and(|parsed| parsed.to_string() == address)
}

/// 1 to 65535, without zeros before it.
fn is_port(port: &str) -> bool {
    port.parse::<u16>().is_ok_and(|number| number > 0 && number.to_string() == port)
}

fn is_name(name: &str) -> bool {
    let label_is_good = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let address_is_good = !ends_in_a_number(name) || name.parse::<Ipv4Addr>().is_ok();
    name.len() <= 253 && name.split('.').all(label_is_good) && address_is_good
}

/// URL Standard, "ends in a number checker": such a host is read as an address.
fn ends_in_a_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let hexadecimal = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits(last) || last.strip_prefix("0x").is_some_and(hexadecimal)
}

/// One host for the names that are known to mean the same registry: those of Docker Hub, those of this machine, and
/// each with and without the port that is meant where none is said. Whoever serves one place under two other names is
/// not found out.
pub(super) fn canonical(host: &str) -> String {
    let (name, port) = parts(host);
    let name = match name {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        name if is_this_machine(name) => "localhost",
        name => name,
    };
    match port.filter(|port| !matches!(*port, "443" | "80")) {
        Some(port) => format!("{name}:{port}"),
        None => name.to_owned(),
    }
}

/// `localhost` and what is below it (RFC 6761, section 6.3), and the addresses that lead there.
fn is_this_machine(name: &str) -> bool {
    let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    match address.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(address) => address.is_loopback() || address.is_unspecified(),
        Err(_) => name == "localhost" || name.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_registry_has_one_name() {
        for (host, name) in [
            ("a.example:443", "a.example"),
            ("a.example:80", "a.example"),
            ("a.example:5000", "a.example:5000"),
            ("index.docker.io", "docker.io"),
            ("registry-1.docker.io:443", "docker.io"),
            ("127.0.0.1:5000", "localhost:5000"),
            ("[::1]:5000", "localhost:5000"),
            ("[::ffff:127.0.0.1]", "localhost"),
            ("[2001:db8::1]:5000", "[2001:db8::1]:5000"),
            ("hub.localhost:5000", "localhost:5000"),
            ("10.0.0.1", "10.0.0.1"),
        ] {
            assert!(is_host(host), "{host}");
            assert_eq!(canonical(host), name, "{host}");
        }
    }

    #[test]
    fn f7_a_host_has_one_spelling() {
        for wrong in
            ["a.example:05000", "a.example:0", "a.example:+1", "a:1:2", "127.1", "127.0.0.01", "a.0x7f", "1"]
        {
            assert!(!is_host(wrong), "{wrong}");
        }
        for wrong in ["[::1", "[::1]5000", "[::01]", "[::1]:", "[::A]", "[]", "::1", "256.0.0.1"] {
            assert!(!is_host(wrong), "{wrong}");
        }
        // What only looks like one.
        for good in ["1.a.example", "0x7f.example", "1a.2b"] {
            assert!(is_host(good), "{good}");
        }
    }
}
