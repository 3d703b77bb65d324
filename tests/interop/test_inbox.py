"""Read state on several devices, corrections, reactions and retractions, with slixmpp."""

from xml.etree import ElementTree as ET

import pytest
from interop.slix import session
from slixmpp.xmlstream.handler import Collector
from slixmpp.xmlstream.matcher import MatchXPath

INBOX = "{urn:xmpp:inbox:1}"
PLUGINS = ["xep_0059", "xep_0060", "xep_0163", "xep_0308", "xep_0313", "xep_0424", "xep_0444", "xep_0461", "xep_0490"]


@pytest.fixture
def romeo(server):
    return server.new_user("romeo")


@pytest.fixture
def juliet(server):
    return server.new_user("juliet")


async def inbox(client):
    """Who, what was said last, how much is unread; and the sums."""
    entries = Collector("Inbox", MatchXPath("{jabber:client}message/" + INBOX + "entry"))
    client.register_handler(entries)
    iq = client.make_iq_get(ito=client.boundjid.bare)
    iq.append(ET.Element(INBOX + "inbox"))
    fin = (await iq.send()).xml.find(INBOX + "fin")
    found = []
    for message in entries.stop():
        entry, body = message.xml.find(INBOX + "entry"), message.xml.find(".//{jabber:client}body")
        found.append((entry.get("jid"), body.text, int(entry.get("unread"))))
    return found, int(fin.get("all-unread"))


async def say(client, to, *texts):
    for text in texts:
        client.send_message(mto=to, mbody=text, mtype="chat")
    await client.settle()


async def test_a_marker_of_one_device_is_what_the_other_has_read(server, romeo, juliet):
    async with (
        session(server, *romeo, plugins=PLUGINS) as r,
        session(server, *juliet, plugins=PLUGINS, resource="phone") as phone,
        session(server, *juliet, plugins=PLUGINS, resource="desk") as desk,
    ):
        await say(r, phone.boundjid.bare, "one", "two", "three")
        received = [await phone.happens("message") for _ in range(3)]
        assert await inbox(desk) == ([(r.boundjid.bare, "three", 3)], 3)
        phone.plugin["xep_0333"].send_marker(r.boundjid.bare, received[0]["id"], "displayed")
        await phone.settle()
        assert await inbox(desk) == ([(r.boundjid.bare, "three", 2)], 2)
        await phone.plugin["xep_0490"].flag_chat(r.boundjid.bare, received[1]["stanza_id"]["id"])
        assert await inbox(desk) == ([(r.boundjid.bare, "three", 1)], 1)
        await say(phone, r.boundjid.bare, "an answer")
        assert await inbox(desk) == ([(r.boundjid.bare, "an answer", 0)], 0)


async def test_a_retracted_message_is_gone_from_both_archives(server, romeo, juliet):
    async with session(server, *romeo, plugins=PLUGINS) as r, session(server, *juliet, plugins=PLUGINS) as j:
        await say(r, j.boundjid.bare, "secret", "public")
        secret = await j.happens("message")
        r.plugin["xep_0424"].send_retraction(j.boundjid.bare, secret["id"], include_fallback=True)
        await r.settle()
        for client in (r, j):
            answer = await client.plugin["xep_0313"].retrieve()
            kept = [m["mam_result"]["forwarded"]["stanza"] for m in answer["mam"]["results"]]
            assert [m["body"] for m in kept][:2] == ["", "public"]
            assert kept[0].xml.find("{urn:xmpp:message-retract:1}retracted") is not None


async def test_a_reaction_and_a_correction_are_archived_and_not_unread(server, romeo, juliet):
    async with session(server, *romeo, plugins=PLUGINS) as r, session(server, *juliet, plugins=PLUGINS) as j:
        await say(r, j.boundjid.bare, "But soft")
        first = await j.happens("message")
        r.plugin["xep_0444"].send_reactions(j.boundjid.bare, first["id"], ["👍"])
        corrected = r.plugin["xep_0308"].build_correction(first["id"], mto=j.boundjid.bare, mbody="But soft!")
        corrected.send()
        await r.settle()
        listed, unread = await inbox(j)
        assert (listed[0][1], unread) == ("But soft", 1)
        answer = await j.plugin["xep_0313"].retrieve()
        assert len(answer["mam"]["results"]) == 3
