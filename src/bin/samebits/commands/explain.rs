//! `explain`: what a code means. The pages are `docs/reasons/`, as they are on the web; the codes of evidence that does not
//! count are sections of one of them.

use std::fmt::Write as _;

use crate::Outcome;
use crate::args::{Common, Explain};
use crate::commands::shell::one_format;
use crate::report::{clean, to_stdout};
use crate::trouble::{Trouble, undecided, usage};

/// A page for each code of the gate.
const PAGES: [&str; 42] = [
    include_str!("../../../../docs/reasons/approval-missing.md"),
    include_str!("../../../../docs/reasons/attestation-mismatch.md"),
    include_str!("../../../../docs/reasons/attestation-stale.md"),
    include_str!("../../../../docs/reasons/control-stale.md"),
    include_str!("../../../../docs/reasons/control-unknown.md"),
    include_str!("../../../../docs/reasons/control-unwitnessed.md"),
    include_str!("../../../../docs/reasons/deployment-failed.md"),
    include_str!("../../../../docs/reasons/foreign-repository.md"),
    include_str!("../../../../docs/reasons/frozen.md"),
    include_str!("../../../../docs/reasons/never-deployed.md"),
    include_str!("../../../../docs/reasons/no-attestation.md"),
    include_str!("../../../../docs/reasons/no-provenance.md"),
    include_str!("../../../../docs/reasons/not-a-promoter.md"),
    include_str!("../../../../docs/reasons/not-observed.md"),
    include_str!("../../../../docs/reasons/not-signed-by.md"),
    include_str!("../../../../docs/reasons/permit-contradiction.md"),
    include_str!("../../../../docs/reasons/permit-digest.md"),
    include_str!("../../../../docs/reasons/permit-environment.md"),
    include_str!("../../../../docs/reasons/permit-expired.md"),
    include_str!("../../../../docs/reasons/permit-ledger.md"),
    include_str!("../../../../docs/reasons/permit-malformed.md"),
    include_str!("../../../../docs/reasons/permit-missing.md"),
    include_str!("../../../../docs/reasons/permit-not-yet.md"),
    include_str!("../../../../docs/reasons/permit-policy.md"),
    include_str!("../../../../docs/reasons/permit-record.md"),
    include_str!("../../../../docs/reasons/permit-record-signer.md"),
    include_str!("../../../../docs/reasons/permit-repository.md"),
    include_str!("../../../../docs/reasons/permit-service.md"),
    include_str!("../../../../docs/reasons/permit-signer.md"),
    include_str!("../../../../docs/reasons/permit-superseded.md"),
    include_str!("../../../../docs/reasons/permit-too-long.md"),
    include_str!("../../../../docs/reasons/permit-type.md"),
    include_str!("../../../../docs/reasons/permit-unproved.md"),
    include_str!("../../../../docs/reasons/permit-unrecorded.md"),
    include_str!("../../../../docs/reasons/permit-unwitnessed.md"),
    include_str!("../../../../docs/reasons/platform-missing.md"),
    include_str!("../../../../docs/reasons/platform-unproven.md"),
    include_str!("../../../../docs/reasons/provenance-mismatch.md"),
    include_str!("../../../../docs/reasons/record-unknown.md"),
    include_str!("../../../../docs/reasons/revoked.md"),
    include_str!("../../../../docs/reasons/soak-too-short.md"),
    include_str!("../../../../docs/reasons/tag-moved.md"),
];
/// A section, under `### `, for each code of evidence that does not count.
const EVIDENCE: &str = include_str!("../../../../docs/reasons/evidence.md");

/// One code.
struct Reason<'a> {
    code: &'a str,
    /// A sentence.
    short: &'a str,
    /// Everything there is to say, in Markdown.
    text: String,
}

pub(crate) fn explain(common: &Common, args: &Explain) -> Result<Outcome, Trouble> {
    one_format(common)?;
    let reasons = reasons();
    let text = match args.codes.as_slice() {
        [] => list(&reasons),
        codes => {
            let found: Vec<&str> =
                codes.iter().map(|code| find(&reasons, code)).collect::<Result<_, _>>().map_err(usage)?;
            found.join("\n")
        }
    };
    to_stdout(&text).map_err(undecided)?;
    Ok(Outcome::Yes)
}

fn find<'a>(reasons: &'a [Reason<'_>], code: &str) -> anyhow::Result<&'a str> {
    if let Some(reason) = reasons.iter().find(|reason| reason.code == code) {
        return Ok(&reason.text);
    }
    let code = clean(&code.chars().take(60).collect::<String>());
    let near = reasons.iter().map(|reason| (strsim::osa_distance(&code, reason.code), reason.code)).min();
    let near = near.filter(|(distance, _)| *distance <= 4).map(|(_, near)| format!(" Did you mean {near}?"));
    anyhow::bail!(
        "`{code}` is no code: expected one of those that samebits explain lists.{}",
        near.unwrap_or_default()
    )
}

/// A line for each.
fn list(reasons: &[Reason<'_>]) -> String {
    let widest = reasons.iter().map(|reason| reason.code.len()).max().unwrap_or_default();
    reasons.iter().fold(String::new(), |mut text, Reason { code, short, .. }| {
        let _ = writeln!(text, "{code:<widest$}  {short}");
        text
    })
}

/// Those of the gate, then those of evidence.
fn reasons() -> Vec<Reason<'static>> {
    let pages = PAGES.iter().filter_map(|page| {
        let (code, rest) = page.strip_prefix("# ")?.split_once("\n\n")?;
        Some(Reason { code, short: rest.split("\n\n").next()?.trim(), text: (*page).to_owned() })
    });
    let groups = EVIDENCE.split("\n## ").skip(1);
    let sections = groups.flat_map(|group| {
        let mut parts = group.split("\n### ");
        let intro = parts.next().and_then(|intro| intro.split_once("\n\n")).map_or("", |(_, text)| text);
        parts.filter_map(move |part| {
            let (code, says) = part.split_once("\n\n")?;
            let (code, says) = (code.trim_matches('`'), says.trim());
            let text = format!("# {code}\n\n{says}\n\n{}\n", intro.trim());
            Some(Reason { code, short: says.split(". ").next()?.trim_end_matches('.'), text })
        })
    });
    pages.chain(sections).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// The codes in the body of `fn code`, or of `Display`, of a source file.
    fn codes_in(file: &str, behind: &str) -> BTreeSet<String> {
        let source = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        let body = source.split_once(behind).unwrap().1.split_once("\n}\n").unwrap().0.to_owned();
        let arms = body.lines().filter_map(|line| line.split_once("=> \"")?.1.split_once("\","));
        arms.map(|(code, _)| code.to_owned()).collect()
    }

    #[test]
    fn every_code_is_explained_and_nothing_else() {
        let gate = codes_in("src/gate/code.rs", "impl fmt::Display for Code");
        let mut all = gate.clone();
        for file in ["rejected", "provenance", "predicate"] {
            all.extend(codes_in(&format!("src/verify/{file}.rs"), "pub fn code(&self)"));
        }
        assert!(gate.len() > 20 && all.len() > 80, "{} {}", gate.len(), all.len());
        let explained: Vec<String> = reasons().iter().map(|reason| reason.code.to_owned()).collect();
        assert_eq!(explained.iter().cloned().collect::<BTreeSet<_>>(), all);
        assert_eq!(explained.len(), all.len(), "once each");
        assert!(explained.iter().take(gate.len()).all(|code| gate.contains(code)), "those of the gate first");
        // Every file is embedded.
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reasons");
        let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name());
        let files: BTreeSet<String> = files.map(|file| file.into_string().unwrap()).collect();
        let pages = gate.iter().map(|code| format!("{code}.md"));
        assert_eq!(files, pages.chain(["evidence.md", "README.md"].map(str::to_owned)).collect());
    }

    /// `docs/reasons/README.md`: the list of all, golden.
    #[test]
    fn the_list_of_codes_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reasons/README.md");
        let mut text = "# Codes\n\nWhat `check`, `promote` and `verify` say no with. `samebits explain CODE` shows the same \
                        page.\n\n| Code | Means |\n| --- | --- |\n"
            .to_owned();
        let (gate, evidence) = reasons().into_iter().partition::<Vec<_>, _>(|it| it.text.contains("\n## "));
        for Reason { code, short, .. } in gate {
            let _ = writeln!(text, "| [`{code}`]({code}.md) | {short} |");
        }
        text += "\n## Why evidence does not count\n\n| Code | Means |\n| --- | --- |\n";
        for Reason { code, short, .. } in evidence {
            let _ = writeln!(text, "| [`{code}`](evidence.md#{code}) | {short} |");
        }
        text += "\n<!-- Made by the tests of the binary; SAMEBITS_BLESS=1 makes it anew. -->\n";
        #[allow(clippy::disallowed_methods, reason = "a test may be told to rewrite its golden files")]
        if std::env::var_os("SAMEBITS_BLESS").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), text, "SAMEBITS_BLESS=1");
    }

    #[test]
    fn every_page_says_what_to_do_and_why() {
        for Reason { code, short, text } in reasons() {
            assert!(!short.is_empty() && !short.contains('\n') && text.len() > 120, "{code}: {short}");
        }
        for page in PAGES {
            for heading in ["\n## What happened\n", "\n## What to do\n", "\n## Why this is a no\n"] {
                assert_eq!(page.matches(heading).count(), 1, "{heading} in {page}");
            }
        }
    }

    #[test]
    fn what_is_no_code_is_said_with_the_nearest() {
        let reasons = reasons();
        assert!(find(&reasons, "never-deployed").unwrap().starts_with("# never-deployed\n"));
        assert!(find(&reasons, "undated").unwrap().contains("nobody can date"));
        let error = find(&reasons, "never-deploied").err().unwrap().to_string();
        assert!(error.ends_with("Did you mean never-deployed?"), "{error}");
        let error = find(&reasons, "ENV002 \u{1b}[31m").err().unwrap().to_string();
        assert!(error.ends_with("lists.") && !error.contains('\u{1b}'), "{error}");
    }
}
