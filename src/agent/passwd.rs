//! The user that the agent runs as, from passwd(5), or by `getent` where users come from elsewhere.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// One user of the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The login name.
    pub name: String,
    /// The home directory.
    pub home: String,
    /// The login shell; `/bin/sh` if the entry names none.
    pub shell: PathBuf,
}

/// The user of this process.
pub fn own_user() -> Option<User> {
    let uid = rustix::process::geteuid().as_raw();
    find(&fs::read_to_string("/etc/passwd").unwrap_or_default(), uid).or_else(|| {
        let found = Command::new("getent").args(["passwd", &uid.to_string()]).output().ok()?;
        find(&String::from_utf8_lossy(&found.stdout), uid)
    })
}

fn find(passwd: &str, uid: u32) -> Option<User> {
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, number, _, _, home, shell] = fields[..] else { return None };
        let shell = if shell.is_empty() { "/bin/sh" } else { shell };
        (number.parse() == Ok(uid)).then(|| User { name: name.into(), home: home.into(), shell: shell.into() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_number() {
        let text = "# comment\nroot:x:0:0:root:/root:/bin/bash\nweb:x:33:33::/var/www:\n";
        let root = User { name: "root".into(), home: "/root".into(), shell: "/bin/bash".into() };
        assert_eq!(find(text, 0), Some(root));
        assert_eq!(find(text, 33).unwrap().shell, PathBuf::from("/bin/sh"));
        assert_eq!(find(text, 7), None);
        assert!(own_user().is_some());
    }
}
