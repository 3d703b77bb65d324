//! What an owner asks of a room: to configure it, or to end it (XEP-0045 §10).

use super::config::PASSWORD_BYTES;
use super::{Destroy, MAX_REASON_BYTES};
use crate::ns;
use crate::xep::data_form::{DataForm, FormKind};
use crate::xml::Element;

/// What an owner wants to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnerSet {
    /// The configuration is to be so; an empty form accepts what is there (§10.1.2).
    Submit(DataForm),
    /// The configuration is to stay; a new room is not to be (§10.1.3).
    Cancel,
    /// The room is to end (§10.9).
    Destroy(Destroy),
}

/// Why a request is none. The client's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRequest {
    /// It asks for nothing that owners can ask for: `<bad-request/>`.
    Malformed,
    /// The address of the other room is none: `<jid-malformed/>`.
    Address,
    /// The reason or the password is too long: `<not-acceptable/>`.
    TooLong,
}

impl OwnerSet {
    /// Reads the payload of an IQ set, a `<query/>` of `muc#owner`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(query: &Element) -> Result<OwnerSet, BadRequest> {
        if !query.is("query", ns::MUC_OWNER) {
            return Err(BadRequest::Malformed);
        }
        if let Some(destroy) = query.child("destroy", ns::MUC_OWNER) {
            return self::destroy(destroy).map(OwnerSet::Destroy);
        }
        let form = query.child("x", ns::DATA_FORMS).and_then(DataForm::read);
        let form = form.ok_or(BadRequest::Malformed)?;
        match form.kind {
            FormKind::Submit if matches!(form.form_type(), None | Some(ns::MUC_ROOMCONFIG)) => {
                Ok(OwnerSet::Submit(form))
            }
            FormKind::Cancel => Ok(OwnerSet::Cancel),
            FormKind::Submit | FormKind::Form | FormKind::Result => Err(BadRequest::Malformed),
        }
    }
}

fn destroy(element: &Element) -> Result<Destroy, BadRequest> {
    let mut destroy = Destroy::read(element);
    let venue = element.attr("jid").filter(|venue| !venue.is_empty());
    if venue.is_some() && destroy.venue.is_none() {
        return Err(BadRequest::Address);
    }
    // What some clients send for a line that nobody has filled in.
    for text in [&mut destroy.password, &mut destroy.reason] {
        text.take_if(|text| text.is_empty());
    }
    let bounded = [
        (&destroy.password, PASSWORD_BYTES),
        (&destroy.reason, MAX_REASON_BYTES),
    ];
    let is_over = |(text, most): (&Option<String>, usize)| {
        text.as_ref().is_some_and(|text| text.len() > most)
    };
    if bounded.into_iter().any(is_over) {
        return Err(BadRequest::TooLong);
    }
    Ok(destroy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(xml: &str) -> Result<OwnerSet, BadRequest> {
        let query = format!("<query xmlns='{}'>{xml}</query>", ns::MUC_OWNER);
        OwnerSet::read(&Element::parse(query.as_bytes(), ns::CLIENT).unwrap())
    }

    #[test]
    fn an_owner_submits_or_declines_a_form() {
        let empty = read("<x xmlns='jabber:x:data' type='submit'/>");
        assert!(matches!(empty, Ok(OwnerSet::Submit(form)) if form.fields.is_empty()));
        let cancelled = read("<x xmlns='jabber:x:data' type='cancel'/>");
        assert_eq!(cancelled, Ok(OwnerSet::Cancel));
        for wrong in [
            "",
            "<x xmlns='jabber:x:data'/>",
            "<x xmlns='jabber:x:data' type='result'/>",
            "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>urn:example</value></field></x>",
        ] {
            assert_eq!(read(wrong), Err(BadRequest::Malformed), "{wrong}");
        }
    }

    #[test]
    fn who_ends_a_room_says_why_and_where_to_go() {
        let destroy = read(
            "<destroy jid='coven@chat.shakespeare.lit'><password>toil</password><reason>Macbeth doth come.</reason></destroy>",
        );
        let Ok(OwnerSet::Destroy(destroy)) = destroy else {
            panic!("{destroy:?}");
        };
        let told = destroy.to_element(ns::MUC_USER);
        assert_eq!(told.attr("jid"), Some("coven@chat.shakespeare.lit"));
        let text = |name| told.child(name, ns::MUC_USER).map(Element::text);
        assert_eq!(text("reason").as_deref(), Some("Macbeth doth come."));
        assert_eq!(text("password").as_deref(), Some("toil"));
        assert_eq!(
            read("<destroy><reason/></destroy>"),
            Ok(OwnerSet::Destroy(Destroy::default()))
        );
    }

    #[test]
    fn what_everybody_would_be_told_has_a_bound_and_is_an_address() {
        let long = "x".repeat(MAX_REASON_BYTES + 1);
        let long = format!("<destroy><reason>{long}</reason></destroy>");
        assert_eq!(read(&long), Err(BadRequest::TooLong));
        assert_eq!(read("<destroy jid='@'/>"), Err(BadRequest::Address));
    }
}
