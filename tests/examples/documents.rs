//! Documents of YAML as JSON, with the types of the YAML 1.2 core schema that manifests use.

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// Every document of `text`. An alias, a tag, a key that is no text or is there twice fails the test.
pub(crate) fn documents(text: &str) -> Vec<Value> {
    let (mut documents, mut open): (Vec<Value>, Vec<Open>) = (Vec::new(), Vec::new());
    for event in Parser::new_from_str(text) {
        let (event, span) = event.unwrap();
        let done = match event {
            Event::Scalar(text, style, 0, None) => scalar(&text, style == ScalarStyle::Plain),
            Event::SequenceStart(0, None) => {
                open.push(Open::List(Vec::new()));
                continue;
            }
            Event::MappingStart(0, None) => {
                open.push(Open::Map(Map::new(), None));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop().unwrap() {
                Open::List(items) => items.into(),
                Open::Map(map, None) => map.into(),
                Open::Map(_, Some(key)) => panic!("{key} has no value"),
            },
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => continue,
            other => panic!("{other:?} at {span:?}"),
        };
        match open.last_mut() {
            None => documents.push(done),
            Some(Open::List(items)) => items.push(done),
            Some(Open::Map(map, key)) => match key.take() {
                None => *key = Some(done.as_str().unwrap_or_else(|| panic!("a key at {span:?}")).to_owned()),
                Some(name) => assert_eq!(map.insert(name, done), None, "twice, at {span:?}"),
            },
        }
    }
    documents
}

enum Open {
    List(Vec<Value>),
    Map(Map<String, Value>, Option<String>),
}

fn scalar(text: &str, plain: bool) -> Value {
    match (plain, text) {
        (true, "" | "~" | "null") => Value::Null,
        (true, "true") => true.into(),
        (true, "false") => false.into(),
        (true, number) if number.parse::<i64>().is_ok() => number.parse::<i64>().unwrap().into(),
        (true, number) if number.contains('.') && number.parse::<f64>().is_ok() => {
            number.parse::<f64>().unwrap().into()
        }
        (_, text) => text.into(),
    }
}

#[test]
fn yaml_is_read_with_its_types() {
    let text = "a: 1\nb: [x, \"2\", true, null, 1.5]\nc:\n  - d: |\n      e\n---\nf: v1.2.3\n";
    let expected = serde_json::json!([
        { "a": 1, "b": ["x", "2", true, null, 1.5], "c": [{ "d": "e\n" }] },
        { "f": "v1.2.3" },
    ]);
    assert_eq!(Value::from(documents(text)), expected);
}
