//! Users, roles and tokens over a real store.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use argon2::{Algorithm, Params, Version};
use tempfile::TempDir;

use super::nodes::NodeSets;
use super::permission::EVERY;
use super::users::{RoleFields, UserFields, UserStanding};
use super::*;
use crate::orchestrator::model::Scope;
use crate::orchestrator::store::sqlite::SqliteStore;
use crate::orchestrator::tests::settings;

/// Hashes that cost nothing.
pub fn cheap() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8, 1, 1, None).unwrap())
}

struct World {
    dir: TempDir,
    rbac: Rbac,
    password: String,
}

impl World {
    fn new() -> Self {
        Self::open(tempfile::tempdir().unwrap())
    }

    fn open(dir: TempDir) -> Self {
        let store = Arc::new(SqliteStore::open(dir.path()).unwrap());
        let rbac = Rbac::with_argon2(store, &settings(dir.path()), cheap()).unwrap();
        let password = fs::read_to_string(dir.path().join("admin-password")).unwrap().trim().to_owned();
        Self { dir, rbac, password }
    }

    fn again(self) -> Self {
        let Self { dir, rbac, .. } = self;
        drop(rbac);
        Self::open(dir)
    }

    fn login(&self, login: &str, password: &str) -> Result<String, AuthError> {
        self.rbac.login(login, password, &TokenRequest::default()).map_err(|refused| refused.error)
    }

    fn admin(&self) -> Subject {
        self.rbac.authenticate(&self.login("admin", &self.password).unwrap()).unwrap()
    }

    /// A user with one role that has these permissions.
    fn user(&self, login: &str, permissions: Vec<Grant>) -> Subject {
        let admin = self.admin();
        let role = RoleFields { display_name: format!("role of {login}"), permissions, ..RoleFields::default() };
        let role = self.rbac.add_role(&admin, role).unwrap();
        let fields = fields(login, &[role.id]);
        subject(self.rbac.add_user(&admin, fields, Some("correct horse")).unwrap())
    }
}

fn fields(login: &str, role_ids: &[i64]) -> UserFields {
    UserFields { login: login.into(), display_name: login.into(), email: String::new(), role_ids: role_ids.into() }
}

fn kind<T: std::fmt::Debug>(outcome: Result<T, AccessError>) -> AccessKind {
    outcome.unwrap_err().kind
}

#[test]
fn the_first_start_creates_admin_and_the_roles_once() {
    let world = World::new();
    let mode = fs::metadata(world.dir.path().join("admin-password")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let token = world.login("admin", &world.password).unwrap();
    assert_eq!(token.len(), 64);
    world.rbac.remove_role(&world.admin(), 4).unwrap();
    let password = world.password.clone();
    let world = world.again();
    assert_eq!(world.password, password);
    let subject = world.rbac.authenticate(&token).unwrap();
    assert!(subject.is_superuser && subject.last_login.is_some() && subject.role_ids == [1]);
    let ids: Vec<i64> = world.rbac.roles().unwrap().iter().map(|role| role.id).collect();
    assert_eq!(ids, [1, 2, 3, 5], "what was removed does not come back");
}

#[test]
fn wrong_logins_and_tokens_are_refused() {
    let world = World::new();
    for (login, password) in [("admin", "wrong"), ("nobody", world.password.as_str()), ("admin", &"x".repeat(2000))] {
        assert_eq!(world.login(login, password), Err(AuthError::WrongCredentials));
    }
    assert_eq!(world.rbac.authenticate("nonsense"), Err(AuthError::InvalidToken));
    let token = world.login("admin", &world.password).unwrap();
    world.rbac.revoke(&token).unwrap();
    assert_eq!(world.rbac.authenticate(&token), Err(AuthError::TokenRevoked));
    let ada = world.user("ada", vec![]);
    let token = world.login("ada", "correct horse").unwrap();
    let revoked = UserStanding { is_revoked: Some(true), unlock: false };
    world.rbac.edit_user(&world.admin(), &ada.id, fields("ada", &ada.role_ids), revoked).unwrap();
    assert_eq!(world.rbac.authenticate(&token), Err(AuthError::UserRevoked));
    assert_eq!(world.login("ada", "correct horse"), Err(AuthError::UserRevoked));
    assert_eq!(world.login("ada", "wrong horse"), Err(AuthError::WrongCredentials));
}

#[test]
fn lives_follow_the_rules() {
    let world = World::new();
    let rbac = &world.rbac;
    let issue = |wanted: TokenRequest| rbac.login("admin", &world.password, &wanted).unwrap();
    let life = |lifetime: Option<Duration>| {
        let text = issue(TokenRequest { lifetime, ..TokenRequest::default() });
        let (token, _) = rbac.store.token(&sha256(&text)).unwrap().unwrap();
        Duration::from_millis((token.expires.as_millis() - token.created.as_millis()).unsigned_abs())
    };
    assert_eq!(life(None), rbac.settings.token_lifetime);
    assert_eq!(life(Some(Duration::ZERO)), rbac.settings.token_lifetime_max);
    assert_eq!(life(Some(Duration::from_secs(7))), Duration::from_secs(7));
    assert_eq!(life(Some(Duration::MAX)), rbac.settings.token_lifetime_max);
    let token = issue(TokenRequest { lifetime: Some(Duration::from_nanos(1)), ..TokenRequest::default() });
    assert_eq!(rbac.authenticate(&token), Err(AuthError::TokenExpired));
    let token = issue(TokenRequest { timeout: Some(Duration::ZERO), ..TokenRequest::default() });
    assert_eq!(rbac.authenticate(&token), Err(AuthError::TokenTimedOut));
    let token = issue(TokenRequest { timeout: Some(Duration::from_secs(60)), ..TokenRequest::default() });
    assert!(rbac.authenticate(&token).is_ok());
}

#[test]
fn a_label_is_one_token_s_until_it_is_revoked() {
    let world = World::new();
    let labelled = TokenRequest { label: Some("ci".into()), ..TokenRequest::default() };
    let login = || world.rbac.login("admin", &world.password, &labelled).map_err(|refused| refused.error);
    let first = login().unwrap();
    let Err(AuthError::NotIssued(why)) = login() else { panic!("two tokens have one label") };
    assert!(why.contains("\"ci\""), "{why}");
    let admin = world.admin();
    world.rbac.revoke_of(&admin.id, Some("other")).unwrap();
    assert!(world.rbac.authenticate(&first).is_ok());
    world.rbac.revoke_of(&admin.id, Some("ci")).unwrap();
    assert_eq!(world.rbac.authenticate(&first), Err(AuthError::TokenRevoked));
    let second = login().unwrap();
    let other = world.rbac.issue_token(&admin, &TokenRequest::default()).unwrap();
    world.rbac.revoke_of(&admin.id, None).unwrap();
    for token in [second, other] {
        assert_eq!(world.rbac.authenticate(&token), Err(AuthError::TokenRevoked));
    }
}

#[test]
fn wrong_passwords_lock_a_user_and_nobody_else() {
    let world = World::new();
    let ada = world.user("ada", vec![]);
    let token = world.login("ada", "correct horse").unwrap();
    let most = world.rbac.settings.failed_logins_max;
    for _ in 1..most {
        assert_eq!(world.login("ada", "wrong"), Err(AuthError::WrongCredentials));
    }
    world.login("ada", "correct horse").unwrap();
    for _ in 0..most {
        assert_eq!(world.login("ada", "wrong"), Err(AuthError::WrongCredentials), "they count in a row only");
    }
    assert_eq!(world.login("ada", "correct horse"), Err(AuthError::Locked));
    assert!(world.rbac.authenticate(&token).is_ok(), "guessing takes nobody's tokens away");
    let world = world.again();
    assert_eq!(world.login("ada", "correct horse"), Err(AuthError::Locked), "it holds over a restart");
    let admin = world.admin();
    let unlock = UserStanding { is_revoked: Some(false), unlock: true };
    world.rbac.edit_user(&admin, &ada.id, fields("ada", &ada.role_ids), unlock).unwrap();
    assert!(world.login("ada", "correct horse").is_ok());
}

#[test]
fn permissions_come_from_roles_as_they_are_now() {
    let world = World::new();
    let ada = world.user("ada", vec![Grant::new(Action::TasksRun, "package")]);
    let permit = |action, instance: &str| world.rbac.permit(&ada, action, instance).is_ok();
    assert!(permit(Action::TasksRun, "package") && !permit(Action::TasksRun, "package::x"));
    assert!(!permit(Action::OrchestratorView, EVERY));
    let admin = world.admin();
    assert!(world.rbac.permit(&admin, Action::OrchestratorView, EVERY).is_ok());
    let role = RoleFields {
        display_name: "viewers".into(),
        permissions: vec![Grant::new(Action::OrchestratorView, EVERY)],
        ..RoleFields::default()
    };
    world.rbac.edit_role(&admin, ada.role_ids[0], role).unwrap();
    assert!(permit(Action::OrchestratorView, EVERY) && !permit(Action::TasksRun, "package"));
    let refusal = world.rbac.permit(&ada, Action::PuppetAgentRun, EVERY).unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::NotPermitted);
    assert!(refusal.message.contains("puppet_agent:run:*"), "{}", refusal.message);
    world.rbac.remove_role(&admin, ada.role_ids[0]).unwrap();
    assert!(!permit(Action::OrchestratorView, EVERY));
}

/// `web` is w1 and w2, `db` cannot be evaluated, task target 7 is the task `service` on d1.
struct Sets;

impl NodeSets for Sets {
    fn scope(&self, scope: &Scope) -> Result<Vec<String>, Refusal> {
        match scope {
            Scope::Nodes(names) => Ok(names.clone()),
            Scope::NodeGroup(group) if group == "web" => Ok(vec!["w1".into(), "w2".into()]),
            Scope::NodeGroup(group) if group == "empty" => Err(Refusal::new(RefusalKind::EmptyTarget, "nobody")),
            _ => Err(Refusal::new(RefusalKind::QueryError, "no such group")),
        }
    }

    fn task_target(&self, number: i64, task: &str) -> Result<Option<Vec<String>>, Refusal> {
        Ok(((number, task) == (7, "service")).then(|| vec!["d1".into()]))
    }
}

#[test]
fn nodes_out_of_reach_are_left_out() {
    let world = World::new();
    let limited = |instance: &str, group: &str| Grant {
        scope: Some(Scope::NodeGroup(group.into())),
        ..Grant::new(Action::TasksRun, instance)
    };
    let ada = world.user("ada", vec![limited("package", "web"), Grant::new(Action::TasksRun, "7")]);
    let run = |who: &Subject, task: &str, names: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        world.rbac.permitted_nodes(who, task, names, &Sets)
    };
    assert_eq!(run(&ada, "package", &["d1", "w2", "x", "w1"]).unwrap(), ["w2", "w1"]);
    assert_eq!(run(&ada, "service", &["d1", "w1"]).unwrap(), ["d1"]);
    assert_eq!(run(&ada, "package", &["d1"]).unwrap_err().kind, RefusalKind::NotPermitted);
    assert_eq!(run(&ada, "packages", &["w1"]).unwrap_err().kind, RefusalKind::NotPermitted);
    assert_eq!(run(&world.admin(), "anything", &["d1"]).unwrap(), ["d1"]);
    let eve = world.user("eve", vec![limited("*", "web"), limited("*", "db"), limited("*", "empty")]);
    assert_eq!(run(&eve, "package", &["w1"]).unwrap(), ["w1"], "what is not needed is not missed");
    let refusal = run(&eve, "package", &["w1", "d1"]).unwrap_err();
    assert!(refusal.message.contains("cannot be evaluated: no such group"), "{}", refusal.message);
    assert!(world.rbac.permit_scope(&ada, &Scope::Nodes(vec![])).is_ok());
    let query = world.rbac.permit_scope(&ada, &Scope::Query("nodes {}".into())).unwrap_err();
    assert_eq!(query.kind, RefusalKind::QueryError);
    let group = world.rbac.permit_scope(&ada, &Scope::NodeGroup("web".into())).unwrap_err();
    assert_eq!(group.kind, RefusalKind::NotPermitted);
}

#[test]
fn nobody_gets_more_than_he_has() {
    let world = World::new();
    let (rbac, admin) = (&world.rbac, world.admin());
    let everything = Action::ALL.iter().filter(|action| **action != Action::PlansRun);
    let deputy = world.user("deputy", everything.map(|action| Grant::new(*action, EVERY)).collect());
    assert!(!deputy.is_superuser);
    let keep = UserStanding::default();
    assert_eq!(kind(rbac.add_user(&deputy, fields("mole", &[1]), None)), AccessKind::PermissionDenied);
    let own = fields("deputy", &[deputy.role_ids[0], 1]);
    assert_eq!(kind(rbac.edit_user(&deputy, &deputy.id, own, keep)), AccessKind::PermissionDenied);
    assert_eq!(kind(rbac.offer_reset(&deputy, &admin.id)), AccessKind::PermissionDenied);
    assert_eq!(kind(rbac.remove_user(&deputy, &admin.id)), AccessKind::PermissionDenied);
    assert_eq!(kind(rbac.edit_user(&deputy, &admin.id, fields("x", &[1]), keep)), AccessKind::PermissionDenied);
    let role = |action| RoleFields {
        display_name: format!("{action:?}"),
        permissions: vec![Grant::new(action, EVERY)],
        ..RoleFields::default()
    };
    assert_eq!(kind(rbac.add_role(&deputy, role(Action::PlansRun))), AccessKind::PermissionDenied);
    let made = rbac.add_role(&deputy, role(Action::TasksRun)).unwrap();
    assert_eq!(kind(rbac.edit_role(&deputy, made.id, role(Action::PlansRun))), AccessKind::PermissionDenied);
    let members = RoleFields { members: Some(vec![deputy.id.clone()]), ..role(Action::TasksRun) };
    assert_eq!(rbac.edit_role(&deputy, made.id, members).unwrap().id, made.id);
    let administrators = rbac.role(1).unwrap();
    let all = RoleFields {
        display_name: administrators.display_name,
        description: administrators.description,
        permissions: administrators.permissions,
        members: Some(vec![admin.id.clone(), deputy.id.clone()]),
    };
    assert_eq!(kind(rbac.edit_role(&deputy, 1, all.clone())), AccessKind::PermissionDenied);
    rbac.edit_role(&admin, 1, all).unwrap();
    assert!(subject(rbac.user(&deputy.id).unwrap()).is_superuser);
}

#[test]
fn the_first_user_and_the_first_role_stay() {
    let world = World::new();
    let (rbac, admin) = (&world.rbac, world.admin());
    let keep = UserStanding::default();
    let revoked = UserStanding { is_revoked: Some(true), unlock: false };
    let edit = |fields, standing| kind(rbac.edit_user(&admin, &admin.id, fields, standing));
    for outcome in [
        edit(fields("admin", &[1]), revoked),
        edit(fields("root", &[1]), keep),
        edit(fields("admin", &[]), keep),
        kind(rbac.remove_user(&admin, &admin.id)),
        kind(rbac.remove_role(&admin, 1)),
        kind(rbac.edit_role(&admin, 1, RoleFields { display_name: "A".into(), ..RoleFields::default() })),
    ] {
        assert_eq!(outcome, AccessKind::AdminUserImmutable);
    }
    let named = UserFields { display_name: "Root".into(), ..fields("admin", &[1]) };
    assert_eq!(rbac.edit_user(&admin, &admin.id, named, keep).unwrap().display_name, "Root");
}

#[test]
fn bad_users_and_roles_are_refused() {
    let world = World::new();
    let (rbac, admin) = (&world.rbac, world.admin());
    let add = |login: &str, roles: &[i64], password: &str| {
        rbac.add_user(&admin, fields(login, roles), Some(password)).map_err(|error| error.kind)
    };
    let (good, long) = ("correct horse", "x".repeat(201));
    assert_eq!(add("admin", &[], good), Err(AccessKind::Conflict));
    assert_eq!(add("api_user", &[], good), Err(AccessKind::Conflict));
    assert_eq!(add("ada", &[99], good), Err(AccessKind::InvalidAssociatedId));
    for (login, password) in [("", good), ("a b", good), ("a\n", good), (&long, good), ("ada", "short")] {
        assert_eq!(add(login, &[], password), Err(AccessKind::SchemaViolation), "{login:?}");
    }
    assert_eq!(rbac.users().unwrap().len(), 1);
    assert_eq!(kind(rbac.user("x")), AccessKind::InvalidUuid);
    assert_eq!(kind(rbac.user("2f6c1a52-7f6d-4d5c-8b43-0d0f8f0b1a11")), AccessKind::NotFound);
    let role = |name: &str| RoleFields { display_name: name.into(), ..RoleFields::default() };
    assert_eq!(kind(rbac.add_role(&admin, role("Operators"))), AccessKind::Conflict);
    assert_eq!(kind(rbac.add_role(&admin, role(" "))), AccessKind::SchemaViolation);
    let strangers = RoleFields { members: Some(vec!["nobody".into()]), ..role("new") };
    assert_eq!(kind(rbac.add_role(&admin, strangers)), AccessKind::InvalidAssociatedId);
    assert_eq!(rbac.roles().unwrap().len(), 5, "nothing is left of what was refused");
}

#[test]
fn passwords_are_changed_and_reset() {
    let world = World::new();
    let (rbac, admin, ada) = (&world.rbac, world.admin(), world.user("ada", vec![]));
    assert_eq!(kind(rbac.change_password(&ada, "wrong", "another horse")), AccessKind::WrongPassword);
    assert_eq!(kind(rbac.change_password(&ada, "correct horse", "short")), AccessKind::SchemaViolation);
    rbac.change_password(&ada, "correct horse", "another horse").unwrap();
    let token = world.login("ada", "another horse").unwrap();
    assert_eq!(world.login("ada", "correct horse"), Err(AuthError::WrongCredentials));
    assert_eq!(kind(rbac.offer_reset(&ada, &ada.id)), AccessKind::PermissionDenied);
    let secret = rbac.offer_reset(&admin, &ada.id).unwrap();
    assert_eq!(kind(rbac.take_reset("guess", "third horse")), AccessKind::PermissionDenied);
    rbac.take_reset(&secret, "third horse").unwrap();
    assert_eq!(kind(rbac.take_reset(&secret, "fourth horse")), AccessKind::PermissionDenied, "it is good once");
    assert_eq!(rbac.authenticate(&token), Err(AuthError::TokenRevoked));
    assert!(world.login("ada", "third horse").is_ok());
}

#[test]
fn a_lock_ends_by_itself_and_begins_anew() {
    let mut world = World::new();
    world.user("ada", vec![]);
    let most = world.rbac.settings.failed_logins_max;
    for _ in 0..most {
        assert_eq!(world.login("ada", "wrong"), Err(AuthError::WrongCredentials));
    }
    assert_eq!(world.login("ada", "correct horse"), Err(AuthError::Locked));
    world.rbac.settings.lockout = None;
    assert_eq!(world.login("ada", "correct horse"), Err(AuthError::Locked), "until somebody ends it");
    // The time is over.
    world.rbac.settings.lockout = Some(Duration::ZERO);
    assert_eq!(world.login("ada", "wrong"), Err(AuthError::WrongCredentials));
    assert_eq!(world.rbac.user_by_login("ada").unwrap().unwrap().failed_logins, 1);
    world.rbac.settings.lockout = Some(Duration::from_secs(900));
    assert!(world.login("ada", "correct horse").is_ok());
}

#[test]
fn members_count_once() {
    let world = World::new();
    let admin = world.admin();
    let ada = world.user("ada", vec![Grant::new(Action::UserRolesEdit, EVERY)]);
    let id = ada.role_ids[0];
    let fields = |display_name: &str| RoleFields {
        display_name: display_name.into(),
        permissions: world.rbac.role(id).unwrap().permissions,
        members: Some(vec![ada.id.clone(), ada.id.clone()]),
        ..RoleFields::default()
    };
    // Nobody new is in it, so it takes no permission to give the role to anybody.
    world.rbac.edit_role(&ada, id, fields("new name")).unwrap();
    let role = world.rbac.add_role(&admin, fields("twice")).unwrap();
    assert_eq!(world.rbac.user(&ada.id).unwrap().role_ids, [id, role.id]);
}

#[test]
fn two_who_change_one_user_at_once_take_nothing_back() {
    let world = World::new();
    let (rbac, admin) = (&world.rbac, world.admin());
    let ada = world.user("ada", vec![]);
    for round in 0..40 {
        let name = format!("Ada {round}");
        let start = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                let revoked = UserStanding { is_revoked: Some(true), unlock: false };
                // Whoever reads a name that is changed meanwhile writes the old one; only the revocation counts here.
                rbac.edit_user(&admin, &ada.id, fields("ada", &ada.role_ids), revoked).unwrap();
            });
            scope.spawn(|| {
                start.wait();
                let renamed = UserFields { display_name: name.clone(), ..fields("ada", &ada.role_ids) };
                rbac.edit_user(&admin, &ada.id, renamed, UserStanding::default()).unwrap();
            });
        });
        assert!(rbac.user(&ada.id).unwrap().is_revoked, "round {round}: a revocation was taken back");
        let reinstated = UserStanding { is_revoked: Some(false), unlock: false };
        rbac.edit_user(&admin, &ada.id, fields("ada", &ada.role_ids), reinstated).unwrap();
    }
}

#[test]
fn a_user_is_rescued_on_the_host() {
    let world = World::new();
    let most = world.rbac.settings.failed_logins_max;
    for _ in 0..most {
        assert!(world.login("admin", "wrong").is_err());
    }
    assert_eq!(world.login("admin", &world.password), Err(AuthError::Locked));
    let World { dir, rbac, .. } = world;
    drop(rbac);
    let store = SqliteStore::open(dir.path()).unwrap();
    assert_eq!(kind(users::rescue(&store, "nobody", "correct horse")), AccessKind::NotFound);
    users::rescue(&store, "admin", "correct horse").unwrap();
    drop(store);
    assert!(World::open(dir).login("admin", "correct horse").is_ok());
}
