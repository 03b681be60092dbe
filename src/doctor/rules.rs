//! What a policy file allows that it need not.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Span;
use jiff::civil::Date;
use regex_syntax::hir::{Hir, HirKind};
use toml::de::{DeTable, DeValue};

use super::{Code, File, Finding, Place, github};
use crate::digest::shorten;
use crate::policy::{
    AttestationRule, ClaimName, Environment, Excluded, Matcher, Policy, RefRule, Signer, SignerName, Subject,
};

/// Parts of a name that say "production".
const PRODUCTION: [&str; 4] = ["production", "prod", "prd", "live"];

/// A requirement that warns for longer than this is none.
const WARNS: i64 = 180;

/// What is left open by a policy file, as of a day; `file` is its path from the root of the repository.
pub fn policy(policy: &Policy, file: &str, today: Date) -> Vec<Finding> {
    let text = policy.sources().first().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let file = Lines { file, text: text.unwrap_or_default() };
    let mut findings = Vec::new();
    for signer in policy.signers() {
        findings.extend(pattern(&file, signer));
    }
    findings.extend(shared(&file, policy));
    findings.extend(accepted(&file, policy));
    findings.extend(plain_http(&file, policy));
    let builders = builders(policy);
    for environment in policy.environments() {
        findings.extend(entry(&file, policy, environment));
        findings.extend(decides(&file, environment, &builders));
        findings.extend(approvals(&file, environment));
        findings.extend(warns(&file, environment, today));
    }
    findings.sort();
    findings
}

/// Claims that say whose run it was that signed.
const CALLER: [ClaimName; 5] = [
    ClaimName::SourceRepository,
    ClaimName::SourceRepositoryId,
    ClaimName::SourceRepositoryOwner,
    ClaimName::SourceRepositoryOwnerId,
    ClaimName::BuildConfigUri,
];

/// Signers that are a workflow among `files` which others may call, where nothing says who calls it: GitHub gives its certificate
/// to a run of any repository that may read it, and the caller's own files are what it checks out.
pub fn callable(policy: &Policy, file: &str, files: &[File]) -> Vec<Finding> {
    let called: Vec<&File> = files.iter().filter(|file| github::is_callable(file)).collect();
    let text = policy.sources().first().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let lines = Lines { file, text: text.unwrap_or_default() };
    let open = |matcher: &Matcher| match matcher {
        Matcher::Key { .. } => None,
        Matcher::Keyless { claims, .. } if CALLER.iter().any(|claim| claims.asks(*claim)) => None,
        Matcher::Keyless { identity, .. } => {
            // A pattern has its dots escaped.
            let identity = identity.as_str().replace('\\', "");
            called.iter().find(|file| identity.contains(&format!("/{}@", file.name)))
        }
    };
    let findings = policy.signers().filter_map(|signer| {
        let workflow = signer.any_of().iter().find_map(open)?;
        Some(lines.finding(
            &["signers", signer.name().as_str()],
            Code::CallerNotRequired,
            format!(
                "`{}` may be called (`workflow_call`) from other repositories, and whoever calls it signs as `{}`",
                shorten(&workflow.name),
                signer.name()
            ),
            "the repository whose run it was, and its ref",
            "source-repository = \"https://github.com/OWNER/NAME\", source-ref = \"refs/heads/main\", workflow-trigger = \"push\""
                .to_owned(),
        ))
    });
    findings.collect()
}

/// The policy file, to find lines in.
struct Lines<'p> {
    file: &'p str,
    text: String,
}

impl Lines<'_> {
    /// The key at the end of a path, or as much of it as is there.
    fn place(&self, path: &[&str]) -> Place {
        let mut at = 0;
        if let Ok(root) = DeTable::parse(&self.text) {
            let mut table = root.get_ref();
            for name in path {
                let Some((key, value)) = table.iter().find(|(key, _)| key.get_ref() == name) else { break };
                at = key.span().start;
                let DeValue::Table(inner) = value.get_ref() else { break };
                table = inner;
            }
        }
        let before = self.text.get(..at).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        Place::File { file: self.file.to_owned(), line, column }
    }

    fn finding(&self, path: &[&str], code: Code, found: String, expected: &str, fix: String) -> Finding {
        Finding { place: self.place(path), code, found, expected: expected.to_owned(), fix }
    }
}

fn pattern(file: &Lines<'_>, signer: &Signer) -> Option<Finding> {
    let wide = signer.any_of().iter().find_map(|matcher| match matcher {
        Matcher::Keyless { identity: Subject::Pattern(pattern), .. } => {
            is_wide(pattern.as_str()).map(|why| (pattern.as_str(), why))
        }
        Matcher::Keyless { identity: Subject::Exactly(_), .. } | Matcher::Key { .. } => None,
    });
    let (text, why) = wide?;
    Some(
        file.finding(
            &["signers", signer.name().as_str()],
            Code::PatternTooWide,
            format!("`{}` {why}", shorten(text)),
            "an identity that is one workflow at one ref, or a pattern for what differs between them alone",
            "identity = \"https://github.com/OWNER/{service}/.github/workflows/build.yml@refs/heads/main\""
                .to_owned(),
        ),
    )
}

/// What a pattern lets in that nobody lists: whatever stands between two slashes, and more; or any branch.
fn is_wide(pattern: &str) -> Option<&'static str> {
    let inner = pattern.trim_start_matches('^').trim_end_matches('$').replace("{service}", "service");
    let parsed = regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build().parse(&inner).ok()?;
    widest(&parsed, &mut Vec::new())
}

fn widest(hir: &Hir, before: &mut Vec<u8>) -> Option<&'static str> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => None,
        HirKind::Literal(literal) => {
            before.extend_from_slice(&literal.0);
            None
        }
        HirKind::Class(_) => {
            before.push(0);
            None
        }
        HirKind::Repetition(repetition) if repetition.max.is_none() => {
            let any_branch = before.ends_with(b"refs/heads/") && may_be(&repetition.sub, b'z');
            let wide = match (may_be(&repetition.sub, b'/'), any_branch) {
                (true, _) => Some("matches across slashes: other repositories, workflows or refs"),
                (false, true) => Some("matches every branch that anybody pushes"),
                (false, false) => None,
            };
            before.push(0);
            wide
        }
        HirKind::Repetition(repetition) => widest(&repetition.sub, before),
        HirKind::Capture(capture) => widest(&capture.sub, before),
        HirKind::Concat(parts) => parts.iter().find_map(|part| widest(part, before)),
        HirKind::Alternation(parts) => {
            let found = parts.iter().find_map(|part| widest(part, &mut before.clone()));
            before.push(0);
            found
        }
    }
}

/// Whether a character may be a part of what matches.
fn may_be(hir: &Hir, wanted: u8) -> bool {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => false,
        HirKind::Literal(literal) => literal.0.contains(&wanted),
        HirKind::Class(regex_syntax::hir::Class::Bytes(class)) => {
            class.iter().any(|range| range.start() <= wanted && wanted <= range.end())
        }
        HirKind::Class(regex_syntax::hir::Class::Unicode(class)) => {
            let wanted = char::from(wanted);
            class.iter().any(|range| range.start() <= wanted && wanted <= range.end())
        }
        HirKind::Repetition(repetition) => may_be(&repetition.sub, wanted),
        HirKind::Capture(capture) => may_be(&capture.sub, wanted),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().any(|part| may_be(part, wanted)),
    }
}

/// One identity under two names: a rule that keeps the names apart keeps nobody apart.
fn shared(file: &Lines<'_>, policy: &Policy) -> Vec<Finding> {
    let mut owners: BTreeMap<(String, String), &SignerName> = BTreeMap::new();
    let mut findings = Vec::new();
    for signer in policy.signers() {
        for matcher in signer.any_of() {
            let identity = match matcher {
                Matcher::Key { key, .. } => (String::new(), key.id().to_string()),
                Matcher::Keyless { issuer, identity, root, .. } => {
                    (format!("{root} {issuer}"), identity.as_str().to_owned())
                }
            };
            let shown = shorten(&identity.1);
            let first = *owners.entry(identity).or_insert(signer.name());
            if first != signer.name() {
                let name = signer.name();
                findings.push(file.finding(
                    &["signers", name.as_str()],
                    Code::IdentityShared,
                    format!("`{name}` and `{first}` are one identity, {shown}"),
                    "an identity for each name: who has one of them is then not the other",
                    format!("make a key, or a workflow, of its own for `{name}`"),
                ));
            }
        }
    }
    findings
}

fn accepted(file: &Lines<'_>, policy: &Policy) -> Vec<Finding> {
    const KEY: &str = "same-identity-accepted";
    let environments = policy.environments().iter().filter_map(|environment| {
        let reason = environment.same_identity_accepted()?;
        let name = environment.name().as_str();
        Some(file.finding(
            &["environments", name, KEY],
            Code::SameIdentityAccepted,
            format!("who promotes to `{name}` may also say what ran before it (\"{}\")", shorten(reason)),
            "the environment before reports with an identity of its own",
            format!("give its `deployers` a key of their own, and take `{KEY}` away"),
        ))
    });
    let control = policy.control().and_then(|control| control.same_identity_accepted()).map(|reason| {
        file.finding(
            &["control", KEY],
            Code::SameIdentityAccepted,
            format!(
                "who promotes or deploys may also revoke or freeze, and lift it again (\"{}\")",
                shorten(reason)
            ),
            "revokers and freezers who do neither",
            format!("give them keys of their own, and take `{KEY}` away"),
        )
    });
    environments.chain(control).collect()
}

fn plain_http(file: &Lines<'_>, policy: &Policy) -> Vec<Finding> {
    let remote = |host: &&str| {
        let bare = host.rsplit_once(':').map_or(*host, |(bare, _)| bare).trim_matches(['[', ']']);
        let loopback = bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        bare != "localhost" && !loopback
    };
    let hosts = policy.plain_http_hosts().into_iter().filter(remote);
    hosts
        .map(|host| {
            file.finding(
                &["registries", host],
                Code::PlainHttp,
                format!("`{}` is spoken to without TLS: its login and its tags are anybody's", shorten(host)),
                "TLS; a certificate of your own is enough",
                "ca = \"registry-ca.pem\" instead of plain-http = true".to_owned(),
            )
        })
        .collect()
}

/// Who vouches for the build: the signers that entry environments ask for.
fn builders(policy: &Policy) -> BTreeSet<&SignerName> {
    let entries = policy.environments().iter().filter(|environment| environment.entry());
    entries
        .flat_map(|environment| {
            let require = environment.require();
            require.signed_by().iter().chain(require.provenance().map(|rule| rule.signer()))
        })
        .collect()
}

fn entry(file: &Lines<'_>, policy: &Policy, environment: &Environment) -> Vec<Finding> {
    let name = environment.name().as_str();
    let mut findings = Vec::new();
    if !environment.entry() {
        return findings;
    }
    if name.split('-').any(|part| PRODUCTION.contains(&part)) {
        findings.push(file.finding(
            &["environments", name, "entry"],
            Code::ProductionWithoutAfter,
            format!("images enter `{name}` straight from the build"),
            "the same bytes ran somewhere before",
            "after = [{ environment = \"staging\" }] instead of entry = true".to_owned(),
        ));
    }
    match environment.require().provenance() {
        Some(rule) if *rule.reference() == RefRule::Any => findings.push(file.finding(
            &["environments", name, "require", "provenance", "ref"],
            Code::AnyRef,
            "an image from any branch or tag may enter, reviewed or not".to_owned(),
            "the refs that are released from",
            "ref = \"refs/heads/main\"".to_owned(),
        )),
        Some(_) => {}
        None if environment.require().signed_by().iter().any(|signer| says_source(policy, signer)) => {}
        None => findings.push(file.finding(
            &["environments", name, "require"],
            Code::SourceNotRequired,
            format!("nothing says from which source and ref an image in `{name}` was built: whoever signs as the build may build anything"),
            "SLSA provenance, or a signer that is a workflow at a ref",
            format!(
                "[environments.{name}.require.provenance] with signer, builder, source and ref = \"refs/heads/main\""
            ),
        )),
    }
    findings
}

/// Whether a signature by this signer says what was built: a certificate of a workflow at a ref, or with the source.
fn says_source(policy: &Policy, signer: &SignerName) -> bool {
    let says = |matcher: &Matcher| match matcher {
        Matcher::Key { .. } => false,
        Matcher::Keyless { identity, claims, .. } => {
            let asks = |claim| claims.asks(claim);
            identity.as_str().contains("@refs/")
                || asks(ClaimName::SourceRef)
                    && (asks(ClaimName::SourceRepository) || asks(ClaimName::SourceRepositoryId))
        }
    };
    policy.signer(signer).is_some_and(|signer| signer.any_of().iter().all(says))
}

fn decides(file: &Lines<'_>, environment: &Environment, builders: &BTreeSet<&SignerName>) -> Vec<Finding> {
    let name = environment.name().as_str();
    let roles = [
        ("promoters", environment.promoters(), "promote it"),
        ("deployers", environment.deployers(), "say that it ran there"),
    ];
    let each = roles.into_iter().flat_map(|(key, signers, does)| {
        signers.iter().filter(|signer| builders.contains(signer)).map(move |signer| (key, signer, does))
    });
    each.map(|(key, signer, does)| {
        file.finding(
            &["environments", name, key],
            Code::BuilderDecides,
            format!("`{signer}` vouches for the build of an image and may also {does}: one stolen identity is enough"),
            "an identity for each role",
            format!("[signers.NAME] with an identity of its own, and {key} = [\"NAME\"]"),
        )
    })
    .collect()
}

fn approvals(file: &Lines<'_>, environment: &Environment) -> Option<Finding> {
    let rule = environment.require().approvals()?;
    let lacking: Vec<&str> =
        [(Excluded::Requester, "who asks for a promotion"), (Excluded::Builder, "who built the image")]
            .into_iter()
            .filter(|(excluded, _)| !rule.not_from().contains(excluded))
            .map(|(_, who)| who)
            .collect();
    (!lacking.is_empty()).then(|| {
        file.finding(
            &["environments", environment.name().as_str(), "require", "approvals"],
            Code::SelfApproval,
            format!("{} may approve it", lacking.join(", and ")),
            "approvals by others",
            "not-from = [\"requester\", \"builder\"], or no `not-from`".to_owned(),
        )
    })
}

fn warns(file: &Lines<'_>, environment: &Environment, today: Date) -> Vec<Finding> {
    let require = environment.require();
    let named = [
        ("provenance", require.provenance().and_then(|rule| rule.warn_until())),
        ("approvals", require.approvals().and_then(|rule| rule.warn_until())),
        ("attestations", require.attestations().iter().filter_map(AttestationRule::warn_until).max()),
    ];
    let Ok(latest) = today.checked_add(Span::new().days(WARNS)) else { return Vec::new() };
    let late =
        named.into_iter().filter_map(|(key, until)| Some((key, until.filter(|until| *until > latest)?)));
    late.map(|(key, until)| {
        file.finding(
            &["environments", environment.name().as_str(), "require", key],
            Code::WarnsTooLong,
            format!("until {until} it only warns: until then it is no requirement"),
            "a day that somebody still remembers, not half a year away",
            format!("warn-until = {latest}, or earlier"),
        )
    })
    .collect()
}
