//! People find public rooms by what they are called, what they are about or where they are.
//!
//! XEP-0433 0.1.0. The form and its answer are read for a service whose channels are rooms (XEP-0045); what else was
//! asked for is not found. Where the examples and the text disagree (`conflicting-fields`, `no-search-conditions`,
//! `sinaddress`), the text is followed.

use super::data_form::{DataForm, Field, FieldKind, FieldOption, FormKind};
use super::rsm;
use crate::error::{Condition, ErrorType, StanzaError};
use crate::ns;
use crate::xml::Element;

/// Bytes of what is searched for: longer than any name of a room that people remember.
pub const MAX_QUERY_BYTES: usize = 256;
/// Terms in one search: each costs a look through every description.
pub const MAX_TERMS: usize = 8;
/// Characters of a term; what is shorter is skipped, since it is found everywhere. Two are a word in Chinese.
pub const MIN_TERM_CHARS: usize = 2;

/// What the service type of rooms is called (§6.2).
const ROOMS: &str = "xep-0045";
/// COMPAT(several clients): what the example of a form calls `sinaddress`.
const IN_ADDRESS_IN_EXAMPLE: &str = "sinaddr";

/// How results are ordered (§6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Those with most users first.
    #[default]
    Users,
    /// By address.
    Address,
}

impl Order {
    const ALL: [Order; 2] = [Order::Users, Order::Address];

    fn as_str(self) -> &'static str {
        match self {
            Order::Users => "{urn:xmpp:channel-search:0:order}nusers",
            Order::Address => "{urn:xmpp:channel-search:0:order}address",
        }
    }

    fn label(self) -> &'static str {
        match self {
            Order::Users => "Number of users",
            Order::Address => "Address",
        }
    }
}

/// What of a channel is searched in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    /// What it is called.
    pub name: bool,
    /// What it is about.
    pub description: bool,
    /// Where it is.
    pub address: bool,
}

/// What somebody looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Terms in lower case that all have to be found; none if everything is wanted.
    pub terms: Vec<String>,
    /// Where they may be found.
    pub places: Places,
    /// Are rooms wanted at all, or only channels of other kinds?
    pub wants_rooms: bool,
    /// Only channels with so many users.
    pub min_users: u32,
    /// Which come first.
    pub order: Order,
    /// Which page of them is wanted.
    pub page: rsm::Request,
}

/// The form to fill in (§4.2.1), with what holds where nothing is filled in.
pub fn form() -> Element {
    let yes = |var, label: &str| {
        let field = Field::new(var, ["true"]).of_kind(FieldKind::Boolean);
        field.labelled(label)
    };
    let option = |value: &str, label: &str| FieldOption {
        label: Some(label.to_owned()),
        value: value.to_owned(),
    };
    let blank = |var, kind, label: &str| Field {
        kind: Some(kind),
        label: Some(label.to_owned()),
        ..Field::new(var, [""; 0])
    };
    let types = Field {
        options: vec![option(ROOMS, "Rooms (XEP-0045)")],
        ..Field::new("types", [ROOMS])
            .of_kind(FieldKind::ListMulti)
            .labelled("Kinds of channels")
    };
    let key = Field {
        options: Order::ALL
            .map(|order| option(order.as_str(), order.label()))
            .to_vec(),
        ..Field::new("key", [Order::default().as_str()])
            .of_kind(FieldKind::ListSingle)
            .labelled("Sort results by")
    };
    let form = DataForm::new(FormKind::Form, ns::CHANNEL_SEARCH_PARAMS)
        .with_field(blank("q", FieldKind::TextSingle, "Search for"))
        .with_field(blank("all", FieldKind::Boolean, "Return all channels"))
        .with_field(yes("sinname", "Search in names"))
        .with_field(yes("sindescription", "Search in descriptions"))
        .with_field(yes("sinaddress", "Search in addresses"))
        .with_field(types)
        .with_field(
            Field::new("min_users", ["0"])
                .of_kind(FieldKind::TextSingle)
                .labelled("Minimum number of users"),
        )
        .with_field(key);
    Element::new("search", ns::CHANNEL_SEARCH).with_child(form.to_element())
}

impl Query {
    /// Reads a `<search/>`; `None` if it asks for the form.
    ///
    /// # Errors
    /// `<bad-request/>`: no form of this kind, values or a page that make no sense, no or too many search terms,
    /// conditions that exclude each other or none at all (§4.2.2); `<feature-not-implemented/>`: an unknown order.
    pub fn read(search: &Element) -> Result<Option<Query>, StanzaError> {
        if search.children().next().is_none() {
            return Ok(None);
        }
        let form = search.child("x", ns::DATA_FORMS).and_then(DataForm::read);
        let form = form.filter(|form| {
            form.kind == FormKind::Submit && form.form_type() == Some(ns::CHANNEL_SEARCH_PARAMS)
        });
        let form = form.ok_or_else(|| {
            StanzaError::bad_request().with_text("this is no form of a channel search")
        })?;
        let page = rsm::Request::read(search).map_err(|_| StanzaError::bad_request())?;
        let in_address = match form.field("sinaddress") {
            Some(_) => flag(&form, "sinaddress")?,
            None => flag(&form, IN_ADDRESS_IN_EXAMPLE)?,
        };
        let places = Places {
            name: flag(&form, "sinname")?.unwrap_or(true),
            description: flag(&form, "sindescription")?.unwrap_or(true),
            address: in_address.unwrap_or(true),
        };
        Ok(Some(Query {
            terms: wanted(&form, places)?,
            places,
            wants_rooms: wants_rooms(&form),
            min_users: min_users(&form)?,
            order: order(&form)?,
            page,
        }))
    }

    /// Is a channel what is looked for, whatever the number of its users?
    pub fn matches(&self, address: &str, name: &str, description: &str) -> bool {
        let places = [
            (self.places.address, address),
            (self.places.name, name),
            (self.places.description, description),
        ];
        let texts = places.into_iter().filter(|(is_searched, _)| *is_searched);
        // Nothing is folded where everything is wanted.
        self.terms.is_empty() || {
            let texts: Vec<String> = texts.map(|(_, text)| text.to_lowercase()).collect();
            let is_found = |term: &String| texts.iter().any(|text| text.contains(&**term));
            self.terms.iter().all(is_found)
        }
    }
}

/// A value that was given; XEP-0004 has no difference between an empty field and none.
fn value<'f>(form: &'f DataForm, var: &str) -> Option<&'f str> {
    let value = form.field(var)?.value().map(str::trim);
    value.filter(|value| !value.is_empty())
}

fn flag(form: &DataForm, var: &str) -> Result<Option<bool>, StanzaError> {
    match value(form, var) {
        None => Ok(None),
        Some("true" | "1") => Ok(Some(true)),
        Some("false" | "0") => Ok(Some(false)),
        Some(_) => {
            Err(StanzaError::bad_request().with_text(format!("{var} is neither true nor false")))
        }
    }
}

fn min_users(form: &DataForm) -> Result<u32, StanzaError> {
    let number = value(form, "min_users").map_or(Ok(0), str::parse);
    number.map_err(|_| StanzaError::bad_request().with_text("min_users is no number"))
}

fn order(form: &DataForm) -> Result<Order, StanzaError> {
    let Some(key) = value(form, "key") else {
        return Ok(Order::default());
    };
    let known = Order::ALL.into_iter().find(|order| order.as_str() == key);
    known.ok_or_else(|| {
        let error = StanzaError::new(ErrorType::Modify, Condition::FeatureNotImplemented);
        error.with_app(condition("invalid-sort-key"))
    })
}

fn wants_rooms(form: &DataForm) -> bool {
    let types = form.field("types").map(|field| &field.values[..]);
    types.is_none_or(|types| types.is_empty() || types.iter().any(|kind| kind == ROOMS))
}

fn wanted(form: &DataForm, places: Places) -> Result<Vec<String>, StanzaError> {
    let is_all = flag(form, "all")?.unwrap_or(false);
    if is_all {
        return match value(form, "q") {
            None => Ok(Vec::new()),
            Some(_) => Err(conflicting(
                "all channels cannot be returned and searched by keywords",
                &["all", "q"],
            )),
        };
    }
    let q = form.field("q").and_then(Field::value);
    let q = q.ok_or_else(|| {
        let error = StanzaError::new(ErrorType::Cancel, Condition::BadRequest);
        error.with_app(condition("no-search-conditions"))
    })?;
    if !places.name && !places.description && !places.address {
        return Err(conflicting(
            "there is nothing left to search in",
            &["q", "sinname", "sindescription", "sinaddress"],
        ));
    }
    terms(q)
}

fn terms(q: &str) -> Result<Vec<String>, StanzaError> {
    let refused = |text: String| {
        let error = StanzaError::bad_request().with_text(text);
        error.with_app(condition("invalid-search-terms"))
    };
    if q.len() > MAX_QUERY_BYTES {
        return Err(refused(format!(
            "a search has at most {MAX_QUERY_BYTES} bytes"
        )));
    }
    let is_term = |word: &&str| word.chars().count() >= MIN_TERM_CHARS;
    let terms = q.split_whitespace().filter(is_term).map(str::to_lowercase);
    let terms: Vec<String> = terms.collect();
    if terms.is_empty() {
        return Err(refused(format!(
            "search terms have at least {MIN_TERM_CHARS} characters"
        )));
    }
    if terms.len() > MAX_TERMS {
        return Err(refused(format!("a search has at most {MAX_TERMS} terms")));
    }
    Ok(terms)
}

fn conflicting(text: &str, vars: &[&str]) -> StanzaError {
    let var = |var: &&str| Element::new("var", ns::CHANNEL_SEARCH_ERROR).with_text(var);
    let fields = condition("conflicting-fields").with_children(vars.iter().map(var));
    StanzaError::bad_request().with_text(text).with_app(fields)
}

fn condition(name: &'static str) -> Element {
    Element::new(name, ns::CHANNEL_SEARCH_ERROR)
}

/// A room that was found (§6.2). What is not known is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Item {
    /// Where it is.
    pub address: String,
    /// What it is called.
    pub name: Option<String>,
    /// What it is about.
    pub description: Option<String>,
    /// The language spoken there.
    pub language: Option<String>,
    /// How many are in it.
    pub users: Option<u32>,
    /// May everybody enter?
    pub is_open: Option<bool>,
    /// Does everybody there see everybody's address?
    pub shows_addresses: Option<bool>,
}

impl Item {
    fn to_element(&self) -> Element {
        let child =
            |name: &'static str, text: &str| Element::new(name, ns::CHANNEL_SEARCH).with_text(text);
        let text = |name, text: &Option<String>| text.as_ref().map(|text| child(name, text));
        // COMPAT(several clients): they read that the element is there, as the example has it, not what is in it.
        let is_open = self.is_open.filter(|is_open| *is_open);
        let anonymity = self.shows_addresses.map(|shows| match shows {
            true => "{urn:xmpp:channel-search:0:anonymity}none",
            false => "muc_semianonymous",
        });
        Element::new("item", ns::CHANNEL_SEARCH)
            .with_attr("address", &*self.address)
            .with_children(text("name", &self.name))
            .with_children(text("description", &self.description))
            .with_children(text("language", &self.language))
            .with_children(self.users.map(|users| child("nusers", &users.to_string())))
            .with_child(child("service-type", ROOMS))
            .with_children(is_open.map(|_| child("is-open", "true")))
            .with_children(anonymity.map(|mode| child("anonymity-mode", mode)))
    }
}

/// The answer: one page of what was found.
pub fn result(items: &[Item], set: &rsm::Answer) -> Element {
    Element::new("result", ns::CHANNEL_SEARCH)
        .with_children(items.iter().map(Item::to_element))
        .with_child(set.to_element())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &[(&str, &str)]) -> Result<Query, StanzaError> {
        let mut form = DataForm::new(FormKind::Submit, ns::CHANNEL_SEARCH_PARAMS);
        for (var, value) in fields {
            form.fields.push(Field::new(*var, [*value]));
        }
        let search = Element::new("search", ns::CHANNEL_SEARCH).with_child(form.to_element());
        Query::read(&search).map(|query| query.unwrap())
    }

    #[test]
    fn what_is_left_out_is_as_the_form_has_it() {
        assert_eq!(
            Query::read(&Element::new("search", ns::CHANNEL_SEARCH)),
            Ok(None)
        );
        let mut form = DataForm::read(form().child("x", ns::DATA_FORMS).unwrap()).unwrap();
        form.kind = FormKind::Submit;
        for field in form.fields.iter_mut().filter(|field| field.var == "q") {
            field.values = vec!["Dark cave".to_owned()];
        }
        let whole = Element::new("search", ns::CHANNEL_SEARCH).with_child(form.to_element());
        let query = read(&[("q", "dark CAVE"), ("sinaddr", "1")]).unwrap();
        assert_eq!(Query::read(&whole), Ok(Some(query.clone())));
        assert_eq!(query.terms, ["dark", "cave"]);
        assert_eq!((query.order, query.min_users), (Order::Users, 0));
        assert!(query.wants_rooms);
    }

    #[test]
    fn every_term_has_to_be_found_where_it_is_looked_for() {
        let look = |fields: &[(&str, &str)]| {
            let query = read(fields).unwrap();
            query.matches("coven@rooms.lit", "A Dark Cave", "ÜBER den Kessel")
        };
        for (fields, is_found) in [
            (&[("q", "coven dark über")][..], true),
            (&[("q", "dark heath")], false),
            (&[("q", "a kessel")], true),
            (&[("q", "dark"), ("sinname", "0")], false),
            (&[("q", "kessel"), ("sindescription", "false")], false),
            (&[("q", "coven"), ("sinaddress", "0")], false),
            (&[("q", "coven"), ("sinaddr", "0")], false),
            (&[("all", "1")], true),
            (&[("all", "1"), ("q", " "), ("sinname", "0")], true),
        ] {
            assert_eq!(look(fields), is_found, "{fields:?}");
        }
    }

    #[test]
    fn what_cannot_be_searched_for_is_refused_with_its_condition() {
        let (long, many) = ("x".repeat(MAX_QUERY_BYTES + 1), "ab ".repeat(MAX_TERMS + 1));
        let nowhere = [
            ("q", "cave"),
            ("sinname", "0"),
            ("sindescription", "0"),
            ("sinaddress", "0"),
        ];
        for (fields, kind, app) in [
            (&[("q", "")][..], ErrorType::Modify, "invalid-search-terms"),
            (&[("q", "a b")], ErrorType::Modify, "invalid-search-terms"),
            (&[("q", &long)], ErrorType::Modify, "invalid-search-terms"),
            (&[("q", &many)], ErrorType::Modify, "invalid-search-terms"),
            (&[], ErrorType::Cancel, "no-search-conditions"),
            (&[("all", "0")], ErrorType::Cancel, "no-search-conditions"),
            (
                &[("all", "1"), ("q", "cave")],
                ErrorType::Modify,
                "conflicting-fields",
            ),
            (&nowhere, ErrorType::Modify, "conflicting-fields"),
            (
                &[("q", "cave"), ("key", "size")],
                ErrorType::Modify,
                "invalid-sort-key",
            ),
        ] {
            let error = read(fields).unwrap_err();
            assert_eq!(error.app.unwrap().name(), app, "{fields:?}");
            assert_eq!(error.kind, kind, "{fields:?}");
        }
        for fields in [
            [("q", "cave"), ("sinname", "perhaps")],
            [("q", "cave"), ("min_users", "-1")],
        ] {
            let error = read(&fields).unwrap_err();
            assert_eq!((error.condition, error.app), (Condition::BadRequest, None));
        }
    }

    #[test]
    fn at_the_bounds_everything_is_searched() {
        let long = "x".repeat(MAX_QUERY_BYTES);
        assert_eq!(read(&[("q", &long)]).unwrap().terms, [long]);
        let many = "ab ".repeat(MAX_TERMS);
        assert_eq!(read(&[("q", &many)]).unwrap().terms.len(), MAX_TERMS);
    }
}
