//! What the log of a job shows in GitLab and Jenkins, and the link to a record wherever a record is named.

use serde_json::{Value, json};

use crate::ci::{HOSTILE, IMAGE, PROMOTE, line_of, says, wants};
use crate::cli::{Ran, Yard, at, ran};

const COMMIT: &str = "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f";
const BLOBS: &str = "https://git.example/acme/shop/-/blob/0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f/";

/// As a job of GitLab.
fn on_gitlab(yard: &Yard, args: &[&str], more: &[(&str, &str)]) -> Ran {
    let mut command = yard.command(args.iter().copied());
    command.env("GITLAB_CI", "true").env("CI_PROJECT_DIR", yard.path(""));
    command.env("CI_PROJECT_URL", "https://git.example/acme/shop").env("CI_COMMIT_SHA", COMMIT);
    ran(command.envs(more.iter().copied()))
}

fn on_jenkins(yard: &Yard, args: &[&str], more: &[(&str, &str)]) -> Ran {
    let mut command = yard.command(args.iter().copied());
    command.env("JENKINS_URL", "https://ci.example/").env("BUILD_ID", "7");
    ran(command.envs(more.iter().copied()))
}

type Job = fn(&Yard, &[&str], &[(&str, &str)]) -> Ran;

/// Both.
const JOBS: [Job; 2] = [on_gitlab, on_jenkins];

/// The sections of a log, as GitLab reads it: options, header and lines of each. A marker that is not ours fails the test.
fn sections(log: &str) -> Vec<(bool, String, Vec<String>)> {
    let mut sections = Vec::new();
    let mut rest = log;
    while let Some((before, behind)) = rest.split_once("\r\u{1b}[0K") {
        let (_, marker) = before.rsplit_once("section_start:").unwrap();
        let (time, name) = marker.split_once(':').unwrap();
        assert!(time.parse::<i64>().unwrap() > 1_700_000_000, "{marker}");
        let (name, shut) = match name.strip_suffix("[collapsed=true]") {
            Some(name) => (name, true),
            None => (name, false),
        };
        assert!(name.strip_prefix("samebits_").is_some_and(|random| random.len() == 32), "{name}");
        let (inside, behind) = behind.split_once("\u{1b}[0Ksection_end:").unwrap();
        let (end, behind) = behind.split_once("\r\u{1b}[0K").unwrap();
        assert_eq!(end, format!("{time}:{name}"));
        let mut lines = inside.lines().map(|line| anstream::adapter::strip_str(line).to_string());
        let header = lines.next().unwrap();
        assert!(!inside.contains("\r"), "{inside:?}");
        sections.push((shut, header, lines.collect()));
        rest = behind;
    }
    assert_eq!(log.matches("\r\u{1b}[0K").count(), 2 * sections.len(), "{log:?}");
    sections
}

#[test]
fn gitlab_has_the_verdict_in_a_section_of_its_log() {
    let yard = Yard::new();
    let image = yard.build("1", "first");
    let there = at("staging", &image);
    let yes = on_gitlab(&yard, &[&PROMOTE[..], &["-o", "junit=out.xml"]].concat(), &[]).exits(0);
    assert_eq!(yes.stdout, format!("{there}\n"), "stdout is the reference alone");
    let record = format!("  record 1: samebits show {}", image.digest);
    assert_eq!(
        sections(&yes.stderr),
        [(true, "yes: samebits promote shop → staging".to_owned(), vec![record.clone()])]
    );
    // Green, and without a colour where none is wanted.
    assert!(yes.stderr.contains("\u{1b}[32myes: samebits"), "{:?}", yes.stderr);

    let no = ["check", &there, "--to", "production"];
    let line = line_of(&yard, "[environments.production]", "after");
    for more in [&[][..], &[("NO_COLOR", "1")]] {
        let log = on_gitlab(&yard, &no, more).exits(1);
        let lines = vec![format!("  never-deployed: {BLOBS}samebits.toml#L{line}")];
        let said = "no: samebits check shop → production: never-deployed".to_owned();
        assert_eq!(sections(&log.stderr), [(false, said, lines)]);
        assert_eq!(log.stderr.contains("\u{1b}[31m"), more.is_empty(), "{:?}", log.stderr);
        assert!(!log.stdout.contains('\u{1b}'), "{:?}", log.stdout);
    }
    // Not a file of the repository, or nobody knows of which commit: no link.
    for more in [("CI_PROJECT_DIR", "/nowhere"), ("CI_COMMIT_SHA", "main"), ("CI_PROJECT_URL", "http://x")] {
        let log = on_gitlab(&yard, &no, &[more]).exits(1);
        let lines = vec![format!("  never-deployed: samebits.toml line {line}")];
        assert_eq!(sections(&log.stderr)[0].2, lines, "{more:?}");
    }
    // Trouble, at the line of the policy; and a command line that is none.
    let wrong = on_gitlab(&yard, &["check", "", "--to", "staging"], &[]).exits(2);
    let [(false, header, _)] = &sections(&wrong.stderr)[..] else { panic!("{}", wrong.stderr) };
    assert!(header.starts_with("undecided: samebits check → "), "{header}");
    yard.edit_policy(|text| text.replace("entry = true", "entry = true\nbogus = 1"));
    let wrong = on_gitlab(&yard, &PROMOTE, &[]).exits(2);
    let [(false, _, lines)] = &sections(&wrong.stderr)[..] else { panic!("{}", wrong.stderr) };
    assert_eq!(lines, &[format!("  {BLOBS}samebits.toml#L{}", line_of(&yard, "", "bogus"))]);
}

#[test]
fn jenkins_has_lines_that_can_be_looked_for() {
    let yard = Yard::new();
    let image = yard.build("1", "first");
    let there = at("staging", &image);
    let ours = |log: &Ran| {
        let lines = log.stderr.lines().filter(|line| line.starts_with("[samebits] "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let yes = on_jenkins(&yard, &[&PROMOTE[..], &["-o", "dotenv=out.env"]].concat(), &[]).exits(0);
    assert_eq!(yes.stdout, format!("{there}\n"));
    assert_eq!(
        ours(&yes),
        [
            "[samebits] yes: samebits promote shop → staging".to_owned(),
            format!("[samebits] record 1: samebits show {}", image.digest)
        ]
    );
    let no = on_jenkins(&yard, &["check", &there, "--to", "production"], &[]).exits(1);
    let line = line_of(&yard, "[environments.production]", "after");
    assert_eq!(
        ours(&no),
        [
            "[samebits] no: samebits check shop → production: never-deployed".to_owned(),
            format!("[samebits] never-deployed: samebits.toml line {line}")
        ]
    );
    assert!(!no.stderr.contains(['\u{1b}', '\r']), "{:?}", no.stderr);
    let said = ["deployed", &there, "--in", "staging", "--key", "keys/staging.key"];
    let said = on_jenkins(&yard, &said, &[]).exits(0);
    assert_eq!(ours(&said)[0], "[samebits] recorded: samebits deployed shop → staging");
}

#[test]
fn the_log_is_left_alone_where_it_is_off_or_somebody_reads_stdout() {
    let yard = Yard::new();
    yard.build("1", "first");
    let ask = ["check", IMAGE, "--to", "staging"];
    let none = |ran: Ran| {
        assert!(!ran.stderr.contains("section_") && !ran.stderr.contains("[samebits]"), "{}", ran.stderr);
    };
    for on in JOBS {
        none(on(&yard, &ask, &[("SAMEBITS_CI", "off")]).exits(0));
        none(on(&yard, &[&ask[..], &["-o", "json"]].concat(), &[]).exits(0));
        none(on(&yard, &[&ask[..], &["-o", "text", "-o", "junit=out.xml"]].concat(), &[]).exits(0));
        none(on(&yard, &[&ask[..], &["--quiet"]].concat(), &[]).exits(0));
        none(on(&yard, &["status"], &[]).exits(0));
        none(on(&yard, &ask, &[("GITLAB_CI", ""), ("JENKINS_URL", "")]).exits(0));
        // A no is worth a word, however quiet.
        let no = ["check", IMAGE, "--to", "production", "--quiet"];
        let said = on(&yard, &no, &[]).exits(1).stderr;
        assert!(said.contains("no: samebits check shop → production"), "{said}");
    }
}

#[test]
fn d8_foreign_text_opens_no_section_and_begins_no_line_of_a_log() {
    let yard = Yard::new();
    let image = yard.build("1", "first");
    wants(&yard, 3);
    let marker = "\r\u{1b}[0Ksection_end:1:x\r\u{1b}[0K\n[samebits] yes: all is well\nsection_start:1:x[collapsed=true]\r\u{1b}[0K";
    for (number, said) in [HOSTILE, marker, "plain"].into_iter().enumerate() {
        says(&yard, &image, number, said);
    }
    let gitlab = on_gitlab(&yard, &PROMOTE, &[]).exits(1);
    let [(false, header, lines)] = &sections(&gitlab.stderr)[..] else { panic!("{}", gitlab.stderr) };
    assert_eq!(header, "no: samebits promote shop → staging: attestation-mismatch");
    assert_eq!(lines.len(), 4, "{lines:#?}");
    let jenkins = on_jenkins(&yard, &PROMOTE, &[]).exits(1);
    let ours = jenkins.stderr.lines().filter(|line| line.starts_with("[samebits]")).count();
    assert_eq!(ours, 5, "{}", jenkins.stderr);
    assert!(!jenkins.stderr.contains(['\u{1b}', '\r']), "{}", jenkins.stderr);
    // A command line, of what somebody else called a branch.
    let typed = format!("oci:registry/{}:1", HOSTILE.replace('\0', ""));
    for image in [&typed, &format!("oci:x/y\n{marker}")] {
        for on in JOBS {
            let wrong = on(&yard, &["check", image, "--to", marker], &[]).exits(2);
            let ours = wrong.stderr.lines().filter(|line| line.starts_with("[samebits]")).count();
            assert_eq!(sections(&wrong.stderr).len() + ours, 1, "{:?}", wrong.stderr);
        }
    }
}

#[test]
fn gitlab_shows_links_to_the_record_and_to_what_refuses() {
    let yard = Yard::new();
    let image = yard.build("1", "first");
    yard.edit_policy(|text| {
        text.replace("[ledger]\n", "[ledger]\nrecord-url = \"https://ledger.example/records/{index}.json\"\n")
    });
    let links = || serde_json::from_str::<Value>(&yard.read("links.json")).unwrap();
    let link = |label: &str, url: &str| json!({ "external_link": { "label": label, "url": url } });
    let file = ["-o", "annotations=links.json"];
    on_gitlab(&yard, &[&PROMOTE[..], &file].concat(), &[]).exits(0);
    assert_eq!(links(), json!({ "samebits": [link("record 1", "https://ledger.example/records/1.json")] }));
    let there = at("staging", &image);
    let no = ["promote", &there, "--to", "production", "--key", "keys/release.key"];
    on_gitlab(&yard, &[&no[..], &file].concat(), &[]).exits(1);
    let line = line_of(&yard, "[environments.production]", "after");
    assert_eq!(
        links(),
        json!({ "samebits": [
            link("record 2", "https://ledger.example/records/2.json"),
            link(&format!("never-deployed: samebits.toml line {line}"), &format!("{BLOBS}samebits.toml#L{line}")),
        ] })
    );
    // Nothing to link to, and no answer: no list, and no file of an earlier question.
    on_gitlab(&yard, &[&["check", IMAGE, "--to", "staging"], &file[..]].concat(), &[]).exits(0);
    assert_eq!(links(), json!({}));
    on_gitlab(
        &yard,
        &[&["check", "oci:registry/none:1", "--to", "staging", "--service", "shop"], &file[..]].concat(),
        &[],
    )
    .exits(3);
    assert_eq!(links(), json!({}));
}

/// Everywhere a record is named: the text, JSON, JUnit, SARIF, GitHub's summary, the log.
#[test]
fn a_record_is_a_link_where_the_policy_says_what_to() {
    let yard = Yard::new();
    let image = yard.build("1", "first");
    let (there, url) =
        (at("staging", &image), |index: u64| format!("https://ledger.example/?r={index}&x=%3C"));
    // Not before it is said.
    let plain = yard.run(PROMOTE).exits(0);
    assert!(plain.stderr.contains("recorded as 1 (samebits log)"), "{}", plain.stderr);
    yard.edit_policy(|text| {
        text.replace("[ledger]\n", "[ledger]\nrecord-url = \"https://ledger.example/?r={index}&x=%3C\"\n")
    });
    let no = ["promote", &there, "--to", "production", "--key", "keys/release.key"];
    let files = ["-o", "json=out.json", "-o", "junit=out.xml", "-o", "sarif=out.sarif"];
    let text = yard.run(no.into_iter().chain(files)).exits(1);
    assert!(text.stderr.contains(&format!("recorded as 2 {}", url(2))), "{}", text.stderr);
    let document: Value = serde_json::from_str(&yard.read("out.json")).unwrap();
    assert_eq!((&document["record"]["index"], &document["recordUrl"]), (&json!(2), &json!(url(2))));
    let junit = yard.read("out.xml");
    let escaped = url(2).replace('&', "&amp;");
    assert!(junit.contains(&format!("<property name=\"record-url\" value=\"{escaped}\"/>")), "{junit}");
    assert!(junit.contains(&format!("record  {escaped}</failure>")), "{junit}");
    let sarif: Value = serde_json::from_str(&yard.read("out.sarif")).unwrap();
    assert_eq!(sarif["runs"][0]["results"][0]["hostedViewerUri"], url(2));

    let mut command = yard.command(no);
    command.env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", yard.path("summary"));
    ran(&mut command).exits(1);
    let link = format!("<p>Recorded as <b><a href=\"{}\">3</a></b>: ", url(3).replace('&', "&#38;"));
    let summary = yard.read("summary");
    assert!(summary.contains(&link) && summary.contains("samebits show sha256:"), "{summary}");
    let log = on_jenkins(&yard, &no, &[]).exits(1);
    assert!(log.stderr.contains(&format!("[samebits] record 4: {}", url(4))), "{}", log.stderr);
    // A fact is a record as well; a question is none.
    let said = ["deployed", &there, "--in", "staging", "--key", "keys/staging.key"];
    let said = yard.run(said).exits(0);
    assert!(said.stdout.contains(&url(5)), "{}", said.stdout);
    let asked = yard.run(["check", &there, "--to", "production", "-o", "json"]).exits(0).json();
    assert_eq!((&asked["record"], &asked["recordUrl"]), (&Value::Null, &Value::Null));
}
