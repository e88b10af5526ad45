//! The reports of Puppet runs: once a run has ended, PuppetDB is asked for its report by the run's transaction, until it is
//! there or its time is over. That is done beside everything else: no job waits for it, and what is asked for at once, how
//! often and for how long is limited. Agents upload a report before they end, and PuppetDB has it half a second later.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::model::{JobId, Node};
use super::sources::puppetdb::Report;
use super::sources::service::Failure;
use super::store::reports::{KnownReport, Run};
use super::store::{Change, Store};
use crate::clock::{Stopwatch, WallTime};
use crate::limits::{
    REPORT_INTERVAL, REPORT_PATIENCE, REPORTS_LOOK_INTERVAL, REPORTS_PER_QUERY, REPORTS_QUEUE_MAX, REPORTS_WANTED_MAX,
};

/// Has reports: PuppetDB.
pub trait ReportSource: Send + Sync {
    /// Those of these transactions; not all of them may be there.
    fn of_transactions(&self, transactions: &[&str]) -> Result<Vec<Report>, Failure>;
}

/// Whoever may hear of runs that have ended.
#[derive(Clone)]
pub struct Reports {
    ended: Sender<Vec<Run>>,
}

impl Reports {
    /// Starts the thread that asks. It ends when the last handle is dropped; nobody needs to wait for it.
    pub fn start(source: Arc<dyn ReportSource>, store: &Arc<dyn Store>) -> std::io::Result<Self> {
        let (ended, queue) = bounded(REPORTS_QUEUE_MAX);
        let store = Arc::downgrade(store);
        let mut search = Search { source, store, wanted: VecDeque::new(), remembered: Stopwatch::start() };
        search.remember();
        thread::Builder::new().name("reports".into()).spawn(move || search.run(&queue))?;
        Ok(Self { ended })
    }

    /// Runs have ended, and that is stored. If too much waits already, their reports are not looked for.
    pub fn look_for(&self, runs: Vec<Run>) {
        if !runs.is_empty()
            && let Err(TrySendError::Full(runs)) = self.ended.try_send(runs)
        {
            tracing::warn!(runs = runs.len(), "reports are not looked for: PuppetDB is too slow");
        }
    }
}

/// The Puppet runs that end with these changes.
pub fn runs_ended(changes: &[Change]) -> Vec<Run> {
    let run = |change: &Change| match change {
        Change::NodeEnded { node, details, event, .. } => {
            let transaction = transaction_in(details)?;
            Some(Run { job: node.job, node: event.details.get("node")?.as_str()?.to_owned(), transaction })
        }
        _ => None,
    };
    changes.iter().filter_map(run).collect()
}

/// Puppet's name for a run, as the details of a node have it. An agent may write anything there.
pub fn transaction_in(details: &Map<String, Value>) -> Option<String> {
    let text = details.get("transaction_uuid")?.as_str()?;
    Uuid::try_parse(text).ok().map(|uuid| uuid.to_string())
}

/// What is known of reports, added to the nodes.
pub fn add(nodes: &mut [Node], known: &std::collections::BTreeMap<String, KnownReport>, url: impl Fn(&str) -> String) {
    for node in nodes {
        let Some(KnownReport { hash, configuration_version }) = known.get(&node.name) else { continue };
        node.details.insert("hash".to_owned(), json!(hash));
        node.details.insert("report-url".to_owned(), json!(url(hash)));
        if let Some(Value::Object(result)) = &mut node.result {
            result.insert("hash".to_owned(), json!(hash));
            result.extend(configuration_version.iter().map(|text| ("configuration_version".to_owned(), json!(text))));
        }
    }
}

/// What the thread has.
struct Search {
    source: Arc<dyn ReportSource>,
    /// The store's owner closes it, whatever waits here.
    store: Weak<dyn Store>,
    /// With the time since they ended; the one that was asked for last is at the end.
    wanted: VecDeque<(Run, Stopwatch)>,
    /// When it was last looked what has no report.
    remembered: Stopwatch,
}

impl Search {
    /// What ended shortly before a restart. With several servers also what ended shortly before the end of one of them: the
    /// first of those that are left looks from time to time what is wanted by nobody any more.
    fn remember(&mut self) {
        self.remembered = Stopwatch::start();
        let Some(store) = self.store.upgrade() else { return };
        let patience = i64::try_from(REPORT_PATIENCE.as_millis()).unwrap_or(i64::MAX);
        let since = WallTime::from_millis(WallTime::now().as_millis().saturating_sub(patience));
        match store.runs_without_report(since, REPORTS_WANTED_MAX) {
            Ok(mut runs) => {
                let wanted: HashSet<(JobId, &str)> =
                    self.wanted.iter().map(|(run, _)| (run.job, run.node.as_str())).collect();
                runs.retain(|run| !wanted.contains(&(run.job, run.node.as_str())));
                self.want(runs);
            }
            Err(error) => tracing::warn!(%error, "reports of runs before the start are not looked for"),
        }
    }

    fn want(&mut self, runs: Vec<Run>) {
        self.wanted.extend(runs.into_iter().map(|run| (run, Stopwatch::start())));
        let over = self.wanted.len().saturating_sub(REPORTS_WANTED_MAX);
        if over > 0 {
            tracing::warn!(runs = over, "reports are not looked for any longer: too many are missing");
            self.wanted.drain(..over);
        }
    }

    fn run(mut self, ended: &Receiver<Vec<Run>>) {
        loop {
            match ended.recv_timeout(self.pause()) {
                Ok(runs) => {
                    self.want(runs);
                    // A moment for PuppetDB, and for others that end at the same time.
                    thread::sleep(REPORT_INTERVAL);
                    ended.try_iter().for_each(|runs| self.want(runs));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.remembered.elapsed() >= REPORTS_LOOK_INTERVAL && self.looks_for_others() {
                self.remember();
            }
            if self.ask().is_none() {
                return;
            }
        }
    }

    /// Until there may be something to do.
    fn pause(&self) -> Duration {
        match &self.wanted {
            wanted if !wanted.is_empty() => REPORT_INTERVAL,
            _ if self.store.upgrade().is_some_and(|store| store.is_shared()) => REPORTS_LOOK_INTERVAL,
            _ => Duration::MAX,
        }
    }

    fn looks_for_others(&self) -> bool {
        self.store.upgrade().is_some_and(|store| store.is_shared() && store.leads().unwrap_or(false))
    }

    /// Asks once for some of them; `None` if the store is gone.
    fn ask(&mut self) -> Option<()> {
        self.wanted.retain(|(_, since)| since.elapsed() < REPORT_PATIENCE);
        let some = self.wanted.len().min(REPORTS_PER_QUERY);
        let asked: Vec<(Run, Stopwatch)> = self.wanted.drain(..some).collect();
        if asked.is_empty() {
            return Some(());
        }
        let transactions: Vec<&str> = asked.iter().map(|(run, _)| run.transaction.as_str()).collect();
        let found = self.source.of_transactions(&transactions).unwrap_or_else(|failure| {
            tracing::debug!(%failure, "PuppetDB does not say which reports it has; it is asked again");
            Vec::new()
        });
        let by_transaction: HashMap<String, &Report> =
            found.iter().filter_map(|report| Some((report.transaction_uuid.clone()?, report))).collect();
        let mut changes = Vec::new();
        for (run, since) in asked {
            // An agent can name another one's run, but not have its report.
            match by_transaction.get(&run.transaction).filter(|report| report.certname == run.node) {
                Some(report) => changes.push(change(run, report)),
                None => self.wanted.push_back((run, since)),
            }
        }
        let store = self.store.upgrade()?;
        if !changes.is_empty()
            && let Err(error) = store.commit(changes)
        {
            tracing::warn!(%error, "which reports belong to which runs cannot be written");
        }
        Some(())
    }
}

fn change(run: Run, report: &Report) -> Change {
    let report = KnownReport { hash: report.hash.clone(), configuration_version: report.configuration_version.clone() };
    Change::ReportFound { job: run.job, node: run.node, report }
}
