use super::*;

const BOUNDS: Bounds = Bounds {
    max_users: 5000,
    max_history: 100,
};

fn submitted(fields: &[(&str, &[&str])]) -> DataForm {
    let form = DataForm::new(FormKind::Submit, ns::MUC_ROOMCONFIG);
    fields.iter().fold(form, |form, (var, values)| {
        let var = match *var {
            "muc#maxhistoryfetch" => (*var).to_owned(),
            var => format!("muc#roomconfig_{var}"),
        };
        form.with_field(Field::new(var, values.iter().copied()))
    })
}

fn submit(present: &RoomConfig, fields: &[(&str, &[&str])]) -> Result<Submission, Unacceptable> {
    Submission::read(&submitted(fields), present, BOUNDS)
}

fn everything_else() -> RoomConfig {
    RoomConfig {
        name: "A Dark Cave".to_owned(),
        description: "The place for all good witches!".to_owned(),
        lang: "en-GB".to_owned(),
        pubsub: "xmpp:pubsub.shakespeare.lit?;node=the-coven-node".to_owned(),
        public: false,
        persistent: true,
        members_only: true,
        moderated: true,
        password: Some("cauldronburn".to_owned()),
        whois: WhoIs::Anyone,
        private_messages: Allowed::Nobody,
        allow_invites: true,
        change_subject: true,
        archiving: false,
        member_list: PresenceBroadcast::NONE,
        presence_broadcast: PresenceBroadcast {
            visitors: false,
            ..PresenceBroadcast::ALL
        },
        max_users: Some(77),
        max_history: Some(7),
        voice_requests: false,
        voice_request_seconds: 5,
        slow_mode_seconds: 30,
    }
}

fn jid(jid: &str) -> BareJid {
    BareJid::parse(jid).unwrap()
}

#[test]
fn a_configuration_comes_back_from_its_form() {
    let owners = [jid("crone1@shakespeare.lit")];
    let admins = [
        jid("wiccarocks@shakespeare.lit"),
        jid("hecate@shakespeare.lit"),
    ];
    for config in [RoomConfig::default(), everything_else()] {
        let form = config.to_form(FormKind::Form, BOUNDS, &owners, &admins);
        let form = DataForm::read(&form.to_element()).unwrap();
        for present in [RoomConfig::default(), everything_else()] {
            let read = Submission::read(&form, &present, BOUNDS).unwrap();
            assert_eq!(read.config, config);
            assert_eq!(read.owners.as_deref(), Some(&owners[..]));
            assert_eq!(read.admins.as_deref(), Some(&admins[..]));
        }
    }
}

#[test]
fn every_field_that_is_registered_is_offered() {
    let form = RoomConfig::default().to_form(FormKind::Form, BOUNDS, &[], &[]);
    for name in [
        "allowpm",
        "allowinvites",
        "changesubject",
        "enablelogging",
        "getmemberlist",
        "lang",
        "pubsub",
        "maxusers",
        "membersonly",
        "moderatedroom",
        "passwordprotectedroom",
        "persistentroom",
        "presencebroadcast",
        "publicroom",
        "roomadmins",
        "roomdesc",
        "roomname",
        "roomowners",
        "roomsecret",
        "whois",
    ] {
        assert!(
            form.field(&format!("muc#roomconfig_{name}")).is_some(),
            "{name}"
        );
    }
    assert!(form.field("muc#maxhistoryfetch").is_some());
    assert_eq!(form.form_type(), Some(ns::MUC_ROOMCONFIG));
    // Every list has its value among its options.
    for field in form.fields.iter().filter(|field| !field.options.is_empty()) {
        for value in &field.values {
            assert!(field.options.iter().any(|option| option.value == *value));
        }
    }
}

#[test]
fn what_is_not_submitted_stays_as_it_was() {
    let present = everything_else();
    let read = |fields: &[(&str, &[&str])]| submit(&present, fields).unwrap();
    assert_eq!(read(&[]).config, present);
    assert_eq!((read(&[]).owners, read(&[]).admins), (None, None));
    // Nor does an unknown field change anything, nor a question without an answer.
    for field in [
        ("captcha_protected", &["1"][..]),
        ("whois", &[]),
        ("membersonly", &[""]),
        ("maxusers", &[]),
        ("roomowners", &[]),
    ] {
        let submission = read(&[field]);
        assert_eq!(
            (submission.config, submission.owners),
            (present.clone(), None)
        );
    }
    let renamed = read(&[("roomname", &["Cave"])]).config;
    assert_eq!(
        renamed,
        RoomConfig {
            name: "Cave".to_owned(),
            ..present.clone()
        }
    );
    // A text is emptied by an empty answer, and a list by one without values.
    assert_eq!(read(&[("roomname", &[])]).config.name, "");
    let nobody = read(&[("presencebroadcast", &[])]).config;
    assert_eq!(nobody.presence_broadcast, PresenceBroadcast::NONE);
    assert_eq!(read(&[("roomadmins", &[])]).admins, Some(Vec::new()));
}

#[test]
fn switches_and_lists_are_read_as_clients_write_them() {
    for (value, on) in [
        ("1", true),
        ("true", true),
        (" 0 ", false),
        ("false", false),
    ] {
        let read = submit(&everything_else(), &[("moderatedroom", &[value])]).unwrap();
        assert_eq!(read.config.moderated, on, "{value:?}");
    }
    let read = submit(
        &RoomConfig::default(),
        &[("presencebroadcast", &["visitor", " moderator", "visitor"])],
    );
    let roles = read.unwrap().config.presence_broadcast;
    assert_eq!(roles.flags(), [true, false, true]);
}

#[test]
fn the_archive_is_switched_by_any_of_its_names() {
    for name in ["enablelogging", "enablearchiving", "mam"] {
        let off = submit(&RoomConfig::default(), &[(name, &["0"])]).unwrap();
        assert!(!off.config.archiving, "{name}");
    }
    // Both orders: the one that changes something is meant.
    for (first, second) in [("1", "0"), ("0", "1")] {
        let fields: &[(&str, &[&str])] = &[("enablelogging", &[first]), ("mam", &[second])];
        assert!(
            !submit(&RoomConfig::default(), fields)
                .unwrap()
                .config
                .archiving
        );
        assert!(submit(&everything_else(), fields).unwrap().config.archiving);
    }
}

#[test]
fn a_room_with_a_password_has_one() {
    let (open, protected) = (RoomConfig::default(), everything_else());
    let password = |present: &RoomConfig, fields: &[(&str, &[&str])]| {
        submit(present, fields).map(|read| read.config.password)
    };
    let yes: (&str, &[&str]) = ("passwordprotectedroom", &["1"]);
    let no: (&str, &[&str]) = ("passwordprotectedroom", &["0"]);
    let secret: (&str, &[&str]) = ("roomsecret", &["toil"]);
    let blank: (&str, &[&str]) = ("roomsecret", &[""]);
    let toil = Ok(Some("toil".to_owned()));
    assert_eq!(password(&open, &[yes, secret]), toil);
    assert_eq!(password(&open, &[secret]), toil);
    assert_eq!(password(&protected, &[secret]), toil);
    assert_eq!(password(&protected, &[yes]), Ok(protected.password.clone()));
    assert_eq!(password(&protected, &[no, secret]), Ok(None));
    assert_eq!(password(&open, &[blank]), Ok(None));
    for (present, fields) in [
        (&open, vec![yes]),
        (&open, vec![yes, blank]),
        (&protected, vec![blank]),
        (&protected, vec![yes, blank]),
    ] {
        let refused = password(present, &fields).unwrap_err();
        assert_eq!(refused.field, "muc#roomconfig_roomsecret");
    }
}

#[test]
fn what_is_not_offered_is_refused_and_so_is_what_is_too_much() {
    let long = |bytes: usize| "x".repeat(bytes + 1);
    let many: Vec<String> = (0..=LISTED_JIDS).map(|n| format!("a{n}@b")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for field in [
        ("membersonly", &["maybe"][..]),
        ("whois", &["nobody"]),
        ("allowpm", &["everyone"]),
        ("getmemberlist", &["moderator", "king"]),
        ("maxusers", &["0"]),
        ("maxusers", &["5001"]),
        ("maxusers", &["many"]),
        ("muc#maxhistoryfetch", &["101"]),
        ("muc#maxhistoryfetch", &["-1"]),
        ("slow_mode_duration", &["86401"]),
        ("voice_request_min_interval", &["soon"]),
        ("roomname", &["a", "b"]),
        ("roomname", &[&long(NAME_BYTES)]),
        ("roomdesc", &[&long(DESCRIPTION_BYTES)]),
        ("roomsecret", &[&long(PASSWORD_BYTES)]),
        ("lang", &["british english"]),
        ("lang", &[&long(LANG_BYTES)]),
        ("pubsub", &["http://shakespeare.lit/"]),
        ("pubsub", &[&format!("xmpp:{}", long(PUBSUB_BYTES))]),
        ("roomadmins", &["not a jid@@"]),
        ("roomowners", &["crone1@shakespeare.lit/desktop"]),
        ("roomadmins", &many),
    ] {
        let refused = submit(&RoomConfig::default(), &[field]).unwrap_err();
        assert!(refused.field.ends_with(field.0), "{refused:?}");
    }
    let most = submit(&RoomConfig::default(), &[("roomadmins", &many[1..])]);
    assert_eq!(most.unwrap().admins.unwrap().len(), LISTED_JIDS);
}

#[test]
fn who_is_too_many_to_be_listed_is_left_out_of_the_form() {
    let many: Vec<BareJid> = (0..=LISTED_JIDS).map(|n| jid(&format!("a{n}@b"))).collect();
    let form = RoomConfig::default().to_form(FormKind::Form, BOUNDS, &many[..1], &many);
    assert!(form.field("muc#roomconfig_roomadmins").is_none());
    assert!(form.field("muc#roomconfig_roomowners").is_some());
}
