//! The message archive: queries, the form they are made of, what ends an answer, metadata and preferences.
//!
//! XEP-0313 1.1.3, XEP-0441 0.2.0. Left out: pubsub archives (the `node` attribute, XEP-0442).

use thiserror::Error;

use super::data_form::{DataForm, Field, FormKind};
use super::{date_time, rsm};
use crate::jid::Jid;
use crate::ns;
use crate::xml::Element;

/// Most ids that one query may name: as many as a page has.
pub const MAX_IDS: usize = 250;

/// A `<query/>` of an archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// The name that results repeat.
    pub queryid: Option<String>,
    /// Which entries are wanted.
    pub filter: Filter,
    /// Which page of them.
    pub set: rsm::Request,
    /// Whether the page is wanted newest first (§4.3.4).
    pub flipped: bool,
}

/// Which entries a query wants (§4.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// To or from this address.
    pub with: Option<Jid>,
    /// Not before this moment, in milliseconds since 1970.
    pub start: Option<u64>,
    /// Not after this moment.
    pub end: Option<u64>,
    /// Before this entry.
    pub before_id: Option<String>,
    /// After this entry.
    pub after_id: Option<String>,
    /// Only these entries; all if empty.
    pub ids: Vec<String>,
}

/// A query that cannot be answered. The peer's fault.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum BadQuery {
    /// To be told as `bad-request`.
    #[error("an archive query with {0}")]
    Malformed(&'static str),
    /// §4.1.6: a field, or an archive, that is not known here; to be told as `feature-not-implemented`.
    #[error("an archive query for something unknown")]
    Unknown,
}

impl From<rsm::BadRequest> for BadQuery {
    fn from(_: rsm::BadRequest) -> BadQuery {
        BadQuery::Malformed("a page that makes no sense")
    }
}

impl Query {
    /// Reads a `<query/>`.
    ///
    /// # Errors
    /// See [`BadQuery`].
    pub fn read(query: &Element) -> Result<Query, BadQuery> {
        if query.attr("node").is_some() {
            return Err(BadQuery::Unknown);
        }
        let filter = match query.child("x", ns::DATA_FORMS) {
            Some(form) => Filter::read(form)?,
            None => Filter::default(),
        };
        Ok(Query {
            queryid: query.attr("queryid").map(str::to_owned),
            filter,
            set: rsm::Request::read(query)?,
            flipped: query.child("flip-page", ns::MAM).is_some(),
        })
    }

    /// The answer to a client that asks which fields a query may have (§4.1.6).
    pub fn form() -> Element {
        let field = |kind: &str, var: &str| {
            Element::new("field", ns::DATA_FORMS)
                .with_attr("type", kind)
                .with_attr("var", var)
        };
        let value = Element::new("value", ns::DATA_FORMS).with_text(ns::MAM);
        // The list is open to any value (XEP-0122 §3.2): all ids of the archive would be too many to list.
        let open = Element::new("validate", ns::DATA_VALIDATE)
            .with_attr("datatype", "xs:string")
            .with_child(Element::new("open", ns::DATA_VALIDATE));
        let form = Element::new("x", ns::DATA_FORMS)
            .with_attr("type", "form")
            .with_child(field("hidden", "FORM_TYPE").with_child(value))
            .with_child(field("jid-single", "with"))
            .with_child(field("text-single", "start"))
            .with_child(field("text-single", "end"))
            .with_child(field("text-single", "before-id"))
            .with_child(field("text-single", "after-id"))
            .with_child(field("list-multi", "ids").with_child(open))
            .with_child(field("boolean", "include-groupchat"));
        Element::new("query", ns::MAM).with_child(form)
    }
}

impl Filter {
    fn read(form: &Element) -> Result<Filter, BadQuery> {
        const BAD_FORM: BadQuery = BadQuery::Malformed("a form that is none of an archive's");
        let form = DataForm::read(form).ok_or(BAD_FORM)?;
        if form.kind != FormKind::Submit || form.form_type() != Some(ns::MAM) {
            return Err(BAD_FORM);
        }
        let mut filter = Filter::default();
        for field in &form.fields {
            filter.take(field)?;
        }
        Ok(filter)
    }

    fn take(&mut self, field: &Field) -> Result<(), BadQuery> {
        let value = field.value().filter(|value| !value.is_empty());
        let moment = |value: Option<&str>| {
            let parse = |text| date_time::parse(text).ok_or(BadQuery::Malformed("a bad moment"));
            value.map(parse).transpose()
        };
        match field.var.as_str() {
            "FORM_TYPE" => {}
            "with" => {
                let parse = |text| Jid::parse(text).map_err(|_| BadQuery::Malformed("a bad JID"));
                self.with = value.map(parse).transpose()?;
            }
            "start" => self.start = moment(value)?,
            "end" => self.end = moment(value)?,
            "before-id" => self.before_id = value.map(str::to_owned),
            "after-id" => self.after_id = value.map(str::to_owned),
            "ids" if field.values.len() > MAX_IDS => {
                return Err(BadQuery::Malformed("too many ids"));
            }
            "ids" => self.ids.clone_from(&field.values),
            // Messages of rooms are in the rooms' archives only, whatever the value is.
            "include-groupchat" => {}
            _ => return Err(BadQuery::Unknown),
        }
        Ok(())
    }
}

/// What ends an answer: `<fin/>` (§4.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fin {
    /// Nothing is left beyond the page.
    pub complete: bool,
    /// The ends of the page.
    pub set: rsm::Answer,
}

impl Fin {
    /// The `<fin/>` to send.
    pub fn to_element(&self) -> Element {
        Element::new("fin", ns::MAM)
            .with_attr_opt("complete", self.complete.then_some("true"))
            .with_child(self.set.to_element())
    }
}

/// One end of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The entry's id.
    pub id: String,
    /// When it was made, as an XEP-0082 DateTime.
    pub timestamp: String,
}

/// The `<metadata/>` of an archive (§5); `ends` is `None` when it is empty.
pub fn metadata(ends: Option<(End, End)>) -> Element {
    let end = |name: &'static str, end: End| {
        Element::new(name, ns::MAM)
            .with_attr("id", end.id)
            .with_attr("timestamp", end.timestamp)
    };
    let ends = ends.map(|(first, last)| [end("start", first), end("end", last)]);
    Element::new("metadata", ns::MAM).with_children(ends.into_iter().flatten())
}

/// What is archived of contacts that no list names (XEP-0441 §2.1.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ByDefault {
    /// Everything.
    #[default]
    Always,
    /// Nothing.
    Never,
    /// What contacts in the roster send and get.
    Roster,
}

impl ByDefault {
    const ALL: [ByDefault; 3] = [ByDefault::Always, ByDefault::Never, ByDefault::Roster];

    fn as_str(self) -> &'static str {
        match self {
            ByDefault::Always => "always",
            ByDefault::Never => "never",
            ByDefault::Roster => "roster",
        }
    }
}

/// Preferences: what a person wants to have archived (XEP-0441 §2.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefs {
    /// For everybody else.
    pub default: ByDefault,
    /// Archived in any case.
    pub always: Vec<Jid>,
    /// Never archived.
    pub never: Vec<Jid>,
}

impl Prefs {
    /// Reads a `<prefs/>`.
    ///
    /// # Errors
    /// There is no known default, or a JID is none.
    pub fn read(prefs: &Element) -> Result<Prefs, BadQuery> {
        let default = prefs.attr("default").unwrap_or_default();
        let default = ByDefault::ALL
            .into_iter()
            .find(|known| known.as_str() == default)
            .ok_or(BadQuery::Malformed("no default preference"))?;
        let list = |name| {
            let listed = prefs.child(name, ns::MAM);
            let jids = listed.into_iter().flat_map(Element::children);
            jids.filter(|child| child.is("jid", ns::MAM))
                .map(|jid| Jid::parse(jid.text().trim()))
                .collect::<Result<Vec<Jid>, _>>()
                .map_err(|_| BadQuery::Malformed("a bad JID"))
        };
        let (always, never) = (list("always")?, list("never")?);
        Ok(Prefs {
            default,
            always,
            never,
        })
    }

    /// The `<prefs/>` to send.
    pub fn to_element(&self) -> Element {
        let list = |name: &'static str, jids: &[Jid]| {
            let jid = |jid: &Jid| Element::new("jid", ns::MAM).with_text(jid.as_str());
            Element::new(name, ns::MAM).with_children(jids.iter().map(jid))
        };
        Element::new("prefs", ns::MAM)
            .with_attr("default", self.default.as_str())
            .with_child(list("always", &self.always))
            .with_child(list("never", &self.never))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(content: &str) -> Result<Query, BadQuery> {
        let xml = format!("<query xmlns='urn:xmpp:mam:2' queryid='f27'>{content}</query>");
        Query::read(&Element::parse(xml.as_bytes(), "").unwrap())
    }

    fn with_fields(fields: &str) -> Result<Query, BadQuery> {
        query(&format!(
            "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>\
             <value>urn:xmpp:mam:2</value></field>{fields}</x>"
        ))
    }

    fn field(var: &str, value: &str) -> String {
        format!("<field var='{var}'><value>{value}</value></field>")
    }

    #[test]
    fn every_filter_is_understood() {
        let fields = [
            field("with", "juliet@capulet.lit"),
            field("start", "2010-06-07T00:00:00Z"),
            field("end", "2010-07-07T13:23:54Z"),
            field("before-id", "b"),
            field("after-id", "a"),
            field("include-groupchat", "true"),
            "<field var='ids'><value>1</value><value>2</value></field>".to_owned(),
        ];
        let found = with_fields(&fields.concat()).unwrap();
        assert_eq!(
            found.filter,
            Filter {
                with: Some(Jid::parse("juliet@capulet.lit").unwrap()),
                start: Some(1_275_868_800_000),
                end: Some(1_278_509_034_000),
                before_id: Some("b".into()),
                after_id: Some("a".into()),
                ids: vec!["1".into(), "2".into()],
            }
        );
        assert_eq!(found.queryid.as_deref(), Some("f27"));
        assert!(!found.flipped && query("<flip-page/>").unwrap().flipped);
        assert_eq!(query("").unwrap().filter, Filter::default());
    }

    #[test]
    fn what_cannot_be_answered_is_refused() {
        let too_many = format!(
            "<field var='ids'>{}</field>",
            "<value>1</value>".repeat(MAX_IDS + 1)
        );
        for (fields, unknown) in [
            (field("with", "@"), false),
            (field("start", "yesterday"), false),
            (too_many, false),
            (field("{http://example.com/}free-text-search", "love"), true),
        ] {
            let error = with_fields(&fields).unwrap_err();
            assert_eq!(error == BadQuery::Unknown, unknown, "{fields}");
        }
        assert!(query("<x xmlns='jabber:x:data' type='submit'/>").is_err());
        assert!(query("<set xmlns='http://jabber.org/protocol/rsm'><max>x</max></set>").is_err());
        let node = Element::new("query", ns::MAM).with_attr("node", "blog");
        assert_eq!(Query::read(&node), Err(BadQuery::Unknown));
    }

    #[test]
    fn preferences_are_read_as_they_are_written() {
        let prefs = Prefs {
            default: ByDefault::Roster,
            always: vec![Jid::parse("romeo@montague.lit").unwrap()],
            never: vec![Jid::parse("montague@montague.lit/home").unwrap()],
        };
        let written = prefs.to_element();
        assert_eq!(Prefs::read(&written).unwrap(), prefs);
        let bare = Element::new("prefs", ns::MAM);
        assert!(Prefs::read(&bare).is_err());
        let short = bare.with_attr("default", "never");
        assert_eq!(Prefs::read(&short).unwrap().default, ByDefault::Never);
    }

    #[test]
    fn an_empty_archive_has_empty_metadata() {
        assert_eq!(
            metadata(None).to_bytes(""),
            b"<metadata xmlns='urn:xmpp:mam:2'/>"
        );
    }
}
