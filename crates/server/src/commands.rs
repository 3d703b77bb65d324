//! The commands that talk to a server: `user`, `media`, `reload`, `status`.
//!
//! `user` and `media` work without a running server too: then they open the store themselves, under the same
//! lock, so the two can never be in each other's way.

mod media;

pub(crate) use media::media;

use crate::admin::{Answer, Client, Request, Status};
use crate::cli::{Login, User};
use crate::config::Config;
use crate::desk::LocalDesk;
use crate::{password, say};
use anyhow::{Context as _, bail};
use std::io::ErrorKind;

/// Carries out a `user` command.
pub(crate) fn user(config: &Config, command: User) -> anyhow::Result<()> {
    match command {
        User::Add(login) => set_password(config, &login, "is added", |account, password| {
            Request::UserAdd { account, password }
        }),
        User::Passwd(login) => {
            set_password(config, &login, "has a new password", |account, password| {
                Request::UserPasswd { account, password }
            })
        }
        User::Remove { account } => {
            let request = Request::UserRemove {
                account: account.clone(),
            };
            once(config, request)?;
            say(format_args!("{account} is removed"))
        }
        User::Disable { account } => {
            let request = Request::UserDisable {
                account: account.clone(),
            };
            once(config, request)?;
            say(format_args!("{account} is disabled"))
        }
        User::Enable { account } => {
            let request = Request::UserEnable {
                account: account.clone(),
            };
            once(config, request)?;
            say(format_args!("{account} is enabled"))
        }
        User::Kick { address } => kick(config, address),
        User::List { host } => list(config, host.as_deref()),
    }
}

fn set_password(
    config: &Config,
    login: &Login,
    done: &str,
    request: impl FnOnce(String, String) -> Request,
) -> anyhow::Result<()> {
    let password = if login.generate {
        password::generate()?
    } else {
        password::obtain(&login.account)?
    };
    once(config, request(login.account.clone(), password.clone()))?;
    if login.generate {
        // Nothing else, so that a script can take it as it is.
        say(format_args!("{password}"))
    } else {
        say(format_args!("{} {done}", login.account))
    }
}

/// Only a running server has sessions.
fn kick(config: &Config, address: String) -> anyhow::Result<()> {
    match running(config)?.ask(&Request::UserKick { address })? {
        Answer::Ended(1) => say(format_args!("1 session is ended")),
        Answer::Ended(count) => say(format_args!("{count} sessions are ended")),
        other => done(other),
    }
}

fn list(config: &Config, host: Option<&str>) -> anyhow::Result<()> {
    let mut desk = Desk::open(config)?;
    let mut after = None;
    loop {
        let host = host.map(str::to_owned);
        let (accounts, more) = match desk.ask(Request::UserList { host, after })? {
            Answer::Accounts { accounts, more } => (accounts, more),
            other => return done(other),
        };
        for account in &accounts {
            say(format_args!("{account}"))?;
        }
        // A page that says "more" and holds nothing would be asked for again for ever.
        match accounts.into_iter().next_back() {
            Some(last) if more => after = Some(last),
            _ => return desk.close(),
        }
    }
}

fn once(config: &Config, request: Request) -> anyhow::Result<()> {
    let mut desk = Desk::open(config)?;
    let answer = desk.ask(request)?;
    desk.close()?;
    done(answer)
}

/// Carries out `reload`.
pub(crate) fn reload(config: &Config) -> anyhow::Result<()> {
    match running(config)?.ask(&Request::Reload)? {
        Answer::Reloaded { taken, waiting } => {
            match taken.as_slice() {
                [] => say(format_args!("certificates read again; no other change"))?,
                taken => say(format_args!(
                    "certificates read again; changed: {}",
                    taken.join(", ")
                ))?,
            }
            if !waiting.is_empty() {
                say(format_args!(
                    "these changes need a restart: {}",
                    waiting.join(", ")
                ))?;
            }
            Ok(())
        }
        other => done(other),
    }
}

/// Carries out `status`.
pub(crate) fn status(config: &Config, json: bool) -> anyhow::Result<()> {
    let status = match running(config)?.ask(&Request::Status)? {
        Answer::Status(status) => status,
        other => return done(other),
    };
    if json {
        return say(format_args!("{}", serde_json::to_string(&status)?));
    }
    print(&status)
}

fn print(status: &Status) -> anyhow::Result<()> {
    let rows: [(&str, String); 11] = [
        ("version", status.version.clone()),
        ("process", status.pid.to_string()),
        ("running for", rough_time(status.uptime_seconds)),
        ("state", status.state.clone()),
        ("hosts", status.hosts.join(", ")),
        ("listening", status.listening.join(", ")),
        ("metrics", status.metrics.join(", ")),
        (
            "sessions",
            format!(
                "{} ({} waiting to be resumed)",
                status.sessions, status.resumable_sessions
            ),
        ),
        (
            "queues",
            format!(
                "{} stanzas, {} in the longest",
                status.queued_stanzas, status.longest_queue_stanzas
            ),
        ),
        ("store", rough_size(status.store_bytes)),
        ("memory", rough_size(status.memory_bytes)),
    ];
    for (name, value) in rows {
        say(format_args!("{name:<12} {value}"))?;
    }
    Ok(())
}

fn rough_time(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match () {
        () if days > 0 => format!("{days} d {} h", hours % 24),
        () if hours > 0 => format!("{hours} h {} min", minutes % 60),
        () if minutes > 0 => format!("{minutes} min {} s", seconds % 60),
        () => format!("{seconds} s"),
    }
}

fn rough_size(bytes: u64) -> String {
    let units = [
        ("TiB", 1_u64 << 40),
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
    ];
    match units.iter().find(|(_, factor)| bytes >= *factor) {
        Some((unit, factor)) => {
            // No factor is a multiple of ten.
            let tenths = u128::from(bytes) * 10 / u128::from(*factor);
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} B"),
    }
}

fn running(config: &Config) -> anyhow::Result<Client> {
    let socket = config.admin_socket();
    Client::connect(&socket).with_context(|| {
        format!(
            "no server answers at {}; is it running with this configuration?",
            socket.display()
        )
    })
}

fn done(answer: Answer) -> anyhow::Result<()> {
    match answer {
        Answer::Refused(why) => bail!("{why}"),
        Answer::Done => Ok(()),
        other => bail!("the server gave an answer to another question: {other:?}"),
    }
}

/// Who carries out account requests: the running server, or this process on the idle store.
enum Desk {
    Remote(Client),
    Local(LocalDesk),
}

impl Desk {
    fn open(config: &Config) -> anyhow::Result<Self> {
        let socket = config.admin_socket();
        match Client::connect(&socket) {
            Ok(client) => Ok(Self::Remote(client)),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::ConnectionRefused
                ) =>
            {
                LocalDesk::open(config).map(Self::Local)
            }
            Err(error) => Err(error)
                .with_context(|| format!("cannot use the admin socket {}", socket.display())),
        }
    }

    fn ask(&mut self, request: Request) -> anyhow::Result<Answer> {
        match self {
            Self::Remote(client) => client.ask(&request),
            Self::Local(desk) => Ok(desk.ask(request)),
        }
    }

    fn close(self) -> anyhow::Result<()> {
        match self {
            Self::Remote(_) => Ok(()),
            Self::Local(desk) => desk.close(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_told_roughly() {
        for (seconds, text) in [
            (7, "7 s"),
            (61, "1 min 1 s"),
            (7_260, "2 h 1 min"),
            (180_000, "2 d 2 h"),
        ] {
            assert_eq!(rough_time(seconds), text);
        }
        for (bytes, text) in [
            (0, "0 B"),
            (1_536, "1.5 KiB"),
            (102_000, "99.6 KiB"),
            (1_048_575, "1023.9 KiB"),
            (3 << 20, "3.0 MiB"),
            (5 << 30, "5.0 GiB"),
            (3 << 39, "1.5 TiB"),
        ] {
            assert_eq!(rough_size(bytes), text);
        }
    }
}
