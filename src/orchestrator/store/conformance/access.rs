//! What every store must do with users, roles and tokens.

use std::time::Duration;

use super::{Open, at};
use crate::limits::TOKEN_KEPT;
use crate::orchestrator::rbac::permission::{Action, Grant};
use crate::orchestrator::rbac::roles::Role;
use crate::orchestrator::store::access::{AccessChange, Reset, Token, User};
use crate::orchestrator::store::{Change, Store, StoreError};

/// Runs this part of the suite on data without users.
pub fn run(open: Open<'_>) {
    users_and_roles(open);
    logins_and_passwords(open);
    tokens(open);
}

fn change(store: &dyn Store, changes: Vec<AccessChange>) -> Result<(), StoreError> {
    store.commit(changes.into_iter().map(Change::Access).collect())
}

fn user(id: &str, login: &str, role_ids: &[i64]) -> User {
    User {
        id: id.into(),
        login: login.into(),
        password_hash: "hash".into(),
        display_name: "Ada".into(),
        email: "ada@example.com".into(),
        is_superuser: true,
        is_revoked: false,
        last_login: None,
        failed_logins: 0,
        last_failed: None,
        reset: None,
        role_ids: role_ids.into(),
    }
}

fn role(id: i64, name: &str) -> Role {
    let permissions = vec![Grant::new(Action::TasksRun, "package")];
    Role { id, display_name: name.into(), description: "d".into(), permissions }
}

fn token(hash: u8, label: Option<&str>, created: i64, expires: i64) -> Token {
    Token {
        hash: [hash; 32],
        user_id: "u1".into(),
        label: label.map(str::to_owned),
        description: "d".into(),
        client: "c".into(),
        created: at(created),
        expires: at(expires),
        last_active: at(created),
        timeout: Some(Duration::from_secs(60)),
        revoked: None,
    }
}

fn users_and_roles(open: Open<'_>) {
    let store = open();
    let roles = [role(1, "one"), role(5, "five")];
    change(&*store, roles.iter().cloned().map(AccessChange::RoleSet).collect()).unwrap();
    change(&*store, vec![AccessChange::RoleAdded(role(0, "new"))]).unwrap();
    let ada = user("u1", "ada", &[1, 5]);
    change(&*store, vec![AccessChange::UserAdded(ada.clone())]).unwrap();
    let refused = |changes| change(&*store, changes).unwrap_err();
    let conflict = |error| matches!(error, StoreError::Conflict(_));
    assert!(conflict(refused(vec![AccessChange::UserAdded(user("u2", "ada", &[]))])));
    assert!(conflict(refused(vec![AccessChange::RoleAdded(role(0, "one"))])));
    assert!(conflict(refused(vec![AccessChange::RoleSet(role(5, "one"))])));
    for missing in [
        AccessChange::UserAdded(user("u2", "bob", &[99])),
        AccessChange::UserEdited(user("u9", "bob", &[])),
        AccessChange::UserRemoved("u9".into()),
        AccessChange::RoleRemoved(99),
        AccessChange::MembersSet { role: 5, users: vec!["u9".into()] },
    ] {
        assert!(matches!(refused(vec![missing.clone()]), StoreError::Missing(_)), "{missing:?}");
    }
    drop(store);
    let store = open();
    assert_eq!(store.user("ada").unwrap().as_ref(), Some(&ada));
    assert_eq!(store.user_by_id("u1").unwrap(), Some(ada.clone()));
    assert_eq!((store.user("bob").unwrap(), store.user_by_id("ada").unwrap()), (None, None));
    assert_eq!(store.roles().unwrap(), [role(1, "one"), role(5, "five"), role(6, "new")]);
    let bob = user("u2", "bob", &[]);
    change(&*store, vec![AccessChange::UserAdded(bob.clone())]).unwrap();
    change(&*store, vec![AccessChange::MembersSet { role: 5, users: vec!["u2".into()] }]).unwrap();
    let names =
        |user: &str| store.roles_of(user).unwrap().into_iter().map(|role| role.display_name).collect::<Vec<_>>();
    assert_eq!((names("u1"), names("u2"), names("u9")), (vec!["one".into()], vec!["five".into()], vec![]));
    let with = |user: &User, role_ids: &[i64]| User { role_ids: role_ids.into(), ..user.clone() };
    assert_eq!(store.users().unwrap(), [with(&ada, &[1]), with(&bob, &[5])]);
    let edited = User { login: "eve".into(), is_revoked: true, ..with(&bob, &[1, 6]) };
    change(&*store, vec![AccessChange::UserEdited(edited.clone()), AccessChange::RoleRemoved(6)]).unwrap();
    assert_eq!(store.user("eve").unwrap(), Some(with(&edited, &[1])));
    change(&*store, vec![AccessChange::RoleAdded(role(0, "newer"))]).unwrap();
    assert_eq!(store.roles().unwrap().last().unwrap().id, 7, "no number is used twice");
    change(&*store, vec![AccessChange::UserRemoved("u2".into())]).unwrap();
    assert_eq!(store.users().unwrap().len(), 1);
}

fn logins_and_passwords(open: Open<'_>) {
    let store = open();
    let failed = || AccessChange::LoginFailed { user: "u1".into(), at: at(5), old_at: None };
    change(&*store, vec![failed(), failed()]).unwrap();
    let now = || store.user("ada").unwrap().unwrap();
    assert_eq!((now().failed_logins, now().last_login), (2, None));
    change(&*store, vec![AccessChange::LoggedIn { user: "u1".into(), at: at(7) }, failed()]).unwrap();
    assert_eq!((now().failed_logins, now().last_login), (1, Some(at(7))));
    let later = |old_at| AccessChange::LoginFailed { user: "u1".into(), at: at(9), old_at: Some(at(old_at)) };
    change(&*store, vec![later(4)]).unwrap();
    assert_eq!((now().failed_logins, now().last_failed), (2, Some(at(9))));
    change(&*store, vec![failed(), later(5), later(5)]).unwrap();
    assert_eq!((now().failed_logins, now().last_failed), (2, Some(at(9))), "only the first of two finds it old");
    change(&*store, vec![AccessChange::Unlocked { user: "u1".into() }]).unwrap();
    assert_eq!(now().failed_logins, 0);
    let reset = Reset { hash: [9; 32], expires: at(99) };
    change(&*store, vec![AccessChange::ResetOffered { user: "u1".into(), reset }, failed()]).unwrap();
    assert_eq!(store.user_by_reset(&[9; 32]).unwrap().unwrap().reset, Some(reset));
    assert_eq!(store.user_by_reset(&[8; 32]).unwrap(), None);
    change(&*store, vec![AccessChange::PasswordSet { user: "u1".into(), hash: "new".into() }]).unwrap();
    assert_eq!((now().password_hash.as_str(), now().failed_logins, now().reset), ("new", 0, None));
    assert_eq!(store.user_by_reset(&[9; 32]).unwrap(), None);
}

fn tokens(open: Open<'_>) {
    let store = open();
    let issue = |token: Token| change(&*store, vec![AccessChange::TokenIssued(token)]);
    let found = |hash: u8| store.token(&[hash; 32]).unwrap().map(|(token, _)| token);
    issue(token(1, Some("ci"), 100, 200)).unwrap();
    let (first, owner) = store.token(&[1; 32]).unwrap().unwrap();
    assert_eq!((first, owner.login.as_str()), (token(1, Some("ci"), 100, 200), "ada"));
    assert!(matches!(issue(token(2, Some("ci"), 150, 250)), Err(StoreError::Conflict(_))));
    issue(token(2, Some("ci"), 200, 300)).unwrap();
    assert_eq!(found(1), None, "a label of a token that has expired is free");
    change(&*store, vec![AccessChange::TokenUsed { hash: [2; 32], at: at(250) }]).unwrap();
    change(&*store, vec![AccessChange::TokenUsed { hash: [2; 32], at: at(240) }]).unwrap();
    assert_eq!(found(2).unwrap().last_active, at(250));
    change(&*store, vec![AccessChange::TokenRevoked { hash: [2; 32], at: at(260) }]).unwrap();
    change(&*store, vec![AccessChange::TokenRevoked { hash: [2; 32], at: at(270) }]).unwrap();
    assert_eq!(found(2).unwrap().revoked, Some(at(260)));
    issue(token(3, Some("ci"), 270, 10_000_000_000)).unwrap();
    issue(token(4, None, 270, 10_000_000_000)).unwrap();
    issue(token(5, None, 270, 300)).unwrap();
    let revoked = |label: Option<&str>| AccessChange::TokensRevoked {
        user: "u1".into(),
        label: label.map(str::to_owned),
        at: at(280),
    };
    change(&*store, vec![revoked(Some("ci"))]).unwrap();
    assert_eq!((found(3).unwrap().revoked, found(4).unwrap().revoked), (Some(at(280)), None));
    let later = 400 + i64::try_from(TOKEN_KEPT.as_millis()).unwrap();
    issue(token(6, None, later, later + 1)).unwrap();
    assert!(found(3).is_some() && found(5).is_some(), "a login removes nothing");
    let dead = |limit| store.dead_tokens(at(400), limit).unwrap();
    assert_eq!((dead(1).len(), dead(9).len()), (1, 2), "3 was revoked, 5 has expired");
    change(&*store, vec![AccessChange::TokensForgotten(dead(9))]).unwrap();
    assert_eq!((found(2), found(3), found(5), dead(9)), (None, None, None, vec![]));
    change(&*store, vec![revoked(None)]).unwrap();
    assert_eq!((found(4).unwrap().revoked, found(6).unwrap().revoked), (Some(at(280)), Some(at(280))));
    change(&*store, vec![AccessChange::UserRemoved("u1".into())]).unwrap();
    assert_eq!(found(4), None);
}
