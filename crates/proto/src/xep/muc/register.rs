//! Becoming a member of a room, with a nickname that is kept for oneself (XEP-0045 §7.10, §9.10).
//!
//! Of the registered fields only the nickname is asked for: a room has no use for anyone's name, address or page.

use crate::jid::BareJid;
use crate::ns;
use crate::xep::data_form::{DataForm, Field, FieldKind, FormKind};
use crate::xml::Element;

const NICK: &str = "muc#register_roomnick";
const ALLOW: &str = "muc#register_allow";

/// What somebody wants of a room's registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Register {
    /// To be a member under this nickname, as it was typed.
    Nick(String),
    /// To be none any more (XEP-0077 §3.2).
    Remove,
}

impl Register {
    /// Reads the payload of an IQ set; `None` if it has neither a form with a nickname nor wants removal.
    pub fn read(query: &Element) -> Option<Register> {
        if query.child("remove", ns::REGISTER).is_some() {
            return Some(Register::Remove);
        }
        let form = DataForm::read(query.child("x", ns::DATA_FORMS)?)?;
        let is_ours = form.kind == FormKind::Submit
            && matches!(form.form_type(), None | Some(ns::MUC_REGISTER));
        let nick = form.field(NICK).and_then(Field::value)?.trim();
        (is_ours && !nick.is_empty()).then(|| Register::Nick(nick.to_owned()))
    }
}

/// What is asked of whoever wants to register.
pub fn requirements(room: &str) -> Element {
    let mut form = DataForm::new(FormKind::Form, ns::MUC_REGISTER).with_field(nick_field(None));
    form.title = Some(format!("Registration with {room}"));
    form.instructions = vec!["Choose the nickname that is to be kept for you.".to_owned()];
    Element::new("query", ns::REGISTER)
        .with_child(
            Element::new("instructions", ns::REGISTER)
                .with_text("Registration needs a client that shows forms."),
        )
        .with_child(form.to_element())
}

/// What somebody is told who is registered.
pub fn registered(nick: Option<&str>) -> Element {
    let query =
        Element::new("query", ns::REGISTER).with_child(Element::new("registered", ns::REGISTER));
    match nick {
        Some(nick) => query.with_child(Element::new("username", ns::REGISTER).with_text(nick)),
        None => query,
    }
}

fn nick_field(nick: Option<&str>) -> Field {
    Field {
        required: nick.is_none(),
        ..Field::new(NICK, nick)
            .of_kind(FieldKind::TextSingle)
            .labelled("Nickname")
    }
}

/// What an administrator is asked who has to approve a registration (§9.10), and what comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// Who wants to register.
    pub who: BareJid,
    /// Under which nickname.
    pub nick: String,
    /// Whether they may.
    pub allow: bool,
}

/// The field of §15.5.2 that says whom a request is about; the form of §9.10 has none.
const JID: &str = "muc#jid";

impl Approval {
    /// The question.
    pub fn to_form(&self) -> DataForm {
        let who = Field::new(JID, [self.who.as_str()])
            .of_kind(FieldKind::JidSingle)
            .labelled("Who wants to register");
        let allow = Field::new(ALLOW, [if self.allow { "1" } else { "0" }])
            .of_kind(FieldKind::Boolean)
            .labelled("Allow this person to register with the room?");
        let mut form = DataForm::new(FormKind::Form, ns::MUC_REGISTER)
            .with_field(who)
            .with_field(nick_field(Some(&self.nick)))
            .with_field(allow);
        form.title = Some("Registration request".to_owned());
        form
    }

    /// Reads the answer; `None` if it is none.
    pub fn read(form: &DataForm) -> Option<Approval> {
        if form.kind != FormKind::Submit || form.form_type() != Some(ns::MUC_REGISTER) {
            return None;
        }
        let value = |var| form.field(var).and_then(Field::value).map(str::trim);
        Some(Approval {
            who: BareJid::parse(value(JID)?).ok()?,
            nick: value(NICK).unwrap_or_default().to_owned(),
            allow: matches!(value(ALLOW), Some("1" | "true")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(xml: &str) -> Option<Register> {
        let query = format!("<query xmlns='jabber:iq:register'>{xml}</query>");
        Register::read(&Element::parse(query.as_bytes(), ns::CLIENT).unwrap())
    }

    #[test]
    fn a_registration_names_a_nickname() {
        let form = |kind: &str, of: &str, nick: &str| {
            let field = |var: &str, value: &str| {
                format!("<field var='{var}'><value>{value}</value></field>")
            };
            let fields = field("FORM_TYPE", of) + &field(NICK, nick);
            read(&format!(
                "<x xmlns='jabber:x:data' type='{kind}'>{fields}</x>"
            ))
        };
        let nick = Some(Register::Nick("thirdwitch".to_owned()));
        assert_eq!(form("submit", ns::MUC_REGISTER, " thirdwitch "), nick);
        assert_eq!(form("form", ns::MUC_REGISTER, "thirdwitch"), None);
        assert_eq!(form("submit", "urn:example", "thirdwitch"), None);
        assert_eq!(form("submit", ns::MUC_REGISTER, " "), None);
        assert_eq!(read("<username>thirdwitch</username>"), None);
        assert_eq!(read("<remove/>"), Some(Register::Remove));
    }

    #[test]
    fn the_question_asks_only_for_what_is_needed() {
        let query = requirements("coven@chat.shakespeare.lit");
        let form = DataForm::read(query.child("x", ns::DATA_FORMS).unwrap()).unwrap();
        let vars: Vec<&str> = form.fields.iter().map(|field| &*field.var).collect();
        assert_eq!(vars, ["FORM_TYPE", NICK]);
        assert!(form.fields[1].required);
        let known = registered(Some("thirdwitch"));
        let name = known.child("username", ns::REGISTER).map(Element::text);
        assert_eq!(name.as_deref(), Some("thirdwitch"));
    }

    #[test]
    fn an_administrator_answers_the_form_that_was_asked() {
        let asked = Approval {
            who: BareJid::parse("hag66@shakespeare.lit").unwrap(),
            nick: "thirdwitch".to_owned(),
            allow: false,
        };
        let mut form = DataForm::read(&asked.to_form().to_element()).unwrap();
        assert_eq!(Approval::read(&form), None);
        form.kind = FormKind::Submit;
        assert_eq!(Approval::read(&form), Some(asked.clone()));
        let allow = form.fields.iter_mut().find(|field| field.var == ALLOW);
        allow.unwrap().values = vec!["true".to_owned()];
        let allow = true;
        assert_eq!(Approval::read(&form), Some(Approval { allow, ..asked }));
    }
}
