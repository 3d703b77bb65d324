"""Rooms with slixmpp, held so that a test reads as a story: enter, say, hear, leave."""

import asyncio
import contextlib
from collections import defaultdict

from slixmpp import JID
from slixmpp.xmlstream.handler import Waiter
from slixmpp.xmlstream.matcher import StanzaPath

from .slix import TIMEOUT, session

PLUGINS = [
    "xep_0004", "xep_0045", "xep_0059", "xep_0249", "xep_0313", "xep_0410", "xep_0421", "xep_0424", "xep_0425",
]
# What slixmpp tells of one room: `muc::<room>::<event>`.
EVENTS = ["message", "message_error", "presence", "groupchat_subject", "config_status", "affiliation_change"]

# Status codes of XEP-0045 §15.6.
NON_ANONYMOUS, CONFIG_CHANGED, SELF, NOW_NON_ANONYMOUS, NEW_ROOM = 100, 104, 110, 172, 201
BANNED, NEW_NICK, KICKED, NO_LONGER_MEMBER, ONLY_FOR_MEMBERS_NOW = 301, 303, 307, 321, 322


def new_room(server, name="room"):
    """The address of a room that nobody has entered yet."""
    return JID(f"{server.new_name(name)}@{server.rooms}")


@contextlib.asynccontextmanager
async def people(server, *users):
    """Clients that are online: of new users with these names, or of these (localpart, password)."""
    async with contextlib.AsyncExitStack() as stack:
        users = [server.new_user(user) if isinstance(user, str) else user for user in users]
        yield [await stack.enter_async_context(session(server, *user, plugins=PLUGINS)) for user in users]


class Occupant:
    """A client in one room. What happens there waits in line until a test asks for it."""

    def __init__(self, client, room, nick):
        self.client, self.room, self.nick = client, JID(room), nick
        self.muc = client.plugin["xep_0045"]
        self.lines = defaultdict(asyncio.Queue)
        for event in EVENTS:
            client.add_event_handler(f"muc::{room}::{event}", self.lines[event].put_nowait)

    async def enter(self, **how):
        """Sets what the room told: own presence, the subject, who is there, what was said before."""
        self.own, subject, _, history = await self.muc.join_muc_wait(self.room, self.nick, timeout=TIMEOUT, **how)
        self.subject = subject["subject"] or ""
        self.history = [message["body"] for message in history]
        self.status = self.own["muc"]["status_codes"]
        for line in self.lines.values():
            while not line.empty():
                line.get_nowait()
        return self

    async def happens(self, event, timeout=TIMEOUT):
        """The next `event` of this room, whether it has come already or is yet to come."""
        async with asyncio.timeout(timeout):
            return await self.lines[event].get()

    def says(self, text, **more):
        """Say it to all; the id that it goes out with."""
        message = self.client.make_message(self.room, mbody=text, mtype="groupchat")
        for name, value in more.items():
            message[name] = value
        message.send()
        return message["id"]

    async def hears(self, count=1):
        """(nick, text) of the next messages to all, own ones included."""
        heard = [await self.happens("message") for _ in range(count)]
        return [(message["from"].resource, message["body"]) for message in heard]

    async def sees(self, nick, kind=None, role=None):
        """The next presence of `nick`: of that type and in that role, when they are named; others are passed over.

        Keep it while looking into it: slixmpp finds nothing in an `item` whose stanza is gone.
        """
        while True:
            presence = await self.happens("presence")
            if presence["from"].resource == nick and kind in (None, presence["type"]):
                if role in (None, presence["muc"]["role"]):
                    return presence

    def who(self):
        """The nicks that slixmpp believes to be here."""
        return sorted(self.muc.get_roster(self.room))

    async def configure(self, **settings):
        """Send the room's form back with these settings, named without their `muc#roomconfig_`."""
        form = await self.muc.get_room_config(self.room, timeout=TIMEOUT)
        fields = form.get_fields()
        for name, value in settings.items():
            assert f"muc#roomconfig_{name}" in fields or name in self.client.under_test.lacks, f"{name} is not in the form"
            if field := fields.get(f"muc#roomconfig_{name}"):
                field["value"] = value
        await self.muc.set_room_config(self.room, form, timeout=TIMEOUT)

    async def accept(self):
        """Take the settings that a new room has by itself (XEP-0045 §10.1.2)."""
        form = self.client.plugin["xep_0004"].make_form(ftype="submit")
        await self.muc.set_room_config(self.room, form, timeout=TIMEOUT)

    async def leave(self):
        self.muc.leave_muc(self.room, self.nick)
        await self.client.settle()


async def enter(client, room, nick, **how):
    """Enter a room; `how` is what slixmpp's join_muc_wait takes."""
    return await Occupant(client, room, nick).enter(**how)


async def refused(client, room, nick, password=None, says_muc=True):
    """Try to enter; the condition of the error. It says that it is about a room unless the room is another server's."""
    # Not by slixmpp's event, which is silent about rooms that one was in.
    answer = Waiter(f"refused {room}", StanzaPath("presence@type=error"))
    client.register_handler(answer)
    client.plugin["xep_0045"].make_join_stanza(JID(room), nick, password=password).send()
    error = await answer.wait(TIMEOUT)
    assert error, f"no word about {room}"
    assert error["from"] == f"{room}/{nick}"
    if says_muc and "muc in errors" not in client.under_test.lacks:
        # slixmpp's own join waits for ever where the error does not say that it is about a room.
        assert error.get_plugin("muc_join", check=True) is not None
    return error["error"]["condition"]


async def found(client, room, nick, **settings):
    """Make a room, an instant one where no `settings` of its form are named."""
    owner = await enter(client, room, nick)
    assert NEW_ROOM in owner.status, f"{room} was there already: {owner.own}"
    if settings:
        await owner.configure(**settings)
    else:
        await owner.accept()
    return owner
