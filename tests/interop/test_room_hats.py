"""What else rooms do, with slixmpp: hats that admins give (XEP-0317), and being found by a search (XEP-0433)."""

import pytest
from interop.rooms import PLUGINS, enter, found, new_room
from interop.slix import TIMEOUT, session
from slixmpp.plugins.xep_0004 import Form
from slixmpp.xmlstream import ET

COMMANDS = "urn:xmpp:hats:commands:"
SEARCH = "urn:xmpp:channel-search:0:search"
HOST = "urn:example:hats#host"


@pytest.fixture(autouse=True)
def only_where_rooms_have_them(server):
    if server.name != "posthaste":
        pytest.skip(f"{server.name} has neither")


def people_with_hats(server, user):
    return session(server, *server.new_user(user), plugins=[*PLUGINS, "xep_0050", "xep_0317"])


async def run(client, room, command, **fields):
    """Asks for the form of a command and sends it back, as a client with ad-hoc commands does."""
    commands = client.plugin["xep_0050"]
    asked = await commands.send_command(room, f"{COMMANDS}{command}", timeout=TIMEOUT)
    form = asked["command"]["form"]
    form["type"] = "submit"
    for name, value in fields.items():
        form.get_fields()[f"hats#{name}"]["value"] = value
    return await commands.send_command(
        room, f"{COMMANDS}{command}", action="complete", payload=form,
        sessionid=asked["command"]["sessionid"], timeout=TIMEOUT,
    )


def hats(presence):
    return [(hat["uri"], hat["title"]) for hat in presence["hats"]["hats"]]


async def test_a_hat_that_is_given_is_seen_by_those_who_are_there_and_those_who_come(server):
    async with people_with_hats(server, "romeo") as r, people_with_hats(server, "juliet") as j:
        room = new_room(server)
        await found(r, room, "Romeo")
        juliet = await enter(j, room, "Juliet")
        done = await run(r, room, "create", title="Host", uri=HOST)
        assert done["command"]["status"] == "completed"
        await run(r, room, "assign", jid=j.boundjid.bare, uri=HOST)
        seen = await juliet.sees("Juliet", "available")
        assert hats(seen) == [(HOST, "Host")]
        async with people_with_hats(server, "nurse") as n:
            nurse = await enter(n, room, "Nurse")
            j.send_presence(pto=f"{room}/Juliet", pshow="away")
            assert hats(await nurse.sees("Juliet", "away")) == [(HOST, "Host")]
            await juliet.sees("Juliet", "away")
            await run(r, room, "unassign", jid=j.boundjid.bare, uri=HOST)
            for occupant in (nurse, juliet):
                assert hats(await occupant.sees("Juliet", "away")) == []


async def test_a_public_room_is_found_by_its_description(server):
    async with people_with_hats(server, "romeo") as r, people_with_hats(server, "juliet") as j:
        room = new_room(server)
        await found(r, room, "Romeo", publicroom=True, roomname="Balcony", roomdesc="Of moonlight and oaths")
        iq = j.make_iq_get(ito=server.rooms)
        search = ET.SubElement(iq.xml, f"{{{SEARCH}}}search")
        form = Form()
        form["type"] = "submit"
        form.add_field("FORM_TYPE", ftype="hidden", value=f"{SEARCH}-params")
        form.add_field("q", value="moonlight")
        form.add_field("key", value="{urn:xmpp:channel-search:0:order}address")
        search.append(form.xml)
        answer = await iq.send(timeout=TIMEOUT)
        items = answer.xml.findall(f".//{{{SEARCH}}}item")
        assert [item.get("address") for item in items] == [str(room)]
        assert items[0].find(f"{{{SEARCH}}}name").text == "Balcony"
