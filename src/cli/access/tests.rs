//! Logins, users and roles against a started server.

use std::sync::Arc;

use super::*;
use crate::api::Backend;
use crate::api::fake::{Fake, LOGIN, serve};
use crate::cli::testing::{Page, settings};
use crate::orchestrator::rbac::{TokenRequest, subject};
use crate::tls::testing::Pki;

/// With the token of `login`.
fn client(fake: &Arc<Fake>, settings: &ClientSettings, login: &str) -> Rbac {
    let user = fake.rbac().user_by_login(login).unwrap().unwrap();
    let token = fake.rbac().issue_token(&subject(user), &TokenRequest::default()).unwrap();
    write_token(&settings.token_file, &token).unwrap();
    Rbac::new(settings.clone()).unwrap()
}

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

/// What `podium access` prints, given these words.
fn access(client: &mut Rbac, words: &[&str]) -> Result<String, String> {
    let line = <Line as clap::Parser>::try_parse_from(std::iter::once(&"access").chain(words)).unwrap();
    let page = Page::default();
    let mut output = page.output();
    let outcome = match &line.arguments.command {
        Command::User(arguments) => users::run(arguments, client, &mut output),
        Command::Role(arguments) => roles::run(arguments, client, &mut output),
        other => panic!("{other:?}"),
    };
    outcome.map(|_| page.text()).map_err(|failure| failure.to_string())
}

#[test]
fn a_login_saves_the_token_or_prints_it() {
    let pki = Pki::new("ca");
    let server = serve(Fake::new(), &pki);
    let settings = settings(&pki, server.local_addr().port());
    std::fs::remove_file(&settings.token_file).unwrap();
    let mut connection = Connection::new(&settings.ca, settings.rbac.clone()).unwrap();
    let mut log_in = |print, credentials, lifetime: &str| {
        let page = Page::default();
        let (connection_flags, lifetime) = (ConnectionFlags::default(), Some(lifetime.to_owned()));
        let arguments = LoginArguments { user: None, lifetime, label: None, print, connection: connection_flags };
        let outcome = exchange(&arguments, &settings, &mut connection, credentials, &mut page.output());
        (outcome.map_err(|failure| failure.to_string()), page.text())
    };
    let (outcome, printed) = log_in(true, LOGIN, "4h");
    assert_eq!((outcome, printed.len()), (Ok(0), 65));
    assert!(!settings.token_file.exists());
    assert_eq!(log_in(false, LOGIN, "4h"), (Ok(0), String::new()));
    assert_eq!(read_token(&settings.token_file).unwrap().len(), 64);
    let refused = "The provided login and password do not match.".to_owned();
    assert_eq!(log_in(false, ("ada", "guess"), "4h"), (Err(refused), String::new()));
    let (outcome, _) = log_in(false, LOGIN, "soon");
    assert!(outcome.unwrap_err().starts_with("lifetime must be a number followed by y, d, h, m or s"));
}

#[test]
fn a_logout_ends_the_token_and_removes_it() {
    let (pki, fake) = (Pki::new("ca"), Fake::new());
    let server = serve(fake.clone(), &pki);
    let settings = settings(&pki, server.local_addr().port());
    let mut ada = client(&fake, &settings, "ada");
    assert_eq!(log_out(&mut ada).unwrap(), 0);
    assert!(!settings.token_file.exists());
    assert!(fake.rbac().authenticate(&ada.token).is_err());
    assert_eq!(log_out(&mut ada).unwrap(), 0, "once more is no mistake");
}

#[test]
fn users_and_roles_are_looked_after() {
    let (pki, fake) = (Pki::new("ca"), Fake::new());
    let server = serve(fake.clone(), &pki);
    let settings = settings(&pki, server.local_addr().port());
    let mut admin = client(&fake, &settings, "admin");
    let mut run = |words: &[&str]| access(&mut admin, words);
    let done = Ok(String::new());
    assert_eq!(
        run(&["role", "add", "Packagers", "--permission", "tasks:run:package", "--permission", "orchestrator:view"]),
        done
    );
    assert_eq!(run(&["user", "set", "ada", "--role", "Packagers", "--role", "3", "--name", "Ada L"]), done);
    let listed = run(&["user", "list"]).unwrap();
    assert!(listed.starts_with("LOGIN  NAME"), "{listed}");
    assert!(listed.contains("ada    Ada L          Viewers, Packagers  2026-03-01T09:00:00.000Z  active"), "{listed}");
    assert_eq!(run(&["user", "revoke", "ada"]), done);
    assert!(run(&["user", "list"]).unwrap().contains("revoked"));
    assert_eq!(run(&["user", "reinstate", "ada"]), done);
    assert!(!run(&["user", "list"]).unwrap().contains("revoked"));
    assert_eq!(run(&["user", "reset-password", "ada"]).unwrap().len(), 65);
    assert_eq!(run(&["role", "set", "Packagers", "--description", "d"]), done);
    let listed = run(&["role", "list"]).unwrap();
    assert!(listed.contains("6   Packagers          1        tasks:run:package, orchestrator:view:*"), "{listed}");
    assert!(run(&["role", "types"]).unwrap().contains("tasks:run "));
    assert_eq!(run(&["role", "remove", "6"]), done);
    assert_eq!(run(&["user", "remove", "ada"]), done);
    let unknown = "there is no user ada; podium access user list shows all";
    assert_eq!(run(&["user", "revoke", "ada"]).unwrap_err(), unknown);
    let refused = run(&["user", "remove", "admin"]).unwrap_err();
    assert!(refused.contains("puppetlabs.rbac/admin-user-immutable, status 403"), "{refused}");
}
