//! `podium job run`: runs Puppet on nodes now, with the options of `puppet job run`.

use serde_json::{Map, Value, json};

use crate::cli::client::open;
use crate::cli::client_settings::{ClientSettings, ConnectionFlags};
use crate::cli::command::{CommonFlags, Noop, NoopFlags, TargetFlags};
use crate::cli::follow::{Pace, interruption};
use crate::cli::launch::{Launch, Waiting};
use crate::cli::output::{Failure, PrintFlags};
use crate::cli::results::Work;
use crate::cli::values::Input;

/// Arguments of `job run`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    targets: TargetFlags,
    /// Environment to run in; without one here, in PODIUM_ENVIRONMENT or the configuration, each node runs in its own
    #[arg(short, long, alias = "env", value_name = "NAME")]
    environment: Option<String>,
    /// Let each node run in the environment that the classifier or its own configuration says
    #[arg(long)]
    no_enforce_environment: bool,
    #[command(flatten)]
    noop: NoopFlags,
    /// At most so many nodes at once [default: as many as the server allows]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    concurrency: Option<u64>,
    #[command(flatten)]
    common: CommonFlags,
    #[command(flatten)]
    print: PrintFlags,
    #[command(flatten)]
    agent: AgentFlags,
    #[command(flatten)]
    connection: ConnectionFlags,
}

/// Handed to Puppet on each node.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Options of Puppet on the nodes")]
pub(in crate::cli) struct AgentFlags {
    /// Log at level debug
    #[arg(long)]
    debug: bool,
    /// Print stack traces
    #[arg(long)]
    trace: bool,
    /// Log each resource as it is evaluated
    #[arg(long)]
    evaltrace: bool,
    /// Only resources with these tags, separated by commas
    #[arg(long, value_name = "TAGS")]
    tags: Option<String>,
    /// Not the resources with these tags
    #[arg(long, alias = "skip_tags", value_name = "TAGS")]
    skip_tags: Option<String>,
    /// Order of resources without dependencies: manifest, title-hash or random
    #[arg(long, value_name = "ORDER")]
    ordering: Option<String>,
    /// Seconds between two looks at changed files
    #[arg(long, value_name = "SECONDS")]
    filetimeout: Option<u64>,
    /// Seconds for a connection to Puppet Server
    #[arg(long, alias = "http_connect_timeout", value_name = "SECONDS")]
    http_connect_timeout: Option<u64>,
    /// Seconds that an idle connection is kept
    #[arg(long, alias = "http_keepalive_timeout", value_name = "SECONDS")]
    http_keepalive_timeout: Option<u64>,
    /// Seconds for an answer of Puppet Server
    #[arg(long, alias = "http_read_timeout", value_name = "SECONDS")]
    http_read_timeout: Option<u64>,
    /// Use the catalog that the node has
    #[arg(long, alias = "use_cached_catalog", overrides_with = "no_use_cached_catalog")]
    use_cached_catalog: bool,
    /// Ask for a new catalog, whatever the node's configuration says
    #[arg(long, alias = "no-use_cached_catalog", overrides_with = "use_cached_catalog")]
    no_use_cached_catalog: bool,
    /// Use the catalog that the node has if there is no new one
    #[arg(long, overrides_with = "no_usecacheonfailure")]
    usecacheonfailure: bool,
    /// Fail if there is no new catalog
    #[arg(long, overrides_with = "usecacheonfailure")]
    no_usecacheonfailure: bool,
}

/// Runs the subcommand.
pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let mut input = Input::default();
    let target = arguments.targets.read(&mut input)?;
    let mut common = json!({});
    arguments.common.add_to(&mut common, &mut input)?;
    let (mut client, mut output) = open(&arguments.connection, &arguments.print)?;
    let interrupted = interruption()?;
    let scope = target.scope(&mut client)?;
    let request = request(arguments, &client.settings, scope, common);
    let launch = Launch {
        work: Work::PuppetRun,
        request,
        format: arguments.print.format,
        background: arguments.common.background,
    };
    let waiting = Waiting { pace: Pace::default(), interrupted: &interrupted };
    launch.start(&mut client, waiting, &mut output)
}

/// The body of `POST /command/deploy`, on top of what all jobs have.
fn request(arguments: &Arguments, settings: &ClientSettings, scope: Value, mut request: Value) -> Value {
    let environment = arguments.environment.as_ref().or(settings.environment.as_ref());
    request["environment"] = json!(environment.map_or("", String::as_str));
    request["scope"] = scope;
    if arguments.no_enforce_environment || environment.is_none_or(String::is_empty) {
        request["enforce_environment"] = json!(false);
    }
    match arguments.noop.choose(settings.noop) {
        Noop::On => request["noop"] = json!(true),
        Noop::Off => request["no_noop"] = json!(true),
        Noop::Unsaid => {}
    }
    if let Some(concurrency) = arguments.concurrency {
        request["concurrency"] = json!(concurrency);
    }
    if let Value::Object(request) = &mut request {
        arguments.agent.add_to(request);
    }
    request
}

impl AgentFlags {
    /// Only what was said: the nodes know best about the rest.
    pub(in crate::cli) fn add_to(&self, request: &mut Map<String, Value>) {
        let switches = [
            ("debug", self.debug, false),
            ("trace", self.trace, false),
            ("evaltrace", self.evaltrace, false),
            ("use_cached_catalog", self.use_cached_catalog, self.no_use_cached_catalog),
            ("usecacheonfailure", self.usecacheonfailure, self.no_usecacheonfailure),
        ];
        for (name, on, off) in switches {
            if on || off {
                request.insert(name.to_owned(), json!(on));
            }
        }
        let texts = [("tags", &self.tags), ("skip_tags", &self.skip_tags), ("ordering", &self.ordering)];
        for (name, value) in texts {
            request.extend(value.iter().map(|value| (name.to_owned(), json!(value))));
        }
        let numbers = [
            ("filetimeout", self.filetimeout),
            ("http_connect_timeout", self.http_connect_timeout),
            ("http_keepalive_timeout", self.http_keepalive_timeout),
            ("http_read_timeout", self.http_read_timeout),
        ];
        for (name, value) in numbers {
            request.extend(value.map(|value| (name.to_owned(), json!(value))));
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::testing::settings_for;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        let words = std::iter::once("run").chain(line.split_whitespace());
        Line::try_parse_from(words).map(|line| line.arguments)
    }

    fn request_of(line: &str, settings: &ClientSettings) -> Value {
        let arguments = parse(line).unwrap();
        let mut common = json!({});
        arguments.common.add_to(&mut common, &mut Input::default()).unwrap();
        request(&arguments, settings, json!({"nodes": ["a"]}), common)
    }

    #[test]
    fn every_option_has_its_key() {
        let line = "-n a -e qa --no-noop --concurrency 10 --description d --userdata {\"ticket\":\"C1\"} --timeout 60 \
                    --debug --trace --evaltrace --tags a,b --skip_tags c --ordering manifest --filetimeout 1 \
                    --http-connect-timeout 2 --http_keepalive_timeout 3 --http-read-timeout 4 --use-cached-catalog \
                    --no-usecacheonfailure";
        let expected = json!({
            "environment": "qa", "scope": {"nodes": ["a"]}, "no_noop": true, "concurrency": 10, "description": "d",
            "userdata": {"ticket": "C1"}, "timeout": 60, "debug": true, "trace": true, "evaltrace": true, "tags": "a,b",
            "skip_tags": "c", "ordering": "manifest", "filetimeout": 1, "http_connect_timeout": 2,
            "http_keepalive_timeout": 3, "http_read_timeout": 4, "use_cached_catalog": true, "usecacheonfailure": false,
        });
        assert_eq!(request_of(line, &settings_for(None, false)), expected);
    }

    #[test]
    fn the_environment_is_enforced_if_there_is_one() {
        let scope = json!({"nodes": ["a"]});
        let own = json!({"environment": "", "enforce_environment": false, "scope": scope});
        assert_eq!(request_of("-n a", &settings_for(None, false)), own);
        let enforced = json!({"environment": "production", "scope": scope, "noop": true});
        assert_eq!(request_of("-n a", &settings_for(Some("production"), true)), enforced);
        let free = json!({"environment": "qa", "enforce_environment": false, "scope": scope});
        assert_eq!(request_of("-n a --env qa --no-enforce-environment", &settings_for(None, false)), free);
    }

    #[test]
    fn wrong_usage() {
        for line in ["", "-n a -q b", "-n a --concurrency 0", "-n a --filetimeout -1", "-n a b", "-n a --timeout 0"] {
            assert_eq!(parse(line).map(|_| ()).unwrap_err().exit_code(), 2, "{line}");
        }
        // The last of two that exclude each other counts.
        assert_eq!(request_of("-n a --noop --no-noop", &settings_for(None, true))["no_noop"], true);
        assert_eq!(request_of("-n a --no-noop --noop", &settings_for(None, false))["noop"], true);
    }
}
