//! The executions of commands that wait for their requesters: a small table, since only administrators get into it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::{BareJid, Jid};
use posthaste_proto::xep::commands::Fault;
use posthaste_proto::xep::data_form::DataForm;

use crate::clock::Timestamp;

/// How long a form waits for its answer, in milliseconds: somebody looks something up meanwhile.
pub const LIFETIME_MILLIS: u64 = 15 * 60 * 1_000;
/// Executions that are remembered, those that are over too. The oldest makes room: an administrator who abandons
/// forms gets in nobody's way.
pub const MOST: usize = 128;

/// One execution of a command.
#[derive(Clone, Debug)]
pub struct Execution {
    /// Its name.
    pub id: String,
    /// The command's node.
    pub command: &'static str,
    /// Where it was asked for.
    pub host: BareJid,
    /// Who asked for it: nobody else may go on with it.
    pub by: Jid,
    /// Where it stands.
    pub stage: Stage,
}

/// Where an execution stands.
#[derive(Clone, Debug)]
pub enum Stage {
    /// The form is shown.
    Form,
    /// A page is shown.
    Pages(Pages),
    /// It is done, was given up, or is being worked on.
    Over,
}

/// A long list that is turned page by page.
#[derive(Clone, Debug)]
pub struct Pages {
    /// The form as it was filled out.
    pub form: DataForm,
    /// Where each page up to the one that is shown ends.
    pub ends: Vec<String>,
}

impl Pages {
    /// Before the first page.
    pub fn of(form: DataForm) -> Pages {
        Pages {
            form,
            ends: Vec::new(),
        }
    }

    /// So that the page before the one that is shown comes next; `None` if that is the form.
    pub fn back(mut self) -> Option<Pages> {
        let kept = self.ends.len().checked_sub(2)?;
        self.ends.truncate(kept);
        Some(self)
    }
}

/// All executions.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<VecDeque<(Timestamp, Execution)>>);

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, VecDeque<(Timestamp, Execution)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an execution until its requester says more.
    pub fn keep(&self, execution: Execution, now: Timestamp) {
        let mut table = self.lock();
        table.retain(|(_, known)| known.id != execution.id);
        if table.len() >= MOST {
            table.pop_front();
        }
        table.push_back((now, execution));
    }

    /// Takes an execution to work on it; it counts as over until it is kept again.
    ///
    /// # Errors
    /// `bad-sessionid` if there is none, or it is somebody else's; `session-expired` if it is over (§4.4).
    pub fn take(
        &self,
        id: &str,
        is_mine: impl Fn(&Execution) -> bool,
        now: Timestamp,
    ) -> Result<Execution, StanzaError> {
        let mut table = self.lock();
        let known = table
            .iter_mut()
            .find(|(_, known)| known.id == id && is_mine(known));
        let (kept, execution) = known.ok_or(Fault::BadSessionId)?;
        if now.since(*kept) > LIFETIME_MILLIS || matches!(execution.stage, Stage::Over) {
            execution.stage = Stage::Over;
            return Err(Fault::SessionExpired.into());
        }
        let taken = execution.clone();
        execution.stage = Stage::Over;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use posthaste_proto::ns;
    use posthaste_proto::xep::data_form::FormKind;

    fn execution(id: &str) -> Execution {
        Execution {
            id: id.to_owned(),
            command: "c",
            host: BareJid::parse("example.org").unwrap(),
            by: Jid::parse("romeo@example.org/orchard").unwrap(),
            stage: Stage::Form,
        }
    }

    fn condition(outcome: Result<Execution, StanzaError>) -> String {
        outcome.unwrap_err().app.unwrap().name().to_owned()
    }

    #[test]
    fn an_execution_is_taken_once_by_its_requester_and_in_time() {
        let table = Sessions::default();
        let (now, all) = (Timestamp(1_000), |_: &Execution| true);
        table.keep(execution("a"), now);
        assert_eq!(condition(table.take("b", all, now)), "bad-sessionid");
        assert_eq!(condition(table.take("a", |_| false, now)), "bad-sessionid");
        assert!(
            table
                .take("a", all, now.plus_millis(LIFETIME_MILLIS))
                .is_ok()
        );
        assert_eq!(condition(table.take("a", all, now)), "session-expired");
        table.keep(execution("a"), now);
        let late = now.plus_millis(LIFETIME_MILLIS + 1);
        assert_eq!(condition(table.take("a", all, late)), "session-expired");
    }

    #[test]
    fn the_oldest_makes_room() {
        let table = Sessions::default();
        let all = |_: &Execution| true;
        for n in 0..=MOST {
            table.keep(execution(&n.to_string()), Timestamp(0));
        }
        assert_eq!(
            condition(table.take("0", all, Timestamp(0))),
            "bad-sessionid"
        );
        assert!(table.take("1", all, Timestamp(0)).is_ok());
    }

    #[test]
    fn pages_are_turned_back_one_by_one_to_the_form() {
        let mut pages = Pages::of(DataForm::new(FormKind::Submit, ns::ADMIN));
        pages.ends = vec!["a".into(), "b".into(), "c".into()];
        let back = pages.back().unwrap();
        assert_eq!(back.ends, ["a"]);
        assert!(back.back().is_none());
    }
}
