//! The namespaces of the protocols we speak.

/// `xml:` itself.
pub const XML: &str = "http://www.w3.org/XML/1998/namespace";
/// `xmlns:` itself.
pub const XMLNS: &str = "http://www.w3.org/2000/xmlns/";

/// Content of client streams (RFC 6120 §4.8.2).
pub const CLIENT: &str = "jabber:client";
/// Content of server streams (RFC 6120 §4.8.2).
pub const SERVER: &str = "jabber:server";
/// Content of a component's stream (XEP-0114).
pub const COMPONENT: &str = "jabber:component:accept";
/// Server dialback (XEP-0220).
pub const DIALBACK: &str = "jabber:server:dialback";
/// The stream feature of server dialback (XEP-0220 §2.4.2).
pub const DIALBACK_FEATURE: &str = "urn:xmpp:features:dialback";
/// The stream itself (RFC 6120 §4.8.1).
pub const STREAM: &str = "http://etherx.jabber.org/streams";
/// Stream error conditions (RFC 6120 §4.9.3).
pub const STREAM_ERRORS: &str = "urn:ietf:params:xml:ns:xmpp-streams";
/// Stanza error conditions (RFC 6120 §8.3.3).
pub const STANZA_ERRORS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";
/// STARTTLS (RFC 6120 §5).
pub const TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
/// SASL (RFC 6120 §6).
pub const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
/// Resource binding (RFC 6120 §7).
pub const BIND: &str = "urn:ietf:params:xml:ns:xmpp-bind";
/// Session establishment (RFC 3921 §3), a no-op since RFC 6121.
pub const SESSION: &str = "urn:ietf:params:xml:ns:xmpp-session";
/// Framing over WebSocket (RFC 7395 §3.3).
pub const FRAMING: &str = "urn:ietf:params:xml:ns:xmpp-framing";
/// Roster (RFC 6121 §2).
pub const ROSTER: &str = "jabber:iq:roster";
/// Roster versioning (RFC 6121 §2.6).
pub const ROSTER_VERSIONING: &str = "urn:xmpp:features:rosterver";
/// Subscription pre-approval (RFC 6121 §3.4).
pub const PRE_APPROVAL: &str = "urn:xmpp:features:pre-approval";

/// Data forms (XEP-0004).
pub const DATA_FORMS: &str = "jabber:x:data";
/// Validation of data forms (XEP-0122).
pub const DATA_VALIDATE: &str = "http://jabber.org/protocol/xdata-validate";
/// Privacy lists (XEP-0016).
pub const PRIVACY: &str = "jabber:iq:privacy";
/// Last activity (XEP-0012).
pub const LAST_ACTIVITY: &str = "jabber:iq:last";
/// Disco info (XEP-0030).
pub const DISCO_INFO: &str = "http://jabber.org/protocol/disco#info";
/// Disco items (XEP-0030).
pub const DISCO_ITEMS: &str = "http://jabber.org/protocol/disco#items";
/// Private XML storage (XEP-0049).
pub const PRIVATE: &str = "jabber:iq:private";
/// Ad-hoc commands (XEP-0050).
pub const COMMANDS: &str = "http://jabber.org/protocol/commands";
/// vcard-temp (XEP-0054).
pub const VCARD: &str = "vcard-temp";
/// Result set management (XEP-0059).
pub const RSM: &str = "http://jabber.org/protocol/rsm";
/// In-band registration (XEP-0077).
pub const REGISTER: &str = "jabber:iq:register";
/// The stream feature of in-band registration (XEP-0077).
pub const REGISTER_FEATURE: &str = "http://jabber.org/features/iq-register";
/// Chat states (XEP-0085).
pub const CHAT_STATES: &str = "http://jabber.org/protocol/chatstates";
/// Software version (XEP-0092).
pub const VERSION: &str = "jabber:iq:version";
/// Entity capabilities (XEP-0115).
pub const CAPS: &str = "http://jabber.org/protocol/caps";
/// vCard-based avatars (XEP-0153).
pub const VCARD_UPDATE: &str = "vcard-temp:x:update";
/// Service administration (XEP-0133).
pub const ADMIN: &str = "http://jabber.org/protocol/admin";
/// Message receipts (XEP-0184).
pub const RECEIPTS: &str = "urn:xmpp:receipts";
/// Blocking command (XEP-0191).
pub const BLOCKING: &str = "urn:xmpp:blocking";
/// Application-specific error of the blocking command (XEP-0191).
pub const BLOCKING_ERRORS: &str = "urn:xmpp:blocking:errors";
/// Stream management (XEP-0198).
pub const SM: &str = "urn:xmpp:sm:3";
/// Ping (XEP-0199).
pub const PING: &str = "urn:xmpp:ping";
/// Entity time (XEP-0202).
pub const TIME: &str = "urn:xmpp:time";
/// Delayed delivery (XEP-0203).
pub const DELAY: &str = "urn:xmpp:delay";
/// External service discovery (XEP-0215).
pub const EXTERNAL_SERVICES: &str = "urn:xmpp:extdisco:2";
/// Carbons (XEP-0280).
pub const CARBONS: &str = "urn:xmpp:carbons:2";
/// The rules of carbons (XEP-0280).
pub const CARBONS_RULES: &str = "urn:xmpp:carbons:rules:0";
/// Forwarding (XEP-0297).
pub const FORWARD: &str = "urn:xmpp:forward:0";
/// Last message correction (XEP-0308).
pub const CORRECTION: &str = "urn:xmpp:message-correct:0";
/// Message archive (XEP-0313).
pub const MAM: &str = "urn:xmpp:mam:2";
/// The archive's further fields, flipped pages and metadata (XEP-0313).
pub const MAM_EXTENDED: &str = "urn:xmpp:mam:2#extended";
/// The archive's field for messages of rooms (XEP-0313).
pub const MAM_GROUPCHAT_FIELD: &str = "urn:xmpp:mam:2#groupchat-field";
/// Chat markers (XEP-0333).
pub const MARKERS: &str = "urn:xmpp:chat-markers:0";
/// Processing hints (XEP-0334).
pub const HINTS: &str = "urn:xmpp:hints";
/// Client state indication (XEP-0352).
pub const CSI: &str = "urn:xmpp:csi:0";
/// Jingle message initiation (XEP-0353).
pub const JINGLE_MESSAGE: &str = "urn:xmpp:jingle-message:0";
/// Reports beside blocking (XEP-0377).
pub const REPORTING: &str = "urn:xmpp:reporting:1";
/// Reported for unwanted messages (XEP-0377).
pub const REPORTING_SPAM: &str = "urn:xmpp:reporting:spam";
/// Reported for abuse (XEP-0377).
pub const REPORTING_ABUSE: &str = "urn:xmpp:reporting:abuse";
/// Stanza ids (XEP-0359).
pub const STANZA_ID: &str = "urn:xmpp:sid:0";
/// SASL2 (XEP-0388).
pub const SASL2: &str = "urn:xmpp:sasl:2";
/// Bind 2 (XEP-0386).
pub const BIND2: &str = "urn:xmpp:bind:0";
/// SASL channel-binding types (XEP-0440).
pub const SASL_CHANNEL_BINDING: &str = "urn:xmpp:sasl-cb:0";
/// SCRAM downgrade protection (XEP-0474).
pub const SASL_DOWNGRADE: &str = "urn:xmpp:ssdp:0";
/// BOSH (XEP-0124).
pub const BOSH: &str = "http://jabber.org/protocol/httpbind";
/// XMPP over BOSH (XEP-0206).
pub const XBOSH: &str = "urn:xmpp:xbosh";
/// Stream limits (XEP-0478).
pub const STREAM_LIMITS: &str = "urn:xmpp:stream-limits:0";
/// SASL upgrade tasks (XEP-0480).
pub const SASL_UPGRADE: &str = "urn:xmpp:sasl:upgrade:0";
/// The upgrade tasks of SCRAM (XEP-0480 §3).
pub const SCRAM_UPGRADE: &str = "urn:xmpp:scram-upgrade:0";
/// FAST tokens (XEP-0484).
pub const FAST: &str = "urn:xmpp:fast:0";
/// Joining a room, and what a room is (XEP-0045).
pub const MUC: &str = "http://jabber.org/protocol/muc";
/// What moderators and admins ask of a room (XEP-0045 §8, §9).
pub const MUC_ADMIN: &str = "http://jabber.org/protocol/muc#admin";
/// What owners ask of a room (XEP-0045 §10).
pub const MUC_OWNER: &str = "http://jabber.org/protocol/muc#owner";
/// The form of a voice request (XEP-0045 §7.13, §8.6).
pub const MUC_REQUEST: &str = "http://jabber.org/protocol/muc#request";
/// The form that configures a room (XEP-0045).
pub const MUC_ROOMCONFIG: &str = "http://jabber.org/protocol/muc#roomconfig";
/// The form of what a room is (XEP-0045).
pub const MUC_ROOMINFO: &str = "http://jabber.org/protocol/muc#roominfo";
/// The form of registering with a room (XEP-0045).
pub const MUC_REGISTER: &str = "http://jabber.org/protocol/muc#register";
/// MUC user (XEP-0045).
pub const MUC_USER: &str = "http://jabber.org/protocol/muc#user";
/// Direct MUC invitations (XEP-0249).
pub const CONFERENCE: &str = "jabber:x:conference";
/// User nicknames (XEP-0172).
pub const NICK: &str = "http://jabber.org/protocol/nick";
/// Bookmarks in private storage (XEP-0048).
pub const BOOKMARKS_STORAGE: &str = "storage:bookmarks";
/// Bookmarks in personal eventing (XEP-0402).
pub const BOOKMARKS: &str = "urn:xmpp:bookmarks:1";
/// Avatars: the pictures (XEP-0084).
pub const AVATAR_DATA: &str = "urn:xmpp:avatar:data";
/// Avatars: what they are (XEP-0084).
pub const AVATAR_METADATA: &str = "urn:xmpp:avatar:metadata";
/// What has been displayed, for the own devices (XEP-0490).
pub const MDS_DISPLAYED: &str = "urn:xmpp:mds:displayed:0";
/// PubSub requests (XEP-0060).
pub const PUBSUB: &str = "http://jabber.org/protocol/pubsub";
/// PubSub requests of owners (XEP-0060).
pub const PUBSUB_OWNER: &str = "http://jabber.org/protocol/pubsub#owner";
/// PubSub's own error conditions (XEP-0060).
pub const PUBSUB_ERRORS: &str = "http://jabber.org/protocol/pubsub#errors";
/// The form that configures a PubSub node (XEP-0060).
pub const PUBSUB_NODE_CONFIG: &str = "http://jabber.org/protocol/pubsub#node_config";
/// The form of a PubSub node's metadata (XEP-0060).
pub const PUBSUB_METADATA: &str = "http://jabber.org/protocol/pubsub#meta-data";
/// The form of a PubSub publish's conditions (XEP-0060).
pub const PUBLISH_OPTIONS: &str = "http://jabber.org/protocol/pubsub#publish-options";
/// Push notifications (XEP-0357).
pub const PUSH: &str = "urn:xmpp:push:0";
/// The form that sums up a push notification (XEP-0357).
pub const PUSH_SUMMARY: &str = "urn:xmpp:push:summary";
/// Client access management (XEP-0494).
pub const CLIENT_ACCESS: &str = "urn:xmpp:cam:0";
/// PubSub events (XEP-0060).
pub const PUBSUB_EVENT: &str = "http://jabber.org/protocol/pubsub#event";
/// OMEMO, the form in use (XEP-0384 0.3).
pub const OMEMO_LEGACY: &str = "eu.siacs.conversations.axolotl";
/// OMEMO (XEP-0384).
pub const OMEMO: &str = "urn:xmpp:omemo:2";
/// OpenPGP for XMPP (XEP-0373).
pub const OPENPGP: &str = "urn:xmpp:openpgp:0";
/// Explicit message encryption (XEP-0380).
pub const EME: &str = "urn:xmpp:eme:0";
/// Inbox (XEP-0430).
pub const INBOX: &str = "urn:xmpp:inbox:1";
/// Reactions (XEP-0444).
pub const REACTIONS: &str = "urn:xmpp:reactions:0";
/// Message retraction (XEP-0424).
pub const RETRACT: &str = "urn:xmpp:message-retract:1";
/// The archive replaces what was retracted by tombstones (XEP-0424).
pub const RETRACT_TOMBSTONE: &str = "urn:xmpp:message-retract:1#tombstone";
/// Stateless file sharing (XEP-0447).
pub const FILE_SHARING: &str = "urn:xmpp:sfs:0";
/// What is said of a file (XEP-0446).
pub const FILE_METADATA: &str = "urn:xmpp:file:metadata:0";
/// Hashes (XEP-0300).
pub const HASHES: &str = "urn:xmpp:hashes:2";
/// Thumbnails (XEP-0264).
pub const THUMBS: &str = "urn:xmpp:thumbs:1";
/// Bits of binary (XEP-0231).
pub const BOB: &str = "urn:xmpp:bob";
/// Out-of-band data in messages (XEP-0066).
pub const OOB: &str = "jabber:x:oob";
/// Ids of a room's occupants (XEP-0421).
pub const OCCUPANT_ID: &str = "urn:xmpp:occupant-id:0";
/// Moderation (XEP-0425).
pub const MODERATE: &str = "urn:xmpp:message-moderate:1";
/// Hats (XEP-0317).
pub const HATS: &str = "urn:xmpp:hats:0";
/// The forms of the commands that make, give and take hats (XEP-0317).
pub const HATS_COMMANDS: &str = "urn:xmpp:hats:commands";
/// References, such as mentions (XEP-0372).
pub const REFERENCE: &str = "urn:xmpp:reference:0";
/// A room answers for itself whether one is in it (XEP-0410).
pub const SELF_PING: &str = "http://jabber.org/protocol/muc#self-ping-optimization";
/// Searching for public rooms (XEP-0433).
pub const CHANNEL_SEARCH: &str = "urn:xmpp:channel-search:0:search";
/// The form of such a search (XEP-0433).
pub const CHANNEL_SEARCH_PARAMS: &str = "urn:xmpp:channel-search:0:search-params";
/// What is wrong with such a search (XEP-0433).
pub const CHANNEL_SEARCH_ERROR: &str = "urn:xmpp:channel-search:0:error";
/// Replies (XEP-0461).
pub const REPLY: &str = "urn:xmpp:reply:0";
/// Groups that work offline (`docs/protocol/groups.md`).
pub const GROUPS: &str = "urn:posthaste:groups:0";
/// HTTP file upload (XEP-0363).
pub const UPLOAD: &str = "urn:xmpp:http:upload:0";
/// What an uploaded file is for (XEP-0363 §5).
pub const UPLOAD_PURPOSE: &str = "urn:xmpp:http:upload:purpose:0";
/// The files that one has uploaded (`docs/protocol/media.md`).
pub const MEDIA: &str = "urn:posthaste:media:0";
/// Notification settings of a chat (XEP-0492), and what an older version of it had.
pub const NOTIFICATION_SETTINGS: [&str; 2] = [
    "urn:xmpp:notification-settings:1",
    "urn:xmpp:notification-settings:0",
];
