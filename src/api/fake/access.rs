//! The users of the fake, with tokens that are good and not.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use super::{LOGIN, START, TOKEN};
use crate::clock::WallTime;
use crate::orchestrator::model::Subject;
use crate::orchestrator::rbac::Rbac;
use crate::orchestrator::rbac::permission::{Action, EVERY, Grant};
use crate::orchestrator::rbac::tests::cheap;
use crate::orchestrator::store::access::{AccessChange, Token, User};
use crate::orchestrator::store::{Change, Store};
use crate::orchestrator::tests::settings;
use crate::sha256::Sha256;

/// Ada, who has the role Operators and may run tasks and plans and change node groups besides, and tokens of hers that are
/// good and not.
pub(super) fn rbac(directory: &Path, store: &Arc<dyn Store>) -> Rbac {
    let allowlist = directory.join("allowlist");
    File::create(&allowlist).unwrap();
    let mut settings = settings(&directory.join("data"));
    settings.access.certificate_allowlist = Some(allowlist);
    let rbac = Rbac::with_argon2(store.clone(), &settings, cheap()).unwrap();
    let mut operators = rbac.role(2).unwrap();
    let groups = [Action::NodeGroupsView, Action::NodeGroupsModifyChildren];
    let more = [Action::TasksRun, Action::PlansRun, Action::WebhooksManage].into_iter().chain(groups);
    operators.permissions.extend(more.map(|action| Grant::new(action, EVERY)));
    let Subject { id, login, display_name, email, role_ids, .. } = ada();
    let last_login = Some(WallTime::from_millis(1_772_355_600_000));
    let password_hash = rbac.passwords().hash(LOGIN.1).unwrap();
    let user = User {
        id,
        login,
        password_hash,
        display_name,
        email,
        is_superuser: false,
        is_revoked: false,
        last_login,
        failed_logins: 0,
        last_failed: None,
        reset: None,
        role_ids,
    };
    let token = |text: &str, expires: i64, revoked: bool| {
        AccessChange::TokenIssued(Token {
            hash: Sha256::of(text.as_bytes()),
            user_id: user.id.clone(),
            label: None,
            description: String::new(),
            client: String::new(),
            created: WallTime::from_millis(START),
            expires: WallTime::from_millis(expires),
            // Never to be written again, so that a test's first request is as fast as all others.
            last_active: WallTime::from_millis(i64::MAX),
            timeout: None,
            revoked: revoked.then_some(WallTime::from_millis(START)),
        })
    };
    let tokens = [token(TOKEN, i64::MAX, false), token("expired", START, false), token("revoked", i64::MAX, true)];
    let changes = [AccessChange::RoleSet(operators), AccessChange::UserAdded(user.clone())];
    store.commit(changes.into_iter().chain(tokens).map(Change::Access).collect()).unwrap();
    rbac
}

/// Who owns the job that is there from the start.
pub(super) fn ada() -> Subject {
    Subject {
        id: "2f6c1a52-7f6d-4d5c-8b43-0d0f8f0b1a11".into(),
        login: "ada".into(),
        display_name: "Ada".into(),
        email: "ada@example.com".into(),
        is_superuser: false,
        is_remote: false,
        is_revoked: false,
        is_group: false,
        last_login: Some("2026-03-01T09:00:00.000Z".into()),
        role_ids: vec![2],
    }
}
