//! Judges one message for the agent: what is dropped, what is answered at once, what the threads have to do. The order
//! of the checks and the texts are those of pxp-agent's request processor. PURE.

use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::output::Output;
use super::registry::{Entry, Found, Handling, Registry};
use super::reply::{Origin, Reply, pcp_error};
use super::transaction::{Kind, Label, TransactionId};
use super::work::Work;
use crate::limits::URI_BYTES_MAX;
use crate::pcp::Envelope;
use crate::pcp::message_type::ERROR_MESSAGE;
use crate::pxp::message_type::{BLOCKING_REQUEST, NON_BLOCKING_REQUEST};
use crate::pxp::request::{BlockingRequest, NonBlockingRequest};
use crate::pxp::status::StatusQuery;

/// What to do about a message.
#[derive(Debug)]
pub enum Verdict {
    /// Nothing but log it.
    Ignore {
        /// What it was and why it is ignored.
        why: String,
    },
    /// Send this.
    Answer(Reply),
    /// Have this done.
    Order(Order),
}

/// Work for the threads.
#[derive(Debug)]
pub enum Order {
    /// Do an action's work.
    Run(Box<RunOrder>),
    /// Look up a transaction.
    Query(Box<QueryOrder>),
    /// End what runs for a transaction, and answer as to a query.
    Stop(Box<QueryOrder>),
    /// Remove what is too old.
    Purge,
    /// Write down how the agent stands with its broker.
    Contact(String),
}

/// Work to be done.
#[derive(Debug)]
pub struct RunOrder {
    /// Who asked.
    pub origin: Origin,
    /// How.
    pub mode: Mode,
    /// Which action.
    pub entry: Arc<Entry>,
    /// With what input.
    pub work: Box<dyn Work>,
}

/// How work is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// The answer is the result.
    Blocking,
    /// With a directory in the spool.
    NonBlocking {
        /// Names the directory.
        id: TransactionId,
        /// Whether to send the result.
        notify_outcome: bool,
    },
}

impl Mode {
    /// The kind of the request.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Blocking => Kind::Blocking,
            Self::NonBlocking { .. } => Kind::NonBlocking,
        }
    }
}

impl RunOrder {
    /// Names the request in error texts.
    pub fn label(&self) -> Label<'_> {
        let transaction_id = &self.origin.transaction_id;
        let Entry { module, action, .. } = &*self.entry;
        Label { kind: self.mode.kind(), module, action, transaction_id }
    }

    /// How the output is read.
    pub fn output(&self) -> &Output {
        match &self.entry.handling {
            Handling::Work { output, .. } => output,
            Handling::AtOnce(_) => &Output::Text,
        }
    }
}

/// A status query.
#[derive(Debug)]
pub struct QueryOrder {
    /// Who asked.
    pub origin: Origin,
    /// About what; any string.
    pub transaction_id: String,
}

/// Judges a text message. Data of answers has at most `data_max` bytes.
pub fn judge(message: &[u8], registry: &Registry, data_max: usize) -> Verdict {
    match Envelope::decode(message) {
        Ok(envelope) => judge_envelope(&envelope, registry, data_max),
        Err(error) => Verdict::Ignore { why: format!("a message could not be decoded: {error}") },
    }
}

/// Judges a message of either version of PCP.
pub fn judge_envelope(envelope: &Envelope<'_>, registry: &Registry, data_max: usize) -> Verdict {
    match &*envelope.message_type {
        BLOCKING_REQUEST => request(envelope, registry, Kind::Blocking, data_max),
        NON_BLOCKING_REQUEST => request(envelope, registry, Kind::NonBlocking, data_max),
        ERROR_MESSAGE => Verdict::Ignore { why: describe_error(envelope) },
        other => Verdict::Ignore { why: format!("nothing is known to do about a message of type {other:?}") },
    }
}

fn describe_error(envelope: &Envelope<'_>) -> String {
    let sender = envelope.sender.as_deref().unwrap_or("the broker");
    let text = envelope.data_as::<String>().unwrap_or_else(|_| "(no text)".into());
    let cause = match &envelope.in_reply_to {
        Some(id) => format!("caused by message {id}"),
        None => "the id of the message that caused it is unknown".into(),
    };
    format!("received error {} from {sender:?} ({cause}): {text:?}", envelope.id)
}

/// Either kind of request.
pub struct Asked {
    origin: Origin,
    kind: Kind,
    notify_outcome: bool,
    module: String,
    action: String,
    params: Map<String, Value>,
}

impl Asked {
    fn label(&self) -> Label<'_> {
        let Self { kind, module, action, origin, .. } = self;
        Label { kind: *kind, module, action, transaction_id: &origin.transaction_id }
    }
}

fn request(envelope: &Envelope<'_>, registry: &Registry, kind: Kind, data_max: usize) -> Verdict {
    let id = &envelope.id;
    let Some(sender) = envelope.sender.as_deref() else {
        return Verdict::Ignore { why: format!("request {id} has no sender, so it cannot be answered") };
    };
    if sender.len() > URI_BYTES_MAX {
        return Verdict::Ignore { why: format!("the sender of request {id} is longer than {URI_BYTES_MAX} bytes") };
    }
    if envelope.data.is_none() {
        return Verdict::Answer(pcp_error(sender, id, "no data"));
    }
    let Some(asked) = read(envelope, sender, kind) else {
        return Verdict::Answer(pcp_error(sender, id, "invalid data"));
    };
    dispatch(asked, registry, data_max)
}

fn read(envelope: &Envelope<'_>, requester: &str, kind: Kind) -> Option<Asked> {
    let (requester, request_id) = (requester.to_owned(), envelope.id.to_string());
    let origin = |transaction_id| Origin { requester, request_id, transaction_id };
    match kind {
        Kind::Blocking => {
            let data: BlockingRequest<Map<String, Value>> = envelope.data_as().ok()?;
            let BlockingRequest { transaction_id, module, action, params } = data;
            let params = params.unwrap_or_default();
            Some(Asked { origin: origin(transaction_id), kind, notify_outcome: true, module, action, params })
        }
        Kind::NonBlocking => {
            let data: NonBlockingRequest<Map<String, Value>> = envelope.data_as().ok()?;
            let NonBlockingRequest { transaction_id, notify_outcome, module, action, params } = data;
            let params = params.unwrap_or_default();
            Some(Asked { origin: origin(transaction_id), kind, notify_outcome, module, action, params })
        }
    }
}

fn dispatch(asked: Asked, registry: &Registry, data_max: usize) -> Verdict {
    let refuse = |text: &str| Verdict::Answer(asked.origin.error(text));
    let Asked { module, action, .. } = &asked;
    let entry = match registry.find(module, action) {
        Found::Entry(entry) => entry,
        Found::UnknownAction => return refuse(&format!("unknown action '{action}' for module '{module}'")),
        Found::UnknownModule => return refuse(&format!("unknown module: {module}")),
    };
    let invalid = format!("invalid input for {}", asked.label());
    match &entry.handling {
        Handling::AtOnce(_) if asked.kind == Kind::NonBlocking => {
            refuse(&format!("the module '{module}' supports only blocking PXP requests"))
        }
        Handling::AtOnce(handle) => handle(&asked, data_max).unwrap_or_else(|| refuse(&invalid)),
        Handling::Work { read, .. } => {
            let Asked { origin, kind, notify_outcome, params, .. } = asked;
            let Some(work) = read(params) else { return Verdict::Answer(origin.error(&invalid)) };
            let mode = match (kind, TransactionId::parse(&origin.transaction_id)) {
                (Kind::Blocking, _) => Mode::Blocking,
                (Kind::NonBlocking, Some(id)) => Mode::NonBlocking { id, notify_outcome },
                (Kind::NonBlocking, None) => return Verdict::Answer(origin.error(TransactionId::RULE)),
            };
            Verdict::Order(Order::Run(Box::new(RunOrder { origin, mode, entry: entry.clone(), work })))
        }
    }
}

/// `echo echo`.
pub fn echo(asked: &Asked, data_max: usize) -> Option<Verdict> {
    let Echo { argument } = params(asked)?;
    Some(Verdict::Answer(answer(asked, json!({"outcome": argument}), data_max)))
}

/// `ping ping`.
pub fn ping(asked: &Asked, data_max: usize) -> Option<Verdict> {
    let Ping { .. } = params(asked)?;
    Some(Verdict::Answer(answer(asked, json!({"request_hops": []}), data_max)))
}

/// `status query`.
pub fn query(asked: &Asked, _data_max: usize) -> Option<Verdict> {
    query_order(asked).map(|order| Verdict::Order(Order::Query(order)))
}

/// `podium stop`.
pub fn stop(asked: &Asked, _data_max: usize) -> Option<Verdict> {
    query_order(asked).map(|order| Verdict::Order(Order::Stop(order)))
}

fn query_order(asked: &Asked) -> Option<Box<QueryOrder>> {
    let StatusQuery { transaction_id } = params(asked)?;
    Some(Box::new(QueryOrder { origin: asked.origin.clone(), transaction_id }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Echo {
    argument: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ping {
    #[serde(default, rename = "sender_timestamp")]
    _sender_timestamp: Option<String>,
}

fn params<P: DeserializeOwned>(asked: &Asked) -> Option<P> {
    serde_json::from_value(Value::Object(asked.params.clone())).ok()
}

fn answer(asked: &Asked, results: Value, data_max: usize) -> Reply {
    asked.origin.response(asked.kind, results, data_max)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::agent::modules;

    /// An agent that has tasks and nothing else.
    pub(crate) fn registry() -> Registry {
        Registry::new(vec![modules::task::entry()])
    }

    const ID: &str = "f93df7fa-5168-4f8d-a7b5-180d46019213";

    pub(crate) fn message(kind: &str, data: Value) -> Vec<u8> {
        let message_type = format!("http://puppetlabs.com/{kind}");
        json!({"id": ID, "message_type": message_type, "sender": "pcp://c/x", "data": data}).to_string().into_bytes()
    }

    pub(crate) fn blocking(module: &str, action: &str, params: Value) -> Vec<u8> {
        let data = json!({"transaction_id": "7", "module": module, "action": action, "params": params});
        message("rpc_blocking_request", data)
    }

    pub(crate) fn non_blocking(id: &str, module: &str, action: &str, params: Value) -> Vec<u8> {
        let data = json!(
            {"transaction_id": id, "notify_outcome": true, "module": module, "action": action, "params": params}
        );
        message("rpc_non_blocking_request", data)
    }

    pub(crate) fn task_params() -> Value {
        let file = json!({"filename": "a.sh", "sha256": "0".repeat(64), "uri": {"path": "/a", "params": {}}});
        json!({"task": "demo::a", "input": {"secret": "hunter2"}, "files": [file]})
    }

    fn reply(message: &[u8]) -> Reply {
        match judge(message, &registry(), 1000) {
            Verdict::Answer(reply) => reply,
            other => panic!("{other:?}"),
        }
    }

    fn refusal(message: &[u8]) -> String {
        let reply = reply(message);
        assert_eq!((reply.message_type, reply.in_reply_to), ("http://puppetlabs.com/rpc_error_message", None));
        let data: Value = serde_json::from_str(reply.data.get()).unwrap();
        assert_eq!(data["id"], ID);
        data["description"].as_str().unwrap().to_owned()
    }

    #[test]
    fn echo_and_ping_answer_at_once() {
        let echo = reply(&blocking("echo", "echo", json!({"argument": "hi"})));
        assert_eq!(echo.data.get(), r#"{"transaction_id":"7","results":{"outcome":"hi"}}"#);
        assert_eq!(echo.message_type, "http://puppetlabs.com/rpc_blocking_response");
        assert_eq!((echo.target.as_str(), echo.in_reply_to), ("pcp://c/x", None));
        let ping = reply(&blocking("ping", "ping", json!({"sender_timestamp": "now"})));
        assert_eq!(ping.data.get(), r#"{"transaction_id":"7","results":{"request_hops":[]}}"#);
        let without_params =
            message("rpc_blocking_request", json!({"transaction_id":"7","module":"ping","action":"ping"}));
        assert_eq!(reply(&without_params).message_type, "http://puppetlabs.com/rpc_blocking_response");
    }

    #[test]
    fn what_is_no_request_gets_a_pcp_error() {
        let good = json!({"transaction_id": "7", "module": "echo", "action": "echo", "params": {"argument": ""}});
        let mut extra = good.clone();
        extra["job"] = 1.into();
        let mut null = good.clone();
        null["params"] = Value::Null;
        let mut notify = good.clone();
        notify["notify_outcome"] = true.into();
        let cases = [
            ("rpc_blocking_request", extra),
            ("rpc_blocking_request", null),
            ("rpc_blocking_request", notify),
            ("rpc_blocking_request", json!("text")),
            ("rpc_blocking_request", Value::Null),
            ("rpc_non_blocking_request", good),
        ];
        for (kind, data) in cases {
            let reply = reply(&message(kind, data.clone()));
            assert_eq!(reply.message_type, "http://puppetlabs.com/error_message", "{data}");
            assert_eq!((reply.data.get(), reply.in_reply_to.as_deref()), (r#""invalid data""#, Some(ID)));
        }
        let kind = BLOCKING_REQUEST;
        let bare = json!({"id": ID, "message_type": kind, "sender": "pcp://c/x"}).to_string();
        assert_eq!(reply(bare.as_bytes()).data.get(), r#""no data""#);
    }

    #[test]
    fn refusals_come_in_the_order_and_with_the_texts_of_the_reference() {
        let none = || json!({});
        assert_eq!(refusal(&blocking("foo", "bar", none())), "unknown module: foo");
        assert_eq!(refusal(&blocking("task", "bar", none())), "unknown action 'bar' for module 'task'");
        assert_eq!(refusal(&non_blocking("7", "echo", "bar", none())), "unknown action 'bar' for module 'echo'");
        for (module, action) in [("echo", "echo"), ("ping", "ping"), ("status", "query"), ("podium", "stop")] {
            assert_eq!(
                refusal(&non_blocking("7", module, action, none())),
                format!("the module '{module}' supports only blocking PXP requests")
            );
        }
        let cases = [
            ("echo", "echo", json!({"argument": 1})),
            ("echo", "echo", json!({"argument": "", "more": 1})),
            ("ping", "ping", json!({"more": 1})),
            ("status", "query", none()),
            ("podium", "stop", none()),
            ("task", "run", none()),
        ];
        for (module, action, params) in cases {
            assert_eq!(
                refusal(&blocking(module, action, params)),
                format!("invalid input for blocking '{module} {action}' request (transaction 7)")
            );
        }
        assert_eq!(
            refusal(&non_blocking("7", "task", "run", none())),
            "invalid input for non blocking 'task run' request (transaction 7)"
        );
    }

    #[test]
    fn hostile_transaction_ids_are_refused_where_they_would_name_a_directory() {
        for id in ["../x", "a/b", "", ".."] {
            assert_eq!(refusal(&non_blocking(id, "task", "run", task_params())), TransactionId::RULE);
        }
    }

    #[test]
    fn tasks_and_queries_are_for_the_threads() {
        let Verdict::Order(Order::Run(order)) =
            judge(&non_blocking("7", "task", "run", task_params()), &registry(), 1000)
        else {
            panic!()
        };
        let id = TransactionId::parse("7").unwrap();
        assert_eq!(order.mode, Mode::NonBlocking { id, notify_outcome: true });
        assert_eq!(order.label().to_string(), "non blocking 'task run' request (transaction 7)");
        let Verdict::Order(Order::Run(order)) = judge(&blocking("task", "run", task_params()), &registry(), 1000)
        else {
            panic!()
        };
        assert_eq!(order.mode, Mode::Blocking);
        let query = blocking("status", "query", json!({"transaction_id": "../x"}));
        let Verdict::Order(Order::Query(order)) = judge(&query, &registry(), 1000) else { panic!() };
        assert_eq!(order.transaction_id, "../x");
    }

    #[test]
    fn what_cannot_be_answered_is_ignored() {
        let no_sender = json!({"id": ID, "message_type": BLOCKING_REQUEST, "data": {}}).to_string();
        let error = json!({"id": ID, "message_type": ERROR_MESSAGE, "data": "Not connected."}).to_string();
        let other = json!({"id": ID, "message_type": "http://puppetlabs.com/associate_response"}).to_string();
        for (text, expected) in [
            (no_sender, "has no sender"),
            (error, r#"from "the broker" (the id of the message that caused it is unknown): "Not connected.""#),
            (other, "associate_response"),
            ("[]".to_owned(), "could not be decoded"),
        ] {
            let Verdict::Ignore { why } = judge(text.as_bytes(), &registry(), 1000) else { panic!("{text}") };
            assert!(why.contains(expected), "{why}");
        }
    }

    #[test]
    fn answers_that_are_too_large_become_errors() {
        let text = refusal(&blocking("echo", "echo", json!({"argument": "x".repeat(2000)})));
        assert_eq!(text, "Message size: 2047 exceeded max-message-size 1000");
    }
}
