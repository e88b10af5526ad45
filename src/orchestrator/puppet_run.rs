//! Puppet runs: the options of a command as the arguments that agents accept, and what an agent says of a run as the end of
//! its node (orchestrator API v1, `command/deploy` and nodes of a job; pxp-agent, modules/pxp-module-puppet).

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::events::{Action, Ending};
use super::model::{DeployOptions, JobId, NodeState, Terms};
use crate::pxp::puppet_run::{PuppetRun, RunResults};

/// Whether agents take this as the value of an argument: others are refused by the module, and one that looks like an
/// argument would be taken for one.
pub fn is_argument_value(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_:,.-".contains(&byte);
    !text.is_empty() && !text.starts_with('-') && text.bytes().all(is_allowed)
}

/// What agents are sent, the same for all nodes.
pub fn request_params(job: JobId, options: &DeployOptions, terms: &Terms) -> Box<RawValue> {
    let run = PuppetRun { env: Vec::new(), flags: flags(options, terms), job: job.to_string() };
    serde_json::value::to_raw_value(&run).expect("requests have string keys only")
}

fn flags(options: &DeployOptions, terms: &Terms) -> Vec<String> {
    let mut flags = Vec::new();
    let mut valued = |name: &str, value: Option<String>| {
        flags.extend(value.into_iter().flat_map(|value| [format!("--{name}"), value]))
    };
    valued("environment", options.enforce_environment.then(|| terms.environment.clone()));
    valued("tags", options.tags.clone());
    valued("skip_tags", options.skip_tags.clone());
    valued("ordering", options.ordering.clone());
    valued("filetimeout", options.filetimeout.map(|seconds| seconds.to_string()));
    valued("http_connect_timeout", options.http_connect_timeout.map(|seconds| seconds.to_string()));
    valued("http_keepalive_timeout", options.http_keepalive_timeout.map(|seconds| seconds.to_string()));
    valued("http_read_timeout", options.http_read_timeout.map(|seconds| seconds.to_string()));
    let switches = [
        ("--noop", terms.noop),
        ("--no-noop", options.no_noop),
        ("--debug", options.debug),
        ("--trace", options.trace),
        ("--evaltrace", options.evaltrace),
        ("--use_cached_catalog", options.use_cached_catalog == Some(true)),
        ("--no-use_cached_catalog", options.use_cached_catalog == Some(false)),
        ("--usecacheonfailure", options.usecacheonfailure == Some(true)),
        ("--no-usecacheonfailure", options.usecacheonfailure == Some(false)),
    ];
    flags.extend(switches.into_iter().filter(|(_, is_on)| *is_on).map(|(flag, _)| flag.to_owned()));
    flags
}

/// The part of a command that a result repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noop {
    /// Nothing was to be changed.
    pub noop: bool,
    /// Everything was to be changed, whatever the agent's settings say.
    pub no_noop: bool,
}

/// The agent has said what came of the run.
pub fn ending(node: &str, asked: Noop, results: &RunResults) -> Ending {
    let (state, reason) = match outcome(results) {
        Outcome::Succeeded => (NodeState::Finished, None),
        Outcome::Failed(reason) => (NodeState::Failed, Some(reason)),
        Outcome::NotRun(reason) => return Ending::errored(&Action::Puppet, node, &reason),
    };
    let mut result = said(results);
    let mut detail = result.clone();
    detail.insert("noop".to_owned(), asked.noop.into());
    let mut details = result.clone();
    details.remove("status");
    result.insert("noop".to_owned(), json!({"noop": asked.noop, "no_noop": asked.no_noop}));
    if let Some(reason) = &reason {
        let error =
            json!({"kind": "puppetlabs.orchestrator/puppet-run-failed", "msg": reason, "details": {"node": node}});
        result.insert("_error".to_owned(), error);
    }
    let message = reason.map(|reason| Action::Puppet.failed(node, &reason));
    Ending { state, message, result, details, detail }
}

/// What of a run is shown wherever it is shown.
fn said(results: &RunResults) -> Map<String, Value> {
    let RunResults { transaction_uuid, environment, status, metrics, .. } = results;
    let texts = [("transaction_uuid", transaction_uuid), ("environment", environment), ("status", status)];
    let texts = texts.into_iter().filter_map(|(key, text)| Some((key.to_owned(), text.clone()?.into())));
    texts.chain([("metrics".to_owned(), json!(metrics))]).collect()
}

enum Outcome {
    Succeeded,
    /// Puppet ran, and failed.
    Failed(String),
    /// There is no telling what Puppet did, or it did nothing.
    NotRun(String),
}

fn outcome(results: &RunResults) -> Outcome {
    let said = results.error.as_deref().map(str::trim).filter(|error| !error.is_empty());
    let status = results.status.as_deref().unwrap_or("unknown");
    let Some(kind) = results.error_type.as_deref() else {
        return match (status, said) {
            ("changed" | "unchanged", None) => Outcome::Succeeded,
            ("failed", said) => Outcome::Failed(said.map_or_else(|| failed_resources(results), str::to_owned)),
            (_, Some(said)) => Outcome::NotRun(said.to_owned()),
            (status, None) => Outcome::NotRun(format!("the agent says that the run ended as {status:?}")),
        };
    };
    let reason = match (explain(kind), said) {
        (Some(explanation), Some(said)) => format!("{explanation} ({said})"),
        (Some(explanation), None) => explanation.to_owned(),
        (None, said) => said.unwrap_or(kind).to_owned(),
    };
    if kind == "agent_exit_non_zero" && status != "unknown" { Outcome::Failed(reason) } else { Outcome::NotRun(reason) }
}

fn failed_resources(results: &RunResults) -> String {
    match results.metrics.get("failed").and_then(Value::as_u64) {
        Some(1) => "1 resource failed".to_owned(),
        Some(failed) if failed > 0 => format!("{failed} resources failed"),
        _ => "the run failed; its report says why".to_owned(),
    }
}

/// The module's words, with what to do.
fn explain(error_type: &str) -> Option<&'static str> {
    Some(match error_type {
        "agent_locked" => {
            "another Puppet run held the agent's lock for longer than this one waits; try again once it has ended"
        }
        "agent_disabled" => "Puppet is disabled on the node; enable it there with puppet agent --enable",
        "agent_failed_to_start" => "puppet agent could not be started",
        "agent_exit_non_zero" => "puppet agent ended with an exit code other than 0",
        "no_puppet_bin" => "the node has no puppet executable where the agent looks for it",
        "no_last_run_report" => "Puppet ran and left no report, so what it did is not known",
        "invalid_last_run_report" => "Puppet ran and left a report that cannot be read, so what it did is not known",
        "invalid_json" => "the agent could not read the request",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orchestrator::model::Scope;

    const ASKED: Noop = Noop { noop: false, no_noop: true };

    fn flags_of(change: impl FnOnce(&mut DeployOptions, &mut Terms)) -> Value {
        let mut terms = Terms::new("production", Scope::Nodes(vec![]));
        let mut options = DeployOptions::default();
        change(&mut options, &mut terms);
        serde_json::from_str(request_params(JobId(81), &options, &terms).get()).unwrap()
    }

    #[test]
    fn options_are_arguments() {
        assert_eq!(flags_of(|_, _| {}), json!({"env": [], "flags": [], "job": "81"}));
        let all = flags_of(|options, terms| {
            terms.noop = true;
            *options = DeployOptions {
                enforce_environment: true,
                no_noop: false,
                debug: true,
                trace: true,
                evaltrace: true,
                use_cached_catalog: Some(true),
                usecacheonfailure: Some(false),
                tags: Some("a,b".into()),
                skip_tags: Some("c".into()),
                ordering: Some("random".into()),
                filetimeout: Some(1),
                http_connect_timeout: Some(2),
                http_keepalive_timeout: Some(3),
                http_read_timeout: Some(4),
            };
        });
        let expected = "--environment production --tags a,b --skip_tags c --ordering random --filetimeout 1 \
                        --http_connect_timeout 2 --http_keepalive_timeout 3 --http_read_timeout 4 --noop --debug --trace \
                        --evaltrace --use_cached_catalog --no-usecacheonfailure";
        assert_eq!(all["flags"], json!(expected.split(' ').collect::<Vec<_>>()));
        assert_eq!(flags_of(|options, _| options.no_noop = true)["flags"], json!(["--no-noop"]));
    }

    #[test]
    fn values_are_what_agents_accept() {
        for good in ["production", "a::b,c", "1.5", "x-y"] {
            assert!(is_argument_value(good), "{good}");
        }
        for bad in ["", "a b", "--noop", "é", "a\n", "a;b"] {
            assert!(!is_argument_value(bad), "{bad}");
        }
    }

    fn ended(results: Value) -> Ending {
        ending("n", ASKED, &serde_json::from_value(results).unwrap())
    }

    #[test]
    fn a_run_that_went_well() {
        let metrics = json!({"changed": 1, "failed": 0, "total": 42});
        let ending = ended(json!({
            "time": "2026-03-01T10:15:32Z", "transaction_uuid": "9c", "environment": "production", "status": "changed",
            "metrics": metrics, "exitcode": 0, "version": 1
        }));
        let shown =
            json!({"transaction_uuid": "9c", "environment": "production", "status": "changed", "metrics": metrics});
        let with = |key: &str, value: Value| {
            let mut shown = shown.clone();
            shown[key] = value;
            shown
        };
        assert_eq!((ending.state, ending.message), (NodeState::Finished, None));
        assert_eq!(json!(ending.result), with("noop", json!({"noop": false, "no_noop": true})));
        assert_eq!(json!(ending.detail), with("noop", json!(false)));
        assert_eq!(ending.details["transaction_uuid"], "9c");
    }

    #[test]
    fn failed_is_what_puppet_did_and_errored_what_kept_it_from_running() {
        let cases = [
            (json!({"status": "failed", "metrics": {"failed": 2}}), NodeState::Failed, "2 resources failed"),
            (
                json!({"status": "failed", "error_type": "agent_exit_non_zero", "error": "exit 1", "exitcode": 1}),
                NodeState::Failed,
                "ended with an exit code other than 0 (exit 1)",
            ),
            (json!({"status": "unknown", "error_type": "agent_exit_non_zero"}), NodeState::Errored, "other than 0"),
            (json!({"status": "unknown", "error_type": "agent_locked", "error": "lock"}), NodeState::Errored, "(lock)"),
            (json!({"status": "changed", "error_type": "agent_disabled"}), NodeState::Errored, "puppet agent --enable"),
            (json!({"error_type": "surprise", "error": "odd"}), NodeState::Errored, "Error running puppet on n: odd"),
            (json!({"error_type": "surprise"}), NodeState::Errored, "Error running puppet on n: surprise"),
            (json!({"status": "changed", "error": "but"}), NodeState::Errored, ": but"),
            (json!({}), NodeState::Errored, "\"unknown\""),
        ];
        for (results, state, text) in cases {
            let ending = ended(results.clone());
            let message = ending.message.unwrap();
            assert!(ending.state == state && message.contains(text), "{results}: {:?} {message}", ending.state);
            assert!(ending.result["_error"]["msg"].is_string(), "{results}");
        }
    }
}
