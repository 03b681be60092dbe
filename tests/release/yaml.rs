//! Workflow files, flattened: from dotted path to text. Anchors, tags and a key that is there twice fail the test.

use saphyr_parser::{Event, Parser};

use crate::hub::File;

enum Open {
    /// The key that waits for its value.
    Map(Option<String>),
    List(usize),
}

/// Every scalar of `text`, and every empty map as `{}`.
pub(super) fn read(text: &str) -> File {
    let mut file = File::new();
    let mut path: Vec<String> = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.unwrap();
        let place = || format!("line {}", span.start.line());
        match event {
            Event::Scalar(key, _, 0, None) if matches!(open.last(), Some(Open::Map(None))) => {
                path.push(key.to_string());
                *open.last_mut().unwrap() = Open::Map(Some(key.into_owned()));
            }
            Event::Scalar(value, _, 0, None) => {
                number(&open, &mut path);
                assert_eq!(file.insert(path.join("."), value.into_owned()), None, "{}", place());
                value_is_read(&mut open, &mut path);
            }
            Event::MappingStart(0, None) => {
                number(&open, &mut path);
                open.push(Open::Map(None));
            }
            Event::SequenceStart(0, None) => {
                number(&open, &mut path);
                open.push(Open::List(0));
            }
            Event::MappingEnd | Event::SequenceEnd => {
                open.pop();
                let prefix = format!("{}.", path.join("."));
                if !path.is_empty() && !file.keys().any(|key| key.starts_with(&prefix)) {
                    assert_eq!(file.insert(path.join("."), "{}".to_owned()), None, "{}", place());
                }
                value_is_read(&mut open, &mut path);
            }
            Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {}
            other => panic!("{}: what is {other:?} for?", place()),
        }
    }
    file
}

/// An item's number is a part of its path.
fn number(open: &[Open], path: &mut Vec<String>) {
    if let Some(Open::List(next)) = open.last() {
        path.push(next.to_string());
    }
}

fn value_is_read(open: &mut [Open], path: &mut Vec<String>) {
    match open.last_mut() {
        Some(Open::Map(key)) => *key = None,
        Some(Open::List(next)) => {
            // `children` sorts by text.
            assert!(*next < 9, "a list of ten is sorted otherwise");
            *next += 1;
        }
        None => return,
    }
    path.pop();
}

#[test]
fn what_is_nested_is_found_by_its_path() {
    let text = "on:\n  push:\n    tags: [\"v*\"]\npermissions: {}\njobs:\n  a:\n    needs: [b, c]\n    steps:\n      - uses: x@1 # 2\n\
                \x20     - run: |\n          one\n          two: 3\n    m:\n      include:\n        - { t: u, v: w }\n";
    let file = read(text);
    let expected = [
        ("jobs.a.m.include.0.t", "u"),
        ("jobs.a.m.include.0.v", "w"),
        ("jobs.a.needs.0", "b"),
        ("jobs.a.needs.1", "c"),
        ("jobs.a.steps.0.uses", "x@1"),
        ("jobs.a.steps.1.run", "one\ntwo: 3\n"),
        ("on.push.tags.0", "v*"),
        ("permissions", "{}"),
    ];
    assert_eq!(file, expected.map(|(path, value)| (path.to_owned(), value.to_owned())).into());
    for trap in ["a: 1\na: 2\n", "a: &x 1\nb: *x\n", "a: !!str 1\n"] {
        assert!(std::panic::catch_unwind(|| read(trap)).is_err(), "{trap}");
    }
}
