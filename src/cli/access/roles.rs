//! `podium access role`: what the members of a role may do.

use serde_json::{Value, json};

use super::Rbac;
use crate::cli::client_settings::ConnectionFlags;
use crate::cli::output::{Failure, Format, Output, table, text};
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
            | Command::Types { connection, .. }
            | Command::Add { connection, .. }
            | Command::Set { connection, .. }
            | Command::Remove { connection, .. } => connection,
        }
    }
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Lists roles
    List {
        /// How to print
        #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
        format: Format,
        #[command(flatten)]
        connection: ConnectionFlags,
    },
    /// Lists what can be permitted
    Types {
        #[command(flatten)]
        connection: ConnectionFlags,
    },
    /// Makes a role
    Add {
        /// Its name
        name: String,
        #[command(flatten)]
        fields: Fields,
        #[command(flatten)]
        connection: ConnectionFlags,
    },
    /// Changes a role; what is not given stays
    Set {
        /// Its name or number
        role: String,
        #[command(flatten)]
        fields: Fields,
        #[command(flatten)]
        connection: ConnectionFlags,
    },
    /// Removes a role from everybody who has it
    Remove {
        /// Its name or number
        role: String,
        #[command(flatten)]
        connection: ConnectionFlags,
    },
}

#[derive(Debug, Default, clap::Args)]
struct Fields {
    /// For people
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Such as puppet_agent:run or tasks:run:package; repeat it for more, and give "" for none
    #[arg(long = "permission", value_name = "TYPE:ACTION[:INSTANCE]")]
    permissions: Option<Vec<String>>,
}

/// Runs the subcommand.
pub(super) fn run(arguments: &Arguments, client: &mut Rbac, output: &mut Output) -> Result<u8, Failure> {
    match &arguments.command {
        Command::List { format, .. } => list(client, *format, output),
        Command::Types { .. } => types(client, output),
        Command::Add { name, fields, .. } => {
            let mut role = json!({"display_name": name, "description": "", "permissions": [], "user_ids": []});
            apply(&mut role, fields)?;
            client.send(Method::POST, "/v1/roles", &role).map(|_| 0)
        }
        Command::Set { role, fields, .. } => {
            let mut role = find(&client.get("/v1/roles")?, role)?.clone();
            // The members stay, whoever they are by then.
            role.as_object_mut().and_then(|role| role.remove("user_ids"));
            apply(&mut role, fields)?;
            client.send(Method::PUT, &format!("/v1/roles/{}", role["id"]), &role).map(|_| 0)
        }
        Command::Remove { role, .. } => {
            let id = find(&client.get("/v1/roles")?, role)?["id"].clone();
            client.send(Method::DELETE, &format!("/v1/roles/{id}"), &json!({})).map(|_| 0)
        }
    }
}

fn list(client: &mut Rbac, format: Format, output: &mut Output) -> Result<u8, Failure> {
    let roles = client.get("/v1/roles")?;
    match format {
        Format::Json => output.json(&roles),
        Format::Text => {
            let rows = roles.as_array().into_iter().flatten().map(row);
            output.line(table(&["ID", "NAME", "MEMBERS", "PERMISSIONS"], rows));
        }
    }
    Ok(0)
}

fn row(role: &Value) -> Vec<String> {
    let members = role["user_ids"].as_array().map_or(0, Vec::len);
    let permissions: Vec<String> = role["permissions"].as_array().into_iter().flatten().map(written).collect();
    vec![role["id"].to_string(), text(role, "display_name").to_owned(), members.to_string(), permissions.join(", ")]
}

fn types(client: &mut Rbac, output: &mut Output) -> Result<u8, Failure> {
    let types = client.get("/v1/types")?;
    let mut rows = Vec::new();
    for kind in types.as_array().into_iter().flatten() {
        for action in kind["actions"].as_array().into_iter().flatten() {
            let instance = if action["has_instances"] == Value::Bool(true) { "a name, or *" } else { "*" };
            let name = format!("{}:{}", text(kind, "object_type"), text(action, "name"));
            rows.push(vec![name, instance.to_owned(), text(action, "display_name").to_owned()]);
        }
    }
    output.line(table(&["PERMISSION", "INSTANCE", "WHAT IT ALLOWS"], rows));
    Ok(0)
}

fn apply(role: &mut Value, fields: &Fields) -> Result<(), Failure> {
    if let Some(description) = &fields.description {
        role["description"] = json!(description);
    }
    if let Some(permissions) = &fields.permissions {
        let wanted = permissions.iter().filter(|permission| !permission.is_empty()).map(|text| read(text));
        role["permissions"] = wanted.collect::<Result<_, _>>()?;
    }
    Ok(())
}

/// The instance may have colons, as names of tasks do.
fn read(permission: &str) -> Result<Value, Failure> {
    let mut parts = permission.splitn(3, ':');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(kind), Some(action), instance) if !kind.is_empty() && !action.is_empty() => {
            Ok(json!({"object_type": kind, "action": action, "instance": instance.unwrap_or("*")}))
        }
        _ => Err(Failure::Usage(format!(
            "{permission:?} is not a permission; give type:action or type:action:instance, such as tasks:run:package"
        ))),
    }
}

fn written(permission: &Value) -> String {
    let [kind, action, instance] = ["object_type", "action", "instance"].map(|key| text(permission, key));
    let scope = permission.get("scope").map_or_else(String::new, |scope| format!(" on {scope}"));
    format!("{kind}:{action}:{instance}{scope}")
}

/// A role by name or number.
pub(super) fn find<'a>(roles: &'a Value, wanted: &str) -> Result<&'a Value, Failure> {
    let mut all = roles.as_array().into_iter().flatten();
    let found = all.find(|role| {
        text(role, "display_name") == wanted || role["id"].as_i64().is_some_and(|id| wanted.parse() == Ok(id))
    });
    found.ok_or_else(|| Failure::Other(format!("there is no role {wanted:?}; podium access role list shows all")))
}

/// The name of the role with this number.
pub(super) fn name<'a>(roles: &'a Value, id: &Value) -> &'a str {
    let found = roles.as_array().into_iter().flatten().find(|role| role["id"] == *id);
    found.map_or("?", |role| text(role, "display_name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_read_and_written() {
        for (given, shown) in
            [("tasks:run:package::x", "tasks:run:package::x"), ("puppet_agent:run", "puppet_agent:run:*")]
        {
            assert_eq!(written(&read(given).unwrap()), shown);
        }
        for bad in ["tasks", "tasks:", ":run"] {
            assert!(matches!(read(bad), Err(Failure::Usage(_))), "{bad}");
        }
    }
}
