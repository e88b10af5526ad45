//! Nodes that wait for each other, and the way to put all others into an order.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Graph;
use crate::limits::GRAPH_CYCLE_SHOWN_MAX;
use crate::orchestrator::model::{Refusal, RefusalKind};

impl Graph {
    /// Every node after those that it depends on; `dependency-cycle` if there is no such order.
    pub(super) fn sorted(&self) -> Result<Vec<&str>, Refusal> {
        let mut left: HashMap<&str, usize> = HashMap::new();
        let mut dependents: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut free = Vec::new();
        for (node, before) in &self.nodes {
            if before.is_empty() {
                free.push(node.as_str());
            } else {
                left.insert(node, before.len());
            }
            before.iter().for_each(|other| dependents.entry(other).or_default().push(node));
        }
        let mut sorted = Vec::with_capacity(self.nodes.len());
        while let Some(node) = free.pop() {
            sorted.push(node);
            for dependent in dependents.get(node).into_iter().flatten() {
                let waits = left.get_mut(dependent).expect("who depends on something is counted");
                *waits -= 1;
                if *waits == 0 {
                    left.remove(dependent);
                    free.push(dependent);
                }
            }
        }
        if left.is_empty() { Ok(sorted) } else { Err(refusal(&self.circle(&left))) }
    }

    /// From one of the nodes that nothing frees back to itself: each of them waits for another one of them.
    fn circle<'g>(&'g self, left: &HashMap<&'g str, usize>) -> Vec<&'g str> {
        let mut node = *left.keys().min().expect("some nodes are left");
        let (mut walk, mut seen) = (Vec::new(), BTreeSet::new());
        while seen.insert(node) {
            walk.push(node);
            let next = self.nodes[node].iter().find(|before| left.contains_key(before.as_str()));
            node = next.expect("a node that is left waits for one that is left");
        }
        let start = walk.iter().position(|other| *other == node).expect("the walk came back to it");
        walk.split_off(start)
    }
}

fn refusal(circle: &[&str]) -> Refusal {
    let shown = circle.iter().take(GRAPH_CYCLE_SHOWN_MAX).copied().collect::<Vec<_>>();
    let more = match circle.len() - shown.len() {
        0 => String::new(),
        more => format!(" -> ... ({more} more)"),
    };
    let message = format!(
        "The environment graph has a cycle, so these nodes can never run: {}{more} -> {}. Each depends on the next; remove \
         one of the dependencies.",
        shown.join(" -> "),
        circle[0]
    );
    Refusal::new(RefusalKind::DependencyCycle, message).with("cycle", shown)
}
