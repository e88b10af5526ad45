//! `podium access user`: who there is, and what becomes of them.

use serde_json::{Value, json};

use super::{Rbac, roles, terminal};
use crate::cli::client::understand;
use crate::cli::client_settings::ConnectionFlags;
use crate::cli::output::{Failure, Format, Output, note, table, text};
use crate::https::Method;

/// Arguments of the subcommand.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

impl Arguments {
    /// How to reach the server.
    pub(super) fn connection(&self) -> &ConnectionFlags {
        match &self.command {
            Command::List { connection, .. }
            | Command::Add { connection, .. }
            | Command::Set { connection, .. }
            | Command::Revoke { connection, .. }
            | Command::Reinstate { connection, .. }
            | Command::Remove { connection, .. }
            | Command::ResetPassword { connection, .. } => connection,
        }
    }
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Lists users
    List {
        /// How to print
        #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
        format: Format,
        #[command(flatten)]
        connection: ConnectionFlags,
    },
    /// Makes a user, and asks for the password
    Add {
        /// The name used to log in
        login: String,
        #[command(flatten)]
        fields: Fields,
        #[command(flatten)]
        connection: ConnectionFlags,
    },
    /// Changes a user; what is not given stays
    Set {
        /// Whom
        login: String,
        #[command(flatten)]
        fields: Fields,
        #[command(flatten)]
        connection: ConnectionFlags,
    },
    /// Lets a user do nothing any more
    Revoke {
        /// Whom
        login: String,
        #[command(flatten)]
        connection: ConnectionFlags,
    },
    /// Lets a user in again who was revoked, or locked after wrong passwords
    Reinstate {
        /// Whom
        login: String,
        #[command(flatten)]
        connection: ConnectionFlags,
    },
    /// Removes a user, with all tokens
    Remove {
        /// Whom
        login: String,
        #[command(flatten)]
        connection: ConnectionFlags,
    },
    /// Prints a token with which the user can choose a new password
    ResetPassword {
        /// Whose
        login: String,
        #[command(flatten)]
        connection: ConnectionFlags,
    },
}

#[derive(Debug, Default, clap::Args)]
struct Fields {
    /// The name for people
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Address
    #[arg(long)]
    email: Option<String>,
    /// A role by name or number; repeat it for more, and give "" for none
    #[arg(long = "role", value_name = "ROLE")]
    roles: Option<Vec<String>>,
}

/// Runs the subcommand.
pub(super) fn run(arguments: &Arguments, client: &mut Rbac, output: &mut Output) -> Result<u8, Failure> {
    match &arguments.command {
        Command::List { format, .. } => list(client, *format, output),
        Command::Add { login, fields, .. } => add(client, login, fields),
        Command::Set { login, fields, .. } => change(client, login, |client, user| apply(client, user, fields)),
        Command::Revoke { login, .. } => change(client, login, |_, user| {
            user["is_revoked"] = json!(true);
            Ok(())
        }),
        Command::Reinstate { login, .. } => change(client, login, |_, user| {
            user["is_revoked"] = json!(false);
            user["is_locked"] = json!(false);
            Ok(())
        }),
        Command::Remove { login, .. } => {
            let user = find(client, login)?;
            client.send(Method::DELETE, &format!("/v1/users/{}", text(&user, "id")), &json!({})).map(|_| 0)
        }
        Command::ResetPassword { login, .. } => {
            let path = format!("/v1/users/{}/password/reset", text(&find(client, login)?, "id"));
            let response = client.connection.exchange(Method::POST, &path, Some(&client.token), Vec::new())?;
            if !response.status.is_success() {
                understand(&response)?;
            }
            output.line(String::from_utf8_lossy(&response.body));
            note("The user chooses a password with it within a day: podium access choose-password");
            Ok(0)
        }
    }
}

fn list(client: &mut Rbac, format: Format, output: &mut Output) -> Result<u8, Failure> {
    let users = client.get("/v1/users")?;
    match format {
        Format::Json => output.json(&users),
        Format::Text => {
            let roles = client.get("/v1/roles")?;
            let rows = users.as_array().into_iter().flatten().map(|user| row(user, &roles));
            output.line(table(&["LOGIN", "NAME", "ROLES", "LAST LOGIN", "STATE"], rows));
        }
    }
    Ok(0)
}

fn row(user: &Value, roles: &Value) -> Vec<String> {
    let names: Vec<&str> = user["role_ids"].as_array().into_iter().flatten().map(|id| roles::name(roles, id)).collect();
    let state = match (&user["is_revoked"], &user["is_locked"]) {
        (Value::Bool(true), _) => "revoked",
        (_, Value::Bool(true)) => "locked",
        _ => "active",
    };
    let last_login = user["last_login"].as_str().unwrap_or("never");
    [text(user, "login"), text(user, "display_name"), &names.join(", "), last_login, state].map(str::to_owned).to_vec()
}

fn add(client: &mut Rbac, login: &str, fields: &Fields) -> Result<u8, Failure> {
    let mut user = json!({"login": login, "display_name": login, "email": "", "role_ids": []});
    apply(client, &mut user, fields)?;
    user["password"] = json!(terminal::new_password(&format!("Password of {login}"))?);
    client.send(Method::POST, "/v1/users", &user).map(|_| 0)
}

fn change(
    client: &mut Rbac,
    login: &str,
    how: impl FnOnce(&mut Rbac, &mut Value) -> Result<(), Failure>,
) -> Result<u8, Failure> {
    let mut user = find(client, login)?;
    how(client, &mut user)?;
    client.send(Method::PUT, &format!("/v1/users/{}", text(&user, "id")), &user).map(|_| 0)
}

fn apply(client: &mut Rbac, user: &mut Value, fields: &Fields) -> Result<(), Failure> {
    if let Some(name) = &fields.name {
        user["display_name"] = json!(name);
    }
    if let Some(email) = &fields.email {
        user["email"] = json!(email);
    }
    if let Some(wanted) = &fields.roles {
        let roles = client.get("/v1/roles")?;
        let ids =
            wanted.iter().filter(|role| !role.is_empty()).map(|role| Ok(roles::find(&roles, role)?["id"].clone()));
        user["role_ids"] = ids.collect::<Result<_, Failure>>()?;
    }
    Ok(())
}

fn find(client: &mut Rbac, login: &str) -> Result<Value, Failure> {
    let users = client.get("/v1/users")?;
    let found = users.as_array().into_iter().flatten().find(|user| text(user, "login") == login);
    found.cloned().ok_or_else(|| Failure::Other(format!("there is no user {login}; podium access user list shows all")))
}
