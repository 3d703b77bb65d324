//! Data forms: questions with typed fields, their answers, and plain sets of named values.
//!
//! XEP-0004 2.13.2 and FORM_TYPE of XEP-0068. Left out: `<reported/>` and `<item/>` (tables of search
//! results) and media elements; `<desc/>` is not kept when reading.

use crate::ns;
use crate::xml::Element;

/// Most fields that are read from one form; a form with more is refused. Larger than any form in
/// use, small enough that sorting and comparing them costs nothing.
pub const MAX_FIELDS: usize = 256;

/// The field that names what a form's other fields mean (XEP-0068 §3).
pub const FORM_TYPE: &str = "FORM_TYPE";

/// What a form is for (XEP-0004 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormKind {
    /// Questions to be answered.
    Form,
    /// The answers.
    Submit,
    /// The one who was asked declines.
    Cancel,
    /// Data.
    Result,
}

impl FormKind {
    fn as_str(self) -> &'static str {
        match self {
            FormKind::Form => "form",
            FormKind::Submit => "submit",
            FormKind::Cancel => "cancel",
            FormKind::Result => "result",
        }
    }

    fn parse(kind: &str) -> Option<FormKind> {
        [
            FormKind::Form,
            FormKind::Submit,
            FormKind::Cancel,
            FormKind::Result,
        ]
        .into_iter()
        .find(|known| known.as_str() == kind)
    }
}

/// The type of a field (XEP-0004 §3.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldKind {
    /// Yes or no.
    Boolean,
    /// Text that is only shown.
    Fixed,
    /// Returned as it came, never shown.
    Hidden,
    /// Several JIDs.
    JidMulti,
    /// One JID.
    JidSingle,
    /// Several of the options.
    ListMulti,
    /// One of the options.
    ListSingle,
    /// Lines of text, one value each.
    TextMulti,
    /// One line that is not shown while it is typed.
    TextPrivate,
    /// One line; also what an unknown or absent type means.
    #[default]
    TextSingle,
}

impl FieldKind {
    const ALL: [FieldKind; 10] = [
        FieldKind::Boolean,
        FieldKind::Fixed,
        FieldKind::Hidden,
        FieldKind::JidMulti,
        FieldKind::JidSingle,
        FieldKind::ListMulti,
        FieldKind::ListSingle,
        FieldKind::TextMulti,
        FieldKind::TextPrivate,
        FieldKind::TextSingle,
    ];

    fn as_str(self) -> &'static str {
        match self {
            FieldKind::Boolean => "boolean",
            FieldKind::Fixed => "fixed",
            FieldKind::Hidden => "hidden",
            FieldKind::JidMulti => "jid-multi",
            FieldKind::JidSingle => "jid-single",
            FieldKind::ListMulti => "list-multi",
            FieldKind::ListSingle => "list-single",
            FieldKind::TextMulti => "text-multi",
            FieldKind::TextPrivate => "text-private",
            FieldKind::TextSingle => "text-single",
        }
    }
}

/// One option of a list field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldOption {
    /// What people read.
    pub label: Option<String>,
    /// What is sent.
    pub value: String,
}

/// One field of a form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Field {
    /// The field's name; empty for `fixed` fields.
    pub var: String,
    /// Its type, if the form says so.
    pub kind: Option<FieldKind>,
    /// What people read.
    pub label: Option<String>,
    /// Whether it must be answered.
    pub required: bool,
    /// The values, or the defaults of a question.
    pub values: Vec<String>,
    /// The options of a list field.
    pub options: Vec<FieldOption>,
}

impl Field {
    /// A field with values and no type, as answers and data have it.
    pub fn new(
        var: impl Into<String>,
        values: impl IntoIterator<Item = impl Into<String>>,
    ) -> Field {
        Field {
            var: var.into(),
            values: values.into_iter().map(Into::into).collect(),
            ..Field::default()
        }
    }

    /// The same field with a type.
    #[must_use]
    pub fn of_kind(mut self, kind: FieldKind) -> Field {
        self.kind = Some(kind);
        self
    }

    /// The same field with words for people.
    #[must_use]
    pub fn labelled(mut self, label: impl Into<String>) -> Field {
        self.label = Some(label.into());
        self
    }

    /// The first value.
    pub fn value(&self) -> Option<&str> {
        self.values.first().map(String::as_str)
    }

    fn read(field: &Element) -> Field {
        Field {
            var: field.attr("var").unwrap_or_default().to_owned(),
            kind: field.attr("type").map(|kind| {
                FieldKind::ALL
                    .into_iter()
                    .find(|known| known.as_str() == kind)
                    .unwrap_or_default()
            }),
            label: field.attr("label").map(str::to_owned),
            required: field.child("required", ns::DATA_FORMS).is_some(),
            values: field
                .children()
                .filter(|child| child.is("value", ns::DATA_FORMS))
                .map(Element::text)
                .collect(),
            options: field
                .children()
                .filter(|child| child.is("option", ns::DATA_FORMS))
                .filter_map(|option| {
                    let value = option.child("value", ns::DATA_FORMS)?.text();
                    Some(FieldOption {
                        label: option.attr("label").map(str::to_owned),
                        value,
                    })
                })
                .collect(),
        }
    }

    fn to_element(&self) -> Element {
        let value = |value: &str| Element::new("value", ns::DATA_FORMS).with_text(value);
        let mut field = Element::new("field", ns::DATA_FORMS);
        if !self.var.is_empty() {
            field = field.with_attr("var", &*self.var);
        }
        field = field
            .with_attr_opt("type", self.kind.map(FieldKind::as_str))
            .with_attr_opt("label", self.label.as_deref());
        if self.required {
            field = field.with_child(Element::new("required", ns::DATA_FORMS));
        }
        for text in &self.values {
            field = field.with_child(value(text));
        }
        for option in &self.options {
            let element = Element::new("option", ns::DATA_FORMS)
                .with_attr_opt("label", option.label.as_deref());
            field = field.with_child(element.with_child(value(&option.value)));
        }
        field
    }
}

/// A form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataForm {
    /// What it is for.
    pub kind: FormKind,
    /// Its heading.
    pub title: Option<String>,
    /// What to do with it, one paragraph each.
    pub instructions: Vec<String>,
    /// Its fields, in the order in which people see them.
    pub fields: Vec<Field>,
}

impl DataForm {
    /// An empty form whose fields mean what `form_type` defines.
    pub fn new(kind: FormKind, form_type: &str) -> DataForm {
        let form_type = Field::new(FORM_TYPE, [form_type]);
        // XEP-0068 §3.1: the type may be left out of a submission only.
        let form_type = if kind == FormKind::Submit {
            form_type
        } else {
            form_type.of_kind(FieldKind::Hidden)
        };
        DataForm {
            kind,
            title: None,
            instructions: Vec::new(),
            fields: vec![form_type],
        }
    }

    /// The same form with one more field.
    #[must_use]
    pub fn with_field(mut self, field: Field) -> DataForm {
        self.fields.push(field);
        self
    }

    /// The field of that name.
    pub fn field(&self, var: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.var == var)
    }

    /// What the fields mean: the value of FORM_TYPE.
    pub fn form_type(&self) -> Option<&str> {
        self.field(FORM_TYPE)?.value()
    }

    /// Reads an `<x xmlns='jabber:x:data'/>`; `None` if it is none, has no known type or too many fields.
    pub fn read(form: &Element) -> Option<DataForm> {
        if !form.is("x", ns::DATA_FORMS) {
            return None;
        }
        let texts = |name: &'static str| {
            form.children()
                .filter(move |child| child.is(name, ns::DATA_FORMS))
                .map(Element::text)
        };
        let fields: Vec<Field> = form
            .children()
            .filter(|child| child.is("field", ns::DATA_FORMS))
            .take(MAX_FIELDS + 1)
            .map(Field::read)
            .collect();
        (fields.len() <= MAX_FIELDS).then_some(DataForm {
            kind: FormKind::parse(form.attr("type")?)?,
            title: texts("title").next(),
            instructions: texts("instructions").collect(),
            fields,
        })
    }

    /// The form as it is sent.
    pub fn to_element(&self) -> Element {
        let mut form = Element::new("x", ns::DATA_FORMS).with_attr("type", self.kind.as_str());
        if let Some(title) = &self.title {
            form = form.with_child(Element::new("title", ns::DATA_FORMS).with_text(title));
        }
        for paragraph in &self.instructions {
            form =
                form.with_child(Element::new("instructions", ns::DATA_FORMS).with_text(paragraph));
        }
        for field in &self.fields {
            form = form.with_child(field.to_element());
        }
        form
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(xml: &str) -> Option<DataForm> {
        DataForm::read(&Element::parse(xml.as_bytes(), ns::CLIENT).unwrap())
    }

    #[test]
    fn a_form_comes_back_as_it_was_sent() {
        let form = DataForm {
            title: Some("A bot".to_owned()),
            instructions: vec!["Fill it in.".to_owned()],
            ..DataForm::new(FormKind::Form, "urn:example:bot")
        }
        .with_field(
            Field::new("public", ["1"])
                .of_kind(FieldKind::Boolean)
                .labelled("Public?"),
        )
        .with_field(Field {
            options: vec![FieldOption {
                label: Some("20 of them".to_owned()),
                value: "20".to_owned(),
            }],
            required: true,
            ..Field::new("most", ["20"]).of_kind(FieldKind::ListSingle)
        });
        assert_eq!(DataForm::read(&form.to_element()), Some(form));
    }

    #[test]
    fn an_unknown_field_type_is_a_line_of_text() {
        let form = read("<x xmlns='jabber:x:data' type='submit'><field var='a' type='colour'><value>red</value></field></x>").unwrap();
        assert_eq!(form.field("a").unwrap().kind, Some(FieldKind::TextSingle));
        assert_eq!(form.field("a").unwrap().value(), Some("red"));
    }

    #[test]
    fn what_is_not_a_form_is_refused() {
        assert_eq!(read("<x xmlns='jabber:x:oob'/>"), None);
        assert_eq!(read("<x xmlns='jabber:x:data'/>"), None);
        assert_eq!(read("<x xmlns='jabber:x:data' type='poem'/>"), None);
        let fields = "<field var='a'/>".repeat(MAX_FIELDS + 1);
        assert_eq!(
            read(&format!(
                "<x xmlns='jabber:x:data' type='result'>{fields}</x>"
            )),
            None
        );
    }
}
