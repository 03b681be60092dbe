//! Every state that can be reached, nearest first: a violation is found by a shortest way.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::hash::Hash;

/// What was found.
pub(crate) struct Explored<S, M> {
    /// How many states there are; to the first violation, if there is one.
    pub(crate) states: usize,
    /// How many of them only `reconcile` mends.
    pub(crate) to_reconcile: usize,
    /// Every kind of move that was made.
    pub(crate) taken: BTreeSet<String>,
    /// What must not be, if it was found.
    pub(crate) violation: Option<String>,
    /// The moves that lead there.
    pub(crate) trace: Vec<M>,
    last: S,
}

impl<S: fmt::Debug, M: fmt::Display> Explored<S, M> {
    pub(crate) fn summary(&self) -> String {
        let found = match &self.violation {
            None => "no violation".to_owned(),
            Some(violation) => format!("after {} moves: {violation}", self.trace.len()),
        };
        format!("{} states, {} of them for reconcile, {found}", self.states, self.to_reconcile)
    }

    /// The way to the violation.
    pub(crate) fn way(&self) -> String {
        self.trace.iter().map(|one| format!("  {one}\n")).collect()
    }

    /// The violation, the way to it, and the state.
    pub(crate) fn story(&self) -> String {
        let violation = self.violation.as_deref().unwrap_or("no violation");
        format!("{violation}\n{}{:#?}", self.way(), self.last)
    }
}

/// Explores breadth first. `look` says what is wrong with a state, or whether only `reconcile` mends it.
pub(crate) fn explore<S: Clone + Eq + Hash, M: Copy + fmt::Display, C>(
    start: S,
    context: &mut C,
    moves: impl Fn(&mut C, &S) -> Vec<(M, S)>,
    look: impl Fn(&mut C, &S) -> Result<bool, String>,
) -> Explored<S, M> {
    let mut seen = HashMap::from([(start.clone(), 0)]);
    let mut states = vec![start.clone()];
    // By which move each state was reached first, and from where.
    let mut from: Vec<Option<(usize, M)>> = vec![None];
    let (mut taken, mut to_reconcile, mut next) = (BTreeSet::new(), 0, 0);
    let mut violation = None;
    while let (Some(state), None) = (states.get(next).cloned(), &violation) {
        match look(context, &state) {
            Ok(mends) => to_reconcile += usize::from(mends),
            Err(wrong) => {
                violation = Some(wrong);
                break;
            }
        }
        for (one, to) in moves(context, &state) {
            taken.insert(one.to_string());
            if !seen.contains_key(&to) {
                seen.insert(to.clone(), states.len());
                states.push(to);
                from.push(Some((next, one)));
            }
        }
        next += 1;
    }
    let mut trace = Vec::new();
    let mut at = next.min(states.len() - 1);
    let last = states[at].clone();
    while let Some((before, one)) = from[at] {
        trace.push(one);
        at = before;
    }
    trace.reverse();
    if violation.is_none() {
        trace.clear();
    }
    Explored { states: states.len(), to_reconcile, taken, violation, trace, last }
}
