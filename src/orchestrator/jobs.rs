//! From a command to a committed job, and from a stored job back to the dispatcher after a restart.

use std::sync::atomic::Ordering;

use serde_json::value::RawValue;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::Inner;
use super::dispatch::{AcceptedJob, Command};
use super::model::{JobId, Refusal, RefusalKind, Scope, Subject, TaskCommand, TaskDetail};
use super::rbac::nodes::NodeSets;
use super::scope;
use super::sources::code_dir::split_name;
use super::store::{NewJob, NewNode, Store, StoreError, UnfinishedJob};
use super::tasks::metadata::TaskMetadata;
use super::tasks::parameters::{self, CheckedParameters};
use super::vault::Vault;
use crate::clock::WallTime;
use crate::limits::{AGENT_RECEIVE_BYTES_MAX, UNFINISHED_NODES_MAX};
use crate::pxp::task::TaskRun;

/// Checks a command, commits its job, and hands it to the dispatcher.
pub(super) fn run_task(inner: &Inner, subject: &Subject, command: TaskCommand) -> Result<JobId, Refusal> {
    let (task, metadata, checked) = check(inner, &command)?;
    inner.rbac.permit_scope(subject, &command.scope)?;
    let names = scope::resolve(&command.scope, &command.environment)?;
    let sets = Sets { environment: &command.environment };
    let names = inner.rbac.permitted_nodes(subject, &task.name, names, &sets)?;
    let params = request_params(&command, &task, &metadata, checked.input)?;
    let timeout = command.timeout.or(inner.default_timeout);
    let nodes: Vec<NewNode> = names.into_iter().map(|name| NewNode { name, transaction: Uuid::new_v4() }).collect();
    let job = NewJob {
        environment: command.environment,
        task: task.name,
        params: checked.shown,
        sensitive: checked.sensitive,
        scope: command.scope,
        noop: command.noop,
        description: command.description,
        userdata: command.userdata,
        timeout,
        owner: subject.clone(),
        created: WallTime::now(),
        payload: inner.vault.seal(params.get().as_bytes()),
        nodes,
    };
    let mut accepted = AcceptedJob { job: unfinished(&job), params: Ok(params) };
    let reserved = job.nodes.len();
    reserve(inner, reserved)?;
    let created = inner.store.create_job(job);
    let id = created.inspect_err(|_| {
        inner.unfinished_nodes.fetch_sub(reserved, Ordering::Relaxed);
    })?;
    accepted.job.id = id;
    tracing::info!(job = %id, task = accepted.job.task, nodes = reserved, by = subject.login, "accepted a job");
    // If the dispatcher is stopping, the job goes on at the next start: it is committed.
    let _ = inner.commands.send(Command::Run(Box::new(accepted)));
    Ok(id)
}

/// What limits of permissions come to.
struct Sets<'a> {
    environment: &'a str,
}

impl NodeSets for Sets<'_> {
    fn scope(&self, scope: &Scope) -> Result<Vec<String>, Refusal> {
        scope::resolve(scope, self.environment)
    }

    /// There are none yet, so none limits anybody to anything.
    fn task_target(&self, _number: i64, _task: &str) -> Result<Option<Vec<String>>, Refusal> {
        Ok(None)
    }
}

/// The task, and its parameters if they are right.
fn check(inner: &Inner, command: &TaskCommand) -> Result<(TaskDetail, TaskMetadata, CheckedParameters), Refusal> {
    let environment = inner.code_dir.environment(&command.environment)?;
    let (module, name) = split_name(&command.task).ok_or_else(|| {
        let message = format!("\"{}\" is not a valid task name.", command.task);
        Refusal::new(RefusalKind::ValidationError, message).with("task", command.task.as_str())
    })?;
    let (task, metadata) = inner.code_dir.task(&environment, module, name)?;
    let alias = |name: &str| inner.code_dir.type_alias(&environment, name);
    let mut problems = Vec::new();
    if command.noop && !metadata.supports_noop {
        problems.push("does not support noop: its metadata has no `supports_noop: true`".to_owned());
    }
    match parameters::check(&metadata, &command.params, &alias) {
        Ok(checked) if problems.is_empty() => return Ok((task, metadata, checked)),
        Ok(_) => {}
        Err(more) => problems.extend(more),
    }
    let message = format!("Task {}: {}", task.name, problems.join("; "));
    Err(Refusal::new(RefusalKind::ValidationError, message).with("task", task.name).with("problems", problems))
}

/// What agents are sent, the same for all nodes.
fn request_params(
    command: &TaskCommand,
    task: &TaskDetail,
    metadata: &TaskMetadata,
    mut input: Map<String, Value>,
) -> Result<Box<RawValue>, Refusal> {
    if command.noop {
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
    UnfinishedJob { noop: job.noop, timeout: job.timeout, ..UnfinishedJob::new(JobId(0), &job.task, nodes) }
}

/// The jobs that have not ended, with their parameters opened.
pub(super) fn recover(store: &dyn Store, vault: &Vault) -> Result<Vec<AcceptedJob>, StoreError> {
    let open = |mut job: UnfinishedJob| {
        let plain = vault.unseal(&std::mem::take(&mut job.payload));
        let params = plain.and_then(|plain| {
            let text = String::from_utf8(plain).map_err(|error| error.to_string())?;
            RawValue::from_string(text).map_err(|error| format!("its stored parameters are not JSON: {error}"))
        });
        AcceptedJob { job, params }
    };
    Ok(store.unfinished()?.into_iter().map(open).collect())
}
