//! Which nodes are connected, as the brokers report it (PCP 2.0, inventory.md). The last change of a node wins; a
//! departure that was never an arrival and two arrivals in a row are normal.

use std::collections::BTreeMap;

use super::model::{InventoryEntry, NodeConnection};
use crate::clock::WallTime;
use crate::limits::INVENTORY_NODES_MAX;
use crate::pcp::PcpUri;

/// Index of a link to a broker.
pub type LinkIndex = usize;

/// All nodes ever seen.
#[derive(Debug)]
pub struct Inventory {
    brokers: Vec<String>,
    nodes: BTreeMap<Box<str>, Option<Connection>>,
}

#[derive(Debug, Clone, Copy)]
struct Connection {
    link: LinkIndex,
    since: WallTime,
}

/// What a report changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// Names never seen before.
    pub new: Vec<String>,
    /// Names that have just connected.
    pub connected: Vec<String>,
}

impl Inventory {
    /// The inventory of the brokers with these URIs, one per link; `known` are the names from earlier.
    pub fn new(brokers: Vec<String>, known: Vec<String>) -> Self {
        let nodes = known.into_iter().take(INVENTORY_NODES_MAX).map(|name| (name.into(), None)).collect();
        Self { brokers, nodes }
    }

    /// The link over which a node can be reached.
    pub fn link_of(&self, name: &str) -> Option<LinkIndex> {
        self.nodes.get(name).copied().flatten().map(|connection| connection.link)
    }

    /// A whole inventory of one link.
    pub fn replace<'a>(&mut self, link: LinkIndex, uris: impl Iterator<Item = &'a str>, now: WallTime) -> Arrivals {
        let mut gone: BTreeMap<Box<str>, Connection> = BTreeMap::new();
        for (name, connection) in &mut self.nodes {
            if let Some(old) = connection.take_if(|connection| connection.link == link) {
                gone.insert(name.clone(), old);
            }
        }
        let mut arrivals = Arrivals::default();
        for name in uris.filter_map(agent_name) {
            match gone.remove(name) {
                // Still there: it keeps its time and has not arrived.
                Some(old) => drop(self.nodes.insert(name.into(), Some(old))),
                None => self.arrive(link, name, now, &mut arrivals),
            }
        }
        arrivals
    }

    /// One change of one link.
    pub fn change(&mut self, link: LinkIndex, uri: &str, change: i8, now: WallTime, arrivals: &mut Arrivals) {
        let Some(name) = agent_name(uri) else { return };
        if change > 0 {
            self.arrive(link, name, now, arrivals);
        } else if let Some(connection) = self.nodes.get_mut(name) {
            // The node may have moved to another broker before this one noticed.
            let _ = connection.take_if(|connection| connection.link == link);
        }
    }

    /// A link is gone, and with it what it reported.
    pub fn lose(&mut self, link: LinkIndex) {
        for connection in self.nodes.values_mut() {
            let _ = connection.take_if(|connection| connection.link == link);
        }
    }

    fn arrive(&mut self, link: LinkIndex, name: &str, now: WallTime, arrivals: &mut Arrivals) {
        let connection = Some(Connection { link, since: now });
        let has_room = self.nodes.len() < INVENTORY_NODES_MAX;
        match self.nodes.get_mut(name) {
            Some(entry) => *entry = connection,
            None if has_room => {
                self.nodes.insert(name.into(), connection);
                arrivals.new.push(name.to_owned());
            }
            None => return,
        }
        arrivals.connected.push(name.to_owned());
    }

    /// All nodes, sorted by name.
    pub fn entries(&self) -> Vec<InventoryEntry> {
        self.nodes.keys().map(|name| self.entry(name)).collect()
    }

    /// One node; an unknown one is not connected.
    pub fn entry(&self, name: &str) -> InventoryEntry {
        let connection = self.nodes.get(name).copied().flatten();
        let connection =
            connection.map(|Connection { link, since }| NodeConnection { broker: self.brokers[link].clone(), since });
        InventoryEntry { name: name.to_owned(), connection }
    }
}

fn agent_name(uri: &str) -> Option<&str> {
    let uri = PcpUri::parse(uri)?;
    (uri.client_type == "agent" && !uri.authority.is_empty()).then_some(uri.authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    const T1: WallTime = WallTime::from_millis(1);
    const T2: WallTime = WallTime::from_millis(2);

    #[test]
    fn last_change_wins() {
        let mut inventory = Inventory::new(vec!["pcp://a/server".into(), "pcp://b/server".into()], vec!["old".into()]);
        let mut arrivals = inventory.replace(0, ["pcp://x/agent", "pcp://y/agent", "pcp://z/ctl"].into_iter(), T1);
        assert_eq!(arrivals.connected, ["x", "y"]);
        inventory.change(0, "pcp://never/agent", -1, T2, &mut arrivals);
        inventory.change(1, "pcp://x/agent", 1, T2, &mut arrivals);
        inventory.change(1, "pcp://x/agent", 1, T2, &mut arrivals);
        inventory.change(0, "pcp://x/agent", -1, T2, &mut arrivals);
        assert_eq!(inventory.link_of("x"), Some(1));
        assert_eq!(arrivals.new, ["x", "y"]);
        let names: Vec<_> =
            inventory.entries().into_iter().map(|entry| (entry.name, entry.connection.is_some())).collect();
        assert_eq!(names, [("old".into(), false), ("x".into(), true), ("y".into(), true)]);
        assert_eq!(inventory.entry("nosuch").connection, None);
    }

    #[test]
    fn a_fresh_response_keeps_times_and_removes_the_absent() {
        let mut inventory = Inventory::new(vec!["pcp://a/server".into()], vec![]);
        inventory.replace(0, ["pcp://x/agent", "pcp://y/agent"].into_iter(), T1);
        let arrivals = inventory.replace(0, ["pcp://x/agent"].into_iter(), T2);
        assert_eq!(arrivals, Arrivals::default());
        assert_eq!(inventory.entry("x").connection.unwrap().since, T1);
        assert_eq!(inventory.link_of("y"), None);
        inventory.lose(0);
        assert_eq!(inventory.link_of("x"), None);
    }
}
