//! Which nodes are connected, as the brokers report it (PCP 2.0, inventory.md). Several brokers may report a node: it has
//! moved and the one that it left has not noticed, or tells late. Each broker can take back only what it has reported
//! itself, and the newest arrival is the one used. A departure that was never an arrival and two arrivals in a row are
//! normal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::model::{InventoryEntry, NodeConnection};
use crate::clock::WallTime;
use crate::limits::{INVENTORY_NODES_MAX, NODE_NAME_BYTES_MAX};
use crate::pcp::PcpUri;

/// Index of a link to a broker; a later link may have the index of one that is gone.
pub type LinkIndex = usize;

/// All nodes ever seen.
#[derive(Debug)]
pub struct Inventory {
    /// By link.
    brokers: Vec<Option<Broker>>,
    nodes: BTreeMap<Box<str>, Reports>,
}

#[derive(Debug)]
struct Broker {
    uri: Arc<str>,
    since: WallTime,
    nodes: usize,
}

/// A broker that is linked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkedBroker {
    /// `pcp://<certificate name>/server`.
    pub uri: Arc<str>,
    /// Since when its link is up.
    pub since: WallTime,
    /// Nodes that it reports.
    pub nodes: usize,
}

#[derive(Debug, Clone, Copy)]
struct Report {
    link: LinkIndex,
    since: WallTime,
}

/// Who reports a node. Nearly all nodes have one broker or none, and cost no allocation.
#[derive(Debug, Default)]
enum Reports {
    #[default]
    Nobody,
    One(Report),
    /// At least two, of different links, the newest last.
    Several(Vec<Report>),
}

impl Reports {
    fn newest(&self) -> Option<&Report> {
        match self {
            Self::Nobody => None,
            Self::One(report) => Some(report),
            Self::Several(reports) => reports.last(),
        }
    }

    fn has(&self, link: LinkIndex) -> bool {
        match self {
            Self::Nobody => false,
            Self::One(report) => report.link == link,
            Self::Several(reports) => reports.iter().any(|report| report.link == link),
        }
    }

    /// Adds the newest; its link has no other.
    fn push(&mut self, report: Report) {
        *self = match std::mem::take(self) {
            Self::Nobody => Self::One(report),
            Self::One(older) => Self::Several(vec![older, report]),
            Self::Several(mut reports) => {
                reports.push(report);
                Self::Several(reports)
            }
        };
    }

    fn remove(&mut self, link: LinkIndex) -> bool {
        if !self.has(link) {
            return false;
        }
        *self = match std::mem::take(self) {
            Self::Nobody | Self::One(_) => Self::Nobody,
            Self::Several(mut reports) => {
                reports.retain(|report| report.link != link);
                match reports[..] {
                    [last] => Self::One(last),
                    _ => Self::Several(reports),
                }
            }
        };
        true
    }

    /// Makes the newest the oldest; false if there is no other.
    fn rotate(&mut self) -> bool {
        let Self::Several(reports) = self else { return false };
        reports.rotate_right(1);
        true
    }
}

/// What a report changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// Names never seen before.
    pub new: Vec<String>,
    /// Names that have just connected, or are reached through another broker from now on.
    pub connected: Vec<String>,
}

impl Inventory {
    /// The inventory of no broker yet; `known` are the names from earlier.
    pub fn new(known: Vec<String>) -> Self {
        let nodes = known.into_iter().take(INVENTORY_NODES_MAX).map(|name| (name.into(), Reports::Nobody)).collect();
        Self { brokers: Vec::new(), nodes }
    }

    /// A broker is linked, with an index that no other has.
    pub fn link(&mut self, link: LinkIndex, broker: &Arc<str>, now: WallTime) {
        if self.brokers.len() <= link {
            self.brokers.resize_with(link + 1, || None);
        }
        self.brokers[link] = Some(Broker { uri: broker.clone(), since: now, nodes: 0 });
    }

    /// The link of a broker is another one, and its nodes are still there as far as anybody knows.
    pub fn relink(&mut self, link: LinkIndex, now: WallTime) {
        if let Some(Some(broker)) = self.brokers.get_mut(link) {
            broker.since = now;
        }
    }

    /// A link is gone, and with it what it reported.
    pub fn lose(&mut self, link: LinkIndex) -> Arrivals {
        let mut arrivals = Arrivals::default();
        self.take_back(link, |_| true, &mut arrivals);
        if let Some(broker) = self.brokers.get_mut(link) {
            *broker = None;
        }
        arrivals
    }

    /// The brokers that are linked.
    pub fn brokers(&self) -> Vec<LinkedBroker> {
        let linked = self.brokers.iter().flatten();
        linked
            .map(|Broker { uri, since, nodes }| LinkedBroker { uri: uri.clone(), since: *since, nodes: *nodes })
            .collect()
    }

    /// The link over which a node can be reached.
    pub fn link_of(&self, name: &str) -> Option<LinkIndex> {
        self.nodes.get(name)?.newest().map(|report| report.link)
    }

    /// A whole inventory of one link.
    pub fn replace<'a>(&mut self, link: LinkIndex, uris: impl Iterator<Item = &'a str>, now: WallTime) -> Arrivals {
        let mut names = BTreeSet::new();
        for name in uris.filter_map(agent_name) {
            if names.len() == INVENTORY_NODES_MAX {
                break;
            }
            names.insert(name);
        }
        let mut arrivals = Arrivals::default();
        self.take_back(link, |name| !names.contains(name), &mut arrivals);
        for name in names {
            // Whoever was there keeps its time and has not arrived.
            if !self.nodes.get(name).is_some_and(|reports| reports.has(link)) {
                self.arrive(link, name, now, &mut arrivals);
            }
        }
        arrivals
    }

    /// One change of one link.
    pub fn change(&mut self, link: LinkIndex, uri: &str, change: i8, now: WallTime, arrivals: &mut Arrivals) {
        let Some(name) = agent_name(uri) else { return };
        if change > 0 {
            return self.arrive(link, name, now, arrivals);
        }
        let Some(reports) = self.nodes.get_mut(name) else { return };
        let was = reports.newest().map(|report| report.link);
        if reports.remove(link) {
            count(&mut self.brokers, link, -1);
            if was == Some(link) && reports.newest().is_some() {
                arrivals.connected.push(name.to_owned());
            }
        }
    }

    /// The broker of this link says that the node is not there. True if another reports it, which is then the one used.
    pub fn doubt(&mut self, link: LinkIndex, name: &str) -> bool {
        let Some(reports) = self.nodes.get_mut(name) else { return false };
        match reports.newest() {
            Some(newest) if newest.link == link => reports.rotate(),
            newest => newest.is_some(),
        }
    }

    fn arrive(&mut self, link: LinkIndex, name: &str, now: WallTime, arrivals: &mut Arrivals) {
        let report = Report { link, since: now };
        let has_room = self.nodes.len() < INVENTORY_NODES_MAX;
        match self.nodes.get_mut(name) {
            Some(reports) => {
                if !reports.remove(link) {
                    count(&mut self.brokers, link, 1);
                }
                reports.push(report);
            }
            None if has_room => {
                self.nodes.insert(name.into(), Reports::One(report));
                count(&mut self.brokers, link, 1);
                arrivals.new.push(name.to_owned());
            }
            None => return,
        }
        arrivals.connected.push(name.to_owned());
    }

    /// Takes back what a link has reported of the nodes that are gone.
    fn take_back(&mut self, link: LinkIndex, is_gone: impl Fn(&str) -> bool, arrivals: &mut Arrivals) {
        for (name, reports) in &mut self.nodes {
            let was = reports.newest().map(|report| report.link);
            if was.is_none() || !is_gone(name) || !reports.remove(link) {
                continue;
            }
            count(&mut self.brokers, link, -1);
            if was == Some(link) && reports.newest().is_some() {
                arrivals.connected.push(name.to_string());
            }
        }
    }

    /// All nodes, sorted by name.
    pub fn entries(&self) -> Vec<InventoryEntry> {
        self.nodes.keys().map(|name| self.entry(name)).collect()
    }

    /// One node; an unknown one is not connected.
    pub fn entry(&self, name: &str) -> InventoryEntry {
        let connection = self.nodes.get(name).and_then(Reports::newest).and_then(|Report { link, since }| {
            let broker = self.brokers.get(*link)?.as_ref()?;
            Some(NodeConnection { broker: broker.uri.to_string(), since: *since })
        });
        InventoryEntry { name: name.to_owned(), connection }
    }
}

fn count(brokers: &mut [Option<Broker>], link: LinkIndex, change: isize) {
    if let Some(Some(broker)) = brokers.get_mut(link) {
        broker.nodes = broker.nodes.saturating_add_signed(change);
    }
}

fn agent_name(uri: &str) -> Option<&str> {
    let PcpUri { authority: name, client_type } = PcpUri::parse(uri)?;
    // A request to a wildcard makes a broker drop its link. Names are kept for good, by whichever broker they were said.
    let is_name =
        !name.is_empty() && name != "*" && name.len() <= NODE_NAME_BYTES_MAX && !name.chars().any(char::is_control);
    (client_type == "agent" && is_name).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const T1: WallTime = WallTime::from_millis(1);
    const T2: WallTime = WallTime::from_millis(2);

    fn linked(brokers: &[&str], known: &[&str]) -> Inventory {
        let mut inventory = Inventory::new(known.iter().map(|name| (*name).to_owned()).collect());
        for (link, broker) in brokers.iter().enumerate() {
            inventory.link(link, &format!("pcp://{broker}/server").into(), T1);
        }
        inventory
    }

    /// What came of one change: who has just connected.
    fn change(inventory: &mut Inventory, link: LinkIndex, name: &str, change: i8) -> Vec<String> {
        let mut arrivals = Arrivals::default();
        inventory.change(link, &format!("pcp://{name}/agent"), change, T2, &mut arrivals);
        arrivals.connected
    }

    fn counts(inventory: &Inventory) -> Vec<usize> {
        inventory.brokers().into_iter().map(|broker| broker.nodes).collect()
    }

    #[test]
    fn last_change_wins() {
        let mut inventory = linked(&["a", "b"], &["old"]);
        let arrivals =
            inventory.replace(0, ["pcp://x/agent", "pcp://y/agent", "pcp://z/ctl", "pcp://*/agent"].into_iter(), T1);
        assert_eq!(arrivals.connected, ["x", "y"]);
        assert!(change(&mut inventory, 0, "never", -1).is_empty());
        assert_eq!(change(&mut inventory, 1, "x", 1), ["x"]);
        assert_eq!(change(&mut inventory, 1, "x", 1), ["x"]);
        assert!(change(&mut inventory, 0, "x", -1).is_empty());
        assert_eq!(inventory.link_of("x"), Some(1));
        assert_eq!(inventory.entry("x").connection.unwrap().broker, "pcp://b/server");
        let names: Vec<_> =
            inventory.entries().into_iter().map(|entry| (entry.name, entry.connection.is_some())).collect();
        assert_eq!(names, [("old".into(), false), ("x".into(), true), ("y".into(), true)]);
        assert_eq!(inventory.entry("nosuch").connection, None);
        assert_eq!(counts(&inventory), [1, 1]);
    }

    #[test]
    fn a_fresh_response_keeps_times_and_removes_the_absent() {
        let mut inventory = linked(&["a"], &[]);
        inventory.replace(0, ["pcp://x/agent", "pcp://y/agent"].into_iter(), T1);
        let arrivals = inventory.replace(0, ["pcp://x/agent"].into_iter(), T2);
        assert_eq!(arrivals, Arrivals::default());
        assert_eq!(inventory.entry("x").connection.unwrap().since, T1);
        assert_eq!(inventory.link_of("y"), None);
        assert_eq!(inventory.lose(0), Arrivals::default());
        assert_eq!(inventory.link_of("x"), None);
        assert!(inventory.brokers().is_empty());
    }

    /// The batch of the broker that the node has left comes after that of the one that it went to.
    #[test]
    fn a_late_batch_takes_away_only_its_own() {
        let mut inventory = linked(&["a", "b"], &[]);
        change(&mut inventory, 1, "x", 1);
        assert_eq!(change(&mut inventory, 0, "x", 1), ["x"]);
        assert_eq!(inventory.link_of("x"), Some(0));
        assert_eq!(change(&mut inventory, 0, "x", -1), ["x"], "it is reached through the other from now on");
        assert_eq!(inventory.link_of("x"), Some(1));
        assert!(change(&mut inventory, 0, "x", -1).is_empty());
        assert_eq!(inventory.link_of("x"), Some(1));
        assert!(change(&mut inventory, 1, "x", -1).is_empty());
        assert_eq!((inventory.link_of("x"), counts(&inventory)), (None, vec![0, 0]));
    }

    #[test]
    fn a_lost_link_takes_only_its_own_nodes_away() {
        let mut inventory = linked(&["a", "b", "c"], &[]);
        inventory.replace(0, ["pcp://x/agent", "pcp://y/agent"].into_iter(), T1);
        inventory.replace(1, ["pcp://y/agent", "pcp://z/agent"].into_iter(), T1);
        change(&mut inventory, 2, "y", 1);
        assert_eq!(inventory.lose(2).connected, ["y"]);
        assert_eq!(inventory.link_of("y"), Some(1));
        assert_eq!(inventory.lose(0), Arrivals::default());
        let links = ["x", "y", "z"].map(|name| inventory.link_of(name));
        assert_eq!(links, [None, Some(1), Some(1)]);
        // The next link in that place starts with nothing.
        inventory.link(0, &"pcp://d/server".into(), T2);
        assert_eq!(counts(&inventory), [0, 2]);
        change(&mut inventory, 0, "x", 1);
        assert_eq!(inventory.entry("x").connection.unwrap().broker, "pcp://d/server");
    }

    #[test]
    fn a_broker_that_denies_a_node_is_the_last_to_be_used() {
        let mut inventory = linked(&["a", "b"], &[]);
        change(&mut inventory, 0, "x", 1);
        assert!(!inventory.doubt(0, "x"), "there is no other");
        assert_eq!(inventory.link_of("x"), Some(0));
        change(&mut inventory, 1, "x", 1);
        assert!(inventory.doubt(1, "x"));
        assert_eq!(inventory.link_of("x"), Some(0));
        assert!(inventory.doubt(1, "x"), "the other is used already");
        assert_eq!(inventory.link_of("x"), Some(0));
        assert!(!inventory.doubt(0, "nosuch"));
    }

    #[test]
    fn what_is_no_name_is_not_kept() {
        let mut inventory = linked(&["a"], &[]);
        let longest = "x".repeat(NODE_NAME_BYTES_MAX);
        for name in ["", "*", "a\nb", "\u{1b}[2J", &format!("{longest}x")] {
            assert!(change(&mut inventory, 0, name, 1).is_empty(), "{name:?}");
        }
        let uris = [format!("pcp://{longest}x/agent"), format!("pcp://{longest}/agent"), "pcp://a\0b/agent".to_owned()];
        let arrivals = inventory.replace(0, uris.iter().map(String::as_str), T1);
        assert_eq!(arrivals.connected, [longest]);
    }

    #[test]
    fn a_node_that_one_broker_reports_costs_no_allocation_of_its_own() {
        assert!(size_of::<Reports>() <= 24);
    }
}
