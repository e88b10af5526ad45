//! A PostgreSQL of the tests' own: a cluster in a temporary directory on a port of the loopback interface, run as somebody who
//! is not root, and gone at the end. Without PostgreSQL on the machine there is none, and that is said.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// `nobody` on most systems; PostgreSQL refuses root.
const SOMEBODY: u32 = 65_534;

/// A cluster that runs, stopped when it is dropped.
pub struct Cluster {
    dir: tempfile::TempDir,
    bin: PathBuf,
    port: u16,
    server: Option<Child>,
}

/// Where PostgreSQL's programs are.
fn programs() -> Option<PathBuf> {
    let on_path = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect();
    versions.sort();
    let candidates = on_path.into_iter().flatten().chain(versions.into_iter().rev());
    // Links on the path lead to where all the programs are.
    candidates.filter_map(|dir| Some(dir.join("initdb").canonicalize().ok()?.parent()?.to_owned())).next()
}

impl Cluster {
    /// Starts one, if the machine can.
    pub fn start() -> Option<Self> {
        let Some(bin) = programs() else {
            eprintln!("\n*** PostgreSQL is not installed: its tests are NOT RUN; install the package postgresql ***\n");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        if rustix::process::geteuid().is_root() {
            chown(dir.path(), Some(SOMEBODY), Some(SOMEBODY)).unwrap();
        }
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut cluster = Self { dir, bin, port, server: None };
        let data = cluster.dir.path().join("data");
        let made = cluster
            .command("initdb")
            .args(["--auth=trust", "--username=podium", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(&data)
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        cluster.resume();
        Some(cluster)
    }

    /// Starts one that takes nobody without TLS and the password `secret`.
    pub fn start_secured(certificate: &Path, key: &Path) -> Option<Self> {
        let mut cluster = Self::start()?;
        cluster.execute("postgres", "ALTER ROLE podium PASSWORD 'secret'").unwrap();
        let data = cluster.dir.path().join("data");
        for (from, name) in [(certificate, "server.crt"), (key, "server.key")] {
            let to = data.join(name);
            fs::copy(from, &to).unwrap();
            fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).unwrap();
            if rustix::process::geteuid().is_root() {
                chown(&to, Some(SOMEBODY), Some(SOMEBODY)).unwrap();
            }
        }
        fs::write(data.join("pg_hba.conf"), "hostssl all all 127.0.0.1/32 scram-sha-256\n").unwrap();
        cluster.execute("postgres", "ALTER SYSTEM SET ssl = on").unwrap();
        cluster.stop();
        cluster.resume();
        Some(cluster)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        if rustix::process::geteuid().is_root() {
            command.uid(SOMEBODY).gid(SOMEBODY);
        }
        // A home that psql may look for certificates in.
        command
            .current_dir(self.dir.path())
            .env("HOME", self.dir.path())
            .env("PGPASSWORD", "secret")
            .stdin(Stdio::null());
        command
    }

    /// Starts the server on what there is, and waits until it answers.
    pub fn resume(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        self.server = Some(self.launch());
        while self.execute("postgres", "SELECT 1").is_err() {
            let log = || fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "PostgreSQL does not start: {}", log());
            thread::sleep(Duration::from_millis(50));
            // It does not start as long as a process of a killed one is left; those end once they notice.
            if self.server.as_mut().is_some_and(|server| server.try_wait().unwrap().is_some()) {
                self.server = Some(self.launch());
            }
        }
    }

    fn launch(&self) -> Child {
        let log = fs::File::create(self.dir.path().join("log")).unwrap();
        self.command("postgres")
            .arg("-D")
            .arg(self.dir.path().join("data"))
            .args(["-c", "listen_addresses=127.0.0.1", "-c", &format!("port={}", self.port), "-c"])
            .arg(format!("unix_socket_directories={}", self.dir.path().display()))
            .args(["-c", "max_connections=100"])
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    /// Kills it with SIGKILL: its log is all that it has to go on with.
    pub fn kill(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        server.kill().unwrap();
        server.wait().unwrap();
    }

    fn stop(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        // The quick way down, which takes the backends along.
        let _ = rustix::process::kill_process(rustix::process::Pid::from_child(&server), rustix::process::Signal::QUIT);
        let _ = server.wait();
    }

    /// What `psql` prints for statements; its complaint if they fail.
    pub fn execute(&self, database: &str, sql: &str) -> Result<String, String> {
        let port = self.port.to_string();
        let output = self
            .command("psql")
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", "podium", "-p", &port])
            .args(["-d", database, "-c", sql])
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// How to reach a database.
    pub fn url(&self, name: &str) -> String {
        format!("postgresql://podium@127.0.0.1:{}/{name}", self.port)
    }

    /// A new database; how to reach it.
    pub fn database(&self, name: &str) -> String {
        self.execute("postgres", &format!("CREATE DATABASE {name}")).unwrap();
        self.url(name)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}
