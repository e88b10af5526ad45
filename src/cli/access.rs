//! `podium access`: logs in and out, in the grammar of `puppet access`, and looks after users and roles.

mod rescue;
mod roles;
mod terminal;
mod users;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};

use super::client::{Connection, read_token, write_token};
use super::client_settings::{ClientSettings, ConnectionFlags, Surroundings};
use super::output::{Failure, Output, finish, note, text};
use crate::https::Method;

/// Arguments of the subcommand.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Exchanges a password for a token and saves it
    Login(LoginArguments),
    /// Prints the saved token
    Show(ConnectionFlags),
    /// Removes the saved token; it stays valid until it expires
    DeleteTokenFile(DeleteArguments),
    /// Ends the saved token's life and removes it
    Logout(ConnectionFlags),
    /// Changes your password
    Password(ConnectionFlags),
    /// Chooses a new password with the reset token of `podium access user reset-password`
    ChoosePassword(ConnectionFlags),
    /// Shows and changes users
    User(users::Arguments),
    /// Shows and changes roles
    Role(roles::Arguments),
    /// On the server's host, while the server is stopped: gives a user a new password and lets the user in again
    ResetPassword(rescue::Arguments),
}

#[derive(Debug, clap::Args)]
struct LoginArguments {
    /// Who; asked for if left out
    user: Option<String>,
    /// How long the token is good: a number and y, d, h, m or s; 0 for as long as possible
    #[arg(short, long, value_name = "TIME")]
    lifetime: Option<String>,
    /// A name for the token by which you can revoke it; you have one token of a name
    #[arg(long)]
    label: Option<String>,
    /// Print the token instead of saving it
    #[arg(long)]
    print: bool,
    #[command(flatten)]
    connection: ConnectionFlags,
}

#[derive(Debug, clap::Args)]
struct DeleteArguments {
    /// The file, if it is not the usual one
    #[arg(long, value_name = "FILE")]
    token_path: Option<PathBuf>,
    #[command(flatten)]
    connection: ConnectionFlags,
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> ExitCode {
    let around = Surroundings::of_process();
    let mut output = Output::stdout();
    finish(match &arguments.command {
        Command::Login(arguments) => log_in(arguments, &around, &mut output),
        Command::Show(flags) => show(flags, &around, &mut output),
        Command::DeleteTokenFile(arguments) => delete(arguments, &around),
        Command::Logout(flags) => with_token(flags, &around, log_out),
        Command::Password(flags) => with_token(flags, &around, change_password),
        Command::ChoosePassword(flags) => choose_password(flags, &around),
        Command::User(arguments) => {
            with_token(arguments.connection(), &around, |client| users::run(arguments, client, &mut output))
        }
        Command::Role(arguments) => {
            with_token(arguments.connection(), &around, |client| roles::run(arguments, client, &mut output))
        }
        Command::ResetPassword(arguments) => rescue::run(arguments),
    })
}

fn log_in(arguments: &LoginArguments, around: &Surroundings, output: &mut Output) -> Result<u8, Failure> {
    let settings = ClientSettings::resolve(&arguments.connection, around)?;
    // A CA file that cannot be read is told before the password is typed.
    let mut connection = Connection::new(&settings.ca, settings.rbac.clone())?;
    let (login, password) = terminal::credentials(arguments.user.as_deref())?;
    exchange(arguments, &settings, &mut connection, (&login, &password), output)
}

fn exchange(
    arguments: &LoginArguments,
    settings: &ClientSettings,
    connection: &mut Connection,
    (login, password): (&str, &str),
    output: &mut Output,
) -> Result<u8, Failure> {
    let mut body = json!({"login": login, "password": password});
    for (key, value) in [("lifetime", &arguments.lifetime), ("label", &arguments.label)] {
        if let Some(value) = value {
            body[key] = json!(value);
        }
    }
    let answer = match connection.post("/v1/auth/token", &body) {
        Err(Failure::Refused { status: 401, message, .. }) => return Err(Failure::Other(message)),
        answer => answer?,
    };
    let token = text(&answer, "token");
    if token.is_empty() {
        return Err(Failure::Other("the server accepted the login but sent no token".to_owned()));
    }
    if arguments.print {
        output.line(token);
    } else {
        write_token(&settings.token_file, token)?;
        note(&format!("Access token saved to: {}", settings.token_file.display()));
    }
    Ok(0)
}

fn show(flags: &ConnectionFlags, around: &Surroundings, output: &mut Output) -> Result<u8, Failure> {
    let path = ClientSettings::token_file(flags.token_file.as_deref(), around)?;
    output.line(read_token(&path)?);
    Ok(0)
}

fn delete(arguments: &DeleteArguments, around: &Surroundings) -> Result<u8, Failure> {
    let flag = arguments.token_path.as_ref().or(arguments.connection.token_file.as_ref());
    remove_token(&ClientSettings::token_file(flag.map(PathBuf::as_path), around)?)
}

fn remove_token(path: &Path) -> Result<u8, Failure> {
    match std::fs::remove_file(path) {
        Ok(()) => note(&format!("Removed {}", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            note(&format!("There is no token at {}", path.display()));
        }
        Err(error) => return Err(Failure::Other(format!("{}: cannot be removed: {error}", path.display()))),
    }
    Ok(0)
}

/// The RBAC service, by the saved token.
struct Rbac {
    connection: Connection,
    token: String,
    token_file: PathBuf,
}

impl Rbac {
    fn new(settings: ClientSettings) -> Result<Self, Failure> {
        let token = read_token(&settings.token_file)?;
        let connection = Connection::new(&settings.ca, settings.rbac)?;
        Ok(Self { connection, token, token_file: settings.token_file })
    }

    fn get(&mut self, path: &str) -> Result<Value, Failure> {
        self.connection.send(Method::GET, path, Some(&self.token), Vec::new())
    }

    fn send(&mut self, method: Method, path: &str, body: &Value) -> Result<Value, Failure> {
        self.connection.send(method, path, Some(&self.token), body.to_string().into_bytes())
    }
}

fn with_token(
    flags: &ConnectionFlags,
    around: &Surroundings,
    work: impl FnOnce(&mut Rbac) -> Result<u8, Failure>,
) -> Result<u8, Failure> {
    work(&mut Rbac::new(ClientSettings::resolve(flags, around)?)?)
}

fn log_out(client: &mut Rbac) -> Result<u8, Failure> {
    let revoked = client.send(Method::DELETE, "/v2/tokens", &json!({"revoke_tokens": [client.token]}));
    match revoked {
        // A token that is not good any more is as good as revoked.
        Err(Failure::Refused { status: 401, .. }) | Ok(_) => remove_token(&client.token_file),
        Err(failure) => Err(failure),
    }
}

fn change_password(client: &mut Rbac) -> Result<u8, Failure> {
    let current = terminal::secret("Current password", "the current password")?;
    let body = json!({"current_password": current, "password": terminal::new_password("New password")?});
    match client.send(Method::PUT, "/v1/users/current/password", &body) {
        Err(Failure::Refused { status: 401, message, .. }) => Err(Failure::Other(message)),
        outcome => outcome.map(|_| 0),
    }
}

fn choose_password(flags: &ConnectionFlags, around: &Surroundings) -> Result<u8, Failure> {
    let settings = ClientSettings::resolve(flags, around)?;
    let mut connection = Connection::new(&settings.ca, settings.rbac)?;
    let token = terminal::secret("Reset token", "the reset token")?;
    let body = json!({"token": token, "password": terminal::new_password("New password")?});
    connection.post("/v1/auth/reset", &body).map(|_| 0)
}

#[cfg(test)]
mod tests;
