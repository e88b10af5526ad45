//! What a task may be held to: another user than the agent's, a nice value, a umask, a cgroup. pxp-agent has none of it.
//!
//! A process of this program takes all of it upon itself and then becomes the task, so that agent and wrapper keep
//! their rights: they write what the task says into a spool that the task cannot read.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::Mode;
use rustix::process::{getpid, setpriority_process, umask};
use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};
use serde::{Deserialize, Serialize};

use super::child;
use super::passwd::{self, User};
use crate::config::settings::TaskSettings;

/// The subcommand that becomes a task.
pub const SUBCOMMAND: &str = "execution-launcher";

/// How tasks are held.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confinement {
    /// Whose rights they have; the agent's if there is none.
    pub user: Option<User>,
    /// How they stand back behind others.
    pub nice: Option<i32>,
    /// The rights that files which they create do not have.
    pub umask: Option<u32>,
    /// The directory of the cgroup (version 2) that they run in.
    pub cgroup: Option<PathBuf>,
}

/// How to start a task that is held to something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Launcher {
    /// This program.
    pub program: PathBuf,
    /// What it takes upon itself before it becomes the task.
    pub confinement: Confinement,
}

impl Confinement {
    /// Finds out what the settings mean on this node; `None` if they ask for nothing. The error says what to do.
    pub fn of(settings: &TaskSettings) -> Result<Option<Self>, String> {
        if *settings == TaskSettings::default() {
            return Ok(None);
        }
        let TaskSettings { user, nice, umask, cgroup } = settings.clone();
        let user = user.map(|name| user_of(&name)).transpose()?;
        if let Some(cgroup) = &cgroup {
            let processes = cgroup.join(PROCESSES);
            if let Err(error) = fs::OpenOptions::new().write(true).open(&processes) {
                let hint = match error.kind() {
                    io::ErrorKind::NotFound => "make it, below the mount point of the cgroups of version 2",
                    _ => "have it given to the agent's user",
                };
                return Err(format!("task-cgroup: {} cannot be opened: {error}; {hint}", processes.display()));
            }
        }
        Ok(Some(Self { user, nice, umask, cgroup }))
    }

    /// Lets the user of tasks read what is below the directory, and what will be created there; nobody else gets more
    /// rights, and the user gets none to write. The error says what is in the way.
    pub fn open_to_tasks(&self, directory: &Path) -> Result<(), String> {
        let Some(user) = &self.user else { return Ok(()) };
        share(directory, user.gid).map_err(|error| {
            format!("{} cannot be given to the group of the task-user {}: {error}", directory.display(), user.name)
        })?;
        let directory = directory.canonicalize().map_err(|error| format!("{}: {error}", directory.display()))?;
        for above in directory.ancestors().skip(1) {
            let metadata = fs::metadata(above).map_err(|error| format!("{}: {error}", above.display()))?;
            let (mode, owner, group) = (metadata.mode(), metadata.uid(), metadata.gid());
            let bit = match () {
                () if owner == user.uid => 0o100,
                () if group == user.gid || user.groups.contains(&group) => 0o010,
                () => 0o001,
            };
            if mode & bit == 0 {
                return Err(format!(
                    "the task-user {} cannot enter {} (mode {:o}); chmod a+x, or choose another task-cache-dir",
                    user.name,
                    above.display(),
                    mode & 0o7777
                ));
            }
        }
        Ok(())
    }

    /// Takes all of it upon this process, which must have one thread.
    fn enter(&self) -> Result<(), String> {
        if let Some(cgroup) = &self.cgroup {
            let processes = cgroup.join(PROCESSES);
            let pid = getpid().as_raw_nonzero().to_string();
            let entered = fs::OpenOptions::new()
                .write(true)
                .open(&processes)
                .and_then(|mut file| io::Write::write_all(&mut file, pid.as_bytes()));
            entered.map_err(|error| format!("the cgroup cannot be entered by {}: {error}", processes.display()))?;
        }
        if let Some(nice) = self.nice {
            setpriority_process(None, nice).map_err(|error| format!("no nice value of {nice}: {error}"))?;
        }
        if let Some(bits) = self.umask {
            umask(Mode::from_bits_truncate(bits));
        }
        self.user.as_ref().map_or(Ok(()), become_user)
    }
}

/// Through which processes come into a cgroup.
const PROCESSES: &str = "cgroup.procs";

/// The group may read, and enter directories; what is created there belongs to the group too.
fn share(path: &Path, gid: u32) -> io::Result<()> {
    const OF_THE_PARENT: u32 = 0o2000;
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_symlink() {
        return Ok(());
    }
    chown(path, None, Some(gid))?;
    if metadata.is_dir() {
        fs::set_permissions(path, fs::Permissions::from_mode((metadata.mode() & 0o7777) | OF_THE_PARENT | 0o050))?;
        for entry in fs::read_dir(path)? {
            share(&entry?.path(), gid)?;
        }
    }
    Ok(())
}

fn user_of(name: &str) -> Result<User, String> {
    let user = passwd::user(name).ok_or_else(|| format!("task-user: there is no user {name} on this node"))?;
    if !rustix::process::geteuid().is_root() {
        return Err("task-user: only an agent of root can run tasks as somebody else; leave it out".to_owned());
    }
    Ok(user)
}

fn become_user(user: &User) -> Result<(), String> {
    let groups: Vec<rustix::fs::Gid> = user.groups.iter().copied().map(rustix::fs::Gid::from_raw).collect();
    set_thread_groups(&groups)
        .and_then(|()| set_thread_gid(rustix::fs::Gid::from_raw(user.gid)))
        .and_then(|()| set_thread_uid(rustix::fs::Uid::from_raw(user.uid)))
        .map_err(|error| format!("the user {} cannot be taken on: {error}", user.name))
}

/// Becomes the task; returns its exit code if that fails, and then has said why as [`child::run`] does.
pub fn launch(confinement: &str, executable: &Path, arguments: &[OsString]) -> i32 {
    let confinement: Confinement = match serde_json::from_str(confinement) {
        Ok(confinement) => confinement,
        Err(error) => return child::not_run(executable, &io::Error::other(error), &mut io::stderr()),
    };
    if let Err(error) = confinement.enter() {
        return child::not_run(executable, &io::Error::other(error), &mut io::stderr());
    }
    let mut command = Command::new(executable);
    command.args(arguments);
    if let Some(user) = &confinement.user {
        command.env("HOME", &user.home).env("USER", &user.name).env("LOGNAME", &user.name).env("SHELL", &user.shell);
        command.current_dir("/");
    }
    let error = child::stubbornly(|| Err::<(), _>(command.exec())).expect_err("whoever becomes a task does not return");
    child::not_run(executable, &error, &mut io::stderr())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_asked_for_unless_it_is() {
        assert_eq!(Confinement::of(&TaskSettings::default()), Ok(None));
        let settings = TaskSettings { nice: Some(5), ..TaskSettings::default() };
        assert_eq!(Confinement::of(&settings).unwrap().unwrap().nice, Some(5));
    }

    #[test]
    fn what_cannot_be_is_told() {
        let root = tempfile::tempdir().unwrap();
        let cgroup = TaskSettings { cgroup: Some(root.path().to_owned()), ..TaskSettings::default() };
        let error = Confinement::of(&cgroup).unwrap_err();
        assert!(error.contains("cgroup.procs cannot be opened") && error.contains("make it"), "{error}");
        let user = TaskSettings { user: Some("no such user".into()), ..TaskSettings::default() };
        assert_eq!(Confinement::of(&user).unwrap_err(), "task-user: there is no user no such user on this node");
    }

    #[test]
    fn a_directory_that_the_user_cannot_reach_is_named() {
        let root = tempfile::tempdir().unwrap();
        let cache = root.path().join("cache");
        fs::create_dir_all(cache.join("sum")).unwrap();
        let gid = rustix::process::getegid().as_raw();
        let user = User {
            name: "web".into(),
            uid: u32::MAX - 1,
            gid,
            groups: Vec::new(),
            home: "/".into(),
            shell: "/bin/sh".into(),
        };
        let confinement = Confinement { user: Some(user), ..Confinement::default() };
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let error = confinement.open_to_tasks(&cache).unwrap_err();
        assert!(error.starts_with("the task-user web cannot enter") && error.contains("(mode 700)"), "{error}");
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o711)).unwrap();
        confinement.open_to_tasks(&cache).unwrap();
        assert_eq!(fs::metadata(cache.join("sum")).unwrap().mode() & 0o7050, 0o2050);
    }
}
