//! Settings of the services that the orchestrator asks: Puppet Server for code, PuppetDB for nodes and reports, a node
//! classifier. They see this server's own certificate.

use std::time::Duration;

use super::duration::Bare;
use super::reader::Reader;
use super::settings::{CodeSource, ServiceSettings};
use super::uri::https_uri;
use crate::limits::{SERVICE_CONNECT_TIMEOUT, SERVICE_REQUEST_TIMEOUT};

const CODE_SOURCE: &str = "orchestrator.code-source";
const PUPPET_SERVER_URL: &str = "orchestrator.puppet-server-url";
const PUPPETDB_URL: &str = "orchestrator.puppetdb-url";

const CLASSIFIER_URL: &str = "orchestrator.classifier-url";

/// What they are.
#[derive(Debug, PartialEq, Eq)]
pub struct Services {
    /// Where code comes from.
    pub code_source: CodeSource,
    /// PuppetDB, if there is one.
    pub puppetdb: Option<ServiceSettings>,
    /// The classifier, if it is elsewhere.
    pub classifier: Option<ServiceSettings>,
}

/// Reads them.
pub fn services(reader: &mut Reader<'_>) -> Services {
    let times = Duration::from_millis(100)..=Duration::from_secs(600);
    let connect = reader.duration("orchestrator.service-connect-timeout", Bare::Seconds, times.clone());
    let request = reader.duration("orchestrator.service-timeout", Bare::Seconds, times);
    let service = |reader: &mut Reader<'_>, key, default_port| {
        let url = reader.text(key)?;
        let (host, port) = https_uri(reader, key, &url, default_port)?;
        let connect_timeout = connect.unwrap_or(SERVICE_CONNECT_TIMEOUT);
        let request_timeout = request.unwrap_or(SERVICE_REQUEST_TIMEOUT);
        Some(ServiceSettings { host, port, connect_timeout, request_timeout })
    };
    let puppet_server = service(reader, PUPPET_SERVER_URL, 8140);
    let puppetdb = service(reader, PUPPETDB_URL, 8081);
    let classifier = service(reader, CLASSIFIER_URL, 4433);
    Services { code_source: code_source(reader, puppet_server), puppetdb, classifier }
}

fn code_source(reader: &mut Reader<'_>, puppet_server: Option<ServiceSettings>) -> CodeSource {
    match reader.text(CODE_SOURCE).as_deref() {
        None | Some("directory") => {
            if puppet_server.is_some() {
                reader.warn(PUPPET_SERVER_URL, format!("has no effect unless {CODE_SOURCE} is puppet-server"));
            }
            return CodeSource::Directory;
        }
        Some("puppet-server") => {
            if let Some(server) = puppet_server {
                return CodeSource::PuppetServer(server);
            }
            if !reader.has(PUPPET_SERVER_URL) {
                let message = "value must be defined; give https://<server>:8140, where tasks are to come from";
                reader.fail(PUPPET_SERVER_URL, message);
            }
        }
        Some(other) => {
            let shown = other.escape_debug();
            reader.fail(CODE_SOURCE, format!("\"{shown}\" is no source; give directory or puppet-server"));
        }
    }
    CodeSource::Directory
}

#[cfg(test)]
mod tests {
    use super::super::hocon;
    use super::*;

    fn read(text: &str) -> (Services, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.conf"), text).unwrap();
        let tree = hocon::load(dir.path(), &mut Vec::new()).unwrap();
        let mut reader = Reader::new(&tree);
        let found = services(&mut reader);
        let (problems, warnings) = reader.finish(&[]);
        let said = problems.iter().chain(&warnings).map(|problem| format!("{}: {}", problem.key, problem.message));
        (found, said.collect())
    }

    fn none() -> Services {
        Services { code_source: CodeSource::Directory, puppetdb: None, classifier: None }
    }

    fn at(host: &str, port: u16, connect: u64, request: u64) -> ServiceSettings {
        let (connect_timeout, request_timeout) = (Duration::from_secs(connect), Duration::from_secs(request));
        ServiceSettings { host: host.to_owned(), port, connect_timeout, request_timeout }
    }

    #[test]
    fn services_have_ports_and_times() {
        let text = "orchestrator { code-source: puppet-server, puppet-server-url: \"https://p.example.com\" }";
        let code_source = CodeSource::PuppetServer(at("p.example.com", 8140, 5, 20));
        assert_eq!(read(text), (Services { code_source, ..none() }, vec![]));
        let text = "orchestrator { puppetdb-url: \"https://[::1]:81\", classifier-url: \"https://c\", \
                    service-connect-timeout: 2, service-timeout: 1m }";
        let (puppetdb, classifier) = (Some(at("::1", 81, 2, 60)), Some(at("c", 4433, 2, 60)));
        assert_eq!(read(text), (Services { puppetdb, classifier, ..none() }, vec![]));
        assert_eq!(read("orchestrator {}"), (none(), vec![]));
    }

    #[test]
    fn mistakes_are_told_with_their_key() {
        let said = |text: &str| read(&format!("orchestrator {{ {text} }}")).1;
        assert_eq!(
            said("code-source: puppet-server"),
            ["orchestrator.puppet-server-url: value must be defined; give https://<server>:8140, where tasks are to \
              come from"]
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
        assert_eq!(
            said("puppetdb-url: \"https://p/pdb\", service-timeout: 0"),
            [
                "orchestrator.service-timeout: 0ms is out of range; give 100ms to 10m",
                "orchestrator.puppetdb-url: value \"https://p/pdb\" has a path; give https://<server>:8081"
            ]
        );
    }
}
