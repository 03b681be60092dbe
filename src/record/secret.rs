//! What must not get into a record, which is for ever: credentials (`ATTACKS.md` D9).
//!
//! Guarantees: a text that a person typed is refused where it holds a URL with a login, a signed or token-bearing URL, a
//! private key, or a token of a well-known shape. Never does: find every secret, or repeat what it found.

/// What was found, in words.
type What = &'static str;

/// The beginnings of tokens, how many characters of a token have to follow, and whose they are.
const TOKENS: [(&str, usize, What); 17] = [
    ("ghp_", 20, "a GitHub token"),
    ("gho_", 20, "a GitHub token"),
    ("ghu_", 20, "a GitHub token"),
    ("ghs_", 20, "a GitHub token"),
    ("ghr_", 20, "a GitHub token"),
    ("github_pat_", 20, "a GitHub token"),
    ("glpat-", 16, "a GitLab token"),
    ("AKIA", 16, "an AWS access key"),
    ("ASIA", 16, "an AWS access key"),
    ("AIza", 30, "a Google API key"),
    ("ya29.", 20, "a Google token"),
    ("xoxb-", 16, "a Slack token"),
    ("xoxp-", 16, "a Slack token"),
    ("sk_live_", 16, "a Stripe key"),
    ("npm_", 30, "an npm token"),
    ("dckr_pat_", 16, "a Docker token"),
    ("AGE-SECRET-KEY-", 20, "an age key"),
];

/// The parameters of a URL that let whoever has the URL in.
const PARAMETERS: [&str; 9] = [
    "access_token",
    "token",
    "password",
    "secret",
    "api_key",
    "sig",
    "signature",
    "x-amz-signature",
    "x-goog-signature",
];

/// What of a secret a text holds, if it looks like it.
pub(super) fn find(text: &str) -> Option<What> {
    let key = text.find("-----BEGIN").is_some_and(|at| text[at..].contains("PRIVATE KEY"));
    key.then_some("a private key").or_else(|| text.split_whitespace().find_map(word))
}

fn word(word: &str) -> Option<What> {
    let url = word.match_indices("://").find_map(|(at, found)| url(&word[at + found.len()..]));
    url.or_else(|| TOKENS.into_iter().find_map(|token| holds(word, token))).or_else(|| jwt(word))
}

/// What follows the scheme of a URL (RFC 3986, section 3.2.1: userinfo; 3.4: query).
fn url(rest: &str) -> Option<What> {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Some("a URL with a login");
    }
    let (_, parameters) = rest.split_once(['?', '#'])?;
    let lets_in = |parameter: &str| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        !value.is_empty() && PARAMETERS.iter().any(|known| name.eq_ignore_ascii_case(known))
    };
    parameters.split(['&', ';', '#', '?']).any(lets_in).then_some("a URL that lets in whoever has it")
}

fn holds(word: &str, (beginning, length, what): (&str, usize, What)) -> Option<What> {
    let of_a_token = |character: &char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
    let long = |(at, _): (usize, &str)| {
        let starts = !word[..at].ends_with(|before: char| before.is_ascii_alphanumeric());
        starts && word[at + beginning.len()..].chars().take_while(of_a_token).count() >= length
    };
    word.match_indices(beginning).any(long).then_some(what)
}

/// A JSON Web Token in compact form (RFC 7519): three parts, of which the first begins an object.
fn jwt(word: &str) -> Option<What> {
    let at = word.find("eyJ")?;
    let of_base64 = |part: &str| {
        part.len() >= 8 && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
    };
    let mut parts = word[at..].split('.');
    let (header, claims) = (parts.next()?, parts.next()?);
    (of_base64(header) && of_base64(claims) && parts.next().is_some()).then_some("a JSON Web Token")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d9_what_looks_like_a_secret_is_found() {
        let long = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6";
        for (text, what) in [
            ("see https://ana:hunter2@ci.example/run/7", "a URL with a login"),
            ("https://token@git.example/acme", "a URL with a login"),
            ("(https://ci.example/log?Access_Token=abc)", "a URL that lets in whoever has it"),
            ("https://s3.example/x?a=b&X-Amz-Signature=00ff", "a URL that lets in whoever has it"),
            ("https://ci.example/#token=abc", "a URL that lets in whoever has it"),
            (&format!("ghp_{long}"), "a GitHub token"),
            (&format!("GITHUB_TOKEN=ghs_{long}"), "a GitHub token"),
            (&format!("\"github_pat_{long}\","), "a GitHub token"),
            ("glpat-abcdefghij0123456789", "a GitLab token"),
            ("AKIAABCDEFGHIJKLMNOP", "an AWS access key"),
            ("-----BEGIN PRIVATE KEY-----\nMC4C", "a private key"),
            ("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----", "a private key"),
            ("Bearer eyJhbGciOiJub25l.eyJzdWIiOiJhbmEi.c2ln", "a JSON Web Token"),
        ] {
            assert_eq!(find(text), Some(what), "{text}");
        }
    }

    #[test]
    fn d9_what_looks_like_none_is_none() {
        for text in [
            "",
            "incident 117, ask ana@acme.example",
            "https://ci.example/run/7?attempt=2#step-3",
            "https://ci.example/@acme/run",
            "https://ci.example/run?token=",
            "the prefix ghp_ is GitHub's",
            "mailto:ana@acme.example",
            "sha256:1a9f76c80194b3f98f5faf5a5daefd4d28f65fc01c8090284f5bf47a15b003cc",
            "npm_config_registry",
            "the key in -----BEGIN PUBLIC KEY-----",
        ] {
            assert_eq!(find(text), None, "{text}");
        }
    }
}
