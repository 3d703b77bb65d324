"""What stays of a chat room, with slixmpp: its archive, who is who in it, moderation, and being sure that one is in."""

import asyncio

import pytest
from interop.rooms import PLUGINS, enter, found, new_room, people
from interop.servers import chosen
from interop.slix import TIMEOUT, session
from slixmpp.exceptions import IqError
from slixmpp.plugins.xep_0410 import PingStatus


async def archived(client, room, **how):
    """What the archive of the room gives: the forwarded stanzas' (nick, text)."""
    found = client.plugin["xep_0313"].iterate(jid=room, **{"rsm": {"max": 20}} | how)
    stanzas = [result["mam_result"]["forwarded"]["stanza"] async for result in found]
    return [(stanza["from"].resource, stanza["body"]) for stanza in stanzas if stanza["body"]]


async def test_the_archive_of_a_room_has_every_message_in_order(server):
    async with people(server, "romeo", "juliet") as (r, j):
        room = new_room(server)
        romeo = await found(r, room, "Romeo")
        juliet = await enter(j, room, "Juliet")
        for number in range(25):
            (romeo if number % 2 else juliet).says(f"m{number}")
            await romeo.hears()
        said = [("Romeo" if n % 2 else "Juliet", f"m{n}") for n in range(25)]
        assert await archived(j, room) == said
        assert await archived(j, room, reverse=True) == said[::-1]
        heard = [await juliet.happens("message") for _ in range(25)]
        page = await j.plugin["xep_0313"].retrieve(jid=room, rsm={"after": heard[19]["stanza_id"]["id"], "max": 20})
        results = page["mam"]["results"]
        assert [result["mam_result"]["forwarded"]["stanza"]["body"] for result in results] == [f"m{n}" for n in range(20, 25)]
        assert [result["mam_result"]["id"] for result in results] == [m["stanza_id"]["id"] for m in heard[20:]]


async def test_the_archive_is_for_those_who_may_enter(server):
    async with people(server, "romeo", "juliet") as (r, j):
        room = new_room(server)
        romeo = await found(r, room, "Romeo", membersonly=True, persistentroom=True)
        romeo.says("among us")
        await romeo.hears()
        with pytest.raises(IqError) as forbidden:
            await j.plugin["xep_0313"].retrieve(jid=room, rsm={"max": 20})
        assert forbidden.value.condition == "forbidden"
        await romeo.muc.set_affiliation(room, "member", jid=j.boundjid.bare, timeout=TIMEOUT)
        assert await archived(j, room) == [("Romeo", "among us")]


async def test_an_occupant_is_known_again_under_another_nick(server):
    async with people(server, "romeo", "juliet") as (r, j):
        room = new_room(server)
        romeo = await found(r, room, "Romeo")
        info = await r.plugin["xep_0030"].get_info(room, timeout=TIMEOUT)
        assert "urn:xmpp:occupant-id:0" in info["disco_info"]["features"]
        ids = []
        for nick in ("Juliet", "Jules"):
            juliet = await enter(j, room, nick)
            ids.append((await romeo.sees(nick, "available"))["occupant-id"].xml.get("id"))
            # Nobody else's, whatever one claims.
            message = j.make_message(room, mbody=nick, mtype="groupchat")
            message.enable("occupant-id")
            message["occupant-id"].xml.set("id", "forged")
            message.send()
            ids.append((await romeo.happens("message"))["occupant-id"].xml.get("id"))
            await juliet.leave()
        assert len(set(ids)) == 1 and ids[0] not in (None, "forged")
        assert romeo.own["occupant-id"].xml.get("id") not in (None, ids[0])


async def test_a_moderator_takes_a_message_back(server):
    if chosen().name == "prosody":
        pytest.skip("Debian's Prosody has no moderation")
    async with people(server, "romeo", "juliet") as (r, j):
        room = new_room(server)
        romeo = await found(r, room, "Romeo")
        juliet = await enter(j, room, "Juliet")
        juliet.says("something rude")
        heard = await romeo.happens("message")
        with pytest.raises(IqError) as forbidden:
            await j.plugin["xep_0425"].moderate(room, heard["stanza_id"]["id"], timeout=TIMEOUT)
        assert forbidden.value.condition == "forbidden"
        await r.plugin["xep_0425"].moderate(room, heard["stanza_id"]["id"], reason="Rude", timeout=TIMEOUT)
        told = await j.happens("moderated_message")
        assert (told["from"], told["retract"]["id"]) == (room, heard["stanza_id"]["id"])
        assert told["retract"]["moderated"]["by"] == f"{room}/Romeo"
        assert "something rude" not in str(await archived(j, room))


async def test_one_can_be_sure_to_be_in_a_room(server):
    async with people(server, "romeo", "juliet") as (r, j):
        room = new_room(server)
        await found(r, room, "Romeo")
        juliet = await enter(j, room, "Juliet")
        ping = lambda: j.plugin["xep_0410"].send_self_ping(f"{room}/Juliet", timeout=TIMEOUT)
        assert await ping() == PingStatus.JOINED
        await juliet.leave()
        assert await ping() == PingStatus.DISCONNECTED


class WithRestarts(chosen()):
    """The server under test, that ends and comes back."""

    async def restart(self, end):
        await asyncio.to_thread(end)
        await asyncio.to_thread(self.start)


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_a_room_outlives_the_server(end):
    server = WithRestarts()
    try:
        await asyncio.to_thread(server.start)
        romeo_user, juliet_user, villain = (server.new_user(name) for name in ("romeo", "juliet", "tybalt"))
        room = new_room(server)
        # After a graceful end a session that can be resumed would still be in the room.
        plugins = [*PLUGINS, "xep_0198"] if end == "kill" else PLUGINS
        async with session(server, *romeo_user, plugins=plugins) as r:
            romeo = await found(r, room, "Romeo", persistentroom=True, roomname="The balcony", membersonly=True)
            await romeo.muc.set_affiliation(room, "member", jid=f"{juliet_user[0]}@{server.domain}", timeout=TIMEOUT)
            await romeo.muc.set_affiliation(room, "outcast", jid=f"{villain[0]}@{server.domain}", timeout=TIMEOUT)
            romeo.muc.set_subject(room, "Of love")
            await romeo.happens("groupchat_subject")
            for number in range(5):
                romeo.says(f"m{number}")
            await romeo.hears(5)
            if end == "kill":
                # What is acknowledged is what has to be there afterwards.
                r.plugin["xep_0198"].request_ack()
                while "<body>m4</body>" not in str(await r.happens("stanza_acked")):
                    pass
            await server.restart(getattr(server, end))
        async with people(server, juliet_user, romeo_user) as (j, r):
            juliet = await enter(j, room, "Juliet")
            assert (juliet.subject, juliet.history) == ("Of love", [f"m{n}" for n in range(5)])
            assert juliet.own["muc"]["affiliation"] == "member"
            # Who was there when it ended is there no more.
            assert juliet.who() == ["Juliet"]
            romeo = await enter(r, room, "Romeo")
            assert romeo.own["muc"]["affiliation"] == "owner"
            banned = await romeo.muc.get_affiliation_list(room, "outcast", timeout=TIMEOUT)
            assert banned == [f"{villain[0]}@{server.domain}"]
    finally:
        server.close()
