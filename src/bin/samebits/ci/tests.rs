//! Every format with text that wants out of it, in every place where text can be, and two megabytes of it.

use std::path::Path;

use quick_xml::events::Event;
use samebits::gate::{Code, Requirement};

use super::log::Log;
use super::{Asked, Facts, PolicyFile, View, Word, annotations, dotenv, github, junit, sarif, summary};
use crate::output::{RequirementStands, Status};

const HOSTILE: &str = "x\r\n::set-output name=image::evil\n##[error]y ]]> --> %0A::error::z | <img src=x> [l](http://evil) \
                       @user </code></td></table>\n\n# h\nimage<<samebits-guess\nevil\nsamebits-guess\n\u{0}\u{1b}[2J\u{fffe}";

fn stands(requirement: Requirement, status: Status, text: &str) -> RequirementStands {
    RequirementStands {
        requirement,
        status,
        code: Some(Code::AttestationMismatch),
        warn_until: Some("2030-01-01".to_owned()),
        expected: text.to_owned(),
        found: text.to_owned(),
        nearest: vec![text.to_owned()],
        fix: vec![text.to_owned()],
        evidence: Vec::new(),
    }
}

/// Gives `judge` a view in which everything that may be foreign is `text`.
fn with(text: &str, word: Word, judge: impl Fn(&View<'_>)) {
    let asked =
        Asked { verb: "promote", image: text.to_owned(), environment: text.to_owned(), decides: true };
    let requirements = [
        stands(Requirement::Attestation, Status::Unmet, text),
        stands(Requirement::Deployed, Status::Warned, text),
    ];
    let texts = [text.to_owned(), text.to_owned()];
    let decided = word != Word::Undecided;
    let facts = Facts {
        word,
        service: text.to_owned(),
        image: text.to_owned(),
        pinned: (word == Word::Approved).then(|| text.to_owned()),
        permit: (word == Word::Approved).then(|| text.to_owned()),
        digest: decided.then(|| text.to_owned()),
        codes: vec![text.to_owned()],
        requirements: if decided { &requirements } else { &[] },
        notes: &texts,
        record: Some(7),
        record_url: Some(text),
        causes: if decided { &[] } else { &texts },
        hint: Some(text),
        at: Some(3),
    };
    // No system has a path of megabytes.
    let policy = PolicyFile::new(Path::new(&HOSTILE.replace('\0', "")), "version = 1\n", None);
    judge(&View { asked: &asked, facts: &facts, policy: Some(&policy), run: Some(text) });
}

fn everywhere(judge: impl Fn(&View<'_>)) {
    let long = HOSTILE.repeat(2 * 1024 * 1024 / HOSTILE.len());
    for text in [HOSTILE, &long] {
        for word in [Word::Approved, Word::Denied, Word::Undecided] {
            with(text, word, &judge);
        }
    }
}

#[test]
fn d8_step_outputs_hold_what_they_were_given_even_if_the_delimiter_is_guessed() {
    everywhere(|view| {
        let text = github::outputs(view, "guess");
        let mut lines = text.split('\n');
        let mut names = Vec::new();
        while let Some((name, delimiter)) = lines.next().and_then(|line| line.split_once("<<")) {
            let value: Vec<&str> = lines.by_ref().take_while(|line| *line != delimiter).collect();
            let value = value.join("\n");
            let hostile = value.contains("set-output");
            let expected = match name {
                "record" => value == "7",
                "decision" => value == view.facts.word.said(),
                "image" => value == view.facts.pinned.clone().unwrap_or_default(),
                "digest" => value == view.facts.digest.clone().unwrap_or_default(),
                "reasons" => hostile,
                "permit" => value == view.facts.permit.clone().unwrap_or_default(),
                _ => false,
            };
            assert!(expected, "{name}: {} bytes", value.len());
            names.push(name);
        }
        assert_eq!(names, ["record", "decision", "image", "digest", "reasons", "permit"]);
        assert_eq!(lines.next(), None);
    });
}

#[test]
fn d8_annotations_are_one_line_each() {
    everywhere(|view| {
        let text = github::annotations(view);
        assert!(text.len() < 100_000, "{}", text.len());
        let wanted = if view.facts.word == Word::Undecided { 1 } else { 2 };
        assert_eq!(text.lines().count(), wanted, "{text}");
        for line in text.lines() {
            assert!(line.starts_with("::error ") || line.starts_with("::warning "), "{line}");
            assert!(!line.contains("##[") && !line.contains(['\r', '\u{1b}', '\0']), "{line}");
            // Four properties at most, and the message begins where the first `::` behind them is.
            let (properties, _) = line[2..].split_once("::").unwrap_or_default();
            assert!(
                properties.split(',').count() <= 3 && !properties.contains("set-output:"),
                "{properties}"
            );
        }
    });
}

#[test]
fn d8_a_summary_has_only_tags_of_ours_and_is_short() {
    everywhere(|view| {
        for taken in [0, 880_000, 950_000, 1_040_000] {
            let text = summary::render(view, taken);
            let room = if taken < 900_000 { 900_000 - taken } else { 200 };
            assert!(text.len() as u64 <= room, "{taken}: {}", text.len());
            assert!(
                !text.contains("\n\n") && !text.contains("<img") && !text.contains(['\u{1b}', '\0', '|']),
                "{text}"
            );
            for element in ["table", "tr", "td", "code", "ol", "ul", "li", "details", "p", "h3"] {
                let (opened, closed) = (format!("<{element}>"), format!("</{element}>"));
                assert_eq!(text.matches(&opened).count(), text.matches(&closed).count(), "{element}: {text}");
            }
        }
    });
}

#[test]
fn d8_junit_is_well_formed_and_has_only_elements_of_ours() {
    everywhere(|view| {
        let text = junit::render(view);
        assert!(text.len() < 200_000, "{}", text.len());
        let allowed = |c: char| !c.is_control() && c != '\u{fffe}' || c == '\n';
        assert!(text.chars().all(allowed), "{text:?}");
        let mut reader = quick_xml::Reader::from_str(&text);
        let mut elements = Vec::new();
        loop {
            match reader.read_event().unwrap() {
                Event::Start(tag) | Event::Empty(tag) => {
                    tag.attributes().for_each(|attribute| drop(attribute.unwrap()));
                    elements.push(String::from_utf8(tag.name().as_ref().to_vec()).unwrap());
                }
                Event::Eof => break,
                Event::End(_) | Event::Text(_) | Event::GeneralRef(_) | Event::Decl(_) => {}
                Event::CData(_) | Event::Comment(_) | Event::PI(_) | Event::DocType(_) => panic!("{text}"),
            }
        }
        let count = |name: &str| elements.iter().filter(|element| *element == name).count();
        let undecided = view.facts.word == Word::Undecided;
        let wanted = if undecided { [1, 0, 1] } else { [2, 1, 0] };
        assert_eq!(["testcase", "failure", "error"].map(count), wanted);
    });
}

#[test]
fn d8_sarif_and_dotenv() {
    everywhere(|view| {
        let text = sarif::render(view);
        assert!(text.len() < 200_000, "{}", text.len());
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        let results = document["runs"][0]["results"].as_array().unwrap();
        assert_eq!(results.len(), view.facts.requirements.len());
        for result in results {
            let message = result["message"]["text"].as_str().unwrap();
            assert!(!message.contains(['\u{1b}', '\r']) && !message.contains("##["), "{message}");
        }
        let env = dotenv::render(view);
        match view.facts.word {
            Word::Undecided => assert_eq!(env.unwrap(), "SAMEBITS_DECISION=undecided\nSAMEBITS_RECORD=7\n"),
            Word::Approved | Word::Denied | Word::Recorded => assert!(env.is_err()),
        }
    });
}

#[test]
fn d8_a_log_has_one_section_of_ours_and_its_lines_begin_as_ours_do() {
    everywhere(|view| {
        let blobs = "https://git.example/a/-/blob/0f/".to_owned();
        let text = Log::Gitlab { blobs, colours: true }.render(view, 7, "guess");
        assert!(text.len() < 50_000, "{}", text.len());
        assert_eq!(text.matches("\r\u{1b}[0K").count(), 2, "{text:?}");
        assert!(text.starts_with("\u{1b}[0Ksection_start:7:samebits_guess"), "{text:?}");
        assert!(text.ends_with("\n\u{1b}[0Ksection_end:7:samebits_guess\r\u{1b}[0K\n"), "{text:?}");
        let (markers, colours) = (4, 3);
        assert_eq!(text.matches('\u{1b}').count(), markers + colours, "{text:?}");
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1..lines.len() - 1].iter().all(|line| line.starts_with("  ")), "{text:?}");

        let text = Log::Jenkins.render(view, 7, "guess");
        assert!(text.lines().all(|line| line.starts_with("[samebits] ")), "{text:?}");
        assert!(!text.contains(['\r', '\u{1b}', '\0']) && !text.contains("##["), "{text:?}");
        assert!(text.contains("[samebits] record 7"), "{text}");
    });
}

#[test]
fn d8_annotations_lead_nowhere_but_where_they_are_meant_to() {
    everywhere(|view| {
        let text = annotations::render(view, Some(HOSTILE));
        assert_eq!(text, "{}\n");
    });
    // What a policy says, and a name of a file that wants to be more.
    with(HOSTILE, Word::Denied, |view| {
        let policy =
            PolicyFile::new(Path::new("/repo/a b](c)#x?y.toml"), "version = 1\n", Some(Path::new("/repo")));
        let facts = Facts {
            record_url: Some("https://a.example/7"),
            record: Some(7),
            service: String::new(),
            image: String::new(),
            pinned: None,
            permit: None,
            digest: None,
            codes: Vec::new(),
            ..*view.facts
        };
        let view = View { asked: view.asked, facts: &facts, policy: Some(&policy), run: None };
        let text = annotations::render(&view, Some("https://git.example/a/-/blob/0f/"));
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        let links = document["samebits"].as_array().unwrap();
        assert_eq!(links.len(), 3);
        assert_eq!(links[0]["external_link"]["url"], "https://a.example/7");
        for link in &links[1..] {
            assert_eq!(
                link["external_link"]["url"],
                "https://git.example/a/-/blob/0f/a%20b%5D%28c%29%23x%3Fy.toml"
            );
        }
    });
}

#[test]
fn d8_a_record_is_a_link_only_where_it_can_be_nothing_else() {
    let urls = [
        ("https://a.example/7.json", true),
        ("https://a.example/7?a=b&c=d#e", true),
        ("http://a.example/7", false),
        ("javascript:alert(7)", false),
        ("https://a.example/\" onclick=\"x", false),
        (HOSTILE, false),
    ];
    for (url, is_link) in urls {
        with("plain", Word::Denied, |view| {
            let facts = Facts {
                record_url: Some(url),
                service: "shop".to_owned(),
                image: "image".to_owned(),
                pinned: None,
                permit: None,
                digest: None,
                codes: Vec::new(),
                ..*view.facts
            };
            let view = View { facts: &facts, ..*view };
            let summary = summary::render(&view, 0);
            assert_eq!(
                summary.matches("<a href=\"https://a.example/7").count(),
                usize::from(is_link),
                "{summary}"
            );
            assert_eq!(summary.matches("<a").count(), usize::from(is_link), "{summary}");
            let sarif: serde_json::Value = serde_json::from_str(&sarif::render(&view)).unwrap();
            let viewer = &sarif["runs"][0]["results"][0]["hostedViewerUri"];
            assert_eq!(viewer.as_str(), is_link.then_some(url));
            assert_eq!(junit::render(&view).contains("name=\"record-url\""), is_link);
        });
    }
}
