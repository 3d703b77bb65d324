//! The form in which an owner reads and changes the settings of a room (XEP-0045 §10.2, §15.5.3).
//!
//! Beside the fields that XEP-0045 registers, two are read that clients send under other names for the archive, and
//! three of rooms with voice requests and slow mode (XEP-0500) are offered, as other servers name them.

use thiserror::Error;

use super::{Allowed, MAX_SLOW_MODE_SECONDS, PresenceBroadcast, RoomConfig, WhoIs};
use crate::jid::BareJid;
use crate::ns;
use crate::xep::data_form::{DataForm, FORM_TYPE, Field, FieldKind, FieldOption, FormKind};

/// Bytes of a room's name: as long as any list of rooms shows.
pub const NAME_BYTES: usize = 256;
/// Bytes of a room's description, some paragraphs: everybody who asks for the room gets it.
pub const DESCRIPTION_BYTES: usize = 4096;
/// Bytes of a room's password, as RFC 4013's users expect of any.
pub const PASSWORD_BYTES: usize = 1023;
/// Bytes of the name of a language; BCP 47 recommends room for 35.
pub const LANG_BYTES: usize = 35;
/// Bytes of the address of a room's pubsub node: a JID and a node's name.
pub const PUBSUB_BYTES: usize = 4096;
/// Addresses in one list of owners or administrators that the form names.
pub const LISTED_JIDS: usize = 256;

const ROLES: [(&str, &str); 3] = [
    ("moderator", "Moderators"),
    ("participant", "Participants"),
    ("visitor", "Visitors"),
];
const WHOIS: [(&str, &str); 2] = [("moderators", "Moderators only"), ("anyone", "Anyone")];
const PRIVATE_MESSAGES: [(&str, &str); 4] = [
    ("anyone", "Anyone"),
    ("participants", "Anyone with voice"),
    ("moderators", "Moderators only"),
    ("none", "Nobody"),
];

impl PresenceBroadcast {
    /// Moderators, participants and visitors, in this order.
    pub fn flags(self) -> [bool; 3] {
        [self.moderators, self.participants, self.visitors]
    }

    /// From what [`PresenceBroadcast::flags`] gives.
    pub fn of_flags([moderators, participants, visitors]: [bool; 3]) -> PresenceBroadcast {
        PresenceBroadcast {
            moderators,
            participants,
            visitors,
        }
    }

    fn parse(words: &[String]) -> Option<PresenceBroadcast> {
        let mut flags = [false; 3];
        for word in words.iter().map(|word| word.trim()) {
            // What some clients send for an empty list.
            if matches!(word, "" | "none") {
                continue;
            }
            let at = ROLES.iter().position(|(known, _)| *known == word)?;
            flags[at] = true;
        }
        Some(PresenceBroadcast::of_flags(flags))
    }
}

impl WhoIs {
    fn as_str(self) -> &'static str {
        match self {
            WhoIs::Moderators => "moderators",
            WhoIs::Anyone => "anyone",
        }
    }

    fn parse(word: &str) -> Option<WhoIs> {
        match word {
            "moderators" => Some(WhoIs::Moderators),
            "anyone" => Some(WhoIs::Anyone),
            _ => None,
        }
    }
}

impl Allowed {
    fn as_str(self) -> &'static str {
        match self {
            Allowed::Anyone => "anyone",
            Allowed::Participants => "participants",
            Allowed::Moderators => "moderators",
            Allowed::Nobody => "none",
        }
    }

    fn parse(word: &str) -> Option<Allowed> {
        match word {
            "anyone" => Some(Allowed::Anyone),
            "participants" => Some(Allowed::Participants),
            "moderators" => Some(Allowed::Moderators),
            "none" => Some(Allowed::Nobody),
            _ => None,
        }
    }
}

/// What the service lets a room have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Occupants of one room.
    pub max_users: u32,
    /// Messages of history at entry.
    pub max_history: u32,
}

/// A submission that the room does not take; it becomes `<not-acceptable/>` (§10.1.3). The owner's client's fault.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{field}: {why}")]
pub struct Unacceptable {
    /// The name of the field.
    pub field: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// A configuration that an owner submits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// The whole configuration, with what was not submitted as it was.
    pub config: RoomConfig,
    /// Who are to be the owners; `None` to leave them.
    pub owners: Option<Vec<BareJid>>,
    /// Who are to be the administrators; `None` to leave them.
    pub admins: Option<Vec<BareJid>>,
}

impl Submission {
    /// Reads a submitted form over the present configuration. Unknown fields are passed over (XEP-0004 §3.2).
    ///
    /// # Errors
    /// A value that is not offered, or a password that is asked for and empty.
    pub fn read(
        form: &DataForm,
        present: &RoomConfig,
        bounds: Bounds,
    ) -> Result<Submission, Unacceptable> {
        let mut submission = Submission {
            config: present.clone(),
            owners: None,
            admins: None,
        };
        for field in form.fields.iter().filter(|field| field.var != FORM_TYPE) {
            let refused = |why| Unacceptable {
                field: field.var.clone(),
                why,
            };
            submission.set(field, present, bounds).map_err(refused)?;
        }
        submission.config.password = password(form, present)?;
        Ok(submission)
    }

    fn set(
        &mut self,
        field: &Field,
        present: &RoomConfig,
        bounds: Bounds,
    ) -> Result<(), &'static str> {
        let config = &mut self.config;
        let var = field.var.as_str();
        let name = var.strip_prefix("muc#roomconfig_").unwrap_or(var);
        match name {
            "roomname" => config.name = line(field, NAME_BYTES)?,
            "roomdesc" => config.description = text(field, DESCRIPTION_BYTES)?,
            "lang" => config.lang = lang(field)?,
            "pubsub" => config.pubsub = uri(field)?,
            "publicroom" => flag(field, &mut config.public)?,
            "persistentroom" => flag(field, &mut config.persistent)?,
            "membersonly" => flag(field, &mut config.members_only)?,
            "moderatedroom" => flag(field, &mut config.moderated)?,
            "whois" => choice(field, WhoIs::parse, &mut config.whois)?,
            "allowpm" => choice(field, Allowed::parse, &mut config.private_messages)?,
            "allowinvites" => flag(field, &mut config.allow_invites)?,
            "changesubject" => flag(field, &mut config.change_subject)?,
            // COMPAT(Conversations, Dino): they name the archive so; a form has any of the three.
            "enablelogging" | "enablearchiving" | "mam" => {
                let mut archiving = present.archiving;
                flag(field, &mut archiving)?;
                // Whichever of the names says that something is to change is meant.
                if archiving != present.archiving {
                    config.archiving = archiving;
                }
            }
            "getmemberlist" => config.member_list = roles(field)?,
            "presencebroadcast" => config.presence_broadcast = roles(field)?,
            "maxusers" => users(field, bounds, &mut config.max_users)?,
            "muc#maxhistoryfetch" => history(field, bounds, &mut config.max_history)?,
            "allow_voice_requests" => flag(field, &mut config.voice_requests)?,
            "voice_request_min_interval" => {
                let seconds = &mut config.voice_request_seconds;
                number(field, MAX_SLOW_MODE_SECONDS, seconds)?;
            }
            "slow_mode_duration" => {
                let seconds = &mut config.slow_mode_seconds;
                number(field, MAX_SLOW_MODE_SECONDS, seconds)?;
            }
            "roomadmins" => self.admins = Some(jids(field)?),
            // §10.1.3's own form shows it empty while there is an owner; a room without one cannot be.
            "roomowners" => self.owners = Some(jids(field)?).filter(|owners| !owners.is_empty()),
            _ => {}
        }
        Ok(())
    }
}

/// The password after the submission. §10.1.3: who asks for one must say which.
fn password(form: &DataForm, present: &RoomConfig) -> Result<Option<String>, Unacceptable> {
    let field = |name| form.field(name);
    const SECRET: &str = "muc#roomconfig_roomsecret";
    let refused = |why| Unacceptable {
        field: SECRET.to_owned(),
        why,
    };
    let secret = field(SECRET).and_then(Field::value);
    if secret.is_some_and(|secret| secret.len() > PASSWORD_BYTES) {
        return Err(refused("it is too long"));
    }
    let mut is_protected = present.password.is_some();
    match field("muc#roomconfig_passwordprotectedroom") {
        Some(field) => flag(field, &mut is_protected).map_err(|why| Unacceptable {
            field: field.var.clone(),
            why,
        })?,
        // A password that is given is one that is wanted.
        None => is_protected |= secret.is_some_and(|secret| !secret.is_empty()),
    }
    if !is_protected {
        return Ok(None);
    }
    match secret {
        Some("") => Err(refused("a room with a password needs one")),
        Some(secret) => Ok(Some(secret.to_owned())),
        None if present.password.is_some() => Ok(present.password.clone()),
        None => Err(refused("a room with a password needs one")),
    }
}

fn text(field: &Field, most: usize) -> Result<String, &'static str> {
    // Some clients show a field of one line as several.
    let text = field.values.join("\n").trim().to_owned();
    if text.len() > most {
        return Err("it is too long");
    }
    Ok(text)
}

fn line(field: &Field, most: usize) -> Result<String, &'static str> {
    let text = text(field, most)?;
    if text.contains(['\n', '\r']) {
        return Err("it is one line");
    }
    Ok(text)
}

fn lang(field: &Field) -> Result<String, &'static str> {
    let lang = line(field, LANG_BYTES)?;
    let is_tag = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if lang.chars().all(is_tag) {
        Ok(lang)
    } else {
        Err("it is no tag of a language")
    }
}

fn uri(field: &Field) -> Result<String, &'static str> {
    let uri = line(field, PUBSUB_BYTES)?;
    if uri.is_empty() || uri.starts_with("xmpp:") {
        Ok(uri)
    } else {
        Err("it is no xmpp: address")
    }
}

/// A field without a value says nothing.
fn given(field: &Field) -> Option<&str> {
    field
        .value()
        .map(str::trim)
        .filter(|value| !value.is_empty())
}

/// XEP-0004 §3.3: 0, 1, false or true.
fn flag(field: &Field, on: &mut bool) -> Result<(), &'static str> {
    match given(field) {
        None => {}
        Some("1" | "true") => *on = true,
        Some("0" | "false") => *on = false,
        Some(_) => return Err("it is yes or no"),
    }
    Ok(())
}

fn choice<T>(field: &Field, parse: fn(&str) -> Option<T>, of: &mut T) -> Result<(), &'static str> {
    if let Some(word) = given(field) {
        *of = parse(word).ok_or("it is not offered")?;
    }
    Ok(())
}

fn roles(field: &Field) -> Result<PresenceBroadcast, &'static str> {
    PresenceBroadcast::parse(&field.values).ok_or("it is not offered")
}

fn number(field: &Field, most: u32, of: &mut u32) -> Result<(), &'static str> {
    if let Some(number) = given(field) {
        let number: u32 = number.parse().map_err(|_| "it is a number")?;
        if number > most {
            return Err("it is more than the service allows");
        }
        *of = number;
    }
    Ok(())
}

fn users(field: &Field, bounds: Bounds, of: &mut Option<u32>) -> Result<(), &'static str> {
    match given(field) {
        None => {}
        Some("none") => *of = None,
        Some(_) => {
            let mut most = 0;
            number(field, bounds.max_users, &mut most)?;
            if most == 0 {
                return Err("nobody could enter");
            }
            *of = Some(most);
        }
    }
    Ok(())
}

/// The most that the service sends is no limit of this room.
fn history(field: &Field, bounds: Bounds, of: &mut Option<u32>) -> Result<(), &'static str> {
    let mut most = of.unwrap_or(bounds.max_history);
    number(field, bounds.max_history, &mut most)?;
    *of = Some(most).filter(|most| *most < bounds.max_history);
    Ok(())
}

fn jids(field: &Field) -> Result<Vec<BareJid>, &'static str> {
    let given = field.values.iter().map(|jid| jid.trim());
    let mut jids: Vec<BareJid> = Vec::new();
    for jid in given.filter(|jid| !jid.is_empty()) {
        let jid = BareJid::parse(jid).map_err(|_| "it is no bare JID")?;
        if jids.len() == LISTED_JIDS {
            return Err("they are too many");
        }
        if !jids.contains(&jid) {
            jids.push(jid);
        }
    }
    Ok(jids)
}

impl RoomConfig {
    /// The form of this configuration: to be filled in, or to be read. `owners` and `admins` are those that the room
    /// has; lists above [`LISTED_JIDS`] are left out, and are changed by the lists of affiliations.
    pub fn to_form(
        &self,
        kind: FormKind,
        bounds: Bounds,
        owners: &[BareJid],
        admins: &[BareJid],
    ) -> DataForm {
        let form = DataForm::new(kind, ns::MUC_ROOMCONFIG);
        let form = self.with_texts(form);
        let form = self.with_entry(form, bounds);
        let form = self.with_talk(form, bounds);
        let form = self.with_rights(form);
        let people = [
            ("roomadmins", "Administrators", admins),
            ("roomowners", "Owners", owners),
        ];
        people
            .into_iter()
            .filter(|(.., jids)| jids.len() <= LISTED_JIDS)
            .fold(form, |form, (var, label, jids)| {
                form.with_field(of(
                    var,
                    FieldKind::JidMulti,
                    label,
                    jids.iter().map(BareJid::as_str),
                ))
            })
    }

    fn with_texts(&self, form: DataForm) -> DataForm {
        let line = |var, label, value: &str| of(var, FieldKind::TextSingle, label, some(value));
        form.with_field(line("roomname", "Name", &self.name))
            .with_field(line("roomdesc", "Description", &self.description))
            .with_field(line("lang", "Language", &self.lang))
            .with_field(line("pubsub", "Address of a pubsub node", &self.pubsub))
    }

    fn with_entry(&self, form: DataForm, bounds: Bounds) -> DataForm {
        let secret = self.password.as_deref().unwrap_or_default();
        form.with_field(switch("publicroom", "List the room publicly", self.public))
            .with_field(switch(
                "persistentroom",
                "Keep the room when the last occupant leaves",
                self.persistent,
            ))
            .with_field(switch(
                "membersonly",
                "Only members may enter",
                self.members_only,
            ))
            .with_field(switch(
                "passwordprotectedroom",
                "A password is needed to enter",
                self.password.is_some(),
            ))
            .with_field(of(
                "roomsecret",
                FieldKind::TextPrivate,
                "Password",
                some(secret),
            ))
            .with_field(self.users_field(bounds))
            .with_field(list(
                "whois",
                "Who may see real addresses",
                self.whois.as_str(),
                &WHOIS,
            ))
    }

    /// How many messages of the past a newcomer gets at most.
    pub fn history(&self, bounds: Bounds) -> u32 {
        let most = self.max_history.unwrap_or(bounds.max_history);
        most.min(bounds.max_history)
    }

    fn users_field(&self, bounds: Bounds) -> Field {
        let chosen = self.max_users.map(|users| users.to_string());
        let chosen = chosen.unwrap_or_else(|| "none".to_owned());
        let mut numbers: Vec<u32> = [10, 20, 30, 50, 100, 200, 500, 1000, 2000, 5000]
            .into_iter()
            .filter(|users| *users < bounds.max_users)
            .chain([bounds.max_users])
            .chain(self.max_users)
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        let words = numbers.iter().map(u32::to_string);
        let option = |value: String| FieldOption {
            label: Some(value.clone()),
            value,
        };
        let none = FieldOption {
            label: Some("As many as the service allows".to_owned()),
            value: "none".to_owned(),
        };
        Field {
            options: words.map(option).chain([none]).collect(),
            ..of(
                "maxusers",
                FieldKind::ListSingle,
                "Most occupants",
                [chosen.as_str()],
            )
        }
    }

    fn with_talk(&self, form: DataForm, bounds: Bounds) -> DataForm {
        form.with_field(switch(
            "moderatedroom",
            "Only those with voice may speak",
            self.moderated,
        ))
        .with_field(switch(
            "allow_voice_requests",
            "Visitors may ask for voice",
            self.voice_requests,
        ))
        .with_field(seconds(
            "voice_request_min_interval",
            "Seconds between two requests for voice",
            self.voice_request_seconds,
        ))
        .with_field(seconds(
            "slow_mode_duration",
            "Seconds between two messages of one occupant",
            self.slow_mode_seconds,
        ))
        .with_field(switch(
            "enablelogging",
            "Keep what is said for those who may enter",
            self.archiving,
        ))
        .with_field(Field {
            var: "muc#maxhistoryfetch".to_owned(),
            ..seconds(
                "",
                "Most messages of history at entry",
                self.history(bounds),
            )
        })
    }

    fn with_rights(&self, form: DataForm) -> DataForm {
        form.with_field(switch(
            "changesubject",
            "Participants may change the subject",
            self.change_subject,
        ))
        .with_field(switch(
            "allowinvites",
            "Members may invite others",
            self.allow_invites,
        ))
        .with_field(list(
            "allowpm",
            "Who may send private messages",
            self.private_messages.as_str(),
            &PRIVATE_MESSAGES,
        ))
        .with_field(role_list(
            "presencebroadcast",
            "Whose presence is shown",
            self.presence_broadcast,
        ))
        .with_field(role_list(
            "getmemberlist",
            "Who may read the list of members",
            self.member_list,
        ))
    }
}

fn some(value: &str) -> Option<&str> {
    Some(value).filter(|value| !value.is_empty())
}

fn of<'v>(
    var: &str,
    kind: FieldKind,
    label: &str,
    values: impl IntoIterator<Item = &'v str>,
) -> Field {
    Field::new(format!("muc#roomconfig_{var}"), values)
        .of_kind(kind)
        .labelled(label)
}

fn switch(var: &str, label: &str, on: bool) -> Field {
    of(var, FieldKind::Boolean, label, [if on { "1" } else { "0" }])
}

fn seconds(var: &str, label: &str, value: u32) -> Field {
    of(
        var,
        FieldKind::TextSingle,
        label,
        [value.to_string().as_str()],
    )
}

fn list(var: &str, label: &str, value: &str, options: &[(&str, &str)]) -> Field {
    let option = |(value, label): &(&str, &str)| FieldOption {
        label: Some((*label).to_owned()),
        value: (*value).to_owned(),
    };
    Field {
        options: options.iter().map(option).collect(),
        ..of(var, FieldKind::ListSingle, label, [value])
    }
}

fn role_list(var: &str, label: &str, roles: PresenceBroadcast) -> Field {
    let chosen = ROLES.into_iter().zip(roles.flags());
    let chosen = chosen.filter(|(_, is_in)| *is_in);
    Field {
        kind: Some(FieldKind::ListMulti),
        values: chosen.map(|((word, _), _)| word.to_owned()).collect(),
        ..list(var, label, "", &ROLES)
    }
}

#[cfg(test)]
mod tests;
