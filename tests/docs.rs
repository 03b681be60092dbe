//! What is written for people: every link leads somewhere. What stands on the pages is tested where it comes from
//! (`src/bin/samebits/pages.rs`, `src/bin/samebits/commands/explain.rs`, `tests/examples/`).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Every Markdown file of the repository.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages: Vec<PathBuf> =
        ["README.md", "SECURITY.md", "CHANGELOG.md"].map(|file| root.join(file)).to_vec();
    let mut folders: Vec<PathBuf> = ["docs", "examples", "release"].map(|folder| root.join(folder)).to_vec();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => pages.extend(path.extension().is_some_and(|kind| kind == "md").then_some(path)),
            }
        }
    }
    pages
}

/// The lines outside of blocks of code.
fn prose(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

/// Where the links of a page lead: `[…](here)`.
fn links(text: &str) -> Vec<String> {
    let ends = prose(text);
    let ends = ends.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    ends.map(|(target, _)| target.to_owned()).collect()
}

/// What GitHub calls the headings of a page: lower case, no punctuation, dashes for spaces.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text);
    let headings =
        headings.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_matches(['#', ' ']));
    let kept = |letter: char| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_');
    headings
        .map(|heading| heading.to_lowercase().chars().filter(|letter| kept(*letter)).collect::<String>())
        .map(|heading| heading.replace(' ', "-"))
        .collect()
}

/// Why a link leads nowhere.
fn broken(page: &Path, target: &str) -> Option<String> {
    if target.contains(' ') {
        return Some("has a space".to_owned());
    }
    if let Some((scheme, _)) = target.split_once(':') {
        return (scheme != "https" && scheme != "mailto")
            .then(|| format!("is neither https nor a file: {scheme}"));
    }
    let (file, anchor) = target.split_once('#').map_or((target, None), |(file, anchor)| (file, Some(anchor)));
    let path = if file.is_empty() { page.to_path_buf() } else { page.parent().unwrap().join(file) };
    if !path.exists() {
        return Some("is not there".to_owned());
    }
    let anchor = anchor?;
    let text = std::fs::read_to_string(path).unwrap_or_default();
    (!anchors(&text).contains(anchor)).then(|| format!("has no heading `{anchor}`"))
}

#[test]
fn every_link_leads_somewhere() {
    let (mut wrong, mut followed) = (Vec::new(), 0);
    for page in pages() {
        for target in links(&std::fs::read_to_string(&page).unwrap()) {
            followed += 1;
            wrong.extend(broken(&page, &target).map(|why| format!("{}: {target} {why}", page.display())));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(followed > 150, "{followed} links");
}

#[test]
fn a_link_that_leads_nowhere_is_noticed() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = "[a](SECURITY.md) [b](#two-commands) [c](gone.md)\n```sh\n[d](gone.md)\n```\n[e](README.md#gone) [f](http://a.example)";
    let links = links(text);
    assert_eq!(links, ["SECURITY.md", "#two-commands", "gone.md", "README.md#gone", "http://a.example"]);
    let found: Vec<bool> = links.iter().map(|link| broken(&page, link).is_some()).collect();
    assert_eq!(found, [false, false, true, true, true]);
}
