//! The task cache: `<cache>/<sha256>/<file name>`, filled from the primary servers over TLS with the agent's
//! certificate (pxp-agent, module cache). A file is hashed before every use; what does not match is got again.

use std::collections::HashSet;
use std::fs::{self, File, FileTimes, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustix::fs::OFlags;
use rustls::ClientConfig;

use super::files;
use crate::clock::WallTime;
use crate::config::settings::PrimaryUri;
use crate::https::{Client, Downloaded};
use crate::limits::TASK_FILE_BYTES_MAX;
use crate::pxp::task::{FileUri, TaskFile};
use crate::sha256::{Sha256, hexadecimal};
use crate::tunnel::ProxyUri;
use crate::{durable, percent};

/// Pauses between attempts to download.
const PAUSES: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(8)];

/// Where files come from and where they are kept.
pub struct Sources {
    /// The cache directory.
    pub directory: PathBuf,
    /// Servers in order of preference.
    pub primaries: Vec<PrimaryUri>,
    /// Our certificate, and whom we trust.
    pub tls: Arc<ArcSwap<ClientConfig>>,
    /// Through which they are connected to.
    pub proxy: Option<ProxyUri>,
    /// Time to connect.
    pub connect_timeout: Duration,
    /// Time for a whole download.
    pub total_timeout: Duration,
    /// Called for the pauses between attempts.
    pub pause: fn(Duration),
}

/// The cache directory and the downloads under way.
pub struct TaskCache {
    sources: Sources,
    in_flight: Mutex<HashSet<String>>,
    landed: Condvar,
}

impl TaskCache {
    /// Opens the cache, creating its directory if needed.
    pub fn open(sources: Sources) -> io::Result<Self> {
        files::open_private(&sources.directory)?;
        Ok(Self { sources, in_flight: Mutex::default(), landed: Condvar::new() })
    }

    /// A new name in the cache directory, for files on their way and install directories of blocking requests.
    pub fn temporary(&self, prefix: &str) -> PathBuf {
        self.sources.directory.join(files::random_name(prefix))
    }

    /// The path of a file that has just been found to have the right content. `basename` must be a plain file name.
    pub fn get(&self, file: &TaskFile, basename: &str) -> Result<PathBuf, String> {
        let sha256 = plain_sha256(&file.sha256)
            .ok_or_else(|| format!("the sha256 of file \"{}\" is not 64 hexadecimal digits", file.filename))?;
        // Two tasks with the same file wait for one download; others do not wait for each other.
        let _flight = self.take_off(&sha256);
        let directory = self.sources.directory.join(&sha256);
        files::create_directory(&directory).map_err(|error| {
            let directory = directory.display();
            format!("Failed to create cache dir {directory} to download file to: {error}")
        })?;
        // Before anything else, so that no purge takes it away.
        touch(&directory).map_err(|error| format!("Failed to use cache dir {}: {error}", directory.display()))?;
        let path = directory.join(basename);
        if let Some(found) = find(&path, &sha256, file.size_bytes) {
            set_mode(&found).map_err(|error| format!("Failed to use {}: {error}", path.display()))?;
            return Ok(path);
        }
        let failed = |error: String| format!("Failed to download file with: {error}");
        if self.sources.primaries.is_empty() {
            return Err(failed("Cannot download file. No master-uris were provided".into()));
        }
        self.download_stubbornly(file, &sha256, &path).map_err(failed)?;
        Ok(path)
    }

    /// Puts a file in a place of its own, where it appears whole. One that is there with the right content only gets its
    /// mode; primaries are asked once.
    pub fn place(&self, file: &TaskFile, destination: &Path) -> Result<(), String> {
        let sha256 = plain_sha256(&file.sha256)
            .ok_or_else(|| format!("the sha256 of file \"{}\" is not 64 hexadecimal digits", file.filename))?;
        if destination.symlink_metadata().is_ok_and(|metadata| !metadata.is_file()) {
            return Err(format!("Destination {:?} already exists and is not a file!", destination.display()));
        }
        if let Some(found) = find(destination, &sha256, file.size_bytes) {
            return set_mode(&found).map_err(|error| format!("Failed to use {}: {error}", file.filename));
        }
        let failed = |error: String| format!("Failed to download file with: {error}");
        if self.sources.primaries.is_empty() {
            return Err(failed("Cannot download file. No master-uris were provided".into()));
        }
        self.download(file, &sha256, destination).map_err(failed)?;
        self.keep_from_tasks(destination).map_err(|error| format!("Failed to use {}: {error}", file.filename))
    }

    /// A cache that the user of tasks may read gives its group to what is created there.
    fn keep_from_tasks(&self, path: &Path) -> io::Result<()> {
        let own = rustix::process::getegid().as_raw();
        if fs::metadata(&self.sources.directory)?.gid() == own { Ok(()) } else { chown(path, None, Some(own)) }
    }

    fn download_stubbornly(&self, file: &TaskFile, sha256: &str, path: &Path) -> Result<(), String> {
        for pause in PAUSES {
            match self.download(file, sha256, path) {
                Ok(()) => return Ok(()),
                Err(error) => {
                    tracing::warn!("{error}; trying again in {} s", pause.as_secs());
                    (self.sources.pause)(pause);
                }
            }
        }
        self.download(file, sha256, path)
    }

    /// Asks every primary in turn until one has the file.
    fn download(&self, file: &TaskFile, sha256: &str, path: &Path) -> Result<(), String> {
        let local = |error: &dyn std::fmt::Display| format!("Downloading the file failed. Reason: {error}");
        let Sources { connect_timeout, total_timeout, .. } = self.sources;
        let target = target(&file.uri);
        let mut client =
            Client::new(self.sources.tls.load_full(), connect_timeout, total_timeout).map_err(|e| local(&e))?;
        client = client.through(self.sources.proxy.clone());
        let mut last = String::new();
        for PrimaryUri { host, port } in &self.sources.primaries {
            let mut arriving = Arriving::create(self.temporary("temp_file_")).map_err(|e| local(&e))?;
            match client.download(host, *port, &target, &mut arriving, TASK_FILE_BYTES_MAX) {
                Ok(Downloaded::Complete { .. }) => {
                    return match arriving.land(sha256, path).map_err(|e| local(&e))? {
                        Landing::Done => Ok(()),
                        Landing::WrongContent => Err(format!(
                            "The downloaded file \"{}\" has a SHA that differs from the provided SHA",
                            file.filename
                        )),
                    };
                }
                Ok(Downloaded::Refused { status, excerpt }) => {
                    last = format!(
                        "https://{host}:{port}{target} returned a response with HTTP status {}. Response body: {excerpt}",
                        status.as_u16()
                    );
                }
                Err(error) => last = error.message,
            }
        }
        Err(format!(
            "Downloading file \"{}\" failed after trying all the available master-uris. Most recent error message: {last}",
            file.filename
        ))
    }

    fn take_off(&self, sha256: &str) -> Flight<'_> {
        let in_flight = self.in_flight.lock().expect("nothing panics while it holds this lock");
        let mut in_flight = self
            .landed
            .wait_while(in_flight, |in_flight| in_flight.contains(sha256))
            .expect("nothing panics while it holds this lock");
        in_flight.insert(sha256.to_owned());
        Flight { cache: self, sha256: sha256.to_owned() }
    }

    /// Removes what nobody has used for longer than `age` before `now`.
    pub fn purge(&self, age: Duration, now: WallTime) -> usize {
        let Ok(entries) = fs::read_dir(&self.sources.directory) else { return 0 };
        let Some(oldest) = system_time(now).checked_sub(age) else { return 0 };
        let mut removed = 0;
        for entry in entries.flatten() {
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            if !modified.is_ok_and(|modified| modified < oldest) {
                continue;
            }
            let path = entry.path();
            let outcome = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            match outcome {
                Ok(()) => removed += 1,
                Err(error) => tracing::warn!("{} cannot be removed from the task cache: {error}", path.display()),
            }
        }
        removed
    }
}

/// A file that this thread is getting.
struct Flight<'a> {
    cache: &'a TaskCache,
    sha256: String,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.cache.in_flight.lock().expect("nothing panics while it holds this lock").remove(&self.sha256);
        self.cache.landed.notify_all();
    }
}

/// A file being downloaded, hashed on the way; removed unless it lands.
struct Arriving {
    path: PathBuf,
    file: File,
    hash: Sha256,
}

enum Landing {
    Done,
    WrongContent,
}

impl Arriving {
    fn create(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(files::DIRECTORY_MODE).open(&path)?;
        Ok(Self { path, file, hash: Sha256::default() })
    }

    fn land(self, sha256: &str, path: &Path) -> io::Result<Landing> {
        if hexadecimal(&self.hash.clone().finish()) != sha256 {
            return Ok(Landing::WrongContent);
        }
        set_mode(&self.file)?;
        self.file.sync_all()?;
        path.parent().map_or(Ok(()), files::create_directory)?;
        match fs::rename(&self.path, path) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => self.carry(path)?,
            moved => moved?,
        }
        durable::sync_parent(path)?;
        Ok(Landing::Done)
    }

    /// Brings the file to another file system.
    fn carry(&self, path: &Path) -> io::Result<()> {
        let beside = path.with_file_name(files::random_name(".podium-"));
        let carried = fs::copy(&self.path, &beside)
            .and_then(|_| {
                let carried = File::open(&beside)?;
                carried.sync_all()?;
                set_mode(&carried)
            })
            .and_then(|()| fs::rename(&beside, path));
        carried.inspect_err(|_| {
            // The error is told; what is left of the file would not add to it.
            let _ = fs::remove_file(&beside);
        })
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        // Gone already if it landed.
        let _ = fs::remove_file(&self.path);
    }
}

impl Write for Arriving {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.file.write(bytes)?;
        self.hash.update(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn plain_sha256(text: &str) -> Option<String> {
    let plain = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| text.to_ascii_lowercase())
}

/// The file with the content that is wanted, if it is there. A pipe would never open and a device never end, so neither is
/// waited for nor read; nor is a file that is longer than what is wanted.
fn find(path: &Path, sha256: &str, size: Option<u64>) -> Option<File> {
    let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits();
    let mut file = OpenOptions::new().read(true).custom_flags(flags as i32).open(path).ok()?;
    let metadata = file.metadata().ok()?;
    let most = size.unwrap_or(TASK_FILE_BYTES_MAX).min(TASK_FILE_BYTES_MAX);
    if !metadata.is_file() || metadata.len() > most {
        return None;
    }
    let mut hash = Sha256::default();
    // It may be growing.
    io::copy(&mut Read::by_ref(&mut file).take(most), &mut hash).ok()?;
    (hexadecimal(&hash.finish()) == sha256).then_some(file)
}

fn set_mode(file: &File) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(files::DIRECTORY_MODE))
}

fn touch(directory: &Path) -> io::Result<()> {
    let now = FileTimes::new().set_modified(system_time(WallTime::now()));
    File::open(directory)?.set_times(now)
}

fn system_time(time: WallTime) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(0))
}

/// Path and query of a request; the path is sent as given, as pxp-agent does.
fn target(uri: &FileUri) -> String {
    let pairs = uri.params.iter().map(|(key, value)| format!("{}={}", percent::encode(key), percent::encode(value)));
    let query = pairs.collect::<Vec<_>>().join("&");
    if query.is_empty() { uri.path.clone() } else { format!("{}?{query}", uri.path) }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::https::testing::{Reply, Server};
    use crate::tls::testing::Pki;

    pub(crate) fn sha256(content: &[u8]) -> String {
        hexadecimal(&Sha256::of(content))
    }

    fn file(content: &[u8]) -> TaskFile {
        TaskFile {
            filename: "demo/init.sh".into(),
            sha256: sha256(content),
            size_bytes: None,
            uri: FileUri { path: "/file".into(), params: [("environment".into(), "a b".into())].into() },
        }
    }

    fn cache(pki: &Pki, ports: &[u16]) -> (tempfile::TempDir, TaskCache) {
        let directory = tempfile::tempdir().unwrap();
        let primaries = ports.iter().map(|&port| PrimaryUri { host: "localhost".into(), port }).collect();
        let cache = TaskCache::open(Sources {
            directory: directory.path().join("cache"),
            primaries,
            proxy: None,
            tls: Arc::new(ArcSwap::new(pki.material("node.example").client_config().unwrap())),
            connect_timeout: Duration::from_secs(10),
            total_timeout: Duration::from_secs(10),
            pause: |_| {},
        })
        .unwrap();
        (directory, cache)
    }

    fn counting(pki: &Pki, reply: impl Fn(&str) -> Reply + Send + Sync + 'static) -> (Server, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let counter = count.clone();
        let server = Server::start(pki, move |request| {
            counter.fetch_add(1, Ordering::SeqCst);
            reply(&request.path)
        });
        (server, count)
    }

    #[test]
    fn downloads_once_and_again_if_tampered_with() {
        let pki = Pki::new("ca");
        let (server, count) = counting(&pki, |path| {
            assert_eq!(path, "/file?environment=a%20b");
            Reply::ok("content")
        });
        let (_root, cache) = cache(&pki, &[server.port()]);
        let mut file = file(b"content");
        let path = cache.get(&file, "init.sh").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"content");
        assert!(path.ends_with(format!("{}/init.sh", file.sha256)));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o750);
        file.sha256 = file.sha256.to_uppercase();
        assert_eq!(cache.get(&file, "init.sh").unwrap(), path);
        assert_eq!(count.load(Ordering::SeqCst), 1);
        fs::write(&path, "evil").unwrap();
        cache.get(&file, "init.sh").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"content");
        assert_eq!(count.load(Ordering::SeqCst), 2);
        assert_eq!(fs::read_dir(&cache.sources.directory).unwrap().count(), 1, "nothing temporary is left");
    }

    #[test]
    fn what_is_no_file_is_neither_waited_for_nor_read() {
        let (root, cache) = cache(&Pki::new("ca"), &[]);
        let [pipe, link, plain] = ["pipe", "link", "plain"].map(|name| root.path().join(name));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        fs::write(&plain, "content").unwrap();
        fs::set_permissions(&plain, Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink(&plain, &link).unwrap();
        let wanted = file(b"content");
        for path in [&pipe, &link, Path::new("/dev/zero")] {
            assert!(find(path, &wanted.sha256, None).is_none(), "{}", path.display());
            let error = cache.place(&wanted, path).unwrap_err();
            assert_eq!(error, format!("Destination {:?} already exists and is not a file!", path.display()));
        }
        assert_eq!(fs::metadata(&plain).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(find(&plain, &wanted.sha256, Some(6)).is_none());
        assert!(find(&plain, &wanted.sha256, Some(7)).is_some());
        cache.place(&wanted, &plain).unwrap();
        assert_eq!(fs::metadata(&plain).unwrap().permissions().mode() & 0o777, 0o750);
    }

    #[test]
    fn tries_every_primary_and_five_times() {
        let pki = Pki::new("ca");
        let (without, refused) = counting(&pki, |_| Reply { status: 404, ..Reply::ok("no such file") });
        let (with, _) = counting(&pki, |_| Reply::ok("content"));
        let (_root, both) = cache(&pki, &[without.port(), with.port()]);
        both.get(&file(b"content"), "init.sh").unwrap();
        assert_eq!(refused.load(Ordering::SeqCst), 1);
        let (_root, one) = cache(&pki, &[without.port()]);
        let port = without.port();
        assert_eq!(
            one.get(&file(b"content"), "init.sh").unwrap_err(),
            format!(
                "Failed to download file with: Downloading file \"demo/init.sh\" failed after trying all the available \
                 master-uris. Most recent error message: https://localhost:{port}/file?environment=a%20b returned a \
                 response with HTTP status 404. Response body: no such file"
            )
        );
        assert_eq!(refused.load(Ordering::SeqCst), 6);
        assert_eq!(fs::read_dir(&one.sources.directory).unwrap().count(), 1, "nothing temporary is left");
    }

    #[test]
    fn wrong_content_is_never_kept() {
        let pki = Pki::new("ca");
        let (server, count) = counting(&pki, |_| Reply::ok("evil"));
        let (_root, cache) = cache(&pki, &[server.port()]);
        let file = file(b"content");
        assert_eq!(
            cache.get(&file, "init.sh").unwrap_err(),
            "Failed to download file with: The downloaded file \"demo/init.sh\" has a SHA that differs from the \
             provided SHA"
        );
        assert_eq!(count.load(Ordering::SeqCst), 5);
        assert!(!cache.sources.directory.join(&file.sha256).join("init.sh").exists());
    }

    #[test]
    fn nothing_is_asked_for_without_a_plain_hash_or_a_primary() {
        let (_root, cache) = cache(&Pki::new("ca"), &[]);
        let error = cache.get(&file(b"content"), "init.sh").unwrap_err();
        assert_eq!(error, "Failed to download file with: Cannot download file. No master-uris were provided");
        for bad in ["", "../../etc", &"g".repeat(64), &"a".repeat(63)] {
            let file = TaskFile { sha256: bad.into(), ..file(b"") };
            assert!(cache.get(&file, "init.sh").unwrap_err().contains("64 hexadecimal digits"));
        }
    }

    #[test]
    fn purges_what_was_not_used_for_long() {
        let (_root, cache) = cache(&Pki::new("ca"), &[]);
        let directory = &cache.sources.directory;
        let hour = Duration::from_secs(3600);
        let now = WallTime::now();
        for name in ["old", "new"] {
            fs::create_dir(directory.join(name)).unwrap();
            fs::write(directory.join(name).join("file"), "").unwrap();
        }
        let two_hours_ago = system_time(now).checked_sub(2 * hour).unwrap();
        File::open(directory.join("old")).unwrap().set_times(FileTimes::new().set_modified(two_hours_ago)).unwrap();
        assert_eq!(cache.purge(hour, now), 1);
        assert!(directory.join("new/file").exists() && !directory.join("old").exists());
    }
}
