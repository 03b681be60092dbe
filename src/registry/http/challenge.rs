//! `WWW-Authenticate`, read strictly, and which token servers a registry may name.
//!
//! Guarantees: a token server is contacted only over https (plain http only where the registry itself is), on the
//! registry's own host, a known partner host or one the operator named (attack F1).
//! Never does: I/O. Grammar: RFC 9110 section 11.6.1; distribution-spec token authentication.

use reqwest::Url;

use crate::registry::error::Distrust;

/// One challenge that we can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User and password with every request.
    Basic,
    /// A token from a token server.
    Bearer {
        /// The token server.
        realm: String,
        /// What the token server calls the registry.
        service: Option<String>,
        /// The scopes the registry wants to see, separated by spaces.
        scope: Option<String>,
    },
}

/// The header cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

const LIMIT: usize = 8 * 1024;
const SPACE: [char; 2] = [' ', '\t'];
/// Of a list.
const BETWEEN: [char; 3] = [',', ' ', '\t'];

/// Reads one header value: the challenges of the schemes we know, in order. Unknown schemes are left out.
pub(super) fn parse(header: &str) -> Result<Vec<Challenge>, Malformed> {
    if header.len() > LIMIT {
        return Err(Malformed);
    }
    let mut rest = header.trim();
    let mut challenges = Vec::new();
    loop {
        // A list may have empty elements (section 5.6.1.2).
        rest = rest.trim_start_matches(BETWEEN);
        if rest.is_empty() {
            return Ok(challenges);
        }
        let scheme = take_token(&mut rest).ok_or(Malformed)?;
        if !rest.is_empty() && !rest.starts_with([' ', ',']) {
            return Err(Malformed);
        }
        skip_token68(&mut rest);
        let mut parameters: Vec<(String, String)> = Vec::new();
        loop {
            rest = rest.trim_start_matches(SPACE);
            let Some((name, value)) = take_parameter(&mut rest)? else { break };
            if parameters.iter().any(|(known, _)| *known == name) {
                return Err(Malformed);
            }
            parameters.push((name, value));
            rest = rest.trim_start_matches(SPACE);
            if !rest.is_empty() && !rest.starts_with(',') {
                return Err(Malformed);
            }
            rest = rest.trim_start_matches(BETWEEN);
        }
        let mut take = |wanted: &str| {
            let at = parameters.iter().position(|(name, _)| name == wanted)?;
            Some(parameters.swap_remove(at).1)
        };
        match scheme.to_ascii_lowercase().as_str() {
            "basic" => challenges.push(Challenge::Basic),
            "bearer" => {
                let realm = take("realm").ok_or(Malformed)?;
                challenges.push(Challenge::Bearer { realm, service: take("service"), scope: take("scope") });
            }
            _ => {}
        }
    }
}

/// What Negotiate and NTLM say instead of parameters (RFC 9110, section 11.2), where that is what comes next.
fn skip_token68(rest: &mut &str) {
    let word = |c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c);
    let after = rest.trim_start_matches(SPACE).trim_start_matches(word).trim_start_matches('=');
    let after = after.trim_start_matches(SPACE);
    if after.is_empty() || after.starts_with(',') {
        *rest = after;
    }
}

/// RFC 9110 `token`.
fn take_token<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let word = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let end = rest.find(|c| !word(c)).unwrap_or(rest.len());
    let (token, after) = rest.split_at(end);
    *rest = after;
    (!token.is_empty()).then_some(token)
}

/// `name=value` or `name="value"`, with spaces around the sign or not; `None` when something else (the next scheme, or
/// nothing) begins here.
fn take_parameter(rest: &mut &str) -> Result<Option<(String, String)>, Malformed> {
    let mut after = *rest;
    let Some(name) = take_token(&mut after) else { return Ok(None) };
    let Some(value) = after.trim_start_matches(SPACE).strip_prefix('=') else { return Ok(None) };
    after = value.trim_start_matches(SPACE);
    let value = match after.strip_prefix('"') {
        Some(quoted) => {
            let mut text = String::new();
            let mut characters = quoted.char_indices();
            let end = loop {
                match characters.next().ok_or(Malformed)? {
                    (at, '"') => break at + 1,
                    (_, '\\') => text.push(characters.next().ok_or(Malformed)?.1),
                    (_, c) if c.is_control() => return Err(Malformed),
                    (_, c) => text.push(c),
                }
            };
            after = &quoted[end..];
            text
        }
        None => take_token(&mut after).ok_or(Malformed)?.to_owned(),
    };
    *rest = after;
    Ok(Some((name.to_ascii_lowercase(), value)))
}

/// Registries whose token server is on another host of the same owner.
const PARTNERS: &[(&str, &str)] = &[
    ("registry-1.docker.io", "auth.docker.io"),
    ("registry.gitlab.com", "gitlab.com"),
    ("registry.digitalocean.com", "api.digitalocean.com"),
];

/// The token server, if it may be asked on behalf of the registry at `home`.
pub(super) fn trusted_realm(realm: &str, home: &Url, token_hosts: &[String]) -> Result<Url, Distrust> {
    let realm = Url::parse(realm).map_err(|_| Distrust::NotAUrl)?;
    let same_host = realm.host() == home.host();
    match realm.scheme() {
        "https" => {}
        "http" if home.scheme() == "http" && same_host => {}
        "http" if home.scheme() == "https" => return Err(Distrust::Downgrade),
        "http" => return Err(Distrust::PlainHttp),
        _ => return Err(Distrust::NotAUrl),
    }
    if !realm.username().is_empty() || realm.password().is_some() {
        return Err(Distrust::UserInfo);
    }
    let host = realm.host_str().ok_or(Distrust::NotAUrl)?;
    let partner = PARTNERS.contains(&(home.host_str().unwrap_or_default(), host));
    let named = token_hosts.iter().any(|named| named == host);
    if same_host || partner || named { Ok(realm) } else { Err(Distrust::OtherHost) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        Challenge::Bearer {
            realm: realm.into(),
            service: service.map(Into::into),
            scope: scope.map(Into::into),
        }
    }

    #[test]
    fn what_registries_send_is_read() {
        assert_eq!(parse(r#"Basic realm="Registry Realm""#), Ok(vec![Challenge::Basic]));
        assert_eq!(
            parse(
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#
            ),
            Ok(vec![bearer(
                "https://auth.docker.io/token",
                Some("registry.docker.io"),
                Some("repository:a/b:pull,push")
            )])
        );
        assert_eq!(
            parse(r#"Negotiate, bearer realm=x , Service="a\"b", Basic realm="y""#),
            Ok(vec![bearer("x", Some("a\"b"), None), Challenge::Basic])
        );
        assert_eq!(parse("Negotiate"), Ok(vec![]));
        // Odd, and within the grammar: a token instead of parameters, empty elements, spaces around the sign.
        let basic = || Ok(vec![Challenge::Basic]);
        assert_eq!(parse("Negotiate YIIZaBc+/4A==, Basic realm=\"y\""), basic());
        assert_eq!(parse("NTLM TlRMTVNTUAAC , NTLM,Basic realm = \"y\" ,"), basic());
        assert_eq!(parse(" ,, Basic realm=y,,"), basic());
        assert_eq!(
            parse("Basic realm=\"y\",Bearer realm\t= \"x\" , scope= a, error=\"invalid_token\""),
            Ok(vec![Challenge::Basic, bearer("x", None, Some("a"))])
        );
        assert_eq!(parse(""), Ok(vec![]));
    }

    #[test]
    fn f1_a_malformed_challenge_is_not_guessed_at() {
        for wrong in [
            "Bearer",
            "Bearer service=\"x\"",
            "Bearer realm=\"x",
            "Bearer realm=\"x\" service=\"y\"",
            "Bearer realm=\"x\",realm=\"y\"",
            "Bearer realm=\"x\\",
            "Bearer realm=",
            "Bearer realm= service=x",
            "Bearer eyJhbGciOi==",
            "=",
            "Basic;realm=x",
        ] {
            assert_eq!(parse(wrong), Err(Malformed), "{wrong}");
        }
        assert_eq!(parse(&format!("Basic realm=\"{}\"", "x".repeat(9000))), Err(Malformed));
    }

    #[test]
    fn f1_the_realm_must_belong_to_the_registry() {
        let realm = |realm: &str, home: &str, named: &[&str]| {
            let named: Vec<String> = named.iter().map(|host| (*host).to_owned()).collect();
            trusted_realm(realm, &Url::parse(home).unwrap(), &named).map(|url| url.to_string())
        };
        for (yes, home, named) in [
            ("https://registry.example/token", "https://registry.example/", &[][..]),
            ("https://registry.example:8443/token", "https://registry.example:5000/", &[]),
            ("https://auth.docker.io/token", "https://registry-1.docker.io/", &[]),
            ("https://gitlab.com/jwt/auth", "https://registry.gitlab.com/", &[]),
            ("https://sso.example/token", "https://registry.example/", &["sso.example"]),
            ("http://127.0.0.1:5001/token", "http://127.0.0.1:5000/", &[]),
        ] {
            assert_eq!(realm(yes, home, named).as_deref(), Ok(yes), "{yes}");
        }
        for (no, home, named, why) in [
            ("http://registry.example/token", "https://registry.example/", &[][..], Distrust::Downgrade),
            ("http://sso.example/token", "http://registry.example/", &["sso.example"], Distrust::PlainHttp),
            ("https://evil.example/token", "https://registry.example/", &[], Distrust::OtherHost),
            ("https://registry.example.evil/token", "https://registry.example/", &[], Distrust::OtherHost),
            ("https://auth.docker.io/token", "https://registry.example/", &[], Distrust::OtherHost),
            ("https://169.254.169.254/latest", "https://registry.example/", &[], Distrust::OtherHost),
            ("https://127.0.0.1/token", "https://registry.example/", &[], Distrust::OtherHost),
            ("https://2130706433/token", "https://registry.example/", &[], Distrust::OtherHost),
            ("https://[::1]/token", "https://registry.example/", &[], Distrust::OtherHost),
            ("https://registry.example@evil.example/", "https://registry.example/", &[], Distrust::UserInfo),
            ("https://u:p@registry.example/", "https://registry.example/", &[], Distrust::UserInfo),
            ("file:///etc/passwd", "https://registry.example/", &[], Distrust::NotAUrl),
            ("/token", "https://registry.example/", &[], Distrust::NotAUrl),
        ] {
            assert_eq!(realm(no, home, named), Err(why), "{no}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_headers_never_panic(header in "\\PC{0,80}|(Bearer |Basic |realm=|\"|\\\\|,| |x|=){0,30}") {
            let _ = parse(&header);
        }
    }
}
