//! Where the operator's client finds the server, its CA and the token: flags, then environment variables, then the
//! user's and the host's files of Puppet Enterprise's client tools.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::output::Failure;

/// Puppet's CA certificate on every node.
const CA_DEFAULT: &str = "/etc/puppetlabs/puppet/ssl/certs/ca.pem";

/// Directory of the host's client configuration.
const GLOBAL_DIRECTORY: &str = "/etc/puppetlabs/client-tools";

/// Port of the orchestrator API.
const PORT_ORCHESTRATOR: u16 = 8143;

/// Port of Puppet Enterprise's RBAC service, for a `puppet-access.conf` that leaves it out.
const PORT_RBAC: u16 = 4433;

/// Flags of all commands that talk to a server.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Connection")]
pub struct ConnectionFlags {
    /// The server.
    #[arg(
        long,
        value_name = "URL",
        help = "The server, such as https://orch.example.com:8143 (also PODIUM_SERVICE_URL)"
    )]
    pub service_url: Option<String>,
    /// File with the CA certificates that the server's certificate must come from (also PODIUM_CA_CERT)
    #[arg(long, value_name = "FILE")]
    pub ca_cert: Option<PathBuf>,
    /// File with the token (also PODIUM_TOKEN_FILE)
    #[arg(short, long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

impl ConnectionFlags {
    /// As arguments of another command.
    pub(super) fn as_arguments(&self) -> Vec<OsString> {
        let url = self.service_url.as_ref().map(OsString::from);
        let [ca, token] = [&self.ca_cert, &self.token_file].map(|path| path.as_ref().map(OsString::from));
        let given = [("--service-url", url), ("--ca-cert", ca), ("--token-file", token)];
        given.into_iter().filter_map(|(flag, value)| Some([flag.into(), value?])).flatten().collect()
    }
}

/// What the process was given by its environment.
pub struct Surroundings {
    /// The user's home directory.
    pub home: Option<PathBuf>,
    /// The directory of the host's files.
    pub global_directory: PathBuf,
    /// Looks up an environment variable.
    pub variable: fn(&str) -> Option<OsString>,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process() -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        Self { home: set("HOME").map(PathBuf::from), global_directory: PathBuf::from(GLOBAL_DIRECTORY), variable: set }
    }
}

/// Host, port and path below which the API is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Name or address; what the server's certificate must be valid for.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Without a slash at the end; often empty.
    pub path: String,
}

/// Everything that is needed to talk to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSettings {
    /// The orchestrator.
    pub orchestrator: Endpoint,
    /// The RBAC service, path included.
    pub rbac: Endpoint,
    /// CA certificates.
    pub ca: PathBuf,
    /// Where the token is.
    pub token_file: PathBuf,
    /// The environment if a command does not say.
    pub environment: Option<String>,
    /// Whether jobs run in noop mode if a command does not say.
    pub noop: bool,
    /// Whether to colour on a terminal, if the files say.
    pub color: Option<bool>,
}

impl ClientSettings {
    /// Reads whatever there is, the most specific first.
    pub fn resolve(flags: &ConnectionFlags, around: &Surroundings) -> Result<Self, Failure> {
        let orchestrator = Options::load(around, "orchestrator.conf", Some("options"))?;
        let access = Options::load(around, "puppet-access.conf", None)?;
        let given = |flag: Option<String>, variable: &str| match flag {
            Some(value) => Ok(Some(value)),
            None => (around.variable)(variable).map(|value| utf8(variable, value)).transpose(),
        };
        let path = |flag: &Option<PathBuf>, variable: &str| {
            flag.clone().or_else(|| (around.variable)(variable).map(PathBuf::from))
        };
        let url = given(flags.service_url.clone(), "PODIUM_SERVICE_URL")?;
        let main_url = url.clone().or_else(|| orchestrator.text("service-url"));
        let Some(main_url) = main_url else { return Err(no_service_url(around)) };
        let endpoint = Endpoint::parse(&main_url, PORT_ORCHESTRATOR)?;
        let rbac = match access.text("service-url").filter(|_| url.is_none()) {
            Some(own) => Endpoint::parse(&own, PORT_RBAC)?,
            None => endpoint.clone(),
        };
        let file = |key: &str, options: &Options| options.text(key).map(|text| expand(&text, around));
        let token_file = path(&flags.token_file, "PODIUM_TOKEN_FILE")
            .or_else(|| file("token-file", &orchestrator))
            .or_else(|| file("token-file", &access));
        Ok(Self {
            orchestrator: endpoint,
            rbac: rbac.below_rbac_api(),
            ca: path(&flags.ca_cert, "PODIUM_CA_CERT")
                .or_else(|| file("cacert", &orchestrator))
                .or_else(|| file("certificate-file", &access))
                .unwrap_or_else(|| PathBuf::from(CA_DEFAULT)),
            token_file: token_file.map_or_else(|| default_token_file(around), Ok)?,
            environment: given(None, "PODIUM_ENVIRONMENT")?.or_else(|| orchestrator.text("environment")),
            noop: orchestrator.flag("noop").unwrap_or(false),
            color: orchestrator.flag("color"),
        })
    }

    /// Only the token's file, which needs no server.
    pub fn token_file(flag: Option<&Path>, around: &Surroundings) -> Result<PathBuf, Failure> {
        if let Some(path) = flag {
            return Ok(path.to_owned());
        }
        if let Some(path) = (around.variable)("PODIUM_TOKEN_FILE") {
            return Ok(PathBuf::from(path));
        }
        let orchestrator = Options::load(around, "orchestrator.conf", Some("options"))?;
        let access = Options::load(around, "puppet-access.conf", None)?;
        let configured = orchestrator.text("token-file").or_else(|| access.text("token-file"));
        configured.map_or_else(|| default_token_file(around), |text| Ok(expand(&text, around)))
    }
}

impl Endpoint {
    /// From `https://host:port/path`.
    pub fn parse(url: &str, port_default: u16) -> Result<Self, Failure> {
        let bad = |why: &str| Failure::Usage(format!("the service URL {url:?} {why}; it must be https://host:port"));
        let uri: hyper::Uri = url.parse().map_err(|_| bad("is not a URL"))?;
        if uri.scheme_str() != Some("https") {
            return Err(bad("does not begin with https://"));
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| bad("has no host"))?;
        if uri.query().is_some() || uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(bad("has more than host, port and path"));
        }
        let path = uri.path().trim_end_matches('/');
        let port = uri.port_u16().unwrap_or(port_default);
        Ok(Self { host: host.to_owned(), port, path: path.to_owned() })
    }

    fn below_rbac_api(mut self) -> Self {
        if !self.path.ends_with("/rbac-api") {
            self.path.push_str("/rbac-api");
        }
        self
    }
}

/// The options of one configuration file's two places, the user's over the host's.
struct Options(Map<String, Value>);

impl Options {
    fn load(around: &Surroundings, name: &str, below: Option<&str>) -> Result<Self, Failure> {
        let mut options = read(&around.global_directory.join(name), below)?;
        if let Some(home) = &around.home {
            options.extend(read(&home.join(".puppetlabs/client-tools").join(name), below)?);
        }
        Ok(Self(options))
    }

    fn flag(&self, key: &str) -> Option<bool> {
        self.0.get(key).and_then(Value::as_bool)
    }

    fn text(&self, key: &str) -> Option<String> {
        self.0.get(key).and_then(Value::as_str).map(str::to_owned)
    }
}

/// Keys whose type is checked, so that a mistake in a file is not mistaken for an absent key.
const STRING_KEYS: [&str; 5] = ["service-url", "cacert", "certificate-file", "token-file", "environment"];
const BOOLEAN_KEYS: [&str; 2] = ["noop", "color"];

fn read(path: &Path, below: Option<&str>) -> Result<Map<String, Value>, Failure> {
    let fail = |what: String| Failure::Usage(format!("{}: {what}", path.display()));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Map::new()),
        Err(error) => return Err(fail(format!("cannot be read: {error}"))),
    };
    let root: Value = serde_json::from_str(&text).map_err(|error| fail(format!("is not valid JSON: {error}")))?;
    let Value::Object(mut root) = root else { return Err(fail("must hold a JSON object".to_owned())) };
    let options = match below {
        None => root,
        Some(key) => match root.remove(key) {
            Some(Value::Object(options)) => options,
            Some(_) => return Err(fail(format!("the value of {key:?} must be an object"))),
            None => return Err(fail(format!("has no key {key:?}, which must hold the options"))),
        },
    };
    for (key, value) in &options {
        if STRING_KEYS.contains(&key.as_str()) && !value.is_string() {
            return Err(fail(format!("the value of {key:?} must be a string, not {value}")));
        }
        if BOOLEAN_KEYS.contains(&key.as_str()) && !value.is_boolean() {
            return Err(fail(format!("the value of {key:?} must be true or false, not {value}")));
        }
    }
    Ok(options)
}

fn expand(text: &str, around: &Surroundings) -> PathBuf {
    match (text.strip_prefix("~/"), &around.home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(text),
    }
}

fn default_token_file(around: &Surroundings) -> Result<PathBuf, Failure> {
    let home = around.home.as_ref();
    home.map(|home| home.join(".puppetlabs/token")).ok_or_else(|| {
        Failure::Usage("HOME is not set, so there is no place for the token: give --token-file".to_owned())
    })
}

fn no_service_url(around: &Surroundings) -> Failure {
    Failure::Usage(format!(
        "no service URL: give --service-url, set PODIUM_SERVICE_URL, or write \"service-url\" into \"options\" of \
         ~/.puppetlabs/client-tools/orchestrator.conf or {}",
        around.global_directory.join("orchestrator.conf").display()
    ))
}

fn utf8(variable: &str, value: OsString) -> Result<String, Failure> {
    value.into_string().map_err(|_| Failure::Usage(format!("the environment variable {variable} is not UTF-8")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(directory: &Path) -> Surroundings {
        let user = directory.join("home/.puppetlabs/client-tools");
        std::fs::create_dir_all(&user).unwrap();
        std::fs::create_dir_all(directory.join("global")).unwrap();
        Surroundings {
            home: Some(directory.join("home")),
            global_directory: directory.join("global"),
            variable: |_| None,
        }
    }

    fn message(outcome: Result<ClientSettings, Failure>) -> String {
        match outcome {
            Err(Failure::Usage(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_users_file_wins_over_the_hosts_and_flags_over_both() {
        let directory = tempfile::tempdir().unwrap();
        let around = around(directory.path());
        let global = r#"{"options": {"service-url": "https://a.example:1", "cacert": "/ca.pem", "noop": true}}"#;
        std::fs::write(around.global_directory.join("orchestrator.conf"), global).unwrap();
        let user = r#"{"options": {"service-url": "https://b.example/", "token-file": "~/t", "color": false}}"#;
        let home = around.home.clone().unwrap();
        std::fs::write(home.join(".puppetlabs/client-tools/orchestrator.conf"), user).unwrap();
        let access = r#"{"service-url": "https://c.example/rbac-api", "certificate-file": "/other.pem"}"#;
        std::fs::write(around.global_directory.join("puppet-access.conf"), access).unwrap();
        let endpoint = |host: &str, port, path: &str| Endpoint { host: host.into(), port, path: path.into() };

        let settings = ClientSettings::resolve(&ConnectionFlags::default(), &around).unwrap();
        assert_eq!(settings.orchestrator, endpoint("b.example", 8143, ""));
        assert_eq!(settings.rbac, endpoint("c.example", 4433, "/rbac-api"));
        assert_eq!((settings.ca, settings.token_file), ("/ca.pem".into(), home.join("t")));
        assert_eq!((settings.noop, settings.color), (true, Some(false)));

        let flags = ConnectionFlags {
            service_url: Some("https://[::1]:9/x/".into()),
            ca_cert: Some("/flag.pem".into()),
            token_file: Some("/flag".into()),
        };
        let settings = ClientSettings::resolve(&flags, &around).unwrap();
        assert_eq!(settings.orchestrator, endpoint("[::1]", 9, "/x"));
        assert_eq!(settings.rbac, endpoint("[::1]", 9, "/x/rbac-api"));
        assert_eq!((settings.ca, settings.token_file), ("/flag.pem".into(), "/flag".into()));
    }

    #[test]
    fn mistakes_are_named_with_their_file() {
        let directory = tempfile::tempdir().unwrap();
        let around = around(directory.path());
        let resolve = || message(ClientSettings::resolve(&ConnectionFlags::default(), &around));
        assert!(resolve().starts_with("no service URL: give --service-url"));
        let path = around.global_directory.join("orchestrator.conf");
        let cases = [
            ("{", "is not valid JSON: EOF while parsing an object at line 1 column 1"),
            ("[]", "must hold a JSON object"),
            ("{}", "has no key \"options\", which must hold the options"),
            (r#"{"options": 7}"#, "the value of \"options\" must be an object"),
            (r#"{"options": {"cacert": 7}}"#, "the value of \"cacert\" must be a string, not 7"),
            (r#"{"options": {"noop": "no"}}"#, "the value of \"noop\" must be true or false, not \"no\""),
        ];
        for (text, expected) in cases {
            std::fs::write(&path, text).unwrap();
            assert_eq!(resolve(), format!("{}: {expected}", path.display()));
        }
    }

    #[test]
    fn urls_that_cannot_be_used() {
        for url in ["", "orch:8143", "http://orch:8143", "https://", "https://a@b", "https://a/?x=1", "https://a b"] {
            assert!(matches!(Endpoint::parse(url, 1), Err(Failure::Usage(_))), "{url}");
        }
    }
}
