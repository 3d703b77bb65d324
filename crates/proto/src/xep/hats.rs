//! Hats: what people are in a room beyond role and affiliation, such as "presenter".
//!
//! XEP-0317 0.3.1: the hats, how presence shows them, and the forms and tables of the commands by which they are
//! managed. Left out: custom payloads inside a hat, and the language of its title.

use super::data_form::{DataForm, Field, FieldKind, FieldOption, FormKind};
use crate::jid::BareJid;
use crate::ns;
use crate::xml::Element;

const JID: &str = "hats#jid";
const TITLE: &str = "hats#title";
const URI: &str = "hats#uri";
const HUE: &str = "hats#hue";

/// Bytes of a title: a badge beside a nickname.
const MAX_TITLE_BYTES: usize = 128;
/// Bytes of a URI: it is repeated in every presence of whoever wears it.
const MAX_URI_BYTES: usize = 256;

/// One kind of hat of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hat {
    /// What names it for programs; unique in a room.
    pub uri: String,
    /// What people read.
    pub title: String,
    /// Its colour, as an angle of degrees from 0 to 360 (XEP-0392), as it was written.
    pub hue: Option<String>,
}

/// Why a hat is none. The peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHat {
    /// It has no usable name for programs.
    #[error("the URI of a hat is an absolute URI of at most {MAX_URI_BYTES} bytes")]
    Uri,
    /// It has no usable name for people.
    #[error("the title of a hat has 1 to {MAX_TITLE_BYTES} bytes")]
    Title,
    /// Its colour is none.
    #[error("the hue of a hat is a number from 0 to 360")]
    Hue,
}

impl Hat {
    /// A hat as somebody describes it.
    ///
    /// # Errors
    /// See [`BadHat`].
    pub fn new(uri: &str, title: &str, hue: Option<&str>) -> Result<Hat, BadHat> {
        let hue = hue.map(str::trim).filter(|hue| !hue.is_empty());
        if !is_uri(uri) {
            return Err(BadHat::Uri);
        }
        if title.trim().is_empty() || title.len() > MAX_TITLE_BYTES {
            return Err(BadHat::Title);
        }
        if !hue.is_none_or(is_hue) {
            return Err(BadHat::Hue);
        }
        Ok(Hat {
            uri: uri.to_owned(),
            title: title.to_owned(),
            hue: hue.map(str::to_owned),
        })
    }

    fn to_element(&self) -> Element {
        Element::new("hat", ns::HATS)
            .with_attr("title", &*self.title)
            .with_attr("uri", &*self.uri)
            .with_attr_opt("hue", self.hue.as_deref())
    }

    fn to_option(&self) -> FieldOption {
        FieldOption {
            label: Some(self.title.clone()),
            value: self.uri.clone(),
        }
    }
}

/// The `<hats/>` of a presence.
pub fn to_element<'h>(hats: impl IntoIterator<Item = &'h Hat>) -> Element {
    Element::new("hats", ns::HATS).with_children(hats.into_iter().map(Hat::to_element))
}

/// RFC 3986 §3.1: a scheme and something after it. More is not looked at: nobody resolves it.
fn is_uri(uri: &str) -> bool {
    let is_visible = |c: char| c.is_ascii_graphic() && !"<>\"{}|\\^`".contains(c);
    let scheme = uri.split_once(':').filter(|(_, rest)| !rest.is_empty());
    uri.len() <= MAX_URI_BYTES
        && uri.chars().all(is_visible)
        && scheme.is_some_and(|(scheme, _)| {
            scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        })
}

/// As many digits as XEP-0392 shows, and no "inf" or "1e2".
fn is_hue(hue: &str) -> bool {
    let is_plain = hue.len() <= 16 && hue.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let degrees = hue.parse::<f64>().ok().filter(|_| is_plain);
    degrees.is_some_and(|degrees| (0.0..=360.0).contains(&degrees))
}

// ---- commands ---------------------------------------------------------------------------------------

/// What can be done with the hats of a room, by ad-hoc commands (XEP-0050).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// There is such a hat from now on, or it is described anew.
    Create,
    /// Nobody wears it any more, and it is gone.
    Destroy,
    /// Which there are.
    List,
    /// Somebody wears it from now on.
    Assign,
    /// Somebody wears it no more.
    Unassign,
    /// Who wears which.
    ListAssigned,
}

impl Command {
    /// All of them.
    pub const ALL: [Command; 6] = [
        Command::Create,
        Command::Destroy,
        Command::List,
        Command::Assign,
        Command::Unassign,
        Command::ListAssigned,
    ];

    /// The command with this name in the protocol.
    pub fn of_node(node: &str) -> Option<Command> {
        let mut all = Command::ALL.into_iter();
        all.find(|command| command.node() == node)
    }

    /// Its name in the protocol.
    pub fn node(self) -> &'static str {
        match self {
            Command::Create => "urn:xmpp:hats:commands:create",
            Command::Destroy => "urn:xmpp:hats:commands:destroy",
            Command::List => "urn:xmpp:hats:commands:list",
            Command::Assign => "urn:xmpp:hats:commands:assign",
            Command::Unassign => "urn:xmpp:hats:commands:unassign",
            Command::ListAssigned => "urn:xmpp:hats:commands:list-assigned",
        }
    }

    /// What people read.
    pub fn name(self) -> &'static str {
        match self {
            Command::Create => "Create or change a hat",
            Command::Destroy => "Destroy a hat",
            Command::List => "List the hats",
            Command::Assign => "Give somebody a hat",
            Command::Unassign => "Take a hat from somebody",
            Command::ListAssigned => "List who wears which hat",
        }
    }

    /// The form that it asks to be filled out, where these hats exist; `None` if it asks nothing.
    pub fn form<'h>(self, hats: impl IntoIterator<Item = &'h Hat>) -> Option<DataForm> {
        let question = |var: &str, kind, label: &str, required| Field {
            required,
            ..Field::new(var, None::<String>)
                .of_kind(kind)
                .labelled(label)
        };
        let text = |var, label, required| question(var, FieldKind::TextSingle, label, required);
        let whom = || question(JID, FieldKind::JidSingle, "Address of the user", true);
        let which = || Field {
            options: hats.into_iter().map(Hat::to_option).collect(),
            ..question(URI, FieldKind::ListSingle, "Hat", true)
        };
        let fields = match self {
            Command::List | Command::ListAssigned => return None,
            Command::Create => vec![
                text(TITLE, "Title", true),
                text(URI, "URI", true),
                text(HUE, "Hue, in degrees from 0 to 360", false),
            ],
            Command::Destroy => vec![which()],
            Command::Assign | Command::Unassign => vec![whom(), which()],
        };
        let mut form = DataForm::new(FormKind::Form, ns::HATS_COMMANDS);
        form.title = Some(self.name().to_owned());
        form.fields.extend(fields);
        Some(form)
    }
}

/// What a form says that was filled out; what it does not say is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilledOut<'f> {
    /// Whom it is about.
    pub jid: &'f str,
    /// Which hat.
    pub uri: &'f str,
    /// What it is called.
    pub title: &'f str,
    /// Its colour.
    pub hue: &'f str,
}

impl<'f> FilledOut<'f> {
    /// Reads a form.
    pub fn read(form: &'f DataForm) -> FilledOut<'f> {
        let value = |var| form.field(var).and_then(Field::value).unwrap_or_default();
        FilledOut {
            jid: value(JID),
            uri: value(URI),
            title: value(TITLE),
            hue: value(HUE),
        }
    }
}

/// The answer to [`Command::List`].
pub fn list<'h>(hats: impl IntoIterator<Item = &'h Hat>) -> Element {
    let rows = hats.into_iter().map(|hat| {
        let hue = hat.hue.as_deref().unwrap_or_default();
        vec![(TITLE, &*hat.title), (URI, &*hat.uri), (HUE, hue)]
    });
    table("Hats List", &[TITLE, URI, HUE], rows)
}

/// The answer to [`Command::ListAssigned`].
pub fn list_assigned<'h>(worn: impl IntoIterator<Item = (&'h BareJid, &'h Hat)>) -> Element {
    let rows = worn.into_iter().map(|(user, hat)| {
        let hue = hat.hue.as_deref().unwrap_or_default();
        let user = (JID, user.as_str());
        vec![user, (URI, &*hat.uri), (TITLE, &*hat.title), (HUE, hue)]
    });
    table("Assigned Hats List", &[JID, URI, TITLE, HUE], rows)
}

/// XEP-0004 §3.4. What is empty is left out.
fn table<'r>(
    title: &str,
    columns: &[&str],
    rows: impl Iterator<Item = Vec<(&'r str, &'r str)>>,
) -> Element {
    let element = |name| Element::new(name, ns::DATA_FORMS);
    let field = |var: &str| element("field").with_attr("var", var);
    let cell =
        |(var, value): (&str, &str)| field(var).with_child(element("value").with_text(value));
    let item = |row: Vec<(&str, &str)>| {
        let said = row.into_iter().filter(|(_, value)| !value.is_empty());
        element("item").with_children(said.map(cell))
    };
    let columns = columns.iter().map(|var| field(var));
    element("x")
        .with_attr("type", "result")
        .with_child(element("title").with_text(title))
        .with_child(element("reported").with_children(columns))
        .with_children(rows.map(item))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hat_is_shown_as_it_was_described() {
        let uri = "http://schemas.example.com/hats#host";
        let host = Hat::new(uri, "Host", Some("327.255249")).unwrap();
        let plain = Hat::new("urn:example:scribe", "Scribe", Some("")).unwrap();
        let shown = to_element([&host, &plain]);
        assert_eq!(
            String::from_utf8(shown.to_bytes("")).unwrap(),
            "<hats xmlns='urn:xmpp:hats:0'>\
             <hat title='Host' uri='http://schemas.example.com/hats#host' hue='327.255249'/>\
             <hat title='Scribe' uri='urn:example:scribe'/></hats>"
        );
    }

    #[test]
    fn what_is_no_hat_is_refused() {
        let long = format!("urn:{}", "x".repeat(MAX_URI_BYTES));
        for (uri, title, hue, bad) in [
            ("host", "Host", None, BadHat::Uri),
            ("urn:", "Host", None, BadHat::Uri),
            ("1rn:x", "Host", None, BadHat::Uri),
            ("urn:a b", "Host", None, BadHat::Uri),
            (&long, "Host", None, BadHat::Uri),
            ("urn:x", " ", None, BadHat::Title),
            ("urn:x", &long, None, BadHat::Title),
            ("urn:x", "Host", Some("361"), BadHat::Hue),
            ("urn:x", "Host", Some("-1"), BadHat::Hue),
            ("urn:x", "Host", Some("NaN"), BadHat::Hue),
            ("urn:x", "Host", Some("red"), BadHat::Hue),
        ] {
            assert_eq!(Hat::new(uri, title, hue), Err(bad), "{uri} {title} {hue:?}");
        }
    }

    #[test]
    fn commands_ask_for_what_they_need() {
        let hat = Hat::new("urn:example:scribe", "Scribe", None).unwrap();
        let asked = |command: Command| {
            let form = command.form([&hat])?;
            let fields = form.fields.into_iter().skip(1);
            Some(fields.map(|field| field.var).collect::<Vec<_>>().join(" "))
        };
        for (command, fields) in [
            (Command::Create, Some("hats#title hats#uri hats#hue")),
            (Command::Destroy, Some("hats#uri")),
            (Command::List, None),
            (Command::Assign, Some("hats#jid hats#uri")),
            (Command::Unassign, Some("hats#jid hats#uri")),
            (Command::ListAssigned, None),
        ] {
            assert_eq!(asked(command).as_deref(), fields);
            assert_eq!(Command::of_node(command.node()), Some(command));
        }
        assert_eq!(Command::of_node("urn:xmpp:hats:commands:steal"), None);
    }

    #[test]
    fn who_wears_which_is_a_table() {
        let hat = Hat::new("urn:example:scribe", "Scribe", None).unwrap();
        let user = BareJid::parse("a@b").unwrap();
        let shown = list_assigned([(&user, &hat)]);
        assert_eq!(
            String::from_utf8(shown.to_bytes("")).unwrap(),
            "<x xmlns='jabber:x:data' type='result'><title>Assigned Hats List</title><reported>\
             <field var='hats#jid'/><field var='hats#uri'/><field var='hats#title'/><field var='hats#hue'/></reported>\
             <item><field var='hats#jid'><value>a@b</value></field>\
             <field var='hats#uri'><value>urn:example:scribe</value></field>\
             <field var='hats#title'><value>Scribe</value></field></item></x>"
        );
    }
}
