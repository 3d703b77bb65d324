//! `media`: what accounts have uploaded, and an end to it.

use super::{Desk, done, rough_size};
use crate::admin::{Answer, MediaFile, MediaLimits, MediaUsage, Request};
use crate::cli::{Media, Sort};
use crate::config::Config;
use crate::say;
use anyhow::{Context as _, bail};
use serde::Serialize;
use std::cmp::Reverse;
use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::time::Duration;

/// Carries out a `media` command.
pub(crate) fn media(config: &Config, command: Media) -> anyhow::Result<()> {
    let mut desk = Desk::open(config)?;
    match command {
        Media::Usage {
            account: Some(account),
            json,
            ..
        } => usage_of_one(&mut desk, account, json)?,
        Media::Usage {
            account: None,
            sort,
            top,
            all,
            json,
        } => usage(&mut desk, sort, if all { usize::MAX } else { top }, json)?,
        Media::Purge {
            account,
            older_than,
            single,
            dry_run,
            yes,
        } => {
            let consent = match (dry_run, yes) {
                (true, _) => Consent::Never,
                (false, true) => Consent::Given,
                (false, false) => Consent::Asked,
            };
            match single {
                Some(file) => purge_file(&mut desk, file, consent)?,
                None => purge(&mut desk, account.as_deref(), older_than, consent)?,
            }
        }
    }
    desk.close()
}

// ---- usage ------------------------------------------------------------------------------------------

/// What `--json` says of all accounts.
#[derive(Serialize)]
struct Told {
    accounts: Vec<MediaUsage>,
    total: Total,
    limits: Option<MediaLimits>,
}

#[derive(Default, Serialize)]
struct Total {
    accounts: u64,
    files: u64,
    uploading: u64,
    bytes: u64,
    today_bytes: u64,
}

impl Total {
    fn add(&mut self, usage: &MediaUsage) {
        self.accounts += 1;
        self.files += usage.files;
        self.uploading += usage.uploading;
        self.bytes += usage.bytes;
        self.today_bytes += usage.today_bytes;
    }
}

fn usage(desk: &mut Desk, sort: Sort, top: usize, json: bool) -> anyhow::Result<()> {
    let mut told = Told {
        accounts: Vec::new(),
        total: Total::default(),
        limits: None,
    };
    each_page(desk, |accounts, limits| {
        accounts.iter().for_each(|usage| told.total.add(usage));
        told.accounts.extend(accounts);
        // A page more than is asked for is all that is ever held.
        sorted(&mut told.accounts, sort);
        told.accounts.truncate(top);
        told.limits = Some(limits);
    })?;
    if json {
        return say(format_args!("{}", serde_json::to_string(&told)?));
    }
    print(&told)
}

fn sorted(accounts: &mut [MediaUsage], sort: Sort) {
    match sort {
        Sort::Bytes => accounts.sort_by_key(|usage| Reverse(usage.bytes)),
        Sort::Files => accounts.sort_by_key(|usage| Reverse(usage.files)),
        Sort::Today => accounts.sort_by_key(|usage| Reverse(usage.today_bytes)),
        Sort::Account => accounts.sort_by(|a, b| a.account.cmp(&b.account)),
    }
}

fn print(told: &Told) -> anyhow::Result<()> {
    let total = &told.total;
    if total.accounts == 0 {
        return say(format_args!("nobody has uploaded anything"));
    }
    let width = told.accounts.iter().map(|usage| usage.account.len()).max();
    let width = width.unwrap_or(0).max("account".len());
    let row = |account: &str, files: &str, bytes: String, today: String| {
        say(format_args!(
            "{account:<width$} {files:>9} {bytes:>11} {today:>11}"
        ))
    };
    row("account", "files", "stored".into(), "today".into())?;
    for usage in &told.accounts {
        let (bytes, today) = (rough_size(usage.bytes), rough_size(usage.today_bytes));
        row(&usage.account, &usage.files.to_string(), bytes, today)?;
    }
    let hidden = total.accounts - told.accounts.len() as u64;
    if hidden > 0 {
        say(format_args!("... and {hidden} more (--all lists them)"))?;
    }
    say(format_args!(
        "{}: {}, {} stored, {} uploaded today",
        counted(total.accounts, "account"),
        counted(total.files, "file"),
        rough_size(total.bytes),
        rough_size(total.today_bytes),
    ))
}

/// One account's, which there must be.
fn usage_of(desk: &mut Desk, account: String) -> anyhow::Result<(MediaUsage, MediaLimits)> {
    let request = Request::MediaUsage {
        account: Some(account),
        after: None,
    };
    let (usage, limits) = match desk.ask(request)? {
        Answer::MediaUsage {
            mut accounts,
            limits,
            ..
        } => (accounts.pop(), limits),
        other => {
            done(other)?;
            bail!("the server gave an answer to another question");
        }
    };
    Ok((usage.context("the answer is empty")?, limits))
}

fn usage_of_one(desk: &mut Desk, account: String, json: bool) -> anyhow::Result<()> {
    let (usage, limits) = usage_of(desk, account)?;
    if json {
        return say(format_args!("{}", serde_json::to_string(&usage)?));
    }
    let rows: [(&str, String); 4] = [
        (
            "files",
            format!("{} of {}", usage.files, limits.account_files),
        ),
        ("uploading", usage.uploading.to_string()),
        ("stored", of(usage.bytes, limits.account_bytes)),
        ("today", of(usage.today_bytes, limits.day_bytes)),
    ];
    for (name, value) in rows {
        say(format_args!("{name:<12} {value}"))?;
    }
    Ok(())
}

fn of(bytes: u64, limit: u64) -> String {
    format!("{} of {}", rough_size(bytes), rough_size(limit))
}

/// Asks for the accounts that have something, page by page.
fn each_page(
    desk: &mut Desk,
    mut look: impl FnMut(Vec<MediaUsage>, MediaLimits),
) -> anyhow::Result<()> {
    let mut after = None;
    loop {
        let account = None;
        match desk.ask(Request::MediaUsage { account, after })? {
            Answer::MediaUsage {
                mut accounts,
                limits,
                after: more,
            } => {
                // Who had something once and has nothing now.
                accounts.retain(|usage| usage.files > 0 || usage.today_bytes > 0);
                look(accounts, limits);
                after = more;
            }
            other => return done(other),
        }
        if after.is_none() {
            return Ok(());
        }
    }
}

fn counted(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

// ---- purge ------------------------------------------------------------------------------------------

/// May it be removed?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Consent {
    /// Only count.
    Never,
    /// Whoever sits at the terminal is asked.
    Asked,
    Given,
}

impl Consent {
    /// Answers whether to go on, and says so if not.
    fn to_remove(self, what: &str) -> anyhow::Result<bool> {
        match self {
            Consent::Given => Ok(true),
            Consent::Never => {
                say(format_args!("{what} would be removed"))?;
                Ok(false)
            }
            Consent::Asked if !std::io::stdin().is_terminal() => bail!(
                "{what} would be removed, and nobody is there to be asked: say --yes to do it, or --dry-run to count"
            ),
            Consent::Asked => {
                let agrees = ask(&format!(
                    "Remove {what}? They cannot be brought back. [y/N] "
                ))?;
                if !agrees {
                    say(format_args!("nothing is removed"))?;
                }
                Ok(agrees)
            }
        }
    }
}

fn ask(question: &str) -> anyhow::Result<bool> {
    let mut terminal = std::io::stderr();
    write!(terminal, "{question}")?;
    terminal.flush()?;
    let mut line = String::new();
    let mut input = std::io::stdin().lock().take(16);
    input
        .read_line(&mut line)
        .context("cannot read the answer")?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

/// Files, and the sum of their sizes.
#[derive(Default)]
struct Sum {
    accounts: u64,
    files: u64,
    bytes: u64,
}

impl Sum {
    fn describe(&self) -> String {
        let (files, bytes) = (counted(self.files, "file"), rough_size(self.bytes));
        match self.accounts {
            0 | 1 => format!("{files} ({bytes})"),
            accounts => format!("{files} ({bytes}) of {accounts} accounts"),
        }
    }
}

fn purge(
    desk: &mut Desk,
    account: Option<&str>,
    older_than: Option<Duration>,
    consent: Consent,
) -> anyhow::Result<()> {
    if let Some(account) = account {
        // Mistyped, it would seem to have nothing to remove.
        usage_of(desk, account.to_owned())?;
    }
    let found = sweep(desk, account, older_than, true)?;
    if found.files == 0 {
        return say(format_args!("there is nothing to remove"));
    }
    if !consent.to_remove(&found.describe())? {
        return Ok(());
    }
    let removed = sweep(desk, account, older_than, false)?;
    removed_now(&removed.describe())
}

fn removed_now(what: &str) -> anyhow::Result<()> {
    say(format_args!(
        "removed: {what}. Links to them have ended; the space is free when the server sweeps next."
    ))
}

/// Counts or removes the files of one account or of all.
fn sweep(
    desk: &mut Desk,
    account: Option<&str>,
    older_than: Option<Duration>,
    dry_run: bool,
) -> anyhow::Result<Sum> {
    let mut sum = Sum::default();
    if let Some(account) = account {
        sweep_account(desk, account, older_than, dry_run, &mut sum)?;
        return Ok(sum);
    }
    let mut accounts = Vec::new();
    each_page(desk, |page, _| {
        let some = page.into_iter().filter(|usage| usage.files > 0);
        accounts.extend(some.map(|usage| usage.account));
    })?;
    for account in accounts {
        sweep_account(desk, &account, older_than, dry_run, &mut sum)?;
    }
    Ok(sum)
}

fn sweep_account(
    desk: &mut Desk,
    account: &str,
    older_than: Option<Duration>,
    dry_run: bool,
    sum: &mut Sum,
) -> anyhow::Result<()> {
    let before = sum.files;
    let mut after = None;
    loop {
        let request = Request::MediaPurge {
            account: account.to_owned(),
            older_than_seconds: older_than.map(|age| age.as_secs()),
            after,
            dry_run,
        };
        match desk.ask(request)? {
            Answer::MediaPurged {
                files,
                bytes,
                after: more,
            } => {
                sum.files += files;
                sum.bytes += bytes;
                after = more;
            }
            other => return done(other),
        }
        if after.is_none() {
            sum.accounts += u64::from(sum.files > before);
            return Ok(());
        }
    }
}

fn purge_file(desk: &mut Desk, file: String, consent: Consent) -> anyhow::Result<()> {
    let known = match desk.ask(Request::MediaFile { file: file.clone() })? {
        Answer::MediaFile(known) => known,
        other => return done(other),
    };
    let what = describe(&known);
    if consent.to_remove(&what)? {
        match desk.ask(Request::MediaRemove { file })? {
            Answer::Done => removed_now(&what)?,
            other => return done(other),
        }
    }
    Ok(())
}

fn describe(file: &MediaFile) -> String {
    let kind = match file.content_type.as_str() {
        "" => "of no type",
        kind => kind,
    };
    let size = rough_size(file.bytes);
    format!(
        "1 file ({size}, {kind}) that {} uploaded at {}",
        file.account, file.uploaded
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(account: &str, files: u64, bytes: u64, today_bytes: u64) -> MediaUsage {
        MediaUsage {
            account: account.to_owned(),
            files,
            uploading: 0,
            bytes,
            today_bytes,
        }
    }

    #[test]
    fn whoever_has_the_most_comes_first() {
        let mut accounts = [
            usage("a", 1, 2, 9),
            usage("b", 3, 1, 8),
            usage("c", 2, 3, 7),
        ];
        for (sort, order) in [
            (Sort::Bytes, "c a b"),
            (Sort::Files, "b c a"),
            (Sort::Today, "a b c"),
            (Sort::Account, "a b c"),
        ] {
            sorted(&mut accounts, sort);
            let names = accounts.iter().map(|usage| usage.account.as_str());
            assert_eq!(names.collect::<Vec<_>>().join(" "), order, "{sort:?}");
        }
    }

    #[test]
    fn a_sum_is_told_in_words() {
        let mut sum = Sum {
            accounts: 1,
            files: 1,
            bytes: 1_536,
        };
        assert_eq!(sum.describe(), "1 file (1.5 KiB)");
        (sum.accounts, sum.files) = (2, 12);
        assert_eq!(sum.describe(), "12 files (1.5 KiB) of 2 accounts");
    }
}
