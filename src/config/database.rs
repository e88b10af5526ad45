//! The database of `podium server`: SQLite below the data directory unless `orchestrator.database` names a PostgreSQL. Its
//! address is that of libpq, `postgresql://user@host:port/name`, except that TLS is either off or verified in full.

use std::path::PathBuf;

use super::reader::Reader;

const DATABASE: &str = "orchestrator.database";
const PASSWORD_FILE: &str = "orchestrator.database-password-file";

/// A PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseSettings {
    /// Without password and without what is said of TLS.
    pub url: String,
    /// How the server is told from somebody else.
    pub tls: DatabaseTls,
    /// Holds the password, and perhaps a line end after it.
    pub password_file: Option<PathBuf>,
}

/// TLS to the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseTls {
    /// None: for a socket on this host.
    Off,
    /// The server's certificate must be valid for its name and from the authorities of this server's own certificates.
    Own,
    /// The same with the authorities of a file.
    Authorities(PathBuf),
}

/// What the configuration says of it.
pub fn database(reader: &mut Reader<'_>) -> Option<DatabaseSettings> {
    let password_file = reader.file(PASSWORD_FILE);
    let Some(text) = reader.text(DATABASE) else {
        if password_file.is_some() {
            reader.warn(PASSWORD_FILE, format!("has no effect without {DATABASE}"));
        }
        return None;
    };
    match parse(&text) {
        Ok((url, tls)) => Some(DatabaseSettings { url, tls, password_file }),
        Err(problem) => {
            reader.fail(DATABASE, problem);
            None
        }
    }
}

/// The address without what we do ourselves. Nothing of it is in the problem: it may hold a password.
fn parse(text: &str) -> Result<(String, DatabaseTls), String> {
    if !text.starts_with("postgresql://") && !text.starts_with("postgres://") {
        return Err("must start with postgresql://, as postgresql://podium@db.example.com/podium".to_owned());
    }
    let (address, query) = text.split_once('?').unwrap_or((text, ""));
    let (mut mode, mut root, mut rest) = (None, None, Vec::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=').unwrap_or((pair, "")) {
            ("sslmode", value) => mode = Some(value),
            ("sslrootcert", value) => root = Some(PathBuf::from(percent_decoded(value)?)),
            ("password", _) => return Err(no_password()),
            _ => rest.push(pair),
        }
    }
    let url = if rest.is_empty() { address.to_owned() } else { format!("{address}?{}", rest.join("&")) };
    let config: tokio_postgres::Config = url.parse().map_err(|error: tokio_postgres::Error| {
        let cause = std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
        format!("is no address of a PostgreSQL database{cause}")
    })?;
    if config.get_password().is_some() {
        return Err(no_password());
    }
    let names = [(config.get_user(), "user"), (config.get_dbname(), "database")];
    if let Some((_, what)) = names.iter().find(|(name, _)| name.is_none_or(str::is_empty)) {
        return Err(format!("names no {what}; give postgresql://<user>@<host>/<database>"));
    }
    let is_socket = |host: &tokio_postgres::config::Host| matches!(host, tokio_postgres::config::Host::Unix(_));
    if config.get_hosts().is_empty() {
        return Err("names no host; give one, or the directory of a socket as ?host=/run/postgresql".to_owned());
    }
    let is_local = config.get_hosts().iter().all(is_socket);
    match (mode, root) {
        (Some("disable"), None) => Ok((url, DatabaseTls::Off)),
        (None, None) if is_local => Ok((url, DatabaseTls::Off)),
        (Some("verify-full") | None, _) if is_local => {
            Err("asks for TLS on a socket of this host, which has none; leave sslmode and sslrootcert out".to_owned())
        }
        (Some("verify-full") | None, None) => Ok((url, DatabaseTls::Own)),
        (Some("verify-full") | None, Some(root)) if root.is_file() => Ok((url, DatabaseTls::Authorities(root))),
        (Some("verify-full") | None, Some(root)) => {
            Err(format!("sslrootcert names {}, which is no file that can be read", root.display()))
        }
        (Some(_), _) => Err("has an sslmode that is neither verify-full (the default) nor disable; others can be \
                             listened to or answered by anybody"
            .to_owned()),
    }
}

fn no_password() -> String {
    format!(
        "has a password, which anybody would see who sees the configuration; put it in a file of mode 0600 and name \
             that in {PASSWORD_FILE}"
    )
}

fn percent_decoded(text: &str) -> Result<String, String> {
    crate::percent::decode(text).ok_or_else(|| "sslrootcert is no text with %-escapes".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_verified_or_off() {
        let found = |text: &str| parse(text).map(|(url, tls)| (url.replace("postgresql://u@", ""), tls));
        let of = |url: &str, tls| Ok((url.to_owned(), tls));
        assert_eq!(found("postgresql://u@db/p"), of("db/p", DatabaseTls::Own));
        assert_eq!(found("postgresql://u@db:5433/p?sslmode=verify-full"), of("db:5433/p", DatabaseTls::Own));
        assert_eq!(found("postgresql://u@db/p?sslmode=disable"), of("db/p", DatabaseTls::Off));
        assert_eq!(found("postgresql://u@/p?host=/run/x"), of("/p?host=/run/x", DatabaseTls::Off));
        let root = tempfile::NamedTempFile::new().unwrap();
        let path = root.path().display().to_string();
        let with_root = found(&format!("postgresql://u@a,b/p?sslrootcert={path}&application_name=x"));
        assert_eq!(with_root, of("a,b/p?application_name=x", DatabaseTls::Authorities(root.path().to_owned())));
    }

    #[test]
    fn mistakes_are_told_and_passwords_are_not() {
        for (text, expected) in [
            ("mysql://db/p", "must start with postgresql://"),
            ("postgresql://u:hunter2@db/p", "has a password"),
            ("postgresql://u@db/p?password=hunter2", "has a password"),
            ("postgresql://db/p", "names no user"),
            ("postgresql://u@db", "names no database"),
            ("postgresql://u@/p", "names no host"),
            ("postgresql://u@db/p?sslmode=prefer", "neither verify-full"),
            ("postgresql://u@db/p?nosuch=1", "no address of a PostgreSQL database"),
            ("postgresql://u@db/p?sslrootcert=/nowhere", "/nowhere, which is no file"),
            ("postgresql://u@/p?host=/run/x&sslmode=verify-full", "socket of this host"),
        ] {
            let problem = parse(text).unwrap_err();
            assert!(problem.contains(expected) && !problem.contains("hunter2"), "{text}: {problem}");
        }
    }
}
