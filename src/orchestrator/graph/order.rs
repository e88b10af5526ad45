//! From a graph to the order of a job's nodes. A node that is not in the job stands for those before it: what depends on
//! it waits for them.

use std::collections::{BTreeSet, HashMap};

use super::Graph;
use crate::limits::JOB_ORDER_MAX;
use crate::orchestrator::model::{Refusal, RefusalKind};
use crate::orchestrator::store::order::Precedence;

impl Graph {
    /// Which of a job's nodes, by their positions, run after which others. `dependency-cycle` if the graph has one.
    pub fn order(&self, names: &[String]) -> Result<Vec<Precedence>, Refusal> {
        let sorted = self.sorted()?;
        let positions: HashMap<&str, u32> = names.iter().map(String::as_str).zip(0..).collect();
        // What is waited for on behalf of a node: itself, or what is before it.
        let mut means: HashMap<&str, BTreeSet<u32>> = HashMap::new();
        let (mut order, mut kept) = (Vec::new(), 0);
        for node in sorted {
            let before = self.nodes[node].iter().flat_map(|before| &means[before.as_str()]).copied().collect();
            let before: BTreeSet<u32> = before;
            let own = match positions.get(node) {
                Some(position) => {
                    order.extend(before.into_iter().map(|after| Precedence { node: *position, after }));
                    BTreeSet::from([*position])
                }
                None => before,
            };
            kept += own.len();
            means.insert(node, own);
            if order.len().max(kept) > JOB_ORDER_MAX {
                return Err(too_many());
            }
        }
        order.sort_unstable();
        Ok(order)
    }
}

fn too_many() -> Refusal {
    let message = format!(
        "The environment graph makes more than {JOB_ORDER_MAX} dependencies between the nodes of this job: split the job, \
         or let fewer nodes depend on fewer."
    );
    Refusal::new(RefusalKind::ValidationError, message)
}

/// The nodes in levels: those of a level wait for some of the one before, and for nobody of their own.
pub fn levels(names: &[String], order: &[Precedence]) -> Vec<Vec<String>> {
    let mut waiting = vec![0_usize; names.len()];
    let mut dependents = vec![Vec::new(); names.len()];
    for Precedence { node, after } in order {
        let (node, after) = (*node as usize, *after as usize);
        dependents[after].push(node);
        waiting[node] += 1;
    }
    let mut level = (0..names.len()).filter(|node| waiting[*node] == 0).collect::<Vec<_>>();
    let mut levels = Vec::new();
    while !level.is_empty() {
        let mut next = Vec::new();
        for dependent in level.iter().flat_map(|node| &dependents[*node]) {
            waiting[*dependent] -= 1;
            if waiting[*dependent] == 0 {
                next.push(*dependent);
            }
        }
        let mut named: Vec<String> = level.into_iter().map(|node| names[node].clone()).collect();
        named.sort_unstable();
        levels.push(named);
        level = next;
    }
    levels
}
