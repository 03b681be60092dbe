//! The environments as a graph: what comes first, and that nothing goes in a circle.

use super::*;

impl Check<'_> {
    /// The environments, those before first, ties in the order of the file. A circle is an error.
    pub(super) fn order(&mut self, environments: &[Checked<'_>]) -> Vec<EnvironmentName> {
        if !environments.is_empty() && !environments.iter().any(|environment| environment.raw.entry.is_some())
        {
            self.errors.push_whole(Problem::NoEntry);
        }
        let mut before: BTreeMap<&EnvironmentName, BTreeSet<&EnvironmentName>> = environments
            .iter()
            .map(|checked| {
                let groups = checked.after.iter().flat_map(|after| &after.any_of);
                (&checked.name, groups.map(|one| &one.environment).collect())
            })
            .collect();
        let mut order: Vec<EnvironmentName> = Vec::new();
        let mut waiting: Vec<&Checked<'_>> = environments.iter().collect();
        // 1. Take the first in the file that waits for nobody, until there is none.
        while let Some(index) = waiting.iter().position(|checked| before[&checked.name].is_empty()) {
            let placed = waiting.remove(index);
            before.values_mut().for_each(|names| {
                names.remove(&placed.name);
            });
            order.push(placed.name.clone());
        }
        // 2. Whoever is left waits for a circle, or is part of one. Follow the first until a name comes again.
        let mut reported: BTreeSet<&EnvironmentName> = BTreeSet::new();
        for start in waiting {
            let mut path: Vec<&EnvironmentName> = Vec::new();
            let mut at = &start.name;
            while !path.contains(&at) && !reported.contains(at) {
                path.push(at);
                match before[at].iter().next() {
                    Some(next) => at = next,
                    None => break,
                }
            }
            if let Some(begin) = path.iter().position(|name| *name == at) {
                self.cycle(&path[begin..], environments);
            }
            reported.extend(path);
        }
        order
    }

    fn cycle(&mut self, path: &[&EnvironmentName], environments: &[Checked<'_>]) {
        // Begin with the one that stands first in the file, whichever way the circle was entered.
        let place = |name: &EnvironmentName| environments.iter().position(|checked| checked.name == *name);
        let first = (0..path.len()).min_by_key(|index| place(path[*index])).unwrap_or(0);
        let cycle: Vec<EnvironmentName> =
            path[first..].iter().chain(&path[..first]).map(|name| (*name).clone()).collect();
        let span = cycle.first().and_then(place).map_or(0..0, |index| {
            let raw = environments[index].raw;
            raw.after.as_ref().map_or(raw.at.clone(), |after| after.span.clone())
        });
        self.errors.push(&span, Problem::Cycle { cycle });
    }
}
