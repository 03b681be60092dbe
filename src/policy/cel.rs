//! Expressions over an attestation, in CEL (cel-spec, `doc/langdef.md`), and what they may cost.
//!
//! Guarantees: an [`Expression`] that exists is short, flat, names only what there is, and calls only functions of a
//! closed list, so that what is wrong with it is an error of the policy file. Its cost is bounded before it runs, by
//! its shape and the size of what it looks at. Whatever is not `true` is no.
//! Never does: regular expressions, clocks, anything outside its arguments.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use cel::common::ast::{EntryExpr, Expr};
use cel::parser::{Expression as Tree, PrattParser};
use cel::{Context, Env, Value as Cel};
use serde_json::Value;

use crate::digest::shorten;

/// What an expression may name.
pub const NAMES: [&str; 5] = ["environment", "predicate", "service", "signer", "subject"];

/// Functions and operators that may be called, beside the macros `has`, `all`, `exists`, `exists_one`, `map`, `filter`.
const FUNCTIONS: [&str; 24] = [
    "_?_:_",
    "_&&_",
    "_||_",
    "!_",
    "-_",
    "_-_",
    "_+_",
    "_*_",
    "_/_",
    "_%_",
    "_==_",
    "_!=_",
    "_>=_",
    "_<=_",
    "_>_",
    "_<_",
    "_[_]",
    "@in",
    "@not_strictly_false",
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "string",
];

/// The longest expression, in bytes.
const LENGTH: usize = 1_000;
/// How deep its tree may be.
const DEPTH: usize = 40;
/// How many loops may multiply.
const LOOPS: u32 = 3;
/// How much one evaluation may cost, in values looked at.
const COST: u64 = 20_000_000;

/// An expression that says yes or no.
#[derive(Clone)]
pub struct Expression {
    text: String,
    tree: Arc<Tree>,
    loops: u32,
}

/// Why a text is no expression for a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// Longer than an expression may be.
    #[error("{found} bytes long: expected at most {LENGTH}")]
    TooLong {
        /// Its length, in bytes.
        found: usize,
    },
    /// Not CEL.
    #[error("not CEL: {message}")]
    Syntax {
        /// What the parser says, shortened.
        message: String,
    },
    /// Nested too deep.
    #[error("nested deeper than {DEPTH} levels")]
    TooDeep,
    /// Loops in loops in loops.
    #[error("more loops multiply than {LOOPS}")]
    TooCostly,
    /// A name that nothing has.
    #[error("unknown name `{found}`: expected one of {}", NAMES.join(", "))]
    UnknownName {
        /// The name, shortened.
        found: String,
    },
    /// A function that may not be called.
    #[error("`{found}` is not a function that a policy may call")]
    UnknownFunction {
        /// The function, shortened.
        found: String,
    },
    /// A message literal.
    #[error("`{found}{{…}}` makes a message: there are none here")]
    Message {
        /// The type, shortened.
        found: String,
    },
}

/// Why an expression did not say yes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It said no.
    #[error("is false")]
    False,
    /// It said something else than yes or no.
    #[error("is neither true nor false")]
    NotBool,
    /// It could not be evaluated: a member is missing, types do not fit.
    #[error("cannot be evaluated: {message}")]
    Failed {
        /// What the interpreter says, shortened.
        message: String,
    },
    /// There is too much to look at.
    #[error("would cost too much over {values} values")]
    TooCostly {
        /// How much there is.
        values: u64,
    },
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// [`ExpressionError`] for what is not CEL, names what there is not, or could cost too much.
    pub(super) fn parse(text: &str) -> Result<Self, ExpressionError> {
        if text.len() > LENGTH {
            return Err(ExpressionError::TooLong { found: text.len() });
        }
        let syntax = |message: &str| ExpressionError::Syntax { message: shorten(message) };
        // The parser is young and foreign: a panic in it is a text that it cannot read.
        let parse = || PrattParser::new().max_recursion_depth(DEPTH as u16).parse(text);
        let tree = match catch_unwind(AssertUnwindSafe(parse)) {
            Ok(Ok(tree)) => tree,
            Ok(Err(errors)) => {
                let first = errors.errors.first().map_or("no reason given", |error| error.msg.as_str());
                return Err(syntax(first));
            }
            Err(_) => return Err(syntax("the parser gave up")),
        };
        let loops = Walk { loops: 0, innermost: None, names: Vec::new() }.power(&tree, DEPTH)?;
        match loops <= LOOPS {
            true => Ok(Self { text: text.to_owned(), tree: Arc::new(tree), loops }),
            false => Err(ExpressionError::TooCostly),
        }
    }

    /// The expression as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is `true` of these values, each under one of [`NAMES`].
    ///
    /// # Errors
    /// [`Refusal`], which is always a no.
    pub fn holds(&self, facts: &[(&str, &Value)]) -> Result<(), Refusal> {
        let values = facts.iter().map(|(_, value)| weight(value)).fold(0_u64, u64::saturating_add);
        if values.saturating_pow(self.loops.max(1)) > COST {
            return Err(Refusal::TooCostly { values });
        }
        let evaluate = || {
            let mut context = Context::with_env(Arc::new(Env::stdlib()));
            for (name, value) in facts {
                context.add_variable_from_value(*name, convert(value));
            }
            context.resolve(&self.tree)
        };
        // The interpreter is as young as the parser: a panic in it is not a yes.
        match catch_unwind(AssertUnwindSafe(evaluate)) {
            Ok(Ok(Cel::Bool(true))) => Ok(()),
            Ok(Ok(Cel::Bool(false))) => Err(Refusal::False),
            Ok(Ok(_)) => Err(Refusal::NotBool),
            Ok(Err(error)) => {
                // Its text may hold all that was looked at.
                let message: String = error.to_string().chars().take(200).collect();
                Err(Refusal::Failed { message: shorten(&message) })
            }
            Err(_) => Err(Refusal::Failed { message: "the interpreter gave up".to_owned() }),
        }
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl std::fmt::Debug for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Expression").field(&self.text).finish()
    }
}

/// How much there is to look at: values, and text by the eight bytes.
fn weight(value: &Value) -> u64 {
    let text = |text: &str| (text.len() / 8) as u64;
    1 + match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(string) => text(string),
        Value::Array(values) => values.iter().map(weight).sum(),
        Value::Object(members) => members.iter().map(|(name, value)| text(name) + weight(value)).sum(),
    }
}

fn convert(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(value) => Cel::Bool(*value),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Cel::Int(number),
            (None, Some(number)) => Cel::UInt(number),
            (None, None) => number.as_f64().map_or(Cel::Null, Cel::Float),
        },
        Value::String(text) => Cel::String(Arc::new(text.clone())),
        Value::Array(values) => Cel::List(Arc::new(values.iter().map(convert).collect())),
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| (name.clone(), convert(value)));
            members.collect::<std::collections::HashMap<String, Cel>>().into()
        }
    }
}

/// A walk down the tree: how much it costs, as a power of the size of what is looked at.
///
/// A loop over what the loop around it hands out looks at everything once, all in all; whatever else is named inside a
/// loop is looked at once more for each turn. A sum, or a list of several, made in a loop counts as a loop more: what
/// doubles thirty times is a thousand million of it.
#[derive(Clone)]
struct Walk<'t> {
    /// The power of what the loops around cost.
    loops: u32,
    /// The variable of the innermost loop, and what it builds.
    innermost: Option<[&'t str; 2]>,
    /// The variables of all loops around.
    names: Vec<&'t str>,
}

impl<'t> Walk<'t> {
    fn power(&self, tree: &'t Tree, left: usize) -> Result<u32, ExpressionError> {
        let left = left.checked_sub(1).ok_or(ExpressionError::TooDeep)?;
        let all = |trees: Vec<&'t Tree>| {
            trees.into_iter().try_fold(self.loops, |most, tree| Ok(most.max(self.power(tree, left)?)))
        };
        // What grows in a loop grows again in the next one.
        let within = u32::from(self.innermost.is_some());
        match &tree.expr {
            Expr::Unspecified => Err(ExpressionError::Syntax { message: "nothing here".to_owned() }),
            Expr::Literal(_) => Ok(self.loops),
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) => self.power(&select.operand, left),
            Expr::Call(call) => match FUNCTIONS.contains(&call.func_name.as_str()) {
                true => Ok(all(call.target.as_deref().into_iter().chain(&call.args).collect())?
                    + u32::from(
                        call.func_name == "_+_" && !call.args.first().is_some_and(|it| self.is_built(it)),
                    ) * within),
                false => Err(ExpressionError::UnknownFunction { found: shorten(&call.func_name) }),
            },
            Expr::List(list) => {
                Ok(all(list.elements.iter().collect())? + u32::from(list.elements.len() > 1) * within)
            }
            Expr::Map(map) => {
                let parts = map.entries.iter().flat_map(|entry| match &entry.expr {
                    EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
                    EntryExpr::StructField(field) => vec![&field.value],
                });
                Ok(all(parts.collect())? + within)
            }
            Expr::Struct(message) => Err(ExpressionError::Message { found: shorten(&message.type_name) }),
            Expr::Comprehension(each) => {
                let range = self.power(&each.iter_range, left)?;
                let start = self.power(&each.accu_init, left)?;
                let mut inside = self.clone();
                inside.loops = range;
                inside.innermost = Some([&each.iter_var, &each.accu_var]);
                inside.names.extend([each.iter_var.as_str(), each.accu_var.as_str()]);
                inside.names.extend(each.iter_var2.as_deref());
                let parts = [&each.loop_cond, &each.loop_step, &each.result];
                parts
                    .into_iter()
                    .try_fold(range.max(start), |most, tree| Ok(most.max(inside.power(tree, left)?)))
            }
        }
    }

    /// Whether this is what the loop builds, which a macro adds to.
    fn is_built(&self, tree: &Tree) -> bool {
        matches!((&tree.expr, self.innermost), (Expr::Ident(name), Some([_, built])) if name == built)
    }

    fn name(&self, name: &str) -> Result<u32, ExpressionError> {
        if self.innermost.is_some_and(|innermost| innermost.contains(&name)) {
            return Ok(self.loops);
        }
        match self.names.contains(&name) || NAMES.contains(&name) {
            true => Ok(self.loops + 1),
            false => Err(ExpressionError::UnknownName { found: shorten(name) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn holds(text: &str, predicate: &Value) -> Result<(), Refusal> {
        Expression::parse(text)
            .unwrap_or_else(|error| panic!("{text}: {error}"))
            .holds(&[("predicate", predicate)])
    }

    #[test]
    fn only_true_is_yes() {
        let predicate = json!({
            "score": 7.5, "big": 18446744073709551615_u64, "ok": true, "none": null, "name": "shop",
            "packages": [{ "name": "a", "licence": "MIT", "tags": ["x"] }, { "name": "b", "licence": "GPL" }],
        });
        for yes in [
            "true",
            "predicate.score >= 7.5 && predicate.ok",
            "predicate.score > 7",
            "predicate.big > 5u",
            "predicate.none == null",
            "predicate.packages.exists(p, p.licence == 'GPL')",
            "predicate.packages.filter(p, p.licence != 'GPL').size() == 1",
            "predicate.packages.map(p, p.name) == ['a', 'b']",
            "predicate.packages.all(p, !has(p.tags) || 'x' in p.tags)",
            "has(predicate.name) && !has(predicate.missing)",
            "predicate['name'].startsWith('sh')",
            "predicate.missing || true",
        ] {
            assert_eq!(holds(yes, &predicate), Ok(()), "{yes}");
        }
        for no in ["false", "predicate.score > 9.0", "predicate.packages.all(p, p.licence == 'MIT')"] {
            assert_eq!(holds(no, &predicate), Err(Refusal::False), "{no}");
        }
        for no in ["1", "'true'", "predicate", "null", "[true]"] {
            assert_eq!(holds(no, &predicate), Err(Refusal::NotBool), "{no}");
        }
        for no in [
            "predicate.missing",
            "predicate.missing == 1",
            "predicate.missing != 1",
            "predicate.name > 1",
            "predicate.packages.all(p, p.tags.size() > 0)",
            "predicate.name.size().size() == 1",
            "predicate.packages[7] == 1",
            "1 / 0 == 1",
            "9223372036854775807 + 1 > 0",
            "service == 'shop'",
        ] {
            assert!(
                matches!(holds(no, &predicate), Err(Refusal::Failed { .. })),
                "{no}: {:?}",
                holds(no, &predicate)
            );
        }
    }

    /// What a loop costs is known before it runs.
    #[test]
    fn f4_a_costly_expression_over_much_is_no() {
        let much = json!({ "l": vec![json!({ "m": [1] }); 10_000] });
        assert_eq!(holds("predicate.l.all(x, x.m.all(y, y == 1))", &much), Ok(()), "everything once");
        assert_eq!(holds("size(predicate.l) == 10000", &much), Ok(()));
        for costly in [
            "predicate.l.all(x, predicate.l.all(y, x == y))",
            "predicate.l.all(x, x in predicate.l)",
            "predicate.l.all(x, x.m.all(y, x.m.all(z, z == y)))",
            "predicate.l.map(x, predicate.l).all(y, size(y) > 0)",
        ] {
            assert!(matches!(holds(costly, &much), Err(Refusal::TooCostly { .. })), "{costly}");
        }
        let doubled = |turn: &str| format!("[predicate.s]{}.size() > 0", turn.repeat(30));
        for costly in [doubled(".map(a,a+a)"), doubled(".map(a,[a,a])"), doubled(".map(a,{1:a,2:a})")] {
            assert_eq!(Expression::parse(&costly).unwrap_err(), ExpressionError::TooCostly, "{costly}");
        }
        assert_eq!(holds("predicate.l.all(x, 'a' + string(x) != 'b')", &json!({ "l": [1, 2] })), Ok(()));
        let little = json!({ "l": [1, 1, 1] });
        assert_eq!(holds("predicate.l.all(x, predicate.l.all(y, x == y))", &little), Ok(()));
        let long = json!({ "l": "x".repeat(4 << 20) });
        assert_eq!(holds("predicate.l.contains('y')", &long), Err(Refusal::False));
    }

    /// On the stack of a test thread, which is smaller than any other.
    #[test]
    fn f4_hostile_shapes_are_answered() {
        for piece in [
            "(", "[", "{", "!", "-", "- ", "a.", "a[", "a?b:", "1?", "f(", "[[", "{1:", "'", "!-", "1+",
            "1||", "x.all(x,", "\"", "\\", "\u{e9}", "a.b?.", "_", "//\n", "0x", "{}[",
        ] {
            for end in ["", "1", "true", ")", "]"] {
                let text = format!("{}{end}", piece.repeat(990 / piece.len()));
                if let Ok(expression) = Expression::parse(&text) {
                    let _ = expression.holds(&[("predicate", &json!({}))]);
                }
            }
        }
        for pair in ["()", "[]", "{}"] {
            let (open, close) = pair.split_at(1);
            let text = format!("{}1{}", open.repeat(490), close.repeat(490));
            let _ = Expression::parse(&text);
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "[a-z0-9 .,()\\[\\]{}'\"!&|?:<>=+*/%-]{0,80}") {
            let _ = Expression::parse(&text);
        }

        #[test]
        fn arbitrary_pieces_never_panic(pieces in prop::collection::vec(prop::sample::select(vec![
            "predicate", ".a", "[0]", "(", ")", " && ", " || ", "!", "has(", "1", "'x'", " == ", " in ", ".all(x, ", "x",
            ".map(x, ", ".filter(y, ", " ? ", " : ", "size(", "-", "[", "]", "{", "}", ", ", ".exists(",
        ]), 0..24)) {
            if let Ok(expression) = Expression::parse(&pieces.concat()) {
                let _ = expression.holds(&[("predicate", &json!({ "a": [1, "x", { "a": [] }] }))]);
            }
        }
    }
}
