//! Asking for voice: what a visitor says to a room, what the room asks its moderators, and what they answer.
//!
//! XEP-0045 §7.13, §8.6, fields in §15.5.2.

use super::{Nick, Role};
use crate::jid::FullJid;
use crate::ns;
use crate::xep::data_form::{DataForm, Field, FieldKind, FieldOption, FormKind};

const ROLE: &str = "muc#role";
const JID: &str = "muc#jid";
const NICK: &str = "muc#roomnick";
const ALLOW: &str = "muc#request_allow";

/// A form of the type `muc#request` that somebody sends to a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Voice {
    /// A visitor wants to speak (§7.13).
    Request,
    /// A moderator answers (§8.6).
    Answer(Answer),
}

/// What a moderator answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Who asked, as the room said it.
    pub jid: FullJid,
    /// What the visitor was called then.
    pub nick: Nick,
    /// May the visitor speak?
    pub allow: bool,
}

impl Voice {
    /// Reads a form; `None` if it is not of this kind, or asks for anything but voice.
    pub fn read(form: &DataForm) -> Option<Voice> {
        let is_ours = form.kind == FormKind::Submit && form.form_type() == Some(ns::MUC_REQUEST);
        let value = |var| form.field(var).and_then(Field::value).map(str::trim);
        if !is_ours || value(ROLE)? != Role::Participant.as_str() {
            return None;
        }
        let Some(allow) = value(ALLOW) else {
            return Some(Voice::Request);
        };
        Some(Voice::Answer(Answer {
            jid: FullJid::parse(value(JID)?).ok()?,
            nick: Nick::parse(value(NICK)?).ok()?,
            allow: matches!(allow, "1" | "true"),
        }))
    }
}

/// What a moderator is asked when somebody wants to speak.
pub fn question(jid: &FullJid, nick: &str) -> DataForm {
    let field = |var, value: &str, kind, label: &str| {
        Field::new(var, [value]).of_kind(kind).labelled(label)
    };
    let role = Role::Participant.as_str();
    let mut requested = field(ROLE, role, FieldKind::ListSingle, "Requested role");
    requested.options.push(FieldOption {
        label: None,
        value: role.to_owned(),
    });
    let form = DataForm::new(FormKind::Form, ns::MUC_REQUEST)
        .with_field(requested)
        .with_field(field(JID, jid.as_str(), FieldKind::JidSingle, "Who asks"))
        .with_field(field(NICK, nick, FieldKind::TextSingle, "Nickname"))
        .with_field(field(
            ALLOW,
            "0",
            FieldKind::Boolean,
            "May this person speak?",
        ));
    DataForm {
        title: Some("Voice request".to_owned()),
        instructions: vec!["A visitor of this room asks to be heard.".to_owned()],
        ..form
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::Element;

    fn read(fields: &[(&str, &str)]) -> Option<Voice> {
        let form = DataForm::new(FormKind::Submit, ns::MUC_REQUEST);
        let form = fields.iter().fold(form, |form, (var, value)| {
            form.with_field(Field::new(*var, [*value]))
        });
        Voice::read(&form)
    }

    #[test]
    fn a_visitor_asks_for_voice_and_for_nothing_else() {
        assert_eq!(read(&[(ROLE, "participant")]), Some(Voice::Request));
        assert_eq!(read(&[(ROLE, "moderator")]), None);
        assert_eq!(read(&[]), None);
        let other = DataForm::new(FormKind::Submit, ns::MUC_REGISTER);
        assert_eq!(
            Voice::read(&other.with_field(Field::new(ROLE, ["participant"]))),
            None
        );
    }

    #[test]
    fn a_moderator_answers_what_was_asked() {
        let jid = FullJid::parse("hag66@shakespeare.lit/pda").unwrap();
        let asked = question(&jid, "thirdwitch").to_element();
        let mut form = DataForm::read(&Element::parse(&asked.to_bytes(""), "").unwrap()).unwrap();
        form.kind = FormKind::Submit;
        let answer = |allow| {
            Some(Voice::Answer(Answer {
                jid: jid.clone(),
                nick: Nick::parse("thirdwitch").unwrap(),
                allow,
            }))
        };
        assert_eq!(Voice::read(&form), answer(false));
        form.fields.retain(|field| field.var != ALLOW);
        let form = form.with_field(Field::new(ALLOW, ["true"]));
        assert_eq!(Voice::read(&form), answer(true));
        assert_eq!(
            read(&[(ROLE, "participant"), (ALLOW, "1"), (NICK, "thirdwitch")]),
            None
        );
    }
}
