//! Where a new password comes from: typed twice unseen, read from a pipe, or made up.

use anyhow::{Context as _, bail};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};

/// Longer is a file piped in by mistake.
const BYTES_MOST: u64 = 1_023;

/// Letters and digits that cannot be mistaken for one another.
const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz23456789A";

/// 24 of 32 letters are 120 bits: nobody guesses that.
const GENERATED_LETTERS: usize = 24;

/// Makes up a password.
pub(crate) fn generate() -> anyhow::Result<String> {
    let mut random = [0; GENERATED_LETTERS];
    getrandom::fill(&mut random).context("the system gives no random bytes")?;
    Ok(random
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte % 32)]))
        .collect())
}

/// Asks the person at the terminal, or reads the first line of what is piped in.
pub(crate) fn obtain(account: &str) -> anyhow::Result<String> {
    if !std::io::stdin().is_terminal() {
        return read_line();
    }
    let first = ask(&format!("Password for {account}: "))?;
    if ask("Again: ")? != first {
        bail!("the two are not the same; nothing was changed");
    }
    Ok(first)
}

fn ask(prompt: &str) -> anyhow::Result<String> {
    let mut terminal = std::io::stderr();
    // Before the prompt, so that nothing typed after it can be seen.
    let hidden = Hidden::begin()?;
    write!(terminal, "{prompt}")?;
    terminal.flush()?;
    let line = read_line();
    drop(hidden);
    writeln!(terminal)?;
    line
}

fn read_line() -> anyhow::Result<String> {
    let mut line = String::new();
    let mut input = std::io::stdin().lock().take(BYTES_MOST + 2);
    input
        .read_line(&mut line)
        .context("cannot read the password")?;
    let password = line.strip_suffix('\n').unwrap_or(&line);
    let password = password.strip_suffix('\r').unwrap_or(password);
    if password.is_empty() {
        bail!("the password is empty");
    }
    if password.len() as u64 > BYTES_MOST {
        bail!("the password is longer than {BYTES_MOST} bytes");
    }
    Ok(password.to_owned())
}

/// The terminal without echo, until dropped.
struct Hidden(rustix::termios::Termios);

impl Hidden {
    fn begin() -> anyhow::Result<Self> {
        let before = tcgetattr(std::io::stdin()).context("cannot hide what is typed")?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(std::io::stdin(), OptionalActions::Flush, &silent)
            .context("cannot hide what is typed")?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // Nothing is left to be done if the terminal went away.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_passwords_are_long_and_differ() {
        let (one, other) = (generate().unwrap(), generate().unwrap());
        assert_eq!(one.len(), GENERATED_LETTERS);
        assert!(one.bytes().all(|byte| ALPHABET.contains(&byte)));
        assert_ne!(one, other);
    }
}
