//! The users of this node: the agent's own and that of tasks; from passwd(5), or by `getent` where users come from elsewhere.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde::{Deserialize, Serialize};

/// One user of the system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The login name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// The number of the primary group.
    pub gid: u32,
    /// The numbers of all groups; empty if nobody has looked.
    pub groups: Vec<u32>,
    /// The home directory.
    pub home: String,
    /// The login shell; `/bin/sh` if the entry names none.
    pub shell: PathBuf,
}

/// The user of this process.
pub fn own_user() -> Option<User> {
    of(&rustix::process::geteuid().as_raw().to_string())
}

/// A user by name or number, with all groups.
pub fn user(name: &str) -> Option<User> {
    let user = of(name)?;
    // Groups come from wherever users come from; this is the program that knows.
    let groups = Command::new("id").args(["-G", "--", &user.name]).output().ok()?;
    let groups = String::from_utf8_lossy(&groups.stdout).split_whitespace().map(str::parse).collect::<Result<_, _>>();
    Some(User { groups: groups.ok()?, ..user })
}

fn of(name: &str) -> Option<User> {
    find(&fs::read_to_string("/etc/passwd").unwrap_or_default(), name).or_else(|| {
        let found = Command::new("getent").args(["passwd", "--", name]).output().ok()?;
        find(&String::from_utf8_lossy(&found.stdout), name)
    })
}

impl User {
    /// The login shell, or `/bin/sh` for a user who may not log in.
    pub fn working_shell(&self) -> PathBuf {
        let name = self.shell.file_name().unwrap_or_default();
        if name == "nologin" || name == "false" { "/bin/sh".into() } else { self.shell.clone() }
    }
}

fn find(passwd: &str, wanted: &str) -> Option<User> {
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, number, group, _, home, shell] = fields[..] else { return None };
        let shell = if shell.is_empty() { "/bin/sh" } else { shell };
        let (uid, gid) = (number.parse().ok()?, group.parse().ok()?);
        let (name, home, groups) = (name.to_owned(), home.to_owned(), Vec::new());
        (name == wanted || number == wanted).then(|| User { name, uid, gid, groups, home, shell: shell.into() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_number_and_name() {
        let text = "# comment\nroot:x:0:0:root:/root:/bin/bash\nweb:x:33:33::/var/www:\n";
        let (name, home, shell) = ("root".to_owned(), "/root".to_owned(), PathBuf::from("/bin/bash"));
        let root = User { name, uid: 0, gid: 0, groups: Vec::new(), home, shell };
        assert_eq!(find(text, "0"), Some(root));
        assert_eq!(find(text, "33").unwrap().shell, PathBuf::from("/bin/sh"));
        assert_eq!(find(text, "web").unwrap().uid, 33);
        assert_eq!(find(text, "7"), None);
        assert!(!user(&own_user().unwrap().name).unwrap().groups.is_empty());
    }

    #[test]
    fn who_may_not_log_in_still_has_a_shell() {
        let user = find("d:x:1:1::/:/usr/sbin/nologin", "d").unwrap();
        assert_eq!(user.working_shell(), PathBuf::from("/bin/sh"));
    }
}
