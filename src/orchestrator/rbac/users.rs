//! Users and roles as somebody changes them: who may, and what nobody may. Nobody can give away, or get at, more than he has:
//! superusers are changed by superusers only, and a role is given permissions only by somebody who has them.

use std::sync::{MutexGuard, PoisonError};

use uuid::Uuid;

use super::error::{AccessError, AccessKind};
use super::permission::{Action, EVERY, Grant, permits};
use super::roles::{ADMINISTRATORS, Role};
use super::{API_USER, Rbac, password, sha256, subject};
use crate::clock::WallTime;
use crate::limits::{ACCESS_TEXT_CHARS_MAX, PASSWORD_RESET_LIFETIME, PERMISSIONS_PER_ROLE_MAX, ROLES_MAX, USERS_MAX};
use crate::orchestrator::model::Subject;
use crate::orchestrator::store::access::{AccessChange, Reset, User};
use crate::orchestrator::store::{Alone, StoreError};

/// What is said of a user who is made or changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserFields {
    /// The name used to log in.
    pub login: String,
    /// For people.
    pub display_name: String,
    /// May be empty.
    pub email: String,
    /// Numbers of the roles.
    pub role_ids: Vec<i64>,
}

/// What else is changed of a user who is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UserStanding {
    /// May do nothing any more; `None` is as before.
    pub is_revoked: Option<bool>,
    /// Ends a lock-out.
    pub unlock: bool,
}

/// What is said of a role that is made or changed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RoleFields {
    /// Its name.
    pub display_name: String,
    /// May be empty.
    pub description: String,
    /// What its members may do.
    pub permissions: Vec<Grant>,
    /// UUIDs of its members; `None` is as before.
    pub members: Option<Vec<String>>,
}

impl RoleFields {
    /// The same with each member once.
    fn distinct(mut self) -> Self {
        if let Some(members) = &mut self.members {
            members.sort_unstable();
            members.dedup();
        }
        self
    }
}

type Outcome<T> = Result<T, AccessError>;

impl Rbac {
    /// All users.
    pub fn users(&self) -> Outcome<Vec<User>> {
        Ok(self.store.users()?)
    }

    /// One user.
    pub fn user(&self, id: &str) -> Outcome<User> {
        if Uuid::parse_str(id).is_err() {
            return Err(AccessError::new(AccessKind::InvalidUuid, format!("{id:?} is not the UUID of a user.")));
        }
        let unknown = || AccessError::new(AccessKind::NotFound, format!("There is no user {id}."));
        self.store.user_by_id(id)?.ok_or_else(unknown)
    }

    /// One user by login.
    pub fn user_by_login(&self, login: &str) -> Outcome<Option<User>> {
        Ok(self.store.user(login)?)
    }

    /// Makes a user; without a password it can log in once one was chosen by the way of [`Rbac::offer_reset`].
    pub fn add_user(&self, by: &Subject, fields: UserFields, password: Option<&str>) -> Outcome<User> {
        self.require(by, Action::UsersCreate, EVERY)?;
        check(&fields)?;
        let password_hash = password.map(|password| self.new_hash(password)).transpose()?.unwrap_or_default();
        let _changing = self.changing()?;
        self.require_membership(by, &[], &fields.role_ids)?;
        let UserFields { login, display_name, email, role_ids } = fields;
        let id = Uuid::new_v4().to_string();
        let user = User {
            id: id.clone(),
            login,
            password_hash,
            display_name,
            email,
            is_superuser: false,
            is_revoked: false,
            last_login: None,
            failed_logins: 0,
            last_failed: None,
            reset: None,
            role_ids,
        };
        self.change(vec![AccessChange::UserAdded(user)])?;
        self.user(&id)
    }

    /// Nobody else changes users or roles, here or in another server, as long as it lives.
    fn changing(&self) -> Result<(MutexGuard<'_, ()>, Alone), StoreError> {
        let here = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((here, self.store.alone()?))
    }

    /// Changes a user.
    pub fn edit_user(&self, by: &Subject, id: &str, fields: UserFields, standing: UserStanding) -> Outcome<User> {
        let _changing = self.changing()?;
        let before = self.user(id)?;
        let UserFields { login, display_name, email, mut role_ids } = fields;
        role_ids.sort_unstable();
        role_ids.dedup();
        let is_revoked = standing.is_revoked.unwrap_or(before.is_revoked);
        let is_renamed = (&before.login, &before.display_name, &before.email) != (&login, &display_name, &email);
        let unlocks = standing.unlock && self.is_locked(&before) || before.is_revoked && !is_revoked;
        if is_renamed {
            self.require(by, Action::UsersEdit, id)?;
        }
        if is_revoked != before.is_revoked || unlocks {
            self.require(by, Action::UsersDisable, id)?;
        }
        self.require_membership(by, &before.role_ids, &role_ids)?;
        self.require_rank(by, &before)?;
        if before.is_superuser && (is_revoked || login != before.login || !role_ids.contains(&ADMINISTRATORS)) {
            return Err(immutable("The first user cannot be revoked, renamed, or taken out of Administrators."));
        }
        let fields = UserFields { login, display_name, email, role_ids };
        check(&fields)?;
        let UserFields { login, display_name, email, role_ids } = fields;
        let user = User { login, display_name, email, role_ids, is_revoked, ..before };
        let mut changes = vec![AccessChange::UserEdited(user)];
        changes.extend(unlocks.then(|| AccessChange::Unlocked { user: id.to_owned() }));
        self.change(changes)?;
        self.user(id)
    }

    /// Removes a user and the tokens.
    pub fn remove_user(&self, by: &Subject, id: &str) -> Outcome<User> {
        let _changing = self.changing()?;
        let user = self.user(id)?;
        self.require(by, Action::UsersDelete, id)?;
        self.require_rank(by, &user)?;
        if user.is_superuser {
            return Err(immutable("The first user cannot be removed."));
        }
        self.change(vec![AccessChange::UserRemoved(user.id.clone())])?;
        Ok(user)
    }

    /// Somebody chooses a new password.
    pub fn change_password(&self, by: &Subject, current: &str, new: &str) -> Outcome<()> {
        let user = self.user(&by.id)?;
        let hash = (!self.is_locked(&user)).then_some(user.password_hash.as_str());
        let unavailable = |_| AccessError::new(AccessKind::ServerError, "Too many passwords wait to be checked.");
        if !self.passwords.verify(current, hash).map_err(unavailable)? {
            self.change(vec![self.login_failed(user)])?;
            return Err(AccessError::new(AccessKind::WrongPassword, "The current password is not right."));
        }
        let hash = self.new_hash(new)?;
        Ok(self.change(vec![AccessChange::PasswordSet { user: user.id, hash }])?)
    }

    /// Lets a user choose a new password: the secret that it takes, which is good once.
    pub fn offer_reset(&self, by: &Subject, id: &str) -> Outcome<String> {
        let _changing = self.changing()?;
        let user = self.user(id)?;
        self.require(by, Action::UsersResetPassword, id)?;
        self.require_rank(by, &user)?;
        let secret = password::secret();
        let lifetime = i64::try_from(PASSWORD_RESET_LIFETIME.as_millis()).unwrap_or(i64::MAX);
        let expires = WallTime::from_millis(WallTime::now().as_millis().saturating_add(lifetime));
        let reset = Reset { hash: sha256(&secret), expires };
        self.change(vec![AccessChange::ResetOffered { user: user.id, reset }])?;
        Ok(secret)
    }

    /// Takes such an offer. Whoever had tokens logs in again.
    pub fn take_reset(&self, secret: &str, new: &str) -> Outcome<User> {
        // Whoever has no offer costs no hash; and what is offered may be taken back while one is made.
        self.offered(secret)?;
        let hash = self.new_hash(new)?;
        let _changing = self.changing()?;
        let user = self.offered(secret)?;
        self.change(fresh_password(&user, hash))?;
        Ok(user)
    }

    /// Who was offered a new password with this secret. It is nobody who may not come in at all.
    fn offered(&self, secret: &str) -> Outcome<User> {
        let now = WallTime::now();
        let offered = self.store.user_by_reset(&sha256(secret))?;
        let is_good = |user: &User| !user.is_revoked && user.reset.is_some_and(|reset| reset.expires > now);
        offered.filter(is_good).ok_or_else(|| {
            let message = "The reset token is not known, was used, or has expired; ask for another one.";
            AccessError::new(AccessKind::PermissionDenied, message)
        })
    }

    /// All roles.
    pub fn roles(&self) -> Outcome<Vec<Role>> {
        Ok(self.store.roles()?)
    }

    /// One role.
    pub fn role(&self, id: i64) -> Outcome<Role> {
        let unknown = || AccessError::new(AccessKind::NotFound, format!("There is no role {id}."));
        self.store.roles()?.into_iter().find(|role| role.id == id).ok_or_else(unknown)
    }

    /// Makes a role.
    pub fn add_role(&self, by: &Subject, fields: RoleFields) -> Outcome<Role> {
        let _changing = self.changing()?;
        self.require(by, Action::UserRolesCreate, EVERY)?;
        check_role(&fields)?;
        let fields = fields.distinct();
        self.require_grants(by, &[], &fields.permissions)?;
        let RoleFields { display_name, description, permissions, members } = fields;
        let members = members.unwrap_or_default();
        if !members.is_empty() {
            self.require(by, Action::UserRolesEditMembers, EVERY)?;
        }
        let role = Role { id: 0, display_name, description, permissions };
        self.change(vec![AccessChange::RoleAdded(role.clone())])?;
        let made = self.store.roles()?.into_iter().find(|made| made.display_name == role.display_name);
        let made = made.ok_or_else(|| AccessError::new(AccessKind::Conflict, "The role was removed meanwhile."))?;
        if !members.is_empty() {
            let members = AccessChange::MembersSet { role: made.id, users: members };
            if let Err(error) = self.change(vec![members]) {
                self.change(vec![AccessChange::RoleRemoved(made.id)])?;
                return Err(error.into());
            }
        }
        Ok(made)
    }

    /// Changes a role.
    pub fn edit_role(&self, by: &Subject, id: i64, fields: RoleFields) -> Outcome<Role> {
        let _changing = self.changing()?;
        let fields = fields.distinct();
        let before = self.role(id)?;
        let RoleFields { display_name, description, permissions, members } = &fields;
        let is_changed = (&before.display_name, &before.description) != (display_name, description)
            || !same(&before.permissions, permissions);
        if is_changed {
            self.require(by, Action::UserRolesEdit, &id.to_string())?;
            if id == ADMINISTRATORS {
                return Err(immutable("The role Administrators cannot be changed; only its members can."));
            }
            check_role(&fields)?;
            self.require_grants(by, &before.permissions, permissions)?;
        }
        let mut changes = Vec::new();
        if let Some(members) = members {
            self.require_members(by, id, members)?;
            changes.push(AccessChange::MembersSet { role: id, users: members.clone() });
        }
        let RoleFields { display_name, description, permissions, .. } = fields;
        changes.extend(is_changed.then_some(AccessChange::RoleSet(Role {
            id,
            display_name,
            description,
            permissions,
        })));
        self.change(changes)?;
        self.role(id)
    }

    /// Removes a role.
    pub fn remove_role(&self, by: &Subject, id: i64) -> Outcome<Role> {
        let _changing = self.changing()?;
        let role = self.role(id)?;
        self.require(by, Action::UserRolesDelete, &id.to_string())?;
        if id == ADMINISTRATORS {
            return Err(immutable("The role Administrators cannot be removed."));
        }
        self.change(vec![AccessChange::RoleRemoved(id)])?;
        Ok(role)
    }

    fn require(&self, by: &Subject, action: Action, instance: &str) -> Outcome<()> {
        if by.is_superuser || permits(&self.grants_of(by)?, action, instance) {
            return Ok(());
        }
        Err(denied(format!(
            "You are not permitted to do this: it needs the permission {}:{}:{instance}.",
            action.object_type(),
            action.name()
        )))
    }

    /// Whoever may reset a superuser's password is one.
    fn require_rank(&self, by: &Subject, user: &User) -> Outcome<()> {
        if by.is_superuser || !subject(user.clone()).is_superuser {
            return Ok(());
        }
        Err(denied(format!("Only administrators may change {:?}, who is one.", user.login)))
    }

    fn require_membership(&self, by: &Subject, before: &[i64], after: &[i64]) -> Outcome<()> {
        let lost = before.iter().filter(|role| !after.contains(role));
        let won = after.iter().filter(|role| !before.contains(role));
        lost.chain(won).try_for_each(|role| self.require_may_give(by, *role))
    }

    fn require_may_give(&self, by: &Subject, role: i64) -> Outcome<()> {
        if role == ADMINISTRATORS && !by.is_superuser {
            return Err(denied("Only administrators may make administrators.".to_owned()));
        }
        self.require(by, Action::UserRolesEditMembers, &role.to_string())
    }

    fn require_members(&self, by: &Subject, role: i64, members: &[String]) -> Outcome<()> {
        let users = self.store.users()?;
        let before: Vec<&User> = users.iter().filter(|user| user.role_ids.contains(&role)).collect();
        let stays = before.iter().filter(|user| members.contains(&user.id)).count();
        if stays < before.len() || stays < members.len() {
            self.require_may_give(by, role)?;
        }
        if role == ADMINISTRATORS && before.iter().any(|user| user.is_superuser && !members.contains(&user.id)) {
            return Err(immutable("The first user cannot be taken out of Administrators."));
        }
        Ok(())
    }

    /// Nobody gives a role what he does not have himself.
    fn require_grants(&self, by: &Subject, before: &[Grant], after: &[Grant]) -> Outcome<()> {
        if by.is_superuser {
            return Ok(());
        }
        let own = self.grants_of(by)?;
        let has = |grant: &Grant| {
            permits(&own, grant.action, &grant.instance) || own.contains(grant) || before.contains(grant)
        };
        match after.iter().find(|grant| !has(grant)) {
            None => Ok(()),
            Some(grant) => Err(denied(format!(
                "You cannot give the permission {}:{}:{}, which you do not have.",
                grant.action.object_type(),
                grant.action.name(),
                grant.instance
            ))),
        }
    }

    fn new_hash(&self, password: &str) -> Outcome<String> {
        match password::problem(password) {
            Some(problem) => Err(AccessError::schema(problem)),
            None => Ok(self.passwords.hash(password)?),
        }
    }
}

/// Sets the password of a user in a store that no server uses, and lets the user in again.
pub fn rescue(store: &dyn crate::orchestrator::store::Store, login: &str, new: &str) -> Outcome<()> {
    if let Some(problem) = password::problem(new) {
        return Err(AccessError::schema(problem));
    }
    let unknown = || AccessError::new(AccessKind::NotFound, format!("There is no user {login:?}."));
    let user = store.user(login)?.ok_or_else(unknown)?;
    let hash = password::Passwords::new(argon2::Argon2::default())?.hash(new)?;
    let mut changes = vec![AccessChange::UserEdited(User { is_revoked: false, ..user.clone() })];
    changes.extend(fresh_password(&user, hash));
    let changes = changes.into_iter().map(crate::orchestrator::store::Change::Access);
    Ok(store.commit(changes.collect())?)
}

/// A password that somebody else has caused: whoever was in with the old one is not any more.
fn fresh_password(user: &User, hash: String) -> Vec<AccessChange> {
    vec![
        AccessChange::PasswordSet { user: user.id.clone(), hash },
        AccessChange::TokensRevoked { user: user.id.clone(), label: None, at: WallTime::now() },
    ]
}

fn same(before: &[Grant], after: &[Grant]) -> bool {
    before.iter().all(|grant| after.contains(grant)) && after.iter().all(|grant| before.contains(grant))
}

fn denied(message: String) -> AccessError {
    AccessError::new(AccessKind::PermissionDenied, message)
}

fn immutable(message: &str) -> AccessError {
    AccessError::new(AccessKind::AdminUserImmutable, message)
}

fn check(fields: &UserFields) -> Outcome<()> {
    let UserFields { login, display_name, email, role_ids } = fields;
    if login.is_empty() || login.contains(|letter: char| letter.is_whitespace() || letter.is_control()) {
        return Err(AccessError::schema("login must be a word without spaces."));
    }
    if login == API_USER {
        return Err(AccessError::new(AccessKind::Conflict, format!("The login {API_USER} stands for certificates.")));
    }
    if role_ids.len() as u64 > ROLES_MAX {
        return Err(AccessError::schema(format!("role_ids has {} numbers; {ROLES_MAX} is the most.", role_ids.len())));
    }
    check_texts(&[("login", login), ("display_name", display_name), ("email", email)])
}

fn check_role(fields: &RoleFields) -> Outcome<()> {
    if fields.display_name.trim().is_empty() {
        return Err(AccessError::schema("display_name must not be blank."));
    }
    if fields.permissions.len() > PERMISSIONS_PER_ROLE_MAX {
        let number = fields.permissions.len();
        return Err(AccessError::schema(format!(
            "permissions has {number} entries; {PERMISSIONS_PER_ROLE_MAX} is the most."
        )));
    }
    if fields.members.as_ref().is_some_and(|members| members.len() as u64 > USERS_MAX) {
        return Err(AccessError::schema(format!("user_ids has more than {USERS_MAX} entries.")));
    }
    check_texts(&[("display_name", &fields.display_name), ("description", &fields.description)])
}

fn check_texts(texts: &[(&str, &String)]) -> Outcome<()> {
    for (name, text) in texts {
        if text.chars().count() > ACCESS_TEXT_CHARS_MAX {
            return Err(AccessError::schema(format!("{name} has more than {ACCESS_TEXT_CHARS_MAX} characters.")));
        }
        if text.contains(char::is_control) {
            return Err(AccessError::schema(format!("{name} has control characters.")));
        }
    }
    Ok(())
}
