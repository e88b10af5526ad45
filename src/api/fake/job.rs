//! The job that the fake has from the start.

use super::access::ada;
use super::*;

pub(super) fn old_job() -> Job {
    let start = WallTime::from_millis(START);
    let finish = WallTime::from_millis(START + 3200);
    let stretch = |state, enter, exit| JobStatus { state, enter, exit };
    Job {
        id: OLD_JOB,
        state: JobState::Finished,
        spec: JobSpec {
            work: Work::Task(TaskWork {
                task: "package".into(),
                params: object(json!({"action": "status", "name": "openssl"})),
                sensitive: vec!["password".into()],
                plan_job: None,
            }),
            terms: Terms {
                description: "check ssl".into(),
                ..Terms::new("production", Scope::Nodes(vec!["web01.example.com".into()]))
            },
            owner: ada(),
        },
        created: start,
        started: Some(start),
        finished: Some(finish),
        timestamp: finish,
        node_count: 1,
        node_states: BTreeMap::from([(NodeState::Finished, 1)]),
        status: vec![
            stretch(JobState::New, start, Some(start)),
            stretch(JobState::Ready, start, Some(start)),
            stretch(JobState::Running, start, Some(finish)),
            stretch(JobState::Finished, finish, None),
        ],
    }
}

pub(super) fn old_node() -> Node {
    Node {
        name: "web01.example.com".into(),
        state: NodeState::Finished,
        start: Some(WallTime::from_millis(START)),
        finish: Some(WallTime::from_millis(START + 3100)),
        timestamp: WallTime::from_millis(START + 3100),
        latest_event_id: 12,
        details: Map::new(),
        result: Some(json!({"status": "up to date", "version": "3.0.7-27.el9"})),
    }
}

pub(super) fn fresh_node(name: &str) -> Node {
    Node {
        name: name.into(),
        state: NodeState::Ready,
        start: None,
        finish: None,
        timestamp: WallTime::from_millis(START),
        latest_event_id: 0,
        details: Map::new(),
        result: None,
    }
}

pub(super) fn old_events() -> Vec<Event> {
    let event = |id, kind, details: Value, message: &str| Event {
        id,
        kind,
        timestamp: WallTime::from_millis(START),
        details: object(details),
        message: message.into(),
    };
    let details = json!({"node": "web01.example.com", "detail": {"noop": false}});
    vec![
        event(11, EventType::NodeRunning, details.clone(), "Started on web01.example.com ..."),
        event(12, EventType::NodeFinished, details, "Finished on node web01.example.com"),
        event(13, EventType::JobFinished, json!({}), "Job finished"),
    ]
}
