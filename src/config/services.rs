//! Settings of the services that the orchestrator asks: Puppet Server for code, PuppetDB for nodes and reports. They see
//! this server's own certificate.

use std::time::Duration;

use super::duration::Bare;
use super::reader::Reader;
use super::settings::{CodeSource, ServiceSettings};
use super::uri::https_uri;
use crate::limits::{SERVICE_CONNECT_TIMEOUT, SERVICE_REQUEST_TIMEOUT};

const CODE_SOURCE: &str = "orchestrator.code-source";
const PUPPET_SERVER_URL: &str = "orchestrator.puppet-server-url";
const PUPPETDB_URL: &str = "orchestrator.puppetdb-url";

/// `orchestrator.code-source`, with `orchestrator.puppet-server-url`.
pub fn code_source(reader: &mut Reader<'_>) -> CodeSource {
    let server = service(reader, PUPPET_SERVER_URL, 8140);
    match reader.text(CODE_SOURCE).as_deref() {
        None | Some("directory") => {
            if server.is_some() {
                reader.warn(PUPPET_SERVER_URL, format!("has no effect unless {CODE_SOURCE} is puppet-server"));
            }
            CodeSource::Directory
        }
        Some("puppet-server") => match server {
            Some(server) => CodeSource::PuppetServer(server),
            None => {
                if !reader.has(PUPPET_SERVER_URL) {
                    let message = "value must be defined; give https://<server>:8140, where tasks are to come from";
                    reader.fail(PUPPET_SERVER_URL, message);
                }
                CodeSource::Directory
            }
        },
        Some(other) => {
            let shown = other.escape_debug();
            reader.fail(CODE_SOURCE, format!("\"{shown}\" is no source; give directory or puppet-server"));
            CodeSource::Directory
        }
    }
}

/// `orchestrator.puppetdb-url`.
pub fn puppetdb(reader: &mut Reader<'_>) -> Option<ServiceSettings> {
    service(reader, PUPPETDB_URL, 8081)
}

fn service(reader: &mut Reader<'_>, key: &str, default_port: u16) -> Option<ServiceSettings> {
    let times = Duration::from_millis(100)..=Duration::from_secs(600);
    let connect = reader.duration("orchestrator.service-connect-timeout", Bare::Seconds, times.clone());
    let request = reader.duration("orchestrator.service-timeout", Bare::Seconds, times);
    let url = reader.text(key)?;
    let (host, port) = https_uri(reader, key, &url, default_port)?;
    Some(ServiceSettings {
        host,
        port,
        connect_timeout: connect.unwrap_or(SERVICE_CONNECT_TIMEOUT),
        request_timeout: request.unwrap_or(SERVICE_REQUEST_TIMEOUT),
    })
}

#[cfg(test)]
mod tests {
    use super::super::hocon;
    use super::*;

    fn read<T>(text: &str, get: impl FnOnce(&mut Reader<'_>) -> T) -> (T, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.conf"), text).unwrap();
        let tree = hocon::load(dir.path(), &mut Vec::new()).unwrap();
        let mut reader = Reader::new(&tree);
        let found = get(&mut reader);
        let (problems, warnings) = reader.finish(&[]);
        let said = problems.iter().chain(&warnings).map(|problem| format!("{}: {}", problem.key, problem.message));
        (found, said.collect())
    }

    fn at(host: &str, port: u16, connect: u64, request: u64) -> ServiceSettings {
        let (connect_timeout, request_timeout) = (Duration::from_secs(connect), Duration::from_secs(request));
        ServiceSettings { host: host.to_owned(), port, connect_timeout, request_timeout }
    }

    #[test]
    fn services_have_ports_and_times() {
        let text = "orchestrator { code-source: puppet-server, puppet-server-url: \"https://p.example.com\" }";
        let (source, said) = read(text, code_source);
        assert_eq!((source, said), (CodeSource::PuppetServer(at("p.example.com", 8140, 5, 20)), vec![]));
        let text =
            "orchestrator { puppetdb-url: \"https://[::1]:81\", service-connect-timeout: 2, service-timeout: 1m }";
        assert_eq!(read(text, puppetdb), (Some(at("::1", 81, 2, 60)), vec![]));
        assert_eq!(read("orchestrator {}", code_source), (CodeSource::Directory, vec![]));
        assert_eq!(read("orchestrator {}", puppetdb), (None, vec![]));
    }

    #[test]
    fn mistakes_are_told_with_their_key() {
        let said = |text: &str| read(&format!("orchestrator {{ {text} }}"), code_source).1;
        assert_eq!(
            said("code-source: puppet-server"),
            [
                "orchestrator.puppet-server-url: value must be defined; give https://<server>:8140, where tasks are to come from"
            ]
        );
        assert_eq!(
            said("code-source: git"),
            ["orchestrator.code-source: \"git\" is no source; give directory or puppet-server"]
        );
        assert_eq!(
            said("puppet-server-url: p"),
            ["orchestrator.puppet-server-url: has no effect unless orchestrator.code-source is puppet-server"]
        );
        assert_eq!(
            said("code-source: puppet-server, puppet-server-url: \"http://p:8140\""),
            ["orchestrator.puppet-server-url: value \"http://p:8140\" must start with https://"]
        );
        let (_, said) = read("orchestrator { puppetdb-url: \"https://p/pdb\", service-timeout: 0 }", puppetdb);
        assert_eq!(
            said,
            [
                "orchestrator.service-timeout: 0s is out of range; give 100ms to 10m",
                "orchestrator.puppetdb-url: value \"https://p/pdb\" has a path; give https://<server>:8081"
            ]
        );
    }
}
