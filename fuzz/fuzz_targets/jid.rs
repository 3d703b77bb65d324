//! Whatever is written as an address: what is taken has parts within bounds and is normal from then on.
#![no_main]

use libfuzzer_sys::fuzz_target;
use posthaste_proto::jid::{BareJid, Jid, PART_BYTES};

fuzz_target!(|text: &str| {
    let Ok(jid) = Jid::parse(text) else { return };
    assert_eq!(Jid::parse(jid.as_str()).as_ref(), Ok(&jid));
    let bare = jid.to_bare();
    assert_eq!(BareJid::new(jid.local(), jid.domain()).as_ref(), Ok(&bare));
    for part in [jid.local(), Some(jid.domain()), jid.resource()]
        .into_iter()
        .flatten()
    {
        assert!((1..=PART_BYTES).contains(&part.len()));
    }
    if let Some(resource) = jid.resource() {
        assert_eq!(
            bare.with_resource(resource).map(Jid::from).as_ref(),
            Ok(&jid)
        );
    }
});
