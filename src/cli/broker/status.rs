//! `podium broker status`: asks a running broker how it is, over its own port, and says so in a few lines.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::cli::client_settings::Endpoint;
use crate::cli::output::{EXIT_FAILED, Failure, Format, Output, duration, text};
use crate::config::load_broker;
use crate::config::settings::{BrokerNodeSettings, BrokerSettings, CertificatePaths};
use crate::https::{Client, Method, Request};
use crate::limits::{CLIENT_CONNECT_TIMEOUT, CLIENT_REQUEST_TIMEOUT, PAGE_BYTES_MAX};
use crate::tls::identity::peer_name;
use crate::tls::material::{Material, anonymous_client_config};

/// Port of a broker whose URL has none.
const PORT: u16 = 8142;

/// Below the path of the status service.
const SERVICE: &str = "/v1/services/broker-service";

/// That path, of a broker whose configuration we do not have.
const STATUS: &str = "/status";

/// Arguments of the subcommand.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The broker; that of the configuration if left out
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Our certificate; with --key and --ca, no configuration is read
    #[arg(long, value_name = "FILE", requires = "key", requires = "ca")]
    cert: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// CA certificates that the broker's must come from; alone, no certificate is shown (client-auth: want)
    #[arg(long, value_name = "FILE", requires = "url")]
    ca: Option<PathBuf>,
    /// Directory with the broker's configuration files
    #[arg(long, default_value = super::CONFIG, value_name = "DIR")]
    config: PathBuf,
    /// How to print
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

/// Asks and prints; the exit code says whether the broker is running.
pub(super) fn run(arguments: &Arguments, output: &mut Output) -> Result<u8, Failure> {
    let (mut client, endpoint) = connection(arguments)?;
    let status = ask(&mut client, &endpoint)?;
    match arguments.format {
        Format::Json => output.json(&status),
        Format::Text => output.line(render(&status)),
    }
    Ok(if text(&status, "state") == "running" { 0 } else { EXIT_FAILED })
}

fn connection(arguments: &Arguments) -> Result<(Client, Endpoint), Failure> {
    let url = arguments.url.as_deref().map(|url| Endpoint::parse(url, PORT)).transpose()?;
    let usage = |error: &dyn std::fmt::Display| Failure::Usage(error.to_string());
    let (tls, endpoint) = match (&arguments.ca, url) {
        (Some(ca), Some(url)) => {
            let tls = match (&arguments.cert, &arguments.key) {
                (Some(certificate), Some(key)) => {
                    let paths = CertificatePaths {
                        certificate: certificate.clone(),
                        key: key.clone(),
                        ca: ca.clone(),
                        crl: None,
                    };
                    Material::load(&paths).and_then(|material| material.client_config())
                }
                _ => anonymous_client_config(ca),
            };
            (tls.map_err(|error| usage(&error))?, below_status(url))
        }
        (_, url) => {
            let settings = of_configuration(&arguments.config)?;
            let material = Material::load(&settings.certificates).map_err(|error| usage(&error))?;
            let own = peer_name(material.certificate()).map_err(|error| usage(&error.label()))?.common_name;
            let BrokerSettings { listen, mounts, .. } = settings.broker;
            let of_ours = || Endpoint { host: own.into(), port: listen.port(), path: mounts.status };
            let endpoint = url.map_or_else(of_ours, below_status);
            (material.client_config().map_err(|error| usage(&error))?, endpoint)
        }
    };
    let client = Client::new(tls, CLIENT_CONNECT_TIMEOUT, CLIENT_REQUEST_TIMEOUT).map_err(Failure::Unreachable)?;
    Ok((client, endpoint))
}

fn below_status(url: Endpoint) -> Endpoint {
    Endpoint { path: format!("{}{STATUS}", url.path), ..url }
}

/// The broker's own certificate is one of those that it lets in.
fn of_configuration(directory: &Path) -> Result<BrokerNodeSettings, Failure> {
    let loaded = load_broker(directory).map_err(|problems| {
        Failure::Usage(format!(
            "{problems}\ngive the broker's directory with --config, or --url, --cert, --key and --ca"
        ))
    })?;
    Ok(loaded.settings)
}

fn ask(client: &mut Client, endpoint: &Endpoint) -> Result<Value, Failure> {
    let path = format!("{}{SERVICE}?level=info", endpoint.path);
    let request = Request {
        method: Method::GET,
        host: &endpoint.host,
        port: endpoint.port,
        path_and_query: &path,
        headers: &[("Accept", "application/json")],
        body: Vec::new(),
    };
    let response = client.request(&request, PAGE_BYTES_MAX).map_err(Failure::Unreachable)?;
    let code = response.status.as_u16();
    match serde_json::from_slice::<Value>(&response.body) {
        // A broker that is not well says so with 503.
        Ok(body) if body["state"].is_string() => Ok(body),
        Ok(body) => Err(Failure::Refused {
            status: code,
            kind: text(&body, "kind").to_owned(),
            message: text(&body, "msg").to_owned(),
        }),
        Err(_) => {
            let said: String = String::from_utf8_lossy(&response.body).chars().take(200).collect();
            let message = format!(
                "{}:{} answered status {code} and no status page, but: {}; check that it is the port of a broker",
                endpoint.host,
                endpoint.port,
                said.trim()
            );
            Err(Failure::Other(message))
        }
    }
}

fn render(status: &Value) -> String {
    let details = &status["status"];
    let number = |name: &str| details[name].as_u64().unwrap_or(0);
    let rate = |timer: &str| {
        let rates = &details["metrics"][timer]["rates"];
        let (minute, total) = (rates["1"].as_f64().unwrap_or(0.0), rates["total"].as_u64().unwrap_or(0));
        format!("{minute:.1}/s in the last minute, {total} in all")
    };
    let rows = [
        ("state", text(status, "state").to_owned()),
        ("version", text(status, "service_version").to_owned()),
        ("uptime", duration(number("uptime_seconds"))),
        (
            "connections",
            format!(
                "{} of {}, {} in handshake",
                number("connections"),
                number("connections_max"),
                number("handshakes_in_flight")
            ),
        ),
        ("connects", rate("puppetlabs.pcp.on-connect")),
        ("received", rate("puppetlabs.pcp.on-message")),
        ("sent", rate("puppetlabs.pcp.on-send")),
        (
            "waiting",
            format!(
                "{} to send, {} of unfinished messages",
                bytes(number("queued_bytes")),
                bytes(number("partial_bytes"))
            ),
        ),
        ("memory", bytes(number("resident_bytes"))),
    ];
    let lines: Vec<String> = rows.iter().map(|(name, value)| format!("{name:<12} {value}")).collect();
    lines.join("\n")
}

/// `84.2 MiB`.
fn bytes(number: u64) -> String {
    const UNITS: [&str; 3] = ["KiB", "MiB", "GiB"];
    if number < 1024 {
        return format!("{number} bytes");
    }
    let mut value = number as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::testing::Page;
    use crate::https::testing::{Reply, Server};
    use crate::tls::testing::Pki;

    fn arguments(pki: &Pki, port: u16, format: Format) -> Arguments {
        let paths = pki.paths(&pki.issue("operator.example"));
        Arguments {
            url: Some(format!("https://localhost:{port}")),
            cert: Some(paths.certificate),
            key: Some(paths.key),
            ca: Some(paths.ca),
            config: PathBuf::from("nowhere"),
            format,
        }
    }

    fn asked(answer: &'static str, code: u16, format: Format) -> (Result<u8, String>, String) {
        let pki = Pki::new("ca");
        let server = Server::start(&pki, move |received| {
            assert_eq!(received.path, "/status/v1/services/broker-service?level=info");
            Reply { status: code, ..Reply::ok(answer) }
        });
        let page = Page::default();
        let outcome = run(&arguments(&pki, server.port(), format), &mut page.output());
        (outcome.map_err(|failure| failure.to_string()), page.text())
    }

    const RUNNING: &str = r#"{"service_version":"0.1.0","state":"running","status":{"connections":312,
        "connections_max":100000,"handshakes_in_flight":2,"queued_bytes":70000,"partial_bytes":0,
        "resident_bytes":88300000,"uptime_seconds":3605,
        "metrics":{"puppetlabs.pcp.on-message":{"rates":{"1":12.34,"5":1,"15":1,"total":10204}}}}}"#;

    #[test]
    fn a_few_lines_say_how_it_is() {
        let (code, shown) = asked(RUNNING, 200, Format::Text);
        assert_eq!(code, Ok(0));
        let expected = "\
state        running
version      0.1.0
uptime       1 h, 0 min, 5 sec
connections  312 of 100000, 2 in handshake
connects     0.0/s in the last minute, 0 in all
received     12.3/s in the last minute, 10204 in all
sent         0.0/s in the last minute, 0 in all
waiting      68.4 KiB to send, 0 bytes of unfinished messages
memory       84.2 MiB
";
        assert_eq!(shown, expected);
    }

    #[test]
    fn the_exit_code_is_the_state() {
        let (code, shown) = asked(r#"{"state":"error","status":{}}"#, 503, Format::Json);
        assert_eq!((code, serde_json::from_str(&shown).unwrap()), (Ok(1), json!({"state": "error", "status": {}})));
    }

    #[test]
    fn every_other_answer_is_told() {
        let (code, _) = asked(r#"{"kind":"service-not-found","msg":"No status"}"#, 404, Format::Text);
        assert_eq!(code, Err("No status (service-not-found, status 404)".to_owned()));
        let (code, _) = asked("This is a WebSocket endpoint.\n", 426, Format::Text);
        let message = code.unwrap_err();
        assert!(message.contains("answered status 426 and no status page, but: This is a WebSocket"), "{message}");
    }

    #[test]
    fn whatever_is_in_the_way_is_told() {
        let pki = Pki::new("ca");
        let mut arguments = arguments(&pki, 1, Format::Text);
        let outcome = |arguments: &Arguments| run(arguments, &mut Page::default().output()).unwrap_err();
        assert!(matches!(outcome(&arguments), Failure::Unreachable(_)));
        arguments.url = Some("ftp://x".to_owned());
        assert!(matches!(outcome(&arguments), Failure::Usage(_)));
        arguments.url = Some("https://localhost:1".to_owned());
        arguments.key = Some(PathBuf::from("missing.pem"));
        assert!(outcome(&arguments).to_string().contains("missing.pem: cannot be read"));
        arguments.ca = None;
        let message = outcome(&arguments).to_string();
        assert!(message.contains("nowhere") && message.contains("--config"), "{message}");
    }
}
