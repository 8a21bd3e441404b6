//! Questions to whoever sits at the terminal.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal, Read, Write},
};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use secrecy::{ExposeSecret, SecretString};

use super::error::ClientError;

/// Longer than any secret.
const MAX_SECRET: u64 = 4 << 10;

/// A secret: from standard input where that is no terminal, else from a prompt without echo.
pub(super) fn secret(what: &str) -> Result<SecretString, ClientError> {
    let text = if io::stdin().is_terminal() {
        hidden_line(what)
    } else {
        let mut text = String::new();
        io::stdin().lock().take(MAX_SECRET).read_to_string(&mut text).map(|_| text)
    };
    let text: SecretString = text.map_err(ClientError::Terminal)?.into();
    Ok(text.expose_secret().trim().to_owned().into())
}

fn hidden_line(what: &str) -> io::Result<String> {
    let mut terminal = File::options().read(true).write(true).open("/dev/tty")?;
    terminal.write_all(format!("{what}: ").as_bytes())?;
    let echo = Silence::new(terminal.try_clone()?)?;
    let mut line = String::new();
    BufReader::new(&terminal).take(MAX_SECRET).read_line(&mut line)?;
    drop(echo);
    terminal.write_all(b"\n")?;
    Ok(line)
}

/// A terminal without echo, until it is dropped.
struct Silence {
    terminal: File,
    before: Termios,
}

impl Silence {
    fn new(terminal: File) -> io::Result<Self> {
        let before = tcgetattr(&terminal)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&terminal, OptionalActions::Flush, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // A terminal that is gone needs no echo.
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
    }
}

/// Asks before something that is hard to take back. Without a terminal nobody can be asked: `--yes` is needed.
pub(super) fn confirm(question: &str) -> Result<(), ClientError> {
    if !io::stdin().is_terminal() {
        return Err(ClientError::Usage("there is no terminal to ask at: say --yes".to_owned()));
    }
    eprint!("{question} [y/N] ");
    let mut line = String::new();
    io::stdin().lock().take(16).read_line(&mut line).map_err(ClientError::Terminal)?;
    match line.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(ClientError::No("nothing was done".to_owned())),
    }
}
