//! Whoever blocks somebody can say that it was for spam or abuse, so that the operator hears of it.
//!
//! XEP-0377: Blocking Command Reports, version 0.4.1; the blocking itself is [`super::blocking`]'s. A report is counted,
//! and sent on to the operator's address if one is configured. Reports go to nobody else, whatever the user has
//! agreed to (`<report-origin/>`, `<third-party/>`): the XEP leaves that to us.

use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::Jid;
use posthaste_proto::ns;
use posthaste_proto::stanza::{MessageType, Stanza};
use posthaste_proto::xml::Element;

use super::Ext;
use crate::walk::Walk;

/// The extension.
pub const EXT: Ext = Ext {
    name: "Blocking Command Reports",
    xep: 377,
    version: "0.4.1",
    host_features: &[ns::REPORTING],
    account_features: &[],
    account_iqs: &[],
    host_iqs: &[],
};

/// Reports of one command that are sent on; nobody is molested by more at once, and each becomes a message.
pub const MOST_AT_ONCE: usize = 10;

/// What a user says of somebody they block.
#[derive(Clone, Debug)]
pub struct Report {
    reported: Jid,
    reason: String,
    element: Element,
}

/// The report beside an entry of a blocking command (§6).
///
/// # Errors
/// `bad-request` if it has no reason (§4).
pub fn read(reported: &Jid, item: &Element) -> Result<Option<Report>, StanzaError> {
    let Some(element) = item.child("report", ns::REPORTING) else {
        return Ok(None);
    };
    let reason = element
        .attr("reason")
        .ok_or_else(StanzaError::bad_request)?;
    Ok(Some(Report {
        reported: reported.clone(),
        reason: reason.to_owned(),
        element: element.clone(),
    }))
}

/// Counts reports and sends them on. Neither what was written nor who wrote it goes into the log.
pub fn hear(walk: &mut Walk<'_>, reports: &[Report]) {
    let config = walk.node.config();
    for report in reports {
        let reason = match report.reason.as_str() {
            ns::REPORTING_SPAM => {
                walk.node.stats.spam_reports.count();
                "spam"
            }
            ns::REPORTING_ABUSE => {
                walk.node.stats.abuse_reports.count();
                "abuse"
            }
            // §10.3: others may be registered.
            _ => {
                walk.node.stats.abuse_reports.count();
                "another reason"
            }
        };
        tracing::info!(reason, "a user has blocked and reported somebody");
    }
    let Some(operator) = &config.reports_to else {
        return;
    };
    for report in reports.iter().take(MOST_AT_ONCE) {
        let message = forwarded(walk, report).to(operator.clone());
        walk.send(message);
    }
}

/// For a person to read, with the report itself for a program.
fn forwarded(walk: &Walk<'_>, report: &Report) -> Stanza {
    let texts = report
        .element
        .children()
        .filter(|child| child.is("text", ns::REPORTING));
    let said: String = texts.map(|text| format!("\n{}", text.text())).collect();
    let words = format!(
        "{} has blocked and reported {} ({}).{said}",
        walk.home.jid, report.reported, report.reason
    );
    let item = Element::new("item", ns::BLOCKING)
        .with_attr("jid", report.reported.as_str())
        .with_child(report.element.clone());
    Stanza::message(MessageType::Normal)
        .from(walk.home.jid.domain_jid())
        .id(walk.node.random_name())
        .with_child(&Element::new("body", ns::CLIENT).with_text(&words))
        .with_child(&item)
}
