//! From a command to a committed job, and from a stored job back to the dispatcher after a restart.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Instant;

use crossbeam_channel::RecvTimeoutError;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::Inner;
use super::dispatch::{AcceptedJob, Command, Stop};
use super::graph;
use super::model::{
    DeployCommand, Job, JobId, JobSpec, JobState, Refusal, RefusalKind, Subject, TaskCommand, TaskDetail, TaskWork,
    Work,
};
use super::permitted::Sets;
use super::plan_jobs;
use super::puppet_run;
use super::sources::RunnableTask;
use super::sources::code_dir::split_name;
use super::store::order::{Precedence, Wait};
use super::store::schedules::Firing;
use super::store::{NewJob, NewNode, StopWanted, Store, StoreError, UnfinishedJob};
use super::tasks::metadata::TaskMetadata;
use super::tasks::parameters::CheckedParameters;
use super::vault::Vault;
use crate::clock::WallTime;
use crate::limits::{
    AGENT_RECEIVE_BYTES_MAX, DATABASE_OUTCOME_TIMEOUT, SERVERS_LOOK_INTERVAL, STOP_ELSEWHERE_TIMEOUT,
    UNFINISHED_NODES_MAX,
};
use crate::pxp::task::TaskRun;

/// A job of which everything has been checked and nothing is stored.
pub(super) struct Prepared {
    /// What is to be stored of the command.
    pub(super) spec: JobSpec,
    names: Vec<String>,
    /// Which of them come after which others.
    order: Vec<Precedence>,
    /// A task has its parameters; those of a Puppet run follow from the rest.
    task_params: Option<Box<RawValue>>,
}

/// Checks a command, commits its job, and hands it to the dispatcher.
pub(super) fn run_task(inner: &Inner, subject: &Subject, command: TaskCommand) -> Result<JobId, Refusal> {
    create(inner, prepare_task(inner, subject, command)?, None)
}

/// As [`run_task`], for Puppet.
pub(super) fn run_puppet(inner: &Inner, subject: &Subject, command: DeployCommand) -> Result<JobId, Refusal> {
    create(inner, prepare_puppet(inner, subject, command)?, None)
}

/// Does everything that can fail before anything is stored.
pub(super) fn prepare_task(inner: &Inner, subject: &Subject, command: TaskCommand) -> Result<Prepared, Refusal> {
    command.plan_job.map_or(Ok(()), |plan_job| plan_jobs::check_running(inner, subject, plan_job))?;
    let (RunnableTask { detail: task, metadata, .. }, checked) = check(inner, &command)?;
    let (scope, environment) = (&command.terms.scope, &command.terms.environment);
    inner.rbac.permit_scope(subject, scope)?;
    let names = inner.targets.resolve(scope, environment)?;
    let names = inner.rbac.permitted_nodes(
        subject,
        &task.name,
        names,
        &Sets::new(&inner.targets, &*inner.store, environment),
    )?;
    let params = request_params(&command, &task, &metadata, checked.input)?;
    let TaskCommand { plan_job, mut terms, .. } = command;
    terms.timeout = terms.timeout.or(inner.default_task_timeout);
    let work = TaskWork { task: task.name, params: checked.shown, sensitive: checked.sensitive, plan_job };
    let spec = JobSpec { work: Work::Task(work), terms, owner: subject.clone() };
    Ok(Prepared { spec, names, order: Vec::new(), task_params: Some(params) })
}

/// As [`prepare_task`], for Puppet.
pub(super) fn prepare_puppet(inner: &Inner, subject: &Subject, command: DeployCommand) -> Result<Prepared, Refusal> {
    let DeployCommand { options, mut terms } = command;
    // The empty one leaves it to the nodes.
    if !terms.environment.is_empty() {
        inner.source.environment(&terms.environment)?;
    }
    inner.rbac.permit_scope(subject, &terms.scope)?;
    let names = inner.targets.resolve(&terms.scope, &terms.environment)?;
    let order = order(inner, &terms.environment, &names)?;
    terms.timeout = terms.timeout.or(inner.default_deploy_timeout);
    let spec = JobSpec { work: Work::Deploy(options), terms, owner: subject.clone() };
    Ok(Prepared { spec, names, order, task_params: None })
}

/// In which order a Puppet run would go through its nodes: levels of nodes that wait for nobody of their own level.
pub(super) fn plan_puppet(
    inner: &Inner,
    subject: &Subject,
    command: &DeployCommand,
) -> Result<Vec<Vec<String>>, Refusal> {
    let terms = &command.terms;
    if !terms.environment.is_empty() {
        inner.source.environment(&terms.environment)?;
    }
    inner.rbac.permit_scope(subject, &terms.scope)?;
    let names = inner.targets.resolve(&terms.scope, &terms.environment)?;
    let order = order(inner, &terms.environment, &names)?;
    Ok(graph::levels(&names, &order))
}

/// By the graph of the environment; without one there is no order.
fn order(inner: &Inner, environment: &str, names: &[String]) -> Result<Vec<Precedence>, Refusal> {
    match environment {
        "" => Ok(Vec::new()),
        environment => inner.graphs.graph(&inner.source, environment)?.order(names),
    }
}

/// Commits a job and hands it to the dispatcher.
pub(super) fn create(inner: &Inner, prepared: Prepared, firing: Option<Firing>) -> Result<JobId, Refusal> {
    let Prepared { spec, names, order, task_params } = prepared;
    let nodes: Vec<NewNode> = names.into_iter().map(|name| NewNode { name, transaction: Uuid::new_v4() }).collect();
    let payload = task_params.as_ref().map(|params| inner.vault.seal(params.get().as_bytes())).unwrap_or_default();
    let job = NewJob { spec, created: WallTime::now(), payload, nodes, order, firing };
    let mut unfinished = unfinished(&job);
    let reserved = job.nodes.len();
    reserve(inner, reserved)?;
    let _handing_over = inner.handing_over.read().unwrap_or_else(PoisonError::into_inner);
    let created = inner.store.create_job(job);
    let id = created.inspect_err(|_| {
        inner.unfinished_nodes.fetch_sub(reserved, Ordering::Relaxed);
    })?;
    unfinished.id = id;
    let JobSpec { work, owner, .. } = &unfinished.spec;
    tracing::info!(job = %id, kind = work.kind().word(), nodes = reserved, by = owner.login, "accepted a job");
    let params = Ok(task_params.unwrap_or_else(|| puppet_params(&unfinished)));
    let accepted = AcceptedJob { job: unfinished, params };
    // If the dispatcher is stopping, the job goes on at the next start: it is committed.
    let _ = inner.commands.send(Command::Run(Box::new(accepted)));
    Ok(id)
}

/// A task by its whole name.
pub(super) fn find_task<'a>(inner: &'a Inner, task: &str, environment: &str) -> Result<RunnableTask<'a>, Refusal> {
    let (module, name) = split_name(task).ok_or_else(|| {
        let message = format!("\"{task}\" is not a valid task name.");
        Refusal::new(RefusalKind::ValidationError, message).with("task", task)
    })?;
    inner.source.task(environment, module, name)
}

/// The task, and its parameters if they are right.
fn check<'a>(inner: &'a Inner, command: &TaskCommand) -> Result<(RunnableTask<'a>, CheckedParameters), Refusal> {
    let task = find_task(inner, &command.task, &command.terms.environment)?;
    let mut problems = Vec::new();
    if command.terms.noop && !task.metadata.supports_noop {
        problems.push("does not support noop: its metadata has no `supports_noop: true`".to_owned());
    }
    match task.check(&command.params) {
        Ok(checked) if problems.is_empty() => return Ok((task, checked)),
        Ok(_) => {}
        Err(more) => problems.extend(more),
    }
    let name = task.detail.name;
    let message = format!("Task {name}: {}", problems.join("; "));
    Err(Refusal::new(RefusalKind::ValidationError, message).with("task", name).with("problems", problems))
}

/// What agents are sent, the same for all nodes.
fn request_params(
    command: &TaskCommand,
    task: &TaskDetail,
    metadata: &TaskMetadata,
    mut input: Map<String, Value>,
) -> Result<Box<RawValue>, Refusal> {
    if command.terms.noop {
        input.insert("_noop".to_owned(), true.into());
    }
    let run = TaskRun {
        task: task.name.clone(),
        input,
        files: task.files.clone(),
        metadata: Some(metadata.for_agent()),
        input_method: None,
        features: vec![],
    };
    let params = serde_json::value::to_raw_value(&run).expect("requests have string keys only");
    // Envelope and transaction id take far less than the other half.
    if params.get().len() > AGENT_RECEIVE_BYTES_MAX / 2 {
        let message =
            format!("Task {}: parameters and file list make a message that is too large for agents", task.name);
        return Err(Refusal::new(RefusalKind::ValidationError, message));
    }
    Ok(params)
}

/// Counts the nodes in, or refuses if too many wait already.
fn reserve(inner: &Inner, nodes: usize) -> Result<(), Refusal> {
    let before = inner.unfinished_nodes.fetch_add(nodes, Ordering::Relaxed);
    if before + nodes <= UNFINISHED_NODES_MAX {
        return Ok(());
    }
    inner.unfinished_nodes.fetch_sub(nodes, Ordering::Relaxed);
    let message = format!(
        "{before} nodes of earlier jobs have not ended; with {nodes} more there would be more than \
         {UNFINISHED_NODES_MAX}: wait until some have"
    );
    Err(Refusal::new(RefusalKind::UnknownError, message))
}

/// A new job as the dispatcher sees it.
fn unfinished(job: &NewJob) -> UnfinishedJob {
    let nodes = job.nodes.iter().map(|node| (node.name.clone(), node.transaction));
    let mut unfinished = UnfinishedJob::new(JobId(0), job.spec.clone(), nodes);
    unfinished.waits = job.order.iter().copied().map(Wait::new).collect();
    unfinished
}

/// Has the dispatcher stop a job, and shows it as it stands then. One that has ended stays as it is.
pub(super) fn stop(inner: &Inner, subject: &Subject, id: JobId, stop: Stop) -> Result<Job, Refusal> {
    let found = || super::known(id, inner.store.job(id));
    let job = found()?;
    if job.state.is_final() {
        return Ok(job);
    }
    if let Some(server) = inner.store.other_owner(id)? {
        return stop_elsewhere(inner, subject, id, stop, &server);
    }
    drop(inner.handing_over.write().unwrap_or_else(PoisonError::into_inner));
    let (to, answer) = crossbeam_channel::bounded(1);
    let is_sent = inner.commands.send(Command::Stop(id, stop, to)).is_ok();
    let answer = answer.recv_timeout(DATABASE_OUTCOME_TIMEOUT);
    if is_sent && answer == Err(RecvTimeoutError::Timeout) {
        let message = "The stop is not stored yet, because the database does not answer. It holds once it does.";
        return Err(Refusal::new(RefusalKind::UnknownError, message));
    }
    if answer.is_err() && inner.disk.is_full() {
        let message = "Nobody can say when the job will be stopped: the disk is full, and nothing can be stored. Make room, \
                       and stop the job then.";
        return Err(Refusal::new(RefusalKind::InsufficientStorage, message));
    }
    if answer.is_err() {
        let message = "The job is not stopped: the dispatcher has stopped. The server's log says why; restart the server \
                       once that is mended, and stop the job then.";
        return Err(Refusal::new(RefusalKind::UnknownError, message));
    }
    tracing::info!(job = %id, ?stop, by = subject.login, "stops a job");
    found()
}

/// Has the server that runs a job stop it. That holds from now on; whether it has begun is waited for, but not for long.
fn stop_elsewhere(inner: &Inner, subject: &Subject, id: JobId, stop: Stop, server: &str) -> Result<Job, Refusal> {
    inner.store.want_stop(StopWanted { job: id, is_forced: stop == Stop::ByForce })?;
    tracing::info!(job = %id, ?stop, server, by = subject.login, "has another server stop a job");
    let end = Instant::now() + STOP_ELSEWHERE_TIMEOUT;
    loop {
        let job = super::known(id, inner.store.job(id))?;
        if job.state == JobState::Stopping || job.state.is_final() || Instant::now() >= end {
            return Ok(job);
        }
        thread::sleep(SERVERS_LOOK_INTERVAL / 5);
    }
}

fn puppet_params(job: &UnfinishedJob) -> Box<RawValue> {
    let Work::Deploy(options) = &job.spec.work else { return RawValue::NULL.to_owned() };
    puppet_run::request_params(job.id, options, &job.spec.terms)
}

/// The jobs that have not ended, with their parameters opened.
pub(super) fn recover(store: &dyn Store, vault: &Vault) -> Result<Vec<AcceptedJob>, StoreError> {
    Ok(store.unfinished()?.into_iter().map(|job| opened(job, vault)).collect())
}

/// A job that has not ended, with its parameters opened.
pub(super) fn opened(mut job: UnfinishedJob, vault: &Vault) -> AcceptedJob {
    if matches!(job.spec.work, Work::Deploy(_)) {
        let params = Ok(puppet_params(&job));
        return AcceptedJob { job, params };
    }
    let plain = vault.unseal(&std::mem::take(&mut job.payload));
    let params = plain.and_then(|plain| {
        let text = String::from_utf8(plain).map_err(|error| error.to_string())?;
        RawValue::from_string(text).map_err(|error| format!("its stored parameters are not JSON: {error}"))
    });
    AcceptedJob { job, params }
}
