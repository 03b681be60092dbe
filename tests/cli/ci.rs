//! What CI systems are told, as their runners and readers read it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use quick_xml::Reader;
use quick_xml::events::Event;
use samebits::collect::BUNDLE;
use samebits::reference::Image;
use samebits::verify::sign_statement;
use serde_json::{Value, json};

use crate::cli::{Ran, Yard, at, ran};

pub(super) const IMAGE: &str = "oci:registry/shop:1";
pub(super) const PROMOTE: [&str; 6] = ["promote", IMAGE, "--to", "staging", "--key", "keys/release.key"];

/// Ends lines, cells, elements and values; calls people; guesses the delimiter; looks like a command already escaped.
pub(super) const HOSTILE: &str = "x\r\n::set-output name=image::evil\n::error::y ]]> --> %0A::error::z | a | <img src=x onerror=1> \
    <script> [l](http://evil) @user #1 **b** `c` </code></td></table>\n\n# h\nimage<<samebits-\nevil\nsamebits-\n&#60; \
    ##[error]w \u{1b}[2J\u{202e}";

/// As a step of GitHub Actions; what earlier steps wrote is there.
fn on_github<'a>(yard: &Yard, args: impl IntoIterator<Item = &'a str>, more: &[(&str, &str)]) -> Ran {
    yard.write("out", "image=from-before\n");
    yard.write("summary", "before\n");
    let mut command = yard.command(args);
    command.env("GITHUB_ACTIONS", "true").env("GITHUB_OUTPUT", yard.path("out"));
    command.env("GITHUB_STEP_SUMMARY", yard.path("summary")).env("GITHUB_WORKSPACE", yard.path(""));
    ran(command.envs(more.iter().copied()))
}

/// The outputs of the step, read as the runner does (actions/runner, `FileCommandManager`): the last word counts.
fn outputs(yard: &Yard) -> BTreeMap<String, String> {
    let text = yard.read("out");
    let mut lines = text.lines();
    let mut outputs = BTreeMap::new();
    while let Some(line) = lines.next() {
        match (line.split_once("<<"), line.split_once('=')) {
            (Some((name, delimiter)), None) => {
                assert!(delimiter.len() >= 32, "{delimiter}");
                let value: Vec<&str> = lines.by_ref().take_while(|line| *line != delimiter).collect();
                outputs.insert(name.to_owned(), value.join("\n"));
            }
            (None, Some((name, value))) => drop(outputs.insert(name.to_owned(), value.to_owned())),
            (_, _) => panic!("{line}"),
        }
    }
    outputs
}

#[track_caller]
fn told(yard: &Yard, decision: &str, image: &str, digest: &str, reasons: &str, record: &str) {
    let wanted = [
        ("decision", decision),
        ("image", image),
        ("digest", digest),
        ("reasons", reasons),
        ("record", record),
        ("permit", ""),
    ];
    let wanted: BTreeMap<_, _> = wanted.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    assert_eq!(outputs(yard), wanted);
}

fn annotations(ran: &Ran) -> Vec<&str> {
    ran.stderr.lines().filter(|line| line.starts_with("::")).collect()
}

/// The line of the policy file, from 1, that begins with `start`, behind the one that begins with `behind`.
pub(super) fn line_of(yard: &Yard, behind: &str, start: &str) -> usize {
    let text = yard.read("samebits.toml");
    let lines = text.lines().enumerate().skip_while(|(_, line)| !line.starts_with(behind));
    lines.into_iter().find(|(_, line)| line.starts_with(start)).unwrap().0 + 1
}

#[test]
fn github_is_told_a_yes() {
    let yard = Yard::new();
    let image = yard.build("1", "first");
    let pinned = at("staging", &image);
    let digest = image.digest.to_string();
    // A question is no promotion: there is nothing to deploy yet.
    let asked = on_github(&yard, ["check", IMAGE, "--to", "staging"], &[]).exits(0);
    told(&yard, "approved", "", &digest, "", "");
    assert!(annotations(&asked).is_empty() && yard.read("summary").contains("nothing was recorded"));

    let ran = on_github(&yard, PROMOTE, &[]).exits(0);
    assert_eq!(ran.stdout, format!("{pinned}\n"));
    told(&yard, "approved", &pinned, &digest, "", "1");
    let summary = yard.read("summary");
    let lines: Vec<&str> = summary.lines().collect();
    assert_eq!(lines.len(), 4, "{summary}");
    assert_eq!(
        (lines[0], lines[1]),
        ("before", "<h3>✅ yes: samebits promote <code>shop</code> → <code>staging</code></h3>")
    );
    assert!(lines[2].contains(&format!("<code>{pinned}</code>")), "{summary}");
    assert!(lines[3].contains("Recorded as <b>1</b>"), "{summary}");
    // Of the other verbs it is told the record.
    let said = ["deployed", &pinned, "--in", "staging", "--key", "keys/staging.key"];
    on_github(&yard, said, &[]).exits(0);
    let record: BTreeMap<_, _> =
        [("image", "from-before"), ("record", "2")].map(|(n, v)| (n.to_owned(), v.to_owned())).into();
    assert_eq!(outputs(&yard), record);
}

#[test]
fn github_is_told_a_no_at_the_line_that_refuses() {
    let yard = Yard::new();
    let image = yard.build("1", "first");
    yard.promote(IMAGE, "staging").exits(0);
    let there = at("staging", &image);
    let ask = ["promote", &there, "--to", "production", "--key", "keys/release.key"];
    let no = on_github(&yard, ask, &[]).exits(1);
    assert_eq!(no.stdout, "");
    told(&yard, "denied", "", &image.digest.to_string(), "never-deployed", "2");
    let line = line_of(&yard, "[environments.production]", "after");
    let annotations = annotations(&no);
    assert_eq!(annotations.len(), 1, "{annotations:?}");
    let start =
        format!("::error file=samebits.toml,line={line},title=never-deployed::shop may not enter production");
    assert!(annotations[0].starts_with(&start), "{annotations:?}");
    assert!(annotations[0].contains("%0Ato fix: samebits deployed"), "{annotations:?}");
    let summary = yard.read("summary");
    for said in [
        "<h3>❌ no: samebits promote <code>shop</code> → <code>production</code></h3>",
        "<td>deployed<br><b>never-deployed</b></td>",
        "<b>Shortest path to yes</b>",
        &format!("samebits deployed {there} --in staging"),
        "Recorded as <b>2</b>",
    ] {
        assert!(summary.contains(said), "{said}\n{summary}");
    }
}

#[test]
fn github_is_told_that_there_is_no_answer() {
    let yard = Yard::new();
    yard.build("1", "first");
    let none = [
        "promote",
        "oci:registry/none:1",
        "--to",
        "staging",
        "--service",
        "shop",
        "--key",
        "keys/release.key",
    ];
    let trouble = on_github(&yard, none, &[]).exits(3);
    told(&yard, "undecided", "", "", "", "");
    let said = annotations(&trouble);
    assert!(said.len() == 1 && said[0].starts_with("::error title=undecided::"), "{said:?}");
    assert!(yard.read("summary").contains("<h3>⚠️ undecided: samebits promote → <code>staging</code></h3>"));
    // The command line, before there is one.
    for args in [&["promote", "", "--to", "staging"][..], &["check", IMAGE, "--to", "staging", "--bogus"]] {
        let trouble = on_github(&yard, args.iter().copied(), &[]).exits(2);
        told(&yard, "undecided", "", "", "", "");
        assert_eq!(annotations(&trouble).len(), 1, "{}", trouble.stderr);
    }
    // The policy, at its line.
    yard.edit_policy(|text| text.replace("entry = true", "entry = true\nbogus = 1"));
    let trouble = on_github(&yard, PROMOTE, &[]).exits(2);
    told(&yard, "undecided", "", "", "", "");
    let start = format!("::error file=samebits.toml,line={},title=undecided::", line_of(&yard, "", "bogus"));
    assert!(annotations(&trouble)[0].starts_with(&start), "{}", trouble.stderr);
}

/// As a step of Buildkite. Its agent is a stub: it writes down what it was run with and what it read, and ends with `code`.
#[cfg(unix)]
fn on_buildkite<'a>(
    yard: &Yard,
    args: impl IntoIterator<Item = &'a str>,
    code: u8,
    more: &[(&str, &str)],
) -> Ran {
    let _ = std::fs::remove_file(yard.path("asked"));
    let _ = std::fs::create_dir(yard.path("agent"));
    let stub = format!(
        "#!/bin/sh\n{{ printf '%s\\n' \"$@\"; cat; echo --; }} >>asked\necho sorry >&2\nexit {code}\n"
    );
    yard.write("agent/buildkite-agent", stub);
    let file = yard.path("agent/buildkite-agent");
    std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = yard.command(args);
    command.env("PATH", format!("{}:/usr/bin:/bin", yard.path("agent").display())).env("BUILDKITE", "true");
    ran(command.envs(more.iter().copied()))
}

/// What the agent was asked, call by call.
#[cfg(unix)]
fn asked(yard: &Yard) -> Vec<String> {
    let text = std::fs::read_to_string(yard.path("asked")).unwrap_or_default();
    text.split_terminator("--\n").map(str::to_owned).collect()
}

#[cfg(unix)]
#[test]
fn buildkite_is_told_a_yes_a_no_and_trouble() {
    let yard = Yard::new();
    let image = yard.build("1", "first");
    let there = at("staging", &image);
    on_buildkite(&yard, PROMOTE, 0, &[]).exits(0);
    let calls = asked(&yard);
    assert_eq!(calls.len(), 3, "{calls:#?}");
    let yes = "annotate\n--style\nsuccess\n--context\nsamebits-promote-staging\n<h3>✅ yes: samebits promote";
    assert!(calls[2].starts_with(yes), "{}", calls[2]);
    assert!(calls[2].contains(&format!("<code>samebits show {}</code>", image.digest)), "{}", calls[2]);
    assert_eq!(
        calls[..2],
        [
            format!("meta-data\nset\nsamebits-staging-image\n{there}\n"),
            "meta-data\nset\nsamebits-staging-decision\napproved\n".to_owned(),
        ]
    );

    // A no takes the image of an earlier yes away. Two services in one build are two steps.
    let ask = ["promote", &there, "--to", "production", "--key", "keys/release.key"];
    on_buildkite(&yard, ask, 0, &[("BUILDKITE_STEP_KEY", "shop-gate")]).exits(1);
    let calls = asked(&yard);
    let no = "annotate\n--style\nerror\n--context\nsamebits-promote-shop-gate\n<h3>❌ no";
    assert!(calls[2].starts_with(no) && calls[2].contains("Shortest path to yes"), "{}", calls[2]);
    assert_eq!(
        calls[..2],
        [
            "meta-data\nset\nsamebits-shop-gate-image\nnone\n",
            "meta-data\nset\nsamebits-shop-gate-decision\ndenied\n",
        ]
    );
    on_buildkite(&yard, ["promote", "oci:registry/none:1", "--to", "staging", "--service", "shop"], 0, &[])
        .exits(2);
    let calls = asked(&yard);
    assert!(calls[2].starts_with("annotate\n--style\nwarning\n"), "{}", calls[2]);
    assert_eq!(calls[0], "meta-data\nset\nsamebits-staging-image\nnone\n");

    // A question is no promotion, and a deployment no answer: neither hands on an image.
    on_buildkite(&yard, ["check", IMAGE, "--to", "staging"], 0, &[]).exits(0);
    assert_eq!(asked(&yard).len(), 1);
}

#[cfg(unix)]
#[test]
fn the_agent_of_buildkite_changes_no_verdict() {
    let yard = Yard::new();
    let image = yard.build("1", "first");
    let failed = on_buildkite(&yard, PROMOTE, 1, &[]).exits(0);
    assert_eq!(failed.stdout, format!("{}\n", at("staging", &image)));
    assert!(failed.stderr.contains("warning: buildkite-agent meta-data failed"), "{}", failed.stderr);
    assert_eq!(asked(&yard).len(), 1);
    let no = ["check", IMAGE, "--to", "production"];
    on_buildkite(&yard, no, 1, &[]).exits(1);
    // Without an agent nothing is said; nor where something else was asked for, or it is off.
    let alone = on_buildkite(&yard, no, 0, &[("PATH", "/nowhere")]).exits(1);
    assert!(!alone.stderr.contains("buildkite"), "{}", alone.stderr);
    on_buildkite(&yard, no, 0, &[("SAMEBITS_CI", "off")]).exits(1);
    on_buildkite(&yard, no.into_iter().chain(["-o", "text"]), 0, &[]).exits(1);
    on_buildkite(&yard, no, 0, &[("BUILDKITE", "")]).exits(1);
    assert_eq!(asked(&yard), Vec::<String>::new());
}

#[test]
fn nothing_is_told_where_it_is_off_or_something_else_was_asked_for() {
    let yard = Yard::new();
    yard.build("1", "first");
    let ask = ["check", IMAGE, "--to", "production"];
    let untold = |ran: Ran| {
        assert_eq!(
            (annotations(&ran).len(), yard.read("summary").as_str()),
            (0, "before\n"),
            "{}",
            ran.stderr
        );
        assert_eq!(yard.read("out"), "image=from-before\n");
    };
    untold(on_github(&yard, ask, &[("SAMEBITS_CI", "off")]).exits(1));
    untold(on_github(&yard, ["check", "", "--to", "x"], &[("SAMEBITS_CI", "off")]).exits(2));
    untold(on_github(&yard, ask, &[("SAMEBITS_CI", "no")]).exits(2));
    untold(on_github(&yard, ask, &[("GITHUB_ACTIONS", "")]).exits(1));
    untold(on_github(&yard, ask.into_iter().chain(["-o", "text"]), &[]).exits(1));
    untold(on_github(&yard, ["status"], &[]).exits(0));
    // Asked for, it is told anywhere.
    let all = ["-o", "github", "-o", "json"];
    let no = on_github(&yard, ask.into_iter().chain(all), &[("SAMEBITS_CI", "off"), ("GITHUB_ACTIONS", "")]);
    let no = no.exits(1);
    assert_eq!(no.json()["decision"], "denied");
    assert_eq!(outputs(&yard)["decision"], "denied");
    // Where that is nowhere, nothing is done; and other verbs have nothing to tell.
    for args in [
        &["promote", IMAGE, "--to", "staging", "--key", "keys/release.key", "-o", "github"][..],
        &["check", IMAGE, "--to", "staging", "-o", "github=x"],
        &["check", IMAGE, "--to", "staging", "-o", "junit"],
        &["status", "-o", "junit=x.xml"],
    ] {
        yard.run(args.iter().copied()).exits(2);
    }
    assert_eq!(yard.records().len(), 0);
}

/// Its name, its attributes, its text.
type Element = (String, BTreeMap<String, String>, String);

/// Every element and its text, with attributes; fails on what is no XML.
fn xml(text: &str) -> Vec<Element> {
    let forbidden = |c: char| c.is_control() && c != '\n' || matches!(c, '\u{fffe}' | '\u{ffff}');
    assert!(!text.contains(forbidden), "{text:?}");
    let mut reader = Reader::from_str(text);
    let mut elements: Vec<Element> = Vec::new();
    let (mut open, mut deepest) = (0, Vec::new());
    loop {
        let event = reader.read_event().unwrap();
        match &event {
            Event::Start(tag) | Event::Empty(tag) => {
                let name = String::from_utf8(tag.name().as_ref().to_vec()).unwrap();
                let attribute = |attribute: quick_xml::events::attributes::Attribute<'_>| {
                    let value = String::from_utf8(attribute.value.to_vec()).unwrap();
                    assert!(!value.contains('<'), "{value}");
                    let value = quick_xml::escape::unescape(&value).unwrap().into_owned();
                    (String::from_utf8(attribute.key.as_ref().to_vec()).unwrap(), value)
                };
                elements.push((
                    name,
                    tag.attributes().map(|a| attribute(a.unwrap())).collect(),
                    String::new(),
                ));
                if matches!(event, Event::Start(_)) {
                    deepest.push(elements.len() - 1);
                    open += 1;
                }
            }
            Event::End(_) => {
                deepest.pop();
                open -= 1;
            }
            Event::Text(text) => {
                let text = String::from_utf8(text.to_vec()).unwrap();
                if let Some(at) = deepest.last() {
                    elements[*at].2.push_str(&text);
                }
            }
            Event::GeneralRef(name) => {
                let name = String::from_utf8(name.to_vec()).unwrap();
                let text = quick_xml::escape::unescape(&format!("&{name};")).unwrap().into_owned();
                if let Some(at) = deepest.last() {
                    elements[*at].2.push_str(&text);
                }
            }
            Event::Decl(_) => {}
            Event::Eof => break,
            Event::CData(_) | Event::Comment(_) | Event::PI(_) | Event::DocType(_) => panic!("{event:?}"),
        }
    }
    assert_eq!(open, 0, "{text}");
    elements
}

/// `check` or `promote` with every file; JUnit's elements, and SARIF.
fn files(yard: &Yard, args: &[&str], code: i32) -> (String, Vec<Element>, Value) {
    let more = ["-o", "dotenv=out.env", "-o", "junit=out.xml", "-o", "sarif=out.sarif"];
    yard.run(args.iter().copied().chain(more)).exits(code);
    (yard.read("out.env"), xml(&yard.read("out.xml")), serde_json::from_str(&yard.read("out.sarif")).unwrap())
}

#[test]
fn dotenv_junit_and_sarif_of_a_yes_a_no_and_trouble() {
    let yard = Yard::new();
    let image = yard.build("1", "first");
    let (there, digest) = (at("staging", &image), image.digest);
    let counts = |elements: &[Element]| {
        let suite = elements.iter().find(|(name, _, _)| name == "testsuite").unwrap();
        ["tests", "failures", "errors"].map(|name| suite.1[name].clone())
    };

    let (env, junit, sarif) = files(&yard, &PROMOTE, 0);
    assert_eq!(
        env,
        format!(
            "SAMEBITS_DECISION=approved\nSAMEBITS_IMAGE={there}\nSAMEBITS_DIGEST={digest}\nSAMEBITS_RECORD=1\n"
        )
    );
    assert_eq!(counts(&junit), ["4", "0", "0"]);
    assert_eq!(sarif["runs"][0]["results"], json!([]));
    assert_eq!(sarif["runs"][0]["invocations"][0]["executionSuccessful"], true);

    let (env, junit, sarif) = files(&yard, &["check", &there, "--to", "production"], 1);
    assert_eq!(env, format!("SAMEBITS_DECISION=denied\nSAMEBITS_DIGEST={digest}\n"));
    assert_eq!(counts(&junit), ["5", "1", "0"]);
    let failure = junit.iter().find(|(name, _, _)| name == "failure").unwrap();
    assert_eq!(failure.1["type"], "never-deployed");
    for said in
        ["wanted  these bytes ran in `staging`", "\nfound   `staging` has no", "\nto fix  samebits deployed"]
    {
        assert!(failure.2.contains(said), "{said}: {}", failure.2);
    }
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!((&sarif["version"], &result["ruleId"]), (&json!("2.1.0"), &json!("never-deployed")));
    let place = &result["locations"][0]["physicalLocation"];
    let line = line_of(&yard, "[environments.production]", "after");
    assert_eq!(
        *place,
        json!({ "artifactLocation": { "uri": "samebits.toml" }, "region": { "startLine": line } })
    );

    let none = ["check", "oci:registry/none:1", "--to", "staging", "--service", "shop"];
    let (env, junit, sarif) = files(&yard, &none, 3);
    assert_eq!(env, "SAMEBITS_DECISION=undecided\n");
    assert_eq!(counts(&junit), ["1", "0", "1"]);
    assert!(junit.iter().any(|(name, at, _)| name == "error" && at["type"] == "undecided"));
    assert_eq!(sarif["runs"][0]["invocations"][0]["executionSuccessful"], false);

    // A command line that is wrong: no file keeps the answer to an earlier question.
    for wrong in
        [&["promote", "", "--to", "staging"][..], &["check", IMAGE, "--to", "staging", "-o", "junit=no/such"]]
    {
        let (env, junit, sarif) = files(&yard, wrong, 2);
        assert_eq!(
            (env.as_str(), counts(&junit)),
            ("SAMEBITS_DECISION=undecided\n", ["1", "0", "1"].map(str::to_owned))
        );
        assert_eq!(sarif["runs"][0]["invocations"][0]["executionSuccessful"], false);
    }

    // Of a record its index, and nothing that could be deployed.
    let said = ["deployed", &there, "--in", "staging", "--key", "keys/staging.key"];
    let (env, junit, _) = files(&yard, &said, 0);
    assert_eq!((env.as_str(), counts(&junit)), ("SAMEBITS_RECORD=2\n", ["0", "0", "0"].map(str::to_owned)));
}

#[test]
fn f7_what_dotenv_cannot_hold_is_an_error_and_the_answer_is_printed() {
    let yard = Yard::new();
    yard.edit_policy(|text| text.replace("oci:registry/staging", "oci:registry/stag$(id)ing"));
    let image = yard.build("1", "first");
    let ran = yard.run(PROMOTE.into_iter().chain(["-o", "dotenv=out.env", "-o", "json=out.json"])).exits(3);
    assert_eq!(ran.stdout, format!("oci:registry/stag$(id)ing/shop@{}\n", image.digest));
    assert!(ran.stderr.contains("out.env") && ran.stderr.contains("SAMEBITS_IMAGE"), "{}", ran.stderr);
    assert_eq!(yard.read("out.env"), "");
    // The other files keep the answer: it was given.
    let document: Value = serde_json::from_str(&yard.read("out.json")).unwrap();
    assert_eq!(document["decision"], "approved");
}

#[test]
fn a_report_that_cannot_be_written_is_trouble_only_if_it_was_asked_for() {
    if !std::path::Path::new("/dev/full").exists() {
        return;
    }
    for (name, more, code) in [
        ("found", &[][..], 0),
        ("asked for", &["-o", "github"], 3),
        ("a file", &["-o", "junit=/dev/full"], 3),
    ] {
        let yard = Yard::new();
        let image = yard.build("1", "first");
        let args = PROMOTE.into_iter().chain(more.iter().copied());
        let ran = on_github(&yard, args, &[("GITHUB_OUTPUT", "/dev/full")]).exits(code);
        // It was promoted, and that is said.
        assert_eq!(ran.stdout, format!("{}\n", at("staging", &image)), "{name}");
        assert!(ran.stderr.contains("the output file /dev/full cannot be written"), "{name}: {}", ran.stderr);
        assert_eq!(yard.phases(&image, "staging").last().map(String::as_str), Some("commit"), "{name}");
    }
}

/// A policy that wants `many` attestations by the build, each saying something that none says.
pub(super) fn wants(yard: &Yard, many: usize) {
    yard.edit_policy(|text| {
        let mut rules = String::new();
        for number in 0..many {
            let _ = write!(
                rules,
                "[[environments.staging.require.attestations]]\ntype = \"https://acme.example/{number}\"\n\
                 signer = \"build\"\nfields = {{ \"/said\" = {:?} }}\n",
                "good | <b> @user"
            );
        }
        text + "\n" + &rules
    });
}

pub(super) fn says(yard: &Yard, image: &Image, number: usize, said: &str) {
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": "x", "digest": { "sha256": image.digest.hex() } }],
        "predicateType": format!("https://acme.example/{number}"),
        "predicate": { "said": said },
    });
    let bundle = sign_statement(statement.to_string().as_bytes(), &yard.key("build")).unwrap();
    let none = BTreeMap::new();
    yard.runtime.block_on(yard.registries.attach(image, BUNDLE[0], BUNDLE[0], &bundle, &none)).unwrap();
}

#[test]
fn d8_foreign_text_stays_in_its_cell_its_line_and_its_element() {
    let yard = Yard::new();
    let image = yard.build("1", "first");
    wants(&yard, 3);
    let long = HOSTILE.repeat(2 * 1024 * 1024 / HOSTILE.len());
    for (number, said) in [HOSTILE, &long, "plain"].into_iter().enumerate() {
        says(&yard, &image, number, said);
    }
    let no = on_github(&yard, PROMOTE, &[]).exits(1);
    assert_eq!(no.stdout, "");
    told(&yard, "denied", "", &image.digest.to_string(), "attestation-mismatch", "0");
    let annotations = annotations(&no);
    assert_eq!(annotations.len(), 3, "{annotations:#?}");
    assert!(
        annotations.iter().all(|line| line.starts_with("::error file=samebits.toml,line=")),
        "{annotations:#?}"
    );
    // Each at the line of its own rule.
    let text = yard.read("samebits.toml");
    for (number, line) in annotations.iter().enumerate() {
        let rule = format!("type = \"https://acme.example/{number}\"");
        let at = text.lines().position(|line| line == rule).unwrap();
        assert!(line.contains(&format!(",line={at},")), "{at}: {line}");
    }
    assert!(!no.stderr.contains("##[") && !no.stderr.contains('\u{1b}'), "{}", no.stderr);

    let summary = yard.read("summary");
    assert!(summary.len() < 100_000 && summary.contains("set-output"), "{}", summary.len());
    harmless(&summary);

    let (_, junit, sarif) = files(&yard, &["check", IMAGE, "--to", "staging"], 1);
    let names: Vec<&str> = junit.iter().map(|(name, _, _)| name.as_str()).collect();
    assert_eq!(names.iter().filter(|name| **name == "failure").count(), 3);
    let known = ["testsuites", "testsuite", "properties", "property", "testcase", "failure"];
    assert!(names.iter().all(|name| known.contains(name)), "{names:?}");
    assert_eq!(sarif["runs"][0]["results"].as_array().unwrap().len(), 3);
}

/// Of markup a summary has only ours, and each piece of foreign text is inside `<code>`.
#[track_caller]
fn harmless(summary: &str) {
    let tags =
        ["h3", "p", "b", "table", "tr", "th", "td", "br", "code", "ol", "ul", "li", "details", "summary"];
    for piece in summary.split('<').skip(1) {
        let tag = piece.split('>').next().unwrap().trim_start_matches('/');
        assert!(tags.contains(&tag), "{piece}");
    }
    let mut outside = String::new();
    for piece in summary.split("<code>") {
        outside.push_str(piece.rsplit("</code>").next().unwrap());
    }
    for foreign in ["set-output", "user", "http", "error", "evil"] {
        assert!(!outside.contains(foreign), "{foreign} in {outside}");
    }
    for line in summary.lines().skip(1) {
        assert!(line.starts_with('<'), "{line}");
    }
    let (opened, closed) = (summary.matches("<code>").count(), summary.matches("</code>").count());
    assert_eq!(opened, closed, "{summary}");
}

#[test]
fn at_most_nine_annotations_and_a_word_of_the_others() {
    let yard = Yard::new();
    yard.build("1", "first");
    wants(&yard, 12);
    let no = on_github(&yard, ["check", IMAGE, "--to", "staging"], &[]).exits(1);
    let annotations = annotations(&no);
    assert_eq!(annotations.len(), 10, "{annotations:#?}");
    assert!(annotations[9].contains("and 3 more"), "{annotations:#?}");
}

#[test]
fn a_summary_is_cut_before_github_drops_it() {
    let yard = Yard::new();
    yard.build("1", "first");
    wants(&yard, 12);
    for (before, wanted) in
        [(0, false), (897_000, true), (899_990, true), (999_998, true), (1_048_000, false)]
    {
        yard.write("full", "x".repeat(before) + "\n");
        let full = yard.path("full");
        let ask = ["check", IMAGE, "--to", "staging"];
        on_github(&yard, ask, &[("GITHUB_STEP_SUMMARY", full.to_str().unwrap())]).exits(1);
        let text = yard.read("full");
        let added = &text[before..];
        assert_eq!(added.contains("Cut here"), wanted, "{before}: {added}");
        assert!(text.len() < 1_048_576 && (before > 899_000 || text.len() <= 900_000), "{}", text.len());
        assert_eq!(added.matches("<table>").count(), added.matches("</table>").count(), "{added}");
        assert_eq!(added.matches("<details>").count(), added.matches("</details>").count(), "{added}");
    }
}

#[test]
fn d8_the_name_of_a_policy_file_is_no_property_of_its_own() {
    let yard = Yard::new();
    yard.build("1", "first");
    let name = "x,title=y::z%0A.toml";
    yard.write(name, yard.read("samebits.toml"));
    let ask =
        ["check", IMAGE, "--to", "production", "--policy", name, "-o", "github", "-o", "sarif=out.sarif"];
    let no = on_github(&yard, ask, &[]).exits(1);
    for line in annotations(&no) {
        assert!(line.starts_with("::error file=x%2Ctitle=y%3A%3Az%250A.toml,"), "{line}");
    }
    let sarif: Value = serde_json::from_str(&yard.read("out.sarif")).unwrap();
    let place =
        &sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"];
    assert_eq!(place, "x%2Ctitle%3Dy%3A%3Az%250A.toml");
}
