//! How an [`Orchestrator`] comes up: the store first, then what was running before, then the threads, each of which takes
//! what it works on with it.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, RwLock};

use crossbeam_channel::{Receiver, Sender};
use uuid::Uuid;

use super::bell::Bell;
use super::classifier::Classifier;
use super::disk::Disk;
use super::dispatch::{Command, DispatchSettings, Dispatcher, Driver, DriverParts};
use super::graph::Graphs;
use super::inventory::Inventory;
use super::model::{Refusal, RefusalKind};
use super::rbac::Rbac;
use super::reports::Reports;
use super::schedule::{Schedules, Submitter};
use super::sources::Source;
use super::sources::classifier::ClassifierService;
use super::sources::puppetdb::PuppetDb;
use super::sources::service::Identity;
use super::store::{self, Store};
use super::takeover::{Takeover, TakeoverParts};
use super::targets::{NodeGroups, NodeQuery, Targets};
use super::task_targets::TaskTargets;
use super::upkeep::Upkeep;
use super::usage::Usage;
use super::vault::{self, Vault};
use super::webhooks::Webhooks;
use super::{BrokerLink, Inner, Orchestrator, backup, jobs};
use crate::clock::Clock;
use crate::config::settings::OrchestratorSettings;
use crate::limits::DISPATCH_COMMANDS_MAX;

/// What several threads share.
struct Common<'a> {
    settings: &'a OrchestratorSettings,
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    inventory: Arc<RwLock<Inventory>>,
    unfinished_nodes: Arc<AtomicUsize>,
    commands: (Sender<Command>, Receiver<Command>),
    disk: Arc<Disk>,
    bell: Arc<Bell>,
    puppetdb: Option<Arc<PuppetDb>>,
}

impl Orchestrator {
    /// Opens the store, recovers what was running, and starts the dispatcher on threads of its own. Puppet Server and
    /// PuppetDB are asked as `identity`; `links` are the brokers that are there from the start.
    pub fn start(
        settings: &OrchestratorSettings,
        identity: &Identity,
        links: Vec<BrokerLink>,
    ) -> Result<Self, Refusal> {
        let common = Common::open(settings, identity)?;
        let rbac = Rbac::open(common.store.clone(), settings)?;
        let thread = common.dispatch(links)?;
        let Common { store, vault, inventory, .. } = &common;
        let upkeep = Upkeep::start(store.clone(), settings.keep_jobs).map_err(no_thread("for old jobs"))?;
        let usage = Usage::start(store.clone(), inventory.clone(), settings.schedules.usage_days)
            .map_err(no_thread("for figures of use"))?;
        let takeover = Takeover::start(TakeoverParts {
            store: store.clone(),
            vault: vault.clone(),
            commands: common.commands.0.clone(),
            unfinished_nodes: common.unfinished_nodes.clone(),
        })
        .map_err(no_thread("for other servers"))?;
        let webhooks = Webhooks::start(store.clone(), vault.clone(), common.bell.clone(), settings.webhooks.clone())?;
        let classifier = Arc::new(Classifier::new(store.clone()));
        let elsewhere = settings.classifier.clone();
        let classifier_elsewhere =
            elsewhere.map(|settings| Arc::new(ClassifierService::new(settings, identity.clone())));
        let groups = match &classifier_elsewhere {
            Some(elsewhere) => NodeGroups::External(elsewhere.clone()),
            None => NodeGroups::Embedded(classifier.clone()),
        };
        let queries = common.puppetdb.clone().map(|puppetdb| -> Arc<dyn NodeQuery> { puppetdb });
        let inner = Inner {
            targets: Targets::new(inventory.clone(), store.clone(), groups, queries),
            task_targets: TaskTargets::new(store.clone()),
            classifier,
            graphs: Graphs::new(settings.graph_dir.clone()),
            store: common.store,
            vault: common.vault,
            source: Source::new(settings, identity),
            puppetdb: common.puppetdb,
            classifier_elsewhere,
            rbac,
            inventory: common.inventory,
            default_task_timeout: settings.default_task_timeout.map(|timeout| timeout.as_secs()),
            default_deploy_timeout: settings.default_deploy_timeout.map(|timeout| timeout.as_secs()),
            commands: common.commands.0,
            handing_over: RwLock::new(()),
            unfinished_nodes: common.unfinished_nodes,
            dispatcher: Mutex::new(Some(thread)),
            upkeep: Mutex::new(Some((upkeep, takeover, usage))),
            disk: common.disk,
            bell: common.bell,
            webhooks,
        };
        Self::scheduled(inner, settings)
    }

    /// Starts what is due by itself.
    fn scheduled(inner: Inner, settings: &OrchestratorSettings) -> Result<Self, Refusal> {
        let inner = Arc::new(inner);
        let submit = Arc::new(Submitter(inner.clone()));
        let (store, vault) = (inner.store.clone(), inner.vault.clone());
        let schedules = Arc::new(Schedules::new(store, vault, submit, settings.schedules));
        schedules.drive().map_err(no_thread("for scheduled jobs"))?;
        Ok(Self { inner, schedules })
    }
}

impl<'a> Common<'a> {
    fn open(settings: &'a OrchestratorSettings, identity: &Identity) -> Result<Self, Refusal> {
        backup::finish_restore(&settings.data_dir)
            .map_err(|error| Refusal::new(RefusalKind::UnknownError, error.to_string()))?;
        let store = store::open(settings, &identity.name, &identity.tls)?;
        let vault = Arc::new(Vault::open(&settings.data_dir)?);
        store.check_key(vault::KEY, &vault.fingerprint())?;
        let inventory = Arc::new(RwLock::new(Inventory::new(store.known_nodes()?)));
        Ok(Self {
            settings,
            store,
            vault,
            inventory,
            unfinished_nodes: Arc::default(),
            commands: crossbeam_channel::bounded(DISPATCH_COMMANDS_MAX),
            disk: Arc::new(Disk::new(settings.data_dir.clone(), settings.disk_reserve)),
            bell: Arc::new(Bell::default()),
            puppetdb: settings.puppetdb.clone().map(|puppetdb| Arc::new(PuppetDb::new(puppetdb, identity.clone()))),
        })
    }

    /// Starts the dispatcher with the jobs from before.
    fn dispatch(&self, links: Vec<BrokerLink>) -> Result<std::thread::JoinHandle<()>, Refusal> {
        let recovered = jobs::recover(&*self.store, &self.vault)?;
        let nodes: usize = recovered.iter().map(|accepted| accepted.job.nodes.len()).sum();
        if nodes > 0 {
            tracing::info!(jobs = recovered.len(), nodes, "goes on with jobs from before the start");
        }
        self.unfinished_nodes.store(nodes, std::sync::atomic::Ordering::Relaxed);
        let clock = Clock::start();
        let reports = self.puppetdb.clone().map(|puppetdb| Reports::start(puppetdb, &self.store)).transpose();
        let dispatcher = Dispatcher::new(
            dispatch_settings(self.settings),
            self.inventory.clone(),
            Box::new(Uuid::new_v4),
            clock.now(),
        );
        Driver::spawn(DriverParts {
            dispatcher,
            recovered,
            store: self.store.clone(),
            links,
            commands: self.commands.1.clone(),
            clock,
            unfinished_nodes: self.unfinished_nodes.clone(),
            reports: reports.map_err(no_thread("for reports"))?,
            disk: self.disk.clone(),
            bell: self.bell.clone(),
        })
        .map_err(no_thread("of the dispatcher"))
    }
}

fn dispatch_settings(settings: &OrchestratorSettings) -> DispatchSettings {
    DispatchSettings {
        task_concurrency: settings.task_concurrency,
        deploy_concurrency: settings.deploy_concurrency,
        allowed_status_requests: settings.allowed_status_requests,
        status_interval: settings.status_interval,
    }
}

fn no_thread(which: &'static str) -> impl Fn(std::io::Error) -> Refusal {
    move |error| Refusal::new(RefusalKind::UnknownError, format!("the thread {which} cannot be started: {error}"))
}
