"""Groups that work offline (docs/protocol/groups.md) with slixmpp, which knows nothing of them.

What a member misses, whom a message has reached and who is woken: all by stanzas of XEPs that slixmpp has, and by
our few small ones beside them.
"""

import asyncio
import contextlib
from xml.etree import ElementTree as ET

import pytest
from interop.rooms import PLUGINS, enter, found, new_room
from interop.slix import TIMEOUT, session
from interop.test_devices import app_server, enable
from interop.test_inbox import inbox
from slixmpp.xmlstream.handler import Collector
from slixmpp.xmlstream.matcher import MatchXPath

GROUPS = "{urn:posthaste:groups:0}"
# A room tells its members at most once in this many seconds (and one millisecond for each).
BREATH = 1
GROUP = {"persistentroom": True, "membersonly": True}
MEMBER = [*PLUGINS, "xep_0004", "xep_0060", "xep_0077", "xep_0163", "xep_0372", "xep_0402", "xep_0461", "xep_0490", "xep_0492"]


@pytest.fixture(autouse=True)
def only_where_groups_are(server):
    if server.name != "posthaste":
        pytest.skip(f"{server.name} has no groups")


def address(server, user):
    return f"{user[0]}@{server.domain}"


async def group(client, server, *members):
    """A room in which the client is Romeo; its members need not be online."""
    owner = await found(client, new_room(server, "group"), "Romeo", **GROUP)
    features = (await client.plugin["xep_0030"].get_info(owner.room, timeout=TIMEOUT))["disco_info"]["features"]
    assert {GROUPS[1:-1], "muc_persistent", "muc_membersonly"} <= set(features)
    for member in members:
        await owner.muc.set_affiliation(owner.room, "member", jid=address(server, member))
    return owner


async def said(occupant, *texts):
    """Say it; the positions and numbers that the room has given it."""
    for text in texts:
        occupant.says(text)
    heard = [await occupant.happens("message") for _ in texts]
    assert [message["body"] for message in heard] == list(texts)
    numbers = [int(message.xml.find(GROUPS + "counted").get("n")) for message in heard]
    return [message["stanza_id"]["id"] for message in heard], numbers


async def eventually(look, wanted):
    """Look until it is as wanted: what a room tells of how things stand may wait for a breath."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(TIMEOUT):
            while await look() != wanted:
                await asyncio.sleep(0.2)
    assert await look() == wanted


async def archived(client, room, **rsm):
    """The texts in the room's archive."""
    answer = await client.plugin["xep_0313"].retrieve(jid=room, rsm=rsm)
    return [each["mam_result"]["forwarded"]["stanza"]["body"] for each in answer["mam"]["results"]]


async def enter_after(client, room, nick, position):
    """Enter a room and be told what came after this position (§4)."""
    def name_position(stanza):
        x = stanza.xml.find("{http://jabber.org/protocol/muc}x")
        if x is not None:
            x.append(ET.Element(GROUPS + "since", {"id": position}))
        return stanza

    client.add_filter("out", name_position)
    try:
        return await enter(client, room, nick)
    finally:
        client.del_filter("out", name_position)


async def test_who_was_away_sees_how_much_was_missed_and_gets_just_that(server):
    romeo_user, juliet_user = server.new_user("romeo"), server.new_user("juliet")
    async with session(server, *romeo_user, plugins=PLUGINS) as r:
        romeo = await group(r, server)
        await said(romeo, "before her time")
        await romeo.muc.set_affiliation(romeo.room, "member", jid=address(server, juliet_user))
        (seen, *_), numbers = await said(romeo, "m1", "m2", "m3")
        assert numbers == [2, 3, 4]
        async with session(server, *juliet_user, plugins=MEMBER) as j:
            # She has entered no room and been told of this one by nobody.
            await eventually(lambda: inbox(j), ([(str(romeo.room), "m3", 3)], 3))
            assert await archived(j, romeo.room) == ["before her time", "m1", "m2", "m3"]
            # What she has read of it, as she says it to her own devices.
            await j.plugin["xep_0490"].flag_chat(romeo.room, seen)
            await eventually(lambda: inbox(j), ([(str(romeo.room), "m3", 2)], 2))
        await said(romeo, "m4", "m5")
        async with session(server, *juliet_user, plugins=MEMBER) as j:
            await eventually(lambda: inbox(j), ([(str(romeo.room), "m5", 4)], 4))
            assert await archived(j, romeo.room, after=seen) == ["m2", "m3", "m4", "m5"]
            juliet = await enter_after(j, romeo.room, "Juliet", seen)
            assert juliet.history == ["m2", "m3", "m4", "m5"]
            await said(juliet, "I am back")
            # Who answers has read.
            await eventually(lambda: inbox(j), ([(str(romeo.room), "I am back", 0)], 0))


async def test_a_member_speaks_under_its_registered_nickname_without_entering(server):
    juliet_user = server.new_user("juliet")
    async with (
        session(server, *server.new_user("romeo"), plugins=PLUGINS) as r,
        session(server, *juliet_user, plugins=MEMBER) as j,
    ):
        romeo = await group(r, server, juliet_user)
        form = j.plugin["xep_0004"].make_form(ftype="submit")
        form.add_field("FORM_TYPE", ftype="hidden", value="http://jabber.org/protocol/muc#register")
        form.add_field("muc#register_roomnick", value="Jules")
        registration = j.make_iq_set(ito=romeo.room)
        registration["register"].append(form)
        await registration.send(timeout=TIMEOUT)
        copies = Collector("Own copies", MatchXPath("{jabber:client}message/{jabber:client}body"))
        j.register_handler(copies)
        j.send_message(romeo.room, "from the bus", mtype="groupchat")
        heard = await romeo.happens("message")
        assert (heard["from"].resource, heard["body"]) == ("Jules", "from the bus")
        await eventually(lambda: archived(j, romeo.room), ["from the bus"])
        (copy,) = [message for message in copies.stop() if message["body"]]
        assert copy["stanza_id"]["id"] == heard["stanza_id"]["id"]


async def test_the_author_sees_whom_a_message_has_reached(server):
    juliet_user, nurse_user = server.new_user("juliet"), server.new_user("nurse")
    async with (
        session(server, *server.new_user("romeo"), plugins=PLUGINS) as r,
        session(server, *juliet_user, plugins=MEMBER) as j,
        session(server, *nurse_user, plugins=MEMBER) as n,
    ):
        romeo = await group(r, server, juliet_user, nurse_user)
        nurse = await enter(n, romeo.room, "Nurse")
        statuses = Collector("Statuses", MatchXPath("{jabber:client}message/" + GROUPS + "status"))
        r.register_handler(statuses)
        markers = Collector("Markers", MatchXPath("{jabber:client}message/{urn:xmpp:chat-markers:0}displayed"))
        n.register_handler(markers)
        (position,), _ = await said(romeo, "Good night, good night!")
        # Juliet, who is not in the room: her client has it. Nurse has read it.
        receipt = j.make_message(romeo.room, mtype="groupchat")
        receipt["receipt"] = position
        receipt.send()
        n.plugin["xep_0333"].send_marker(romeo.room, position, "displayed", mtype="groupchat")
        await eventually(lambda: readers(r, romeo.room, position), (2, {address(server, nurse_user)}))
        j.plugin["xep_0333"].send_marker(romeo.room, position, "displayed", mtype="groupchat")
        everybody = {address(server, nurse_user), address(server, juliet_user)}
        await eventually(lambda: readers(r, romeo.room, position), (2, everybody))
        await asyncio.sleep(2 * BREATH)
        told = [message.xml.find(f"{GROUPS}status/{GROUPS}message") for message in statuses.stop()]
        assert {message.get("id") for message in told} == {position}
        reached = [tuple(int(message.get(name)) for name in ("members", "delivered", "displayed")) for message in told]
        assert reached == sorted(reached) and reached[-1] == (2, 2, 2), reached
        assert len(reached) <= 3, "statuses are held back while markers come"
        # The room is semi-anonymous: who is no admin is told no addresses.
        assert await readers(n, romeo.room, position) == (2, {None, "Nurse"})
        romeo.says("the last word")
        assert await nurse.hears(2) == [("Romeo", "Good night, good night!"), ("Romeo", "the last word")]
        assert markers.stop() == [], "no marker goes to all"


async def readers(client, room, position):
    """Whom a message has reached, and who has read it: by address, else by nick."""
    iq = client.make_iq_get(ito=room)
    iq.append(ET.Element(GROUPS + "readers", {"id": position}))
    answer = (await iq.send(timeout=TIMEOUT)).xml.find(GROUPS + "readers")
    read = [each for each in answer.findall(GROUPS + "member") if each.get("displayed") == "true"]
    assert int(answer.get("displayed")) == len(read)
    return int(answer.get("delivered")), {each.get("jid") or each.get("nick") for each in read}


async def test_a_phone_is_woken_for_its_owner_by_name_and_for_nothing_else(server):
    juliet_user = server.new_user("juliet")
    juliet = address(server, juliet_user)
    async with app_server(server) as (push, woken), session(server, *server.new_user("romeo"), plugins=MEMBER) as r:
        romeo = await group(r, server, juliet_user)
        async with session(server, *juliet_user, plugins=MEMBER) as phone:
            await enable(phone, push, "phone")
            await bookmark(phone, romeo.room, "on-mention")
        await said(romeo, "something", "and more")
        await asyncio.sleep(2 * BREATH)
        assert woken.empty()
        message = r.make_message(romeo.room, mbody="Where is she?", mtype="groupchat")
        message["reference"]["type"] = "mention"
        message["reference"]["uri"] = f"xmpp:{juliet}"
        message.send()
        async with asyncio.timeout(TIMEOUT):
            assert str((await woken.get())["from"]) == juliet
        assert await romeo.hears() == [("Romeo", "Where is she?")]
        await said(romeo, "never mind")
        await asyncio.sleep(2 * BREATH)
        assert woken.empty()


async def bookmark(client, room, when):
    """Keep the room, and when a phone is to be woken for it; of computers it is not to be silent."""
    conference = client.plugin["xep_0402"].stanza.Conference()
    conference["autojoin"] = False
    notify = conference["extensions"]["notify"]
    notify.configure("always", client_type="pc")
    notify.configure(when)
    await client.plugin["xep_0060"].publish(None, "urn:xmpp:bookmarks:1", id=str(room), payload=conference)
