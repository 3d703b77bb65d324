//! What anybody who may know of a room reads of it (XEP-0045 §6.4, §15.5.4), with its picture's hash (XEP-0486 §3.3).

use super::config::{Bounds, RoomConfig, WhoIs};
use crate::jid::BareJid;
use crate::ns;
use crate::xep::data_form::{DataForm, Field, FormKind};

/// What a room tells beside its settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomInfo {
    /// Whom to ask about it; commonly the owners.
    pub contacts: Vec<BareJid>,
    /// What is talked about now; `None` if the room does not tell.
    pub subject: Option<String>,
    /// How many are in it; `None` if the room does not tell.
    pub occupants: Option<usize>,
    /// The SHA-1 hashes of its pictures, in hexadecimal.
    pub avatar_hashes: Vec<String>,
    /// What changes with its hats (XEP-0317); `None` if it has none.
    pub hats_hash: Option<String>,
}

impl RoomInfo {
    /// The form for the room's disco#info (XEP-0128).
    pub fn to_form(&self, config: &RoomConfig, bounds: Bounds) -> DataForm {
        let flag = |on| if on { "1" } else { "0" };
        let mut form = DataForm::new(FormKind::Result, ns::MUC_ROOMINFO);
        let mut add = |var: &str, label: &str, values: &[String]| {
            if values.iter().any(|value| !value.is_empty()) {
                let field = Field::new(var, values).labelled(label);
                form.fields.push(field);
            }
        };
        let contacts = self.contacts.iter().map(BareJid::to_string);
        let contacts: Vec<String> = contacts.collect();
        let (subject, occupants) = (self.subject.iter(), self.occupants.iter());
        add(
            "muc#roominfo_description",
            "Description",
            std::slice::from_ref(&config.description),
        );
        add("muc#roominfo_contactjid", "Whom to ask", &contacts);
        add(
            "muc#roominfo_subject",
            "Subject",
            &subject.cloned().collect::<Vec<_>>(),
        );
        for var in ["muc#roominfo_subjectmod", "muc#roomconfig_changesubject"] {
            let may = flag(config.change_subject).to_owned();
            add(var, "Participants may change the subject", &[may]);
        }
        add(
            "muc#roominfo_occupants",
            "Occupants",
            &occupants.map(usize::to_string).collect::<Vec<_>>(),
        );
        add(
            "muc#roominfo_lang",
            "Language",
            std::slice::from_ref(&config.lang),
        );
        add(
            "muc#roominfo_avatarhash",
            "Hashes of its pictures",
            &self.avatar_hashes,
        );
        add("hats#hash", "Hats hash", self.hats_hash.as_slice());
        add(
            "muc#maxhistoryfetch",
            "Most messages of history at entry",
            &[config.history(bounds).to_string()],
        );
        add(
            "muc#roomconfig_pubsub",
            "Its pubsub node",
            std::slice::from_ref(&config.pubsub),
        );
        if config.slow_mode_seconds > 0 {
            let seconds = config.slow_mode_seconds.to_string();
            let label = "Seconds between two messages of one occupant";
            add("muc#roominfo_slow_mode_duration", label, &[seconds]);
        }
        form
    }
}

/// The features of §15.3 that say how the room is configured.
pub fn features(config: &RoomConfig) -> [&'static str; 6] {
    let choose = |is: bool, yes, no| if is { yes } else { no };
    [
        choose(
            config.password.is_some(),
            "muc_passwordprotected",
            "muc_unsecured",
        ),
        choose(config.public, "muc_public", "muc_hidden"),
        choose(config.persistent, "muc_persistent", "muc_temporary"),
        choose(config.members_only, "muc_membersonly", "muc_open"),
        choose(config.moderated, "muc_moderated", "muc_unmoderated"),
        match config.whois {
            WhoIs::Anyone => "muc_nonanonymous",
            WhoIs::Moderators => "muc_semianonymous",
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        max_users: 5000,
        max_history: 100,
    };

    #[test]
    fn a_room_tells_what_there_is_to_tell() {
        let bare = RoomInfo::default().to_form(&RoomConfig::default(), BOUNDS);
        let vars: Vec<&str> = bare.fields.iter().map(|field| &*field.var).collect();
        assert_eq!(
            vars,
            [
                "FORM_TYPE",
                "muc#roominfo_subjectmod",
                "muc#roomconfig_changesubject",
                "muc#maxhistoryfetch"
            ]
        );
        let config = RoomConfig {
            description: "The place for all good witches!".to_owned(),
            lang: "en".to_owned(),
            slow_mode_seconds: 10,
            ..RoomConfig::default()
        };
        let info = RoomInfo {
            contacts: vec![BareJid::parse("crone1@shakespeare.lit").unwrap()],
            subject: Some("Spells".to_owned()),
            occupants: Some(3),
            avatar_hashes: vec!["a31c".to_owned(), "b9b2".to_owned()],
            hats_hash: Some("d0f8".to_owned()),
        };
        let form = info.to_form(&config, BOUNDS);
        let values = |var: &str| form.field(var).unwrap().values.join(" ");
        assert_eq!(values("muc#roominfo_contactjid"), "crone1@shakespeare.lit");
        assert_eq!(values("muc#roominfo_subject"), "Spells");
        assert_eq!(values("muc#roominfo_occupants"), "3");
        assert_eq!(values("muc#roominfo_avatarhash"), "a31c b9b2");
        assert_eq!(values("muc#roominfo_slow_mode_duration"), "10");
        assert_eq!(values("hats#hash"), "d0f8");
        assert_eq!(form.kind, FormKind::Result);
    }

    #[test]
    fn each_setting_has_one_feature_of_two() {
        let plain = features(&RoomConfig::default());
        let other = features(&RoomConfig {
            password: Some("cauldronburn".to_owned()),
            public: false,
            persistent: true,
            members_only: true,
            moderated: true,
            whois: WhoIs::Anyone,
            ..RoomConfig::default()
        });
        assert!(plain.iter().all(|feature| !other.contains(feature)));
        assert!(plain.contains(&"muc_semianonymous") && other.contains(&"muc_hidden"));
    }
}
