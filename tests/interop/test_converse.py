"""Converse.js, as a person uses it in a browser, with a slixmpp user at the other end."""

import shutil

import pytest
from interop.browser import CONVERSE, converse
from interop.rooms import CONFIG_CHANGED, KICKED, enter, found, new_room, people
from interop.slix import TIMEOUT, make_contacts, session


@pytest.fixture(autouse=True)
def browser():
    assert CONVERSE.is_dir(), "Converse.js is missing: scripts/setup.sh test installs it"
    if not shutil.which("chromium"):
        pytest.skip("there is no Chromium here; scripts/setup.sh test installs it where Debian's package is to be had")


async def acquainted(server):
    """Romeo and Juliet, who see each other; (Romeo's, Juliet's) log-ins."""
    romeo, juliet = server.new_user("romeo"), server.new_user("juliet")
    async with session(server, *romeo) as r, session(server, *juliet) as j:
        await make_contacts(r, j)
    return romeo, juliet


async def test_converse_signs_in_sees_the_roster_and_chats(server, tmp_path):
    romeo, juliet = await acquainted(server)
    async with (
        session(server, *juliet) as j,
        converse(server, *romeo, screenshot=tmp_path / "chat.png") as c,
    ):
        await c.sees("converse-roster-contact", juliet[0])
        assert (await j.happens("presence_available"))["from"].bare
        await c.opens_chat_with(juliet[0])
        await c.says("Wherefore art thou?")
        message = await j.happens("message")
        while not message["body"]:
            message = await j.happens("message")
        assert message["body"] == "Wherefore art thou?"
        j.send_message(mto=message["from"], mbody="Here I am: ½ 🎉 <here>", mtype="chat")
        await c.reads("Here I am: ½ 🎉 <here>")
    assert (tmp_path / "chat.png").stat().st_size > 10_000


async def test_a_new_browser_shows_what_was_said_before(server, tmp_path):
    romeo, juliet = await acquainted(server)
    async with session(server, *juliet) as j, session(server, *romeo) as r:
        r.send_message(mto=j.boundjid.bare, mbody="But soft, what light?", mtype="chat")
        assert await j.bodies(1) == ["But soft, what light?"]
        j.send_message(mto=r.boundjid.bare, mbody="Ay me!", mtype="chat")
        assert await r.bodies(1) == ["Ay me!"]
    # Delivered, so that only the archive has it.
    async with (
        session(server, *juliet),
        converse(server, *romeo, screenshot=tmp_path / "history.png") as c,
    ):
        await c.opens_chat_with(juliet[0])
        await c.reads("But soft, what light?")
        await c.reads("Ay me!")
        await c.page.reload()
        await c.opens_chat_with(juliet[0])
        await c.reads("Ay me!")


async def test_converse_enters_a_room_talks_and_has_its_history_when_it_comes_back(server, tmp_path):
    romeo = server.new_user("romeo")
    room, where = new_room(server), "converse-muc"
    async with people(server, "juliet", "nurse") as (j, n):
        juliet = await found(j, room, "Juliet", persistentroom=True, roomname="The balcony")
        await enter(n, room, "Nurse")
        juliet.muc.set_subject(room, "Of love & <light>")
        juliet.says("Who is there?")
        async with converse(server, *romeo, screenshot=tmp_path / "room.png") as c:
            await c.enters_room(room, "Romeo")
            assert (await juliet.sees("Romeo"))["type"] == "available"
            await c.sees(f"{where} .chatbox-title__text", "The balcony")
            await c.sees(f"{where} .chat-head__desc", "Of love & <light>")
            await c.sees("converse-muc-occupant-list-item", "Nurse")
            await c.reads("Who is there?", where)
            await c.says("Call me but love: ½ 🎉 <here>", where)
            while (heard := await juliet.hears()) != [("Romeo", "Call me but love: ½ 🎉 <here>")]:
                assert heard[0][0] == "Juliet"
            juliet.says("What man art thou?")
            await c.reads("What man art thou?", where)
            # Its own message came back, and was recognised.
            assert await c.page.locator(f"{where} .chat-msg__text", has_text="Call me but love").count() == 1
            await juliet.muc.set_role(room, "Nurse", "none", timeout=TIMEOUT)
            assert KICKED in (await juliet.sees("Nurse", "unavailable"))["muc"]["status_codes"]
            await c.sees(f"{where} .chat-info__message", "Nurse has been kicked out")
        # The browser went without a word, so that his session may still be there under his nick.
        juliet.says("said while he was away")
        await juliet.hears()
        async with converse(server, *romeo, screenshot=tmp_path / "again.png") as c:
            await c.enters_room(room, "Romeo")
            for text in ("Who is there?", "Call me but love", "What man art thou?", "said while he was away"):
                await c.reads(text, where)
                assert await c.page.locator(f"{where} .chat-msg__text", has_text=text).count() == 1, text
    assert (tmp_path / "room.png").stat().st_size > 10_000


async def test_converse_makes_a_room_and_configures_it(server, tmp_path):
    romeo = server.new_user("romeo")
    room, where = new_room(server), "converse-muc"
    async with (
        people(server, "juliet") as (j,),
        converse(server, *romeo, screenshot=tmp_path / "settings.png") as c,
    ):
        await c.enters_room(room, "Romeo")
        # A new room is open at once: Converse asks for an instant one.
        juliet = await enter(j, room, "Juliet")
        await c.says("/topic Of love", where)
        assert (await juliet.happens("groupchat_subject"))["subject"] == "Of love"
        await (await c.sees("converse-muc-heading converse-dropdown button")).click()
        await (await c.sees(f"{where} .configure-chatroom-button")).click()
        form = await c.sees("converse-muc-config-modal form")
        await form.locator("input[name='muc#roomconfig_roomname']").fill("The balcony")
        await form.locator("input[type=submit]").click()
        assert CONFIG_CHANGED in (await juliet.happens("config_status"))["muc"]["status_codes"]
        await c.sees(f"{where} .chatbox-title__text", "The balcony")
        await c.says("/kick Juliet good night", where)
        gone = await juliet.sees("Juliet", "unavailable")
        assert KICKED in gone["muc"]["status_codes"]
        assert gone["muc"]["item"]["reason"] == "good night"
