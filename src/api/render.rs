//! The JSON of jobs, nodes, events, tasks and inventory, key by key as the orchestrator API v1 documents it.

pub(super) mod plans;
pub(super) mod schedules;

use serde_json::{Map, Value, json};

use crate::clock::WallTime;
use crate::orchestrator::model::{
    Event, InventoryEntry, Job, JobId, JobSpec, JobStatus, Node, NodeState, Subject, TaskDetail, TaskListing, TaskWork,
    Work,
};

/// Absolute URLs of this server's resources: identifiers are URLs with the host the server considers its own.
pub(super) struct Urls {
    root: String,
}

impl Urls {
    /// Of a server known as `https://host:port`.
    pub(super) fn new(public_url: &str) -> Self {
        Self { root: format!("{}/orchestrator/v1", public_url.trim_end_matches('/')) }
    }

    /// Of anything below `/orchestrator/v1`.
    pub(super) fn at(&self, path: &str) -> String {
        format!("{}/{path}", self.root)
    }

    /// Of a job.
    pub(super) fn job(&self, id: JobId) -> String {
        self.at(&format!("jobs/{id}"))
    }

    /// Of a task by its name; a module's own task is its `init`.
    pub(super) fn task(&self, name: &str) -> String {
        let (module, task) = name.split_once("::").unwrap_or((name, "init"));
        self.at(&format!("tasks/{module}/{task}"))
    }

    /// Of a plan by its name; a module's own plan is its `init`.
    pub(super) fn plan(&self, name: &str) -> String {
        let (module, plan) = name.split_once("::").unwrap_or((name, "init"));
        self.at(&format!("plans/{module}/{plan}"))
    }
}

/// `GET /orchestrator`.
pub(super) fn root(urls: &Urls) -> Value {
    let link = |name: &str, path: &str| json!({"name": name, "id": urls.at(path)});
    json!({
        "info": {
            "title": "Application Management API (EXPERIMENTAL)",
            "description": "Runs tasks on Puppet and OpenVox nodes and shows what came of it.",
            "warning": "This version of the API is experimental, and might change in backwards incompatible ways.",
            "version": "0.1",
            "license": {"name": "Apache License, Version 2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0.html"},
        },
        "status": link("status", "status"),
        "collections": [
            link("environments", "environments"), link("inventory", "inventory"), link("jobs", "jobs"),
            link("plan_jobs", "plan_jobs"), link("plans", "plans"), link("tasks", "tasks"),
        ],
        "commands": [link("deploy", "command/deploy"), link("stop", "command/stop"), link("task", "command/task")],
    })
}

/// The answer to a command that made a job.
pub(super) fn accepted(urls: &Urls, id: JobId) -> Value {
    json!({"job": {"id": urls.job(id), "name": id.to_string()}})
}

/// The answer to `POST /command/stop`: the job's nodes by state, every state counted.
pub(super) fn stopped(urls: &Urls, job: &Job) -> Value {
    let count = |state: &NodeState| job.node_states.get(state).copied().unwrap_or(0);
    let nodes: Map<String, Value> =
        NodeState::ALL.iter().map(|state| (state.word().to_owned(), json!(count(state)))).collect();
    json!({"job": {"id": urls.job(job.id), "name": job.id.to_string(), "nodes": nodes}})
}

/// An item of `GET /jobs`.
pub(super) fn job_item(urls: &Urls, job: &Job) -> Value {
    let mut shown = job_common(urls, job);
    let states: Map<String, Value> =
        job.node_states.iter().map(|(state, count)| (state.word().to_owned(), json!(count))).collect();
    shown["node_states"] = if states.is_empty() { Value::Null } else { Value::Object(states) };
    shown
}

/// `GET /jobs/:id`: an item with the job's history. It keeps `node_states` too, which costs nobody anything.
pub(super) fn job_detail(urls: &Urls, job: &Job) -> Value {
    let mut shown = job_item(urls, job);
    shown["status"] = job.status.iter().map(status).collect();
    shown
}

fn status(status: &JobStatus) -> Value {
    json!({
        "state": status.state.word(),
        "enter_time": status.enter.to_seconds_string(),
        "exit_time": status.exit.map(WallTime::to_seconds_string),
    })
}

fn job_common(urls: &Urls, job: &Job) -> Value {
    let url = urls.job(job.id);
    let JobSpec { work, terms, owner } = &job.spec;
    let kind = work.kind();
    json!({
        "id": url,
        "name": job.id.to_string(),
        "state": job.state.word(),
        "command": kind.word(),
        "type": kind.word(),
        "options": job_options(&job.spec),
        "owner": subject(owner),
        "description": terms.description,
        "environment": {"name": terms.environment},
        "timestamp": job.timestamp.to_seconds_string(),
        "created_timestamp": job.created.to_seconds_string(),
        "started_timestamp": job.started.map(WallTime::to_seconds_string),
        "finished_timestamp": job.finished.map(WallTime::to_seconds_string),
        "duration": job_duration(job),
        "node_count": job.node_count,
        "userdata": terms.userdata,
        "nodes": {"id": format!("{url}/nodes")},
        "report": {"id": format!("{url}/report")},
        "events": {"id": format!("{url}/events")},
    })
}

fn job_options(spec: &JobSpec) -> Value {
    let JobSpec { work, terms, .. } = spec;
    let mut options = match work {
        Work::Task(TaskWork { task, params, sensitive, plan_job }) => {
            let mut options = json!({
                "transport": "pxp", "task": task, "params": params, "sensitive": sensitive, "scheduled-job-id": null,
            });
            if let Some(plan_job) = plan_job {
                options["plan_job"] = json!(plan_job.0);
            }
            if let Some(concurrency) = terms.concurrency {
                options["concurrency"] = json!(concurrency);
            }
            options
        }
        Work::Deploy(options) => {
            let mut options = json!(options);
            options["concurrency"] = json!(terms.concurrency);
            options["target"] = Value::Null;
            options
        }
    };
    options["description"] = json!(terms.description);
    options["noop"] = json!(terms.noop);
    options["scope"] = json!(terms.scope);
    options["environment"] = json!(terms.environment);
    if let Some(timeout) = terms.timeout {
        options["timeout"] = json!(timeout);
    }
    if let Some(schedule) = terms.schedule {
        options["scheduled-job-id"] = json!(schedule.to_string());
    }
    options
}

/// Seconds as text, as the manual's samples have it; null until the job has ended.
fn job_duration(job: &Job) -> Option<String> {
    let finished = job.finished?;
    let seconds = seconds_between(job.started.unwrap_or(job.created), finished);
    Some(format!("{seconds:.1}"))
}

/// A user as `owner` and as the current user.
pub(super) fn subject(subject: &Subject) -> Value {
    json!({
        "id": subject.id,
        "login": subject.login,
        "display_name": subject.display_name,
        "email": subject.email,
        "is_superuser": subject.is_superuser,
        "is_remote": subject.is_remote,
        "is_revoked": subject.is_revoked,
        "is_group": subject.is_group,
        "last_login": subject.last_login,
        "role_ids": subject.role_ids,
    })
}

/// `GET /jobs/:id/nodes`. The events to ask for next begin after the newest that these nodes show.
pub(super) fn nodes(urls: &Urls, id: JobId, nodes: &[Node], now: WallTime) -> Value {
    let next = nodes.iter().map(|node| node.latest_event_id).max().unwrap_or(0) + 1;
    json!({
        "next-events": next_events(urls, id, next),
        "items": nodes.iter().map(|shown| node(shown, now)).collect::<Vec<_>>(),
    })
}

fn node(node: &Node, now: WallTime) -> Value {
    let mut shown = json!({
        "name": node.name,
        "state": node.state.word(),
        "transport": "pcp",
        "start_timestamp": node.start.map(WallTime::to_seconds_string),
        "finish_timestamp": finish(node).map(WallTime::to_seconds_string),
        "timestamp": node.timestamp.to_seconds_string(),
        "duration": node_duration(node),
        // The one of the report: Puppet runs have it among their details.
        "transaction_uuid": node.details.get("transaction_uuid"),
        "latest-event-id": node.latest_event_id,
        "details": node.details,
    });
    if let (NodeState::Running, Some(start)) = (node.state, node.start) {
        shown["details"]["run-time"] = json!(seconds_between(start, now) as u64);
    }
    if let Some(result) = &node.result {
        shown["result"] = result.clone();
    }
    shown
}

/// Nodes that were skipped have never begun, so they have not ended either.
fn finish(node: &Node) -> Option<WallTime> {
    node.finish.filter(|_| node.state != NodeState::Skipped)
}

fn node_duration(node: &Node) -> Option<f64> {
    Some(seconds_between(node.start?, finish(node)?))
}

/// `GET /jobs/:id/report`, under the key of the manual and under the one of recorded answers.
pub(super) fn report(nodes: &[Node]) -> Value {
    let row = |node: &Node| {
        json!({
            "node": node.name,
            "state": node.state.word(),
            "timestamp": node.timestamp.to_seconds_string(),
            "start_timestamp": node.start.map(WallTime::to_seconds_string),
            "finish_timestamp": finish(node).map(WallTime::to_seconds_string),
            "events": [],
        })
    };
    let rows: Vec<Value> = nodes.iter().map(row).collect();
    json!({"items": rows, "report": rows})
}

/// `GET /jobs/:id/events`.
pub(super) fn events(urls: &Urls, id: JobId, events: &[Event], next: i64) -> Value {
    let event = |event: &Event| {
        json!({
            "id": event.id.to_string(),
            "type": event.kind.word(),
            "timestamp": event.timestamp.to_seconds_string(),
            "details": event.details,
            "message": event.message,
        })
    };
    json!({
        "next-events": next_events(urls, id, next),
        "items": events.iter().map(event).collect::<Vec<_>>(),
    })
}

fn next_events(urls: &Urls, id: JobId, next: i64) -> Value {
    json!({"id": format!("{}/events?start={next}", urls.job(id)), "event": next.to_string()})
}

/// `GET /tasks`. `private` and `description` are ours: without them a list for people takes a request per task.
pub(super) fn tasks(urls: &Urls, environment: &str, tasks: &[TaskListing]) -> Value {
    let item = |task: &TaskListing| {
        json!({
            "id": urls.task(&task.name),
            "name": task.name,
            "permitted": true,
            "private": task.private,
            "description": task.description,
        })
    };
    json!({
        "environment": {"name": environment, "code_id": null},
        "items": tasks.iter().map(item).collect::<Vec<_>>(),
    })
}

/// `GET /tasks/:module/:task`. The version of the code is in the addresses of its files, if it has one.
pub(super) fn task(urls: &Urls, environment: &str, task: &TaskDetail) -> Value {
    let code_id = task.files.first().and_then(|file| file.uri.params.get("code_id"));
    json!({
        "id": urls.task(&task.name),
        "name": task.name,
        "permitted": true,
        "environment": {"name": environment, "code_id": code_id},
        "metadata": task.metadata,
        "files": task.files,
    })
}

/// `GET /inventory` and `POST /inventory`.
pub(super) fn inventory(entries: &[InventoryEntry]) -> Value {
    json!({"items": entries.iter().map(inventory_entry).collect::<Vec<_>>()})
}

/// `GET /inventory/:node`.
pub(super) fn inventory_entry(entry: &InventoryEntry) -> Value {
    match &entry.connection {
        Some(connection) => json!({
            "name": entry.name,
            "connected": true,
            "broker": connection.broker,
            "timestamp": connection.since.to_millis_string(),
        }),
        None => json!({"name": entry.name, "connected": false}),
    }
}

fn seconds_between(start: WallTime, finish: WallTime) -> f64 {
    let millis = finish.as_millis().saturating_sub(start.as_millis()).max(0);
    millis as f64 / 1000.0
}
