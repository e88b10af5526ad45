//! The section `web-router-service` of trapperkeeper's web routing service: below which paths the services of the broker's
//! listener are, and which listener that is. A route is a path, or a map of `route` and `server`.

use super::reader::Reader;
use super::settings::MountSettings;

const BROKER: &str = "web-router-service.puppetlabs.pcp.broker.service/broker-service";
/// The files that pcp-broker ships use the first name, Puppet Server's the second.
const STATUS: [&str; 2] = [
    "web-router-service.puppetlabs.trapperkeeper.services.status.status-service/status-service",
    "web-router-service.puppetlabs.trapperkeeper.services.status.status-service/status-webservice",
];
const METRICS: &str = "web-router-service.puppetlabs.trapperkeeper.services.metrics.metrics-service/metrics-webservice";

/// Reads the section: the paths, and the server of `webserver` that the broker's routes name. A broker service without a route for one of the protocols does not speak it.
pub fn mounts(reader: &mut Reader<'_>) -> (MountSettings, Option<String>) {
    let MountSettings { v1, v2, status, metrics } = MountSettings::default();
    let (v1_key, v2_key) = (format!("{BROKER}.v1"), format!("{BROKER}.v2"));
    let (v1, v2) = if reader.has_section(BROKER) {
        if !reader.has(&v1_key) && !reader.has(&v2_key) {
            reader.fail(BROKER, "names no path for agents; give v1, v2 or both, for instance \"/pcp\" and \"/pcp2\"");
        }
        (route(reader, &v1_key), route(reader, &v2_key))
    } else if reader.has(BROKER) {
        (route(reader, BROKER), None)
    } else {
        (v1, v2)
    };
    let status_key = STATUS[usize::from(!reader.has(STATUS[0]) && reader.has(STATUS[1]))];
    let status = route(reader, status_key).unwrap_or(status);
    let metrics = route(reader, METRICS).unwrap_or(metrics);
    let mounts = MountSettings { v1, v2, status, metrics };
    refuse_overlaps(reader, &mounts, [&v1_key, &v2_key, status_key, METRICS]);
    (mounts, server(reader))
}

/// For files with several servers.
fn server(reader: &mut Reader<'_>) -> Option<String> {
    for key in STATUS.iter().chain([&METRICS]) {
        // Known, and of no use: the broker's listener has them all.
        reader.has(&format!("{key}.server"));
    }
    let keys = [BROKER.to_owned(), format!("{BROKER}.v1"), format!("{BROKER}.v2")];
    let named = keys.map(|key| format!("{key}.server"));
    // All are known, also where only one is used.
    let servers = named.map(|key| reader.text(&key).map(|server| (key, server)));
    let mut servers = servers.into_iter().flatten();
    let (first_key, first) = servers.next()?;
    for (key, server) in servers {
        if server != first {
            reader
                .fail(&key, format!("\"{server}\" is not the \"{first}\" of {first_key}; the broker has one listener"));
        }
    }
    Some(first)
}

/// The path of a route.
fn route(reader: &mut Reader<'_>, key: &str) -> Option<String> {
    if !reader.has_section(key) {
        return path(reader, key);
    }
    let route = format!("{key}.route");
    if !reader.has(&route) {
        reader.fail(&route, "value must be defined; give a path that starts with /");
    }
    path(reader, &route)
}

fn path(reader: &mut Reader<'_>, key: &str) -> Option<String> {
    let text = reader.text(key)?;
    let whole = text.strip_suffix('/').unwrap_or(&text);
    let fault = if !text.starts_with('/') {
        "must start with /"
    } else if whole.is_empty() {
        "would take every path; give one with a name, such as /pcp2"
    } else if whole.contains("//") || whole.ends_with('/') {
        "has an empty part; write one / between names"
    } else if !whole.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_.~%".contains(&byte)) {
        "may hold letters, digits and / - _ . ~ %"
    } else {
        return Some(whole.to_owned());
    };
    reader.fail(key, format!("\"{text}\" {fault}"));
    None
}

fn refuse_overlaps(reader: &mut Reader<'_>, mounts: &MountSettings, keys: [&str; 4]) {
    let paths = [mounts.v1.as_deref(), mounts.v2.as_deref(), Some(&*mounts.status), Some(&*mounts.metrics)];
    let named: Vec<(&str, &str)> = keys.into_iter().zip(paths).filter_map(|(key, path)| Some((key, path?))).collect();
    for (index, &(key, path)) in named.iter().enumerate() {
        for &(other_key, other) in &named[..index] {
            if is_below(path, other) || is_below(other, path) {
                let message = format!(
                    "\"{path}\" overlaps \"{other}\" of {other_key}; give paths of which none is below another"
                );
                reader.fail(key, message);
            }
        }
    }
}

/// Whether a path is a mount or below it. `/pcp2` is not below `/pcp`.
fn is_below(path: &str, mount: &str) -> bool {
    path.strip_prefix(mount).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::super::{hocon, problem::Problem};
    use super::*;

    fn read(text: &str) -> (MountSettings, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("web-routes.conf"), format!("web-router-service: {{ {text} }}")).unwrap();
        let mut problems = Vec::new();
        let tree = hocon::load(dir.path(), &mut problems).unwrap();
        let mut reader = Reader::new(&tree);
        let (mounts, _) = mounts(&mut reader);
        let (problems, warnings) = reader.finish(&[]);
        assert_eq!(warnings, []);
        let line = |problem: &Problem| {
            assert!(problem.file.ends_with("web-routes.conf"), "{problem}");
            format!("{}: {}", problem.key.rsplit('/').next().unwrap(), problem.message)
        };
        (mounts, problems.iter().map(line).collect())
    }

    fn right(text: &str) -> MountSettings {
        let (mounts, problems) = read(text);
        assert_eq!(problems, Vec::<String>::new(), "{text}");
        mounts
    }

    fn settings(v1: Option<&str>, v2: Option<&str>, status: &str) -> MountSettings {
        let text = |text: &str| text.to_owned();
        MountSettings { v1: v1.map(text), v2: v2.map(text), status: text(status), metrics: text("/metrics") }
    }

    #[test]
    fn routes_in_all_their_forms() {
        let broker = "\"puppetlabs.pcp.broker.service/broker-service\"";
        let status = "\"puppetlabs.trapperkeeper.services.status.status-service/status-webservice\"";
        assert_eq!(right(""), settings(Some("/pcp"), Some("/pcp2"), "/status"));
        let shipped = format!("{broker}: {{ v1: \"/pcp\", v2: \"/pcp2\" }}, {status}: \"/status\"");
        assert_eq!(right(&shipped), MountSettings::default());
        assert_eq!(right(&format!("{broker}: {{ v1: \"/pcp/\" }}")), settings(Some("/pcp"), None, "/status"));
        assert_eq!(right(&format!("{broker}: \"/pcp\"")), settings(Some("/pcp"), None, "/status"));
        let maps = format!(
            "{broker}: {{ v2: {{ route: \"/a/b\", server: x }} }}, {status}: {{ route: \"/s\", server: \"y\" }}"
        );
        assert_eq!(right(&maps), settings(None, Some("/a/b"), "/s"));
        let metrics = "\"puppetlabs.trapperkeeper.services.metrics.metrics-service/metrics-webservice\": \"/m\"";
        assert_eq!(right(metrics).metrics, "/m");
    }

    #[test]
    fn every_mistake_has_its_words() {
        let broker = |inner: &str| read(&format!("\"puppetlabs.pcp.broker.service/broker-service\": {inner}")).1;
        for (inner, expected) in [
            ("{ v1: pcp }", "broker-service.v1: \"pcp\" must start with /"),
            ("{ v1: \"/\" }", "broker-service.v1: \"/\" would take every path; give one with a name, such as /pcp2"),
            ("{ v1: \"/a//b\" }", "broker-service.v1: \"/a//b\" has an empty part; write one / between names"),
            ("{ v1: \"/a//\" }", "broker-service.v1: \"/a//\" has an empty part; write one / between names"),
            ("{ v1: \"/a?b\" }", "broker-service.v1: \"/a?b\" may hold letters, digits and / - _ . ~ %"),
            ("{ v1: [1] }", "broker-service.v1: must be a string, found an array"),
            ("{ v1: { server: x } }", "broker-service.v1.route: value must be defined; give a path that starts with /"),
            (
                "{}",
                "broker-service: names no path for agents; give v1, v2 or both, for instance \"/pcp\" and \"/pcp2\"",
            ),
        ] {
            assert_eq!(broker(inner), [expected]);
        }
        let overlap = broker("{ v1: \"/pcp\", v2: \"/pcp/v2/\" }");
        assert_eq!(overlap.len(), 1);
        assert!(overlap[0].starts_with("broker-service.v2: \"/pcp/v2\" overlaps \"/pcp\" of "), "{overlap:?}");
        assert_eq!(broker("{ v1: \"/pcp\", v2: \"/pcp\" }").len(), 1);
        assert_eq!(broker("{ v1: \"/status/a\", v2: \"/metrics\" }").len(), 2);
        assert_eq!(broker("{ v1: \"/pcp\", v3: \"/pcp3\" }").len(), 1, "an unknown key");
    }
}
