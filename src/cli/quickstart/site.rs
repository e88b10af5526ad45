//! What the quickstart writes: a CA with certificates, the configuration of server and agents, a module with a task.

use std::fs::{self, DirBuilder};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::text;
use crate::ca::{AltNames, Authority, Issued, KeyType, local_alt_names};

/// The task of the sample module.
pub const DEMO_TASK: &str = "podium_demo";

const DEMO_METADATA: &str = r#"{
  "description": "Reports what a node says about itself",
  "input_method": "environment",
  "parameters": {
    "detail": {
      "description": "brief, or full for the machine type and the user too",
      "type": "Optional[Enum[brief, full]]"
    }
  }
}
"#;

const DEMO_SCRIPT: &str = r#"#!/bin/sh
# Reports what a node says about itself, as JSON.
uptime=null
if [ -r /proc/uptime ]; then uptime=$(cut -d. -f1 /proc/uptime); fi
printf '{"hostname": "%s", "kernel": "%s", "uptime_seconds": %s' "$(uname -n)" "$(uname -sr)" "$uptime"
if [ "$PT_detail" = full ]; then printf ', "machine": "%s", "user": "%s"' "$(uname -m)" "$(id -un)"; fi
printf '}\n'
"#;

/// Where the server listens, on the loopback address.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    pub broker: u16,
    pub api: u16,
}

impl Ports {
    /// Two ports that are free now. The configuration needs numbers before the server runs, so somebody may take one
    /// meanwhile; the caller tries again then.
    pub fn choose() -> Result<Self, String> {
        let bind = || {
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                .and_then(|listener| listener.local_addr().map(|address| (listener, address.port())))
        };
        let fail = |error| format!("no free port on 127.0.0.1: {error}");
        // Both are held until both are chosen, so that they differ.
        let (_broker, broker) = bind().map_err(fail)?;
        let (_api, api) = bind().map_err(fail)?;
        Ok(Self { broker, api })
    }

    /// Whether something listens on the API's port.
    pub fn api_answers(self) -> bool {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.api));
        TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
    }
}

/// The directory with everything in it.
pub struct Site {
    dir: PathBuf,
    temporary: bool,
    code_dir: PathBuf,
    authority: Authority,
    server: Issued,
}

impl Site {
    /// Makes the directory, the CA, the server's certificate and, unless there is a code directory, a sample module.
    pub fn create(dir: Option<&Path>, code_dir: Option<&Path>) -> Result<Self, String> {
        let (dir, temporary) = match dir {
            Some(dir) => (use_directory(dir)?, false),
            None => (make_temporary_directory()?, true),
        };
        let removed_on_failure = Removal { dir: &dir, armed: temporary };
        make_directory(&dir.join("logs"))?;
        let code_dir = match code_dir {
            Some(code_dir) => std::path::absolute(code_dir).map_err(|error| error.to_string())?,
            None => write_demo_module(&dir)?,
        };
        let authority =
            Authority::create(&dir.join("ssl"), "Podium quickstart CA", KeyType::P256).map_err(|e| e.to_string())?;
        let server = authority.issue("podium.quickstart", &local_alt_names()).map_err(|error| error.to_string())?;
        removed_on_failure.disarm();
        Ok(Self { dir, temporary, code_dir, authority, server })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn logs(&self) -> PathBuf {
        self.dir.join("logs")
    }

    /// Writes the server's configuration and returns its directory.
    pub fn configure_server(&self, ports: Ports) -> Result<PathBuf, String> {
        let listener = |port: u16| json!({"ssl-host": "127.0.0.1", "ssl-port": port});
        let dir = self.dir.join("server");
        make_directory(&dir)?;
        let config = json!({
            "global": {
                "certs": {
                    "ssl-cert": text(&self.server.certificate)?,
                    "ssl-key": text(&self.server.key)?,
                    "ssl-ca-cert": text(&self.server.ca)?,
                    "ssl-crl-path": text(&self.server.crl)?,
                },
            },
            "webserver": {"pcp-broker": listener(ports.broker), "orchestrator": listener(ports.api)},
            "orchestrator": {"data-dir": "data", "code-dir": text(&self.code_dir)?},
        });
        write(&dir.join("podium.conf"), &format!("{config:#}\n"))?;
        Ok(dir)
    }

    /// Issues an agent's certificate, writes its configuration and returns the directory of it.
    pub fn add_agent(&self, name: &str, ports: Ports) -> Result<PathBuf, String> {
        let issued = self.authority.issue(name, &AltNames::default()).map_err(|error| error.to_string())?;
        let dir = self.dir.join("agents").join(name);
        make_directory(&dir)?;
        let config = json!({
            "pcp-version": "2",
            "broker-ws-uris": [format!("wss://127.0.0.1:{}/pcp2/", ports.broker)],
            "primary-uris": [format!("https://127.0.0.1:{}", ports.api)],
            "ssl-cert": text(&issued.certificate)?,
            "ssl-key": text(&issued.key)?,
            "ssl-ca-cert": text(&issued.ca)?,
            "ssl-crl": text(&issued.crl)?,
            "spool-dir": "spool",
            "task-cache-dir": "tasks-cache",
            "logfile": "-",
        });
        write(&dir.join("pxp-agent.conf"), &format!("{config:#}\n"))?;
        Ok(dir)
    }

    pub fn admin_password_file(&self) -> PathBuf {
        self.dir.join("server/data/admin-password")
    }

    /// The password that the server makes at its first start; an error until it has.
    pub fn admin_password(&self) -> Result<String, String> {
        let path = self.admin_password_file();
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        match text.trim() {
            "" => Err(format!("{} is empty", path.display())),
            password => Ok(password.to_owned()),
        }
    }

    /// How the operator's commands find the server.
    pub fn client_flags(&self, ports: Ports) -> Result<Vec<String>, String> {
        let [url, ca, token] = self.client_values(ports)?;
        Ok(["--service-url", &url, "--ca-cert", &ca, "--token-file", &token].map(str::to_owned).to_vec())
    }

    /// The same as environment variables.
    pub fn client_variables(&self, ports: Ports) -> Result<[(&'static str, String); 3], String> {
        let [url, ca, token] = self.client_values(ports)?;
        Ok([("PODIUM_SERVICE_URL", url), ("PODIUM_CA_CERT", ca), ("PODIUM_TOKEN_FILE", token)])
    }

    fn client_values(&self, ports: Ports) -> Result<[String; 3], String> {
        let token = self.dir.join("token");
        Ok([format!("https://127.0.0.1:{}", ports.api), text(&self.server.ca)?.to_owned(), text(&token)?.to_owned()])
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        drop(Removal { dir: &self.dir, armed: self.temporary });
    }
}

/// Removes a directory that was made here.
struct Removal<'a> {
    dir: &'a Path,
    armed: bool,
}

impl Removal<'_> {
    fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for Removal<'_> {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        if let Err(error) = fs::remove_dir_all(self.dir) {
            eprintln!("podium quickstart: {} could not be removed: {error}", self.dir.display());
        }
    }
}

fn use_directory(dir: &Path) -> Result<PathBuf, String> {
    let dir = std::path::absolute(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    make_directory(&dir)?;
    let mut entries = fs::read_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    match entries.next() {
        None => Ok(dir),
        Some(_) => Err(format!("{} is not empty; give a new directory with --dir", dir.display())),
    }
}

/// Nobody else may read the keys in it, nor have made it before us.
fn make_temporary_directory() -> Result<PathBuf, String> {
    let dir = std::env::temp_dir().join(format!("podium-quickstart-{}", uuid::Uuid::new_v4()));
    DirBuilder::new().mode(0o700).create(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    Ok(dir)
}

fn write_demo_module(dir: &Path) -> Result<PathBuf, String> {
    let code_dir = dir.join("code");
    let tasks = code_dir.join("environments/production/modules").join(DEMO_TASK).join("tasks");
    make_directory(&tasks)?;
    write(&tasks.join("init.json"), DEMO_METADATA)?;
    let script = tasks.join("init.sh");
    write(&script, DEMO_SCRIPT)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))
        .map_err(|error| format!("{}: {error}", script.display()))?;
    Ok(code_dir)
}

fn make_directory(dir: &Path) -> Result<(), String> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(dir)
        .map_err(|error| format!("{} cannot be made: {error}", dir.display()))
}

fn write(path: &Path, content: &str) -> Result<(), String> {
    fs::write(path, content).map_err(|error| format!("{} cannot be written: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Overrides, load_agent, load_server};

    const PORTS: Ports = Ports { broker: 18142, api: 18143 };

    #[test]
    fn what_is_written_is_a_configuration_without_problems() {
        let site = Site::create(None, None).unwrap();
        let dir = site.dir().to_owned();
        let server = load_server(&site.configure_server(PORTS).unwrap()).unwrap();
        assert_eq!(server.warnings, []);
        assert_eq!(server.settings.broker.listen.port(), PORTS.broker);
        assert_eq!(server.settings.orchestrator.data_dir, dir.join("server/data"));
        let agent = load_agent(&site.add_agent("agent1.quickstart", PORTS).unwrap(), &Overrides::default()).unwrap();
        assert_eq!(agent.warnings, []);
        assert_eq!(agent.settings.brokers[0].path, "/pcp2/agent");
        drop(site);
        assert!(!dir.exists(), "a temporary directory is removed");
    }

    #[test]
    fn a_given_directory_must_be_empty_and_stays() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("new");
        drop(Site::create(Some(&dir), None).unwrap());
        assert!(dir.join("ssl/ca/ca_crt.pem").exists());
        let error = Site::create(Some(&dir), None).map(drop).unwrap_err();
        assert!(error.contains("is not empty"), "{error}");
    }

    #[test]
    fn the_sample_task_prints_json() {
        let output =
            std::process::Command::new("sh").args(["-c", DEMO_SCRIPT]).env("PT_detail", "full").output().unwrap();
        let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        for key in ["hostname", "kernel", "uptime_seconds", "machine", "user"] {
            assert!(value.get(key).is_some(), "{value}");
        }
        serde_json::from_str::<serde_json::Value>(DEMO_METADATA).unwrap();
    }
}
