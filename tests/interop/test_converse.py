"""Converse.js, as a person uses it in a browser, with a slixmpp user at the other end."""

import shutil

import pytest
from interop.browser import CONVERSE, converse
from interop.slix import make_contacts, session


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
