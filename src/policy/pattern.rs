//! Patterns for identities, for those who cannot list them: anchored at both ends, and never everything.
//!
//! `{service}` is filled in as the name itself, never as a pattern; each service has a regular expression of its own,
//! made once and held to the same rules.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use regex::{Regex, RegexBuilder};
use regex_syntax::ast::{Ast, parse};

use super::names::ServiceName;
use super::template::SERVICE;

/// The longest pattern, in bytes.
const LONGEST: usize = 512;
/// How large a compiled pattern may be, in bytes.
const COMPILED: usize = 1 << 18;
/// Identities nobody means (RFC 2606 reserves `invalid`): what matches one of them matches too much.
const STRANGERS: [&str; 4] = [
    "https://stranger.invalid/a/b/.github/workflows/c.yml@refs/heads/d",
    "https://github.com/stranger.invalid/b/.github/workflows/c.yml@refs/heads/d",
    "stranger@stranger.invalid",
    "a",
];
/// Stands for `{service}` while the pattern's shape is looked at: a private character, which no pattern needs.
const PLACE: char = '\u{e000}';

/// A regular expression that an identity has to match from its first to its last character.
#[derive(Clone)]
pub struct Pattern {
    text: String,
    compiled: Compiled,
}

#[derive(Clone)]
enum Compiled {
    /// One for all.
    Every(Regex),
    /// One for each service of the policy.
    Each {
        services: BTreeMap<ServiceName, Regex>,
        /// Whether no identity can match for two services.
        distinct: bool,
    },
}

/// Why a text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It would match in the middle of somebody else's identity.
    #[error("a pattern begins with `^` and ends with `$`")]
    NotAnchored,
    /// Everybody, or everybody on GitHub.
    #[error("it matches strangers, such as `{stranger}`")]
    Everybody {
        /// Whom it matches.
        stranger: &'static str,
    },
    /// `{service}` as a part of a character class, or behind a backslash: not the name of a service.
    #[error("`{{service}}` stands where a name cannot stand")]
    Placeholder,
    /// Too long, or too large when compiled.
    #[error("it is longer than {LONGEST} bytes, or needs too much memory")]
    TooLarge,
    /// Not a regular expression.
    #[error("it is not a regular expression")]
    Syntax,
}

impl Pattern {
    /// Reads `^…$`, for each of these services.
    ///
    /// # Errors
    /// [`PatternError`] for what is not anchored, matches strangers for any service, or is no regular expression
    /// (crate `regex`).
    pub(super) fn parse(text: &str, services: &BTreeSet<ServiceName>) -> Result<Self, PatternError> {
        if text.len() > LONGEST {
            return Err(PatternError::TooLarge);
        }
        let inner = text
            .strip_prefix('^')
            .and_then(|rest| rest.strip_suffix('$'))
            // `\$` is a dollar sign, `\\$` an anchor behind a backslash.
            .filter(|inner| inner.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 0)
            .ok_or(PatternError::NotAnchored)?;
        let compiled = match inner.contains(SERVICE) {
            false => Compiled::Every(compile(inner)?),
            true => {
                let distinct = distinct(inner)?;
                let fill = |name: &ServiceName| {
                    let literal = format!("(?:{})", regex::escape(name.as_str()));
                    Ok((name.clone(), compile(&inner.replace(SERVICE, &literal))?))
                };
                Compiled::Each { services: services.iter().map(fill).collect::<Result<_, _>>()?, distinct }
            }
        };
        Ok(Self { text: text.to_owned(), compiled })
    }

    /// Whether the whole identity matches when it speaks about a service.
    pub fn matches(&self, identity: &str, service: &ServiceName) -> bool {
        match &self.compiled {
            Compiled::Every(regex) => regex.is_match(identity),
            // A service the policy does not have has no identities.
            Compiled::Each { services, .. } => {
                services.get(service).is_some_and(|regex| regex.is_match(identity))
            }
        }
    }

    /// Whether an identity that matches for one service can match for no other.
    pub fn names_service(&self) -> bool {
        match &self.compiled {
            Compiled::Every(_) => false,
            Compiled::Each { distinct, .. } => *distinct,
        }
    }

    /// How many regular expressions it took.
    pub(super) fn compiled(&self) -> usize {
        match &self.compiled {
            Compiled::Every(_) => 1,
            Compiled::Each { services, .. } => services.len(),
        }
    }

    /// The pattern as written, with its anchors.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// For whole identities, and not everybody's.
fn compile(inner: &str) -> Result<Regex, PatternError> {
    let compile = |pattern: &str| {
        RegexBuilder::new(pattern).size_limit(COMPILED).dfa_size_limit(COMPILED).build().map_err(|error| {
            match error {
                regex::Error::CompiledTooBig(_) => PatternError::TooLarge,
                _ => PatternError::Syntax,
            }
        })
    };
    // By itself first: `)(` would close our group and open another.
    compile(inner)?;
    // Whatever stands inside, it stands between the ends of the text: `^a|b$` is one of two whole identities.
    let regex = compile(&format!(r"\A(?:{inner})\z"))?;
    match STRANGERS.into_iter().find(|stranger| regex.is_match(stranger)) {
        Some(stranger) => Err(PatternError::Everybody { stranger }),
        None => Ok(regex),
    }
}

/// Whether no identity can match for two services, as the pattern's shape shows: characters that are fixed in
/// number, then `{service}`, then a character that no service's name has, or the end.
///
/// Then the name is the run of a name's characters at a known place, and one identity has one such run. Where the
/// shape is another the answer is no, whatever the pattern matches.
fn distinct(inner: &str) -> Result<bool, PatternError> {
    if inner.contains(PLACE) {
        return Err(PatternError::Placeholder);
    }
    let places = inner.matches(SERVICE).count();
    let shape = parse::Parser::new().parse(&inner.replace(SERVICE, &PLACE.to_string()));
    let shape = shape.map_err(|_| PatternError::Syntax)?;
    // In brackets the name would be any one of its letters.
    if literals(&shape) != places {
        return Err(PatternError::Placeholder);
    }
    let whole = [shape];
    let parts = match &whole {
        [Ast::Concat(concat)] => concat.asts.as_slice(),
        only => only.as_slice(),
    };
    let mut rest = parts.iter().skip_while(|part| match part {
        Ast::Literal(literal) => literal.c != PLACE,
        Ast::Dot(_) => true,
        _ => false,
    });
    Ok(match (rest.next(), rest.next()) {
        (Some(Ast::Literal(place)), None) => place.c == PLACE,
        (Some(Ast::Literal(place)), Some(Ast::Literal(next))) => {
            place.c == PLACE && next.c != PLACE && !is_name_character(next.c)
        }
        _ => false,
    })
}

fn is_name_character(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
}

/// How often [`PLACE`] stands where it matches itself: not in a class.
fn literals(shape: &Ast) -> usize {
    match shape {
        Ast::Literal(literal) => usize::from(literal.c == PLACE),
        Ast::Repetition(repetition) => literals(&repetition.ast),
        Ast::Group(group) => literals(&group.ast),
        Ast::Alternation(alternation) => alternation.asts.iter().map(literals).sum(),
        Ast::Concat(concat) => concat.asts.iter().map(literals).sum(),
        Ast::Empty(_)
        | Ast::Flags(_)
        | Ast::Dot(_)
        | Ast::Assertion(_)
        | Ast::ClassUnicode(_)
        | Ast::ClassPerl(_)
        | Ast::ClassBracketed(_) => 0,
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names() -> BTreeSet<ServiceName> {
        ["shop", "api", "shop-api", "a", "github"].into_iter().map(name).collect()
    }

    fn name(text: &str) -> ServiceName {
        text.parse().unwrap()
    }

    fn parse(text: &str) -> Result<Pattern, PatternError> {
        Pattern::parse(text, &names())
    }

    #[test]
    fn b6_a_pattern_is_anchored_and_never_everybody() {
        for (text, error) in [
            (".*", PatternError::NotAnchored),
            ("", PatternError::NotAnchored),
            ("^", PatternError::NotAnchored),
            ("^https://github.com/acme/", PatternError::NotAnchored),
            ("https://github.com/acme/x$", PatternError::NotAnchored),
            (r"^https://github\.com/acme/x\$", PatternError::NotAnchored),
            ("^(a$", PatternError::Syntax),
            ("^a)(b$", PatternError::Syntax),
            (r"^(\w{1000}){1000}$", PatternError::TooLarge),
        ] {
            assert_eq!(parse(text).unwrap_err(), error, "{text}");
        }
        assert_eq!(parse(&format!("^{}$", "a".repeat(600))).unwrap_err(), PatternError::TooLarge);
        for everybody in [
            "^.*$",
            "^.+$",
            "^(.*)$",
            "^.*@.*$",
            "^https://.*$",
            "^https://github.com/.*$",
            "^a|b$",
            "^[^x]*$",
        ] {
            assert!(matches!(parse(everybody), Err(PatternError::Everybody { .. })), "{everybody}");
        }
    }

    #[test]
    fn b6_a_pattern_matches_whole_identities_only() {
        let pattern = parse(r"^https://github\.com/acme/[a-z]+|me@acme\.example$").unwrap();
        assert!(
            pattern.matches("https://github.com/acme/shop", &name("shop"))
                && pattern.matches("me@acme.example", &name("shop"))
        );
        for wrong in [
            "https://github.com/acme/shop/evil",
            "https://github.com/acme/shop\n",
            "\nme@acme.example",
            "https://evil/?https://github.com/acme/shop",
            "not-me@acme.example",
            "",
        ] {
            assert!(!pattern.matches(wrong, &name("shop")), "{wrong:?}");
        }
        // Nor do flags inside reach the ends.
        let lines = parse("^(?m)acme$").unwrap();
        assert!(
            !lines.matches("acme\nx", &name("shop"))
                && !lines.matches("x\nacme", &name("shop"))
                && lines.matches("acme", &name("shop"))
        );
    }

    #[test]
    fn b6_a_pattern_is_filled_in_and_held_to_the_rules_for_every_service() {
        let pattern =
            parse(r"^https://github\.com/acme/{service}/\.github/workflows/[a-z]+\.yml@refs/tags/.+$")
                .unwrap();
        let of = |repository: &str| {
            format!("https://github.com/acme/{repository}/.github/workflows/build.yml@refs/tags/v1")
        };
        for service in names() {
            for repository in names() {
                assert_eq!(pattern.matches(&of(repository.as_str()), &service), service == repository);
            }
            assert!(!pattern.matches(&of("{service}"), &service) && !pattern.matches(&of(".*"), &service));
        }
        // A service that the policy does not have, whatever the pattern would make of its name.
        assert!(!pattern.matches(&of("other"), &name("other")));
        assert!(!parse("^x:{service}|y:z$").unwrap().matches("y:z", &name("other")));
        // The name stands as it is, in one piece.
        let pattern = parse("^x:{service}?$").unwrap();
        assert!(pattern.matches("x:shop", &name("shop")) && pattern.matches("x:", &name("shop")));
        assert!(!pattern.matches("x:sho", &name("shop")));
        for (wrong, error) in [
            ("^x:[{service}]$", PatternError::Placeholder),
            ("^x:[^{service}]+$", PatternError::Placeholder),
            (r"^x:\{service}$", PatternError::Syntax),
            (r"^x:\p{service}$", PatternError::Placeholder),
            ("^x:(?P<{service}>y)$", PatternError::Syntax),
            ("^x:{Service}$", PatternError::Syntax),
            ("^x:{ service }$", PatternError::Syntax),
            ("^(?x)x: # {service}$", PatternError::Placeholder),
            ("^x:{service}\u{e000}$", PatternError::Placeholder),
        ] {
            assert_eq!(parse(wrong).unwrap_err(), error, "{wrong}");
        }
        // One service for whom it is everybody's is enough.
        for everybody in ["^(.*|{service})$", "^(https://{service}\\.com/.*)$", "^{service}$"] {
            assert!(matches!(parse(everybody), Err(PatternError::Everybody { .. })), "{everybody}");
        }
    }

    #[test]
    fn b6_a_pattern_names_the_service_only_where_no_identity_is_two_services() {
        for yes in [
            r"^https://github\.com/acme/{service}/.*$",
            "^https://github.com/acme/{service}/x@.*$",
            "^x:{service}$",
            "^x:{service}/(a|b)/{service}?$",
            r"^x:{service}\.git$",
            "^{service}@acme\\.example$",
        ] {
            assert!(parse(yes).unwrap().names_service(), "{yes}");
        }
        for no in [
            "^x:y$",
            // It need not be there.
            "^x:(.*|{service})$",
            "^x:{service}?/y$",
            "^x:({service}/)*y$",
            "^x:{service}/y|x:.*$",
            "^x:({service}|y)/z$",
            // It may be the end, or the beginning, of another's name.
            "^x:.*{service}/y$",
            "^x:[a-z]+/{service}/y$",
            "^x:{service}.*$",
            "^x:{service}-build$",
            "^x:{service}{service}/y$",
            "^x:{service}(/y)$",
            "^(?i)x:{service}/y$",
            "^(x:{service}/y)$",
        ] {
            assert!(!parse(no).unwrap().names_service(), "{no}");
        }
    }

    proptest! {
        /// The shape is a proof: where it says so, no identity matches for two services.
        #[test]
        fn b6_what_names_the_service_matches_for_one_only(
            pattern in "x(\\{service\\}|[a/.*?|()+-]){1,10}",
            identity in "x[a/p-]{0,4}(a|api|shop|shop-api)[/ap-]{0,6}",
        ) {
            let Ok(pattern) = parse(&format!("^{pattern}$")) else { return Ok(()) };
            if pattern.names_service() {
                let whose: Vec<_> = names().into_iter().filter(|it| pattern.matches(&identity, it)).collect();
                prop_assert!(whose.len() <= 1, "{pattern:?} {identity} {whose:?}");
            }
        }

        #[test]
        fn arbitrary_text_never_panics(text: String, inner in "[\\[\\]().*+?{}|^$\\\\a-c0-9,]{0,20}") {
            let _ = parse(&text);
            let _ = parse(&format!("^{inner}$"));
            let _ = parse(&format!("^{inner}{{service}}{inner}$"));
        }
    }
}
