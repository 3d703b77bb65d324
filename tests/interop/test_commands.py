"""Administering the server with slixmpp's ad-hoc commands (XEP-0050, XEP-0133)."""

import asyncio

import pytest
from interop.servers import chosen
from interop.slix import TIMEOUT, session

ADMIN = "http://jabber.org/protocol/admin#"
PLUGINS = ["xep_0050", "xep_0133"]


@pytest.fixture
def romeo(server):
    return server.new_user("romeo")


async def run(client, start, fields):
    """One command of slixmpp's xep_0133 from its form to its end; the answer's iq."""
    ended = asyncio.get_running_loop().create_future()

    def fill(iq, execution):
        form = client.plugin["xep_0004"].make_form(ftype="submit")
        for var, value in fields.items():
            form.add_field(var=var, value=value)
        execution["payload"] = form
        execution["next"] = lambda iq, _: ended.set_result(iq)
        client.plugin["xep_0050"].complete_command(execution)

    def fail(iq, execution):
        ended.set_exception(RuntimeError(str(iq["error"]["condition"])))

    start(client.under_test.domain, {"next": fill, "error": fail})
    async with asyncio.timeout(TIMEOUT):
        return await ended


async def test_an_administrator_makes_an_account_and_removes_it(server):
    name = server.new_name("tybalt")
    account = f"{name}@{server.domain}"
    async with session(server, *server.administrator(), plugins=PLUGINS) as bard:
        admin = bard.plugin["xep_0133"]
        made = await run(
            bard, admin.add_user, {"accountjid": account, "password": "sword", "password-verify": "sword"}
        )
        assert made["command"]["status"] == "completed"
        async with session(server, name, "sword") as tybalt:
            roster = await run(bard, admin.get_user_roster, {"accountjids": [account]})
            assert roster["command"]["status"] == "completed"
            await run(bard, admin.delete_user, {"accountjids": [account]})
            await tybalt.happens("disconnected")
        with pytest.raises(PermissionError):
            async with session(server, name, "sword"):
                pass


async def test_an_administrator_speaks_to_everybody(server, romeo):
    async with session(server, *server.administrator(), plugins=PLUGINS) as bard, session(server, *romeo) as r:
        await run(bard, bard.plugin["xep_0133"].announce, {"announcement": ["Good morrow."]})
        message = await r.happens("message")
        assert (message["from"].full, message["body"]) == (server.domain, "Good morrow.")


async def test_the_commands_are_found_by_administrators_only(server, romeo):
    async with session(server, *server.administrator(), plugins=PLUGINS) as bard:
        found = await bard.plugin["xep_0050"].get_commands(server.domain)
        nodes = {item[1] for item in found["disco_items"]["items"]}
        assert {f"{ADMIN}add-user", f"{ADMIN}end-user-session"} <= nodes


@pytest.fixture
def own_server():
    """A server that may end."""
    running = chosen()()
    try:
        yield running.start()
    finally:
        running.close()


async def test_an_administrator_restarts_the_server_and_ends_it(own_server):
    if own_server.name != "posthaste":
        pytest.skip("the options and the end of the process are ours")
    server = own_server
    process = server.process.pid
    async with session(server, *server.administrator(), plugins=PLUGINS) as bard:
        await run(bard, bard.plugin["xep_0133"].restart, {"delay": "0"})
        await bard.happens("disconnected")
    server.wait_until_ready()
    assert server.process.pid == process and server.process.poll() is None
    async with session(server, *server.administrator(), plugins=PLUGINS) as bard:
        await run(bard, bard.plugin["xep_0133"].shutdown, {"delay": "0"})
        await bard.happens("disconnected")
    assert await asyncio.to_thread(server.process.wait, TIMEOUT) == 0


async def test_the_command_line_ends_a_session(server, romeo):
    if server.name != "posthaste":
        pytest.skip("the command line is ours")
    async with session(server, *romeo, resource="orchard") as r:
        command = [*server.command()[:-1], "user", "kick", r.boundjid.full]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        said, _ = await process.communicate()
        assert said == b"1 session is ended\n"
        await r.happens("disconnected")
