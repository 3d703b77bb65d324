//! `register`: makes the accounts that the other scenarios use, by XEP-0077.

use std::sync::Arc;
use std::time::Instant;

use anyhow::bail;
use clap::Args;
use posthaste_proto::xml::escape_text;

use crate::connection::Connection;
use crate::crowd;
use crate::login::{open_stream, receive_element};
use crate::report::Report;
use crate::target::{Target, TargetOptions};

/// Options of `register`.
#[derive(Args, Debug)]
pub(crate) struct Register {
    #[command(flatten)]
    pub(crate) target: TargetOptions,
    /// How many accounts.
    #[arg(long, default_value_t = 1000)]
    accounts: usize,
    /// Number of the first account.
    #[arg(long, default_value_t = 0)]
    first: usize,
    /// Registrations at a time.
    #[arg(long, default_value_t = 32)]
    concurrency: usize,
}

/// Makes the accounts; those that exist already are counted, not changed.
pub(crate) async fn run(options: &Register) -> anyhow::Result<Report> {
    let target = Target::new(&options.target)?;
    let started = Instant::now();
    let indexes = options.first..options.first + options.accounts;
    let made = crowd::for_each(indexes, options.concurrency, move |index| {
        register(target.clone(), index)
    })
    .await?;
    let mut report = Report::new("register");
    let new = made.iter().filter(|new| **new).count();
    report.rate("registered", new as u64, started.elapsed());
    report.count("existed", (made.len() - new) as u64);
    Ok(report)
}

/// Registers one account; false if it exists already.
async fn register(target: Arc<Target>, index: usize) -> anyhow::Result<bool> {
    let mut connection = Connection::open(&target).await?;
    open_stream(&mut connection, &target).await?;
    let out = connection.outbound();
    out.extend_from_slice(
        b"<iq type='set' id='register'><query xmlns='jabber:iq:register'><username>",
    );
    escape_text(out, &target.local_part(index));
    out.extend_from_slice(b"</username><password>");
    escape_text(out, target.password());
    out.extend_from_slice(b"</password></query></iq>");
    let answer = receive_element(&mut connection).await?;
    let new = match answer.attr("type") {
        Some("result") => true,
        Some("error") if format!("{answer:?}").contains("conflict") => false,
        _ => bail!(
            "registering {} was refused: {answer:?}",
            target.local_part(index)
        ),
    };
    connection.close().await;
    Ok(new)
}
