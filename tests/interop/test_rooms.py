"""Chat rooms with slixmpp: entering, talking, history, subject, private messages, nicks, leaving (XEP-0045)."""

from interop.rooms import NEW_NICK, NEW_ROOM, PLUGINS, SELF, enter, found, new_room, people, refused
from interop.slix import TIMEOUT, session


async def test_a_room_is_made_entered_and_talked_in(server):
    async with people(server, "romeo", "juliet") as (r, j):
        room = new_room(server)
        romeo = await enter(r, room, "Romeo")
        assert {NEW_ROOM, SELF} <= romeo.status
        assert (romeo.own["muc"]["affiliation"], romeo.own["muc"]["role"]) == ("owner", "moderator")
        # It is locked until it has its settings.
        assert await refused(j, room, "Juliet") == "item-not-found"
        await romeo.accept()
        juliet = await enter(j, room, "Juliet")
        assert (juliet.own["muc"]["affiliation"], juliet.own["muc"]["role"]) == ("none", "participant")
        assert juliet.who() == ["Juliet", "Romeo"]
        assert (await romeo.sees("Juliet"))["type"] == "available"
        for number in range(10):
            romeo.says(f"Ünïcode <{number}> & 🎉")
            juliet.says(f"and back {number}")
        heard = await romeo.hears(20)
        assert await juliet.hears(20) == heard
        assert [text for nick, text in heard if nick == "Romeo"] == [f"Ünïcode <{n}> & 🎉" for n in range(10)]
        assert [text for nick, text in heard if nick == "Juliet"] == [f"and back {n}" for n in range(10)]


async def test_ones_own_message_comes_back_with_its_id_and_the_rooms(server):
    async with people(server, "romeo", "juliet") as (r, j):
        room = new_room(server)
        romeo = await found(r, room, "Romeo")
        juliet = await enter(j, room, "Juliet")
        sent = romeo.says("But soft")
        own, others = await romeo.happens("message"), await juliet.happens("message")
        assert own["id"] == others["id"] == sent
        assert own["stanza_id"]["by"] == room
        assert own["stanza_id"]["id"] == others["stanza_id"]["id"] != ""
        assert own["from"] == others["from"] == f"{room}/Romeo"


async def test_who_enters_is_told_what_was_said_as_far_as_they_want(server):
    async with people(server, "romeo", "juliet") as (r, j):
        room = new_room(server)
        romeo = await found(r, room, "Romeo")
        for number in range(5):
            romeo.says(f"m{number}")
        await romeo.hears(5)
        for how, wanted in (({"maxstanzas": 2}, ["m3", "m4"]), ({"maxstanzas": 0}, []), ({"seconds": 3600}, None), ({}, None)):
            juliet = await enter(j, room, "Juliet", **how)
            assert juliet.history == (wanted if wanted is not None else [f"m{n}" for n in range(5)]), how
            await juliet.leave()
            await romeo.sees("Juliet", "unavailable")


async def test_the_subject_is_told_to_all_and_to_who_comes_later(server):
    async with people(server, "romeo", "juliet") as (r, j):
        room = new_room(server)
        romeo = await found(r, room, "Romeo")
        assert romeo.subject == ""
        romeo.muc.set_subject(room, "Of love & <light>")
        told = await romeo.happens("groupchat_subject")
        assert (told["subject"], told["from"]) == ("Of love & <light>", f"{room}/Romeo")
        juliet = await enter(j, room, "Juliet")
        assert juliet.subject == "Of love & <light>"
        juliet.muc.set_subject(room, "mine")
        assert (await juliet.happens("message_error"))["error"]["condition"] == "forbidden"


async def test_private_messages_reach_one_and_no_other(server):
    async with people(server, "romeo", "juliet", "nurse") as (r, j, n):
        room = new_room(server)
        romeo = await found(r, room, "Romeo")
        await enter(j, room, "Juliet")
        nurse = await enter(n, room, "Nurse")
        r.send_message(mto=f"{room}/Juliet", mbody="only you", mtype="chat")
        while not (got := await j.happens("message"))["body"]:
            pass
        assert (got["body"], got["from"], got["type"]) == ("only you", f"{room}/Romeo", "chat")
        r.send_message(mto=f"{room}/Mercutio", mbody="anyone?", mtype="chat")
        assert (await romeo.happens("message_error"))["error"]["condition"] == "item-not-found"
        romeo.says("to all")
        assert await nurse.hears() == [("Romeo", "to all")]
        assert not any(each["body"] == "only you" for each in list(n.lines["message"]._queue))


async def test_a_nick_is_changed_and_nobody_takes_anothers(server):
    async with people(server, "romeo", "juliet") as (r, j):
        room = new_room(server)
        romeo = await found(r, room, "Romeo")
        assert await refused(j, room, "Romeo") == "conflict"
        juliet = await enter(j, room, "Juliet")
        await romeo.sees("Juliet")
        assert await juliet.muc.set_self_nick(room, "Jules", timeout=TIMEOUT) == "Jules"
        gone = await romeo.sees("Juliet")
        assert gone["type"] == "unavailable"
        assert (gone["muc"]["item_nick"], NEW_NICK in gone["muc"]["status_codes"]) == ("Jules", True)
        assert (await romeo.sees("Jules"))["type"] == "available"
        juliet.says("it is still me")
        assert await romeo.hears() == [("Jules", "it is still me")]


async def test_presence_in_a_room_is_seen_and_so_is_leaving_it(server):
    async with people(server, "romeo", "juliet", "nurse") as (r, j, n):
        room = new_room(server)
        romeo = await found(r, room, "Romeo")
        juliet = await enter(j, room, "Juliet")
        await enter(n, room, "Nurse")
        await romeo.sees("Nurse")
        j.send_presence(pto=f"{room}/Juliet", pshow="away", pstatus="fetching a ladder")
        shown = await romeo.sees("Juliet", "away")
        assert shown["status"] == "fetching a ladder"
        # By a word to the room, by one to all, and by the line that breaks.
        juliet.muc.leave_muc(room, "Juliet", msg="good night")
        assert (await romeo.sees("Juliet", "unavailable"))["status"] == "good night"
        n.send_presence(ptype="unavailable")
        await romeo.sees("Nurse", "unavailable")
        juliet = await enter(j, room, "Juliet")
        await j.lose_connection()
        await romeo.sees("Juliet", "unavailable")
        assert romeo.who() == ["Romeo"]


async def test_a_room_waits_for_whoever_only_lost_the_line(server):
    juliet_user = server.new_user("juliet")
    async with people(server, "romeo") as (r,), session(server, *juliet_user, plugins=[*PLUGINS, "xep_0198"]) as j:
        await j.happens("sm_enabled")
        room = new_room(server)
        romeo = await found(r, room, "Romeo")
        juliet = await enter(j, room, "Juliet")
        await j.settle()
        await j.lose_connection()
        for number in range(5):
            romeo.says(f"m{number}")
        await romeo.hears(5)
        j.connect(server.host, server.port)
        await j.happens("session_resumed")
        assert await juliet.hears(5) == [("Romeo", f"m{n}") for n in range(5)]
        assert juliet.who() == romeo.who() == ["Juliet", "Romeo"]
        juliet.says("still here")
        assert await romeo.hears() == [("Juliet", "still here")]


async def test_a_room_is_found_in_the_directory_unless_it_hides(server):
    async with people(server, "romeo", "juliet") as (r, j):
        shown, hidden = new_room(server, "shown"), new_room(server, "hidden")
        await found(r, shown, "Romeo", roomname="The balcony", publicroom=True, persistentroom=True)
        await found(r, hidden, "Romeo", publicroom=False)
        disco = j.plugin["xep_0030"]
        items = await disco.get_items(server.domain, timeout=TIMEOUT)
        assert server.rooms in [jid for jid, _, _ in items["disco_items"]["items"]]
        service = await disco.get_info(server.rooms, timeout=TIMEOUT)
        assert ("conference", "text") in [identity[:2] for identity in service["disco_info"]["identities"]]
        assert "http://jabber.org/protocol/muc" in service["disco_info"]["features"]
        names = {jid: name for jid, _, name in (await disco.get_items(server.rooms, timeout=TIMEOUT))["disco_items"]["items"]}
        assert names.get(str(shown)) == "The balcony"
        assert str(hidden) not in names
        features = (await disco.get_info(shown, timeout=TIMEOUT))["disco_info"]["features"]
        assert {"muc_public", "muc_persistent", "muc_open", "muc_unsecured", "muc_unmoderated"} <= set(features)
