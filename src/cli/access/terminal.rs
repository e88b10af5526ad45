//! What people type: logins, and passwords that nobody sees. From a pipe it is a line each.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::cli::output::{Failure, note};
use crate::limits::CLIENT_LINE_BYTES_MAX;

/// Login and password from the terminal, or a line each from standard input.
pub(super) fn credentials(user: Option<&str>) -> Result<(String, String), Failure> {
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
    let password = secret("Password", "the password")?;
    Ok((login, password))
}

/// A password from the terminal, or a line from standard input.
pub(super) fn secret(label: &str, what: &str) -> Result<String, Failure> {
    let stdin = io::stdin();
    let is_terminal = stdin.is_terminal();
    prompt(&format!("{label}: "), is_terminal);
    if is_terminal { hidden_line() } else { line(&mut stdin.lock(), what) }
}

/// A new password: twice from the terminal, or a line from standard input.
pub(super) fn new_password(label: &str) -> Result<String, Failure> {
    let password = secret(label, "the new password")?;
    if io::stdin().is_terminal() && secret("The same again", "the new password")? != password {
        return Err(Failure::Usage("the two passwords are not the same".to_owned()));
    }
    Ok(password)
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
}
