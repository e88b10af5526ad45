//! `podium access`: logs in and out, in the grammar of `puppet access`.

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use serde_json::json;

use super::client::{Connection, read_token, write_token};
use super::client_settings::{ClientSettings, ConnectionFlags, Surroundings};
use super::output::{Failure, Output, finish, note, text};
use crate::limits::CLIENT_LINE_BYTES_MAX;

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
}

#[derive(Debug, clap::Args)]
struct LoginArguments {
    /// Who; asked for if left out
    user: Option<String>,
    /// How long the token is good: a number and y, d, h, m or s; 0 for as long as possible
    #[arg(short, long, value_name = "TIME")]
    lifetime: Option<String>,
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
    })
}

fn log_in(arguments: &LoginArguments, around: &Surroundings, output: &mut Output) -> Result<u8, Failure> {
    let settings = ClientSettings::resolve(&arguments.connection, around)?;
    // A CA file that cannot be read is told before the password is typed.
    let mut connection = Connection::new(&settings.ca, settings.rbac.clone())?;
    let (login, password) = ask(arguments.user.as_deref())?;
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
    if let Some(lifetime) = &arguments.lifetime {
        body["lifetime"] = json!(lifetime);
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
    let path = ClientSettings::token_file(flag.map(PathBuf::as_path), around)?;
    match std::fs::remove_file(&path) {
        Ok(()) => note(&format!("Removed {}", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            note(&format!("There is no token at {}", path.display()));
        }
        Err(error) => return Err(Failure::Other(format!("{}: cannot be removed: {error}", path.display()))),
    }
    Ok(0)
}

/// Login and password from the terminal, or a line each from standard input.
fn ask(user: Option<&str>) -> Result<(String, String), Failure> {
    let stdin = io::stdin();
    let is_terminal = stdin.is_terminal();
    if is_terminal {
        note("Enter your Podium credentials.");
    }
    let login = match user {
        Some(user) => user.to_owned(),
        None => {
            prompt("Username: ", is_terminal);
            line(&mut stdin.lock(), "the user name")?
        }
    };
    prompt("Password: ", is_terminal);
    let password = if is_terminal { hidden_line() } else { line(&mut stdin.lock(), "the password") }?;
    Ok((login, password))
}

fn prompt(text: &str, is_terminal: bool) {
    if is_terminal {
        let mut stderr = io::stderr();
        // A prompt that cannot be shown does not keep anyone from answering.
        let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
    }
}

fn line(input: &mut impl BufRead, what: &str) -> Result<String, Failure> {
    let fail = |why: &str| Failure::Usage(format!("{what} cannot be read from standard input: {why}"));
    let mut line = String::new();
    input.take(CLIENT_LINE_BYTES_MAX).read_line(&mut line).map_err(|error| fail(&error.to_string()))?;
    let line = line.trim_end_matches(['\r', '\n']);
    if line.is_empty() { Err(fail("there is none")) } else { Ok(line.to_owned()) }
}

/// Reads a line from the terminal without showing it, byte by byte, so that Ctrl-C comes as a byte too and the
/// terminal is never left without echo.
fn hidden_line() -> Result<String, Failure> {
    let hidden = Hidden::start().map_err(|error| Failure::Usage(format!("the terminal cannot hide input: {error}")))?;
    let outcome = password_from(&mut io::stdin().lock());
    drop(hidden);
    prompt("\n", true);
    outcome
}

fn password_from(input: &mut impl Read) -> Result<String, Failure> {
    let cancelled = || Failure::Other("cancelled".to_owned());
    let mut bytes: Vec<u8> = Vec::new();
    loop {
        let mut byte = [0];
        match input.read(&mut byte) {
            Ok(0) => return Err(cancelled()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::Other(format!("the terminal cannot be read: {error}"))),
        }
        match byte[0] {
            b'\r' | b'\n' => break,
            3 | 4 => return Err(cancelled()),
            8 | 127 => {
                // A whole character: its continuation bytes and the byte they continue.
                while bytes.pop().is_some_and(|removed| removed & 0xc0 == 0x80) {}
            }
            21 => bytes.clear(),
            other if bytes.len() as u64 >= CLIENT_LINE_BYTES_MAX || other < 32 => {}
            other => bytes.push(other),
        }
    }
    match String::from_utf8(bytes) {
        Ok(password) if !password.is_empty() => Ok(password),
        Ok(_) => Err(Failure::Usage("no password was given".to_owned())),
        Err(_) => Err(Failure::Usage("the password is not UTF-8".to_owned())),
    }
}

/// A terminal that shows nothing until this is dropped.
struct Hidden {
    before: Termios,
}

impl Hidden {
    fn start() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        tcsetattr(io::stdin(), OptionalActions::Flush, &hidden)?;
        Ok(Self { before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // There is nothing else to try.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fake::{Fake, LOGIN, serve};
    use crate::cli::testing::{Page, settings};
    use crate::tls::testing::Pki;

    #[test]
    fn passwords_are_edited_without_being_shown() {
        let typed = |bytes: &[u8]| password_from(&mut &*bytes);
        assert_eq!(typed(b"secret\n").unwrap(), "secret");
        assert_eq!(typed("seä\x7fcret\r".as_bytes()).unwrap(), "secret");
        assert_eq!(typed(b"wrong\x15right\n").unwrap(), "right");
        assert!(matches!(typed(b"sec\x03"), Err(Failure::Other(_))));
        assert!(matches!(typed(b"sec"), Err(Failure::Other(_))));
        assert!(matches!(typed(b"\n"), Err(Failure::Usage(_))));
    }

    #[test]
    fn lines_from_a_pipe() {
        let mut input = io::Cursor::new(b"ada\r\nsecret".to_vec());
        assert_eq!(line(&mut input, "x").unwrap(), "ada");
        assert_eq!(line(&mut input, "x").unwrap(), "secret");
        assert!(matches!(line(&mut input, "x"), Err(Failure::Usage(_))));
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
            let connection_flags = ConnectionFlags::default();
            let lifetime = Some(lifetime.to_owned());
            let arguments = LoginArguments { user: None, lifetime, print, connection: connection_flags };
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
}
