"""profanity in a terminal, as a person uses it, with a slixmpp user at the other end.

tmux gives it a terminal; what a person would type is typed, what they would see is looked for.
"""

import asyncio
import contextlib
import os
import re
import secrets
import shutil
import subprocess

import pytest
from interop.media import PLUGINS, picture, request
from interop.rooms import KICKED, enter, new_room, people
from interop.slix import session

SEEN_WITHIN = 20.0
LOOK_EVERY = 0.05


class Terminal:
    """A tmux server of its own with one window that runs profanity."""

    def __init__(self, home):
        self.socket = f"interop-{secrets.token_hex(4)}"
        self.home = home
        environment = {
            key: str(home / key.lower())
            for key in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME")
        }
        settings = home / "xdg_config_home" / "profanity"
        settings.mkdir(parents=True)
        # Notifications and the like need a desktop.
        (settings / "profrc").write_text("[notifications]\nmessage=off\nroom=off\ntyping=false\n")
        self.tmux(
            "new-session", "-d", "-x", "130", "-y", "40", "profanity", "-l", "DEBUG",
            env=os.environ | environment | {"HOME": str(home), "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"},
        )

    def tmux(self, *words, env=None):
        command = ["tmux", "-L", self.socket, "-f", "/dev/null", *words]
        return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout

    def type(self, line):
        self.tmux("send-keys", "-l", line)
        self.tmux("send-keys", "Enter")

    def screen(self):
        return self.tmux("capture-pane", "-p")

    async def sees(self, *patterns):
        """Wait until one of the patterns is on the screen; that pattern."""
        deadline = asyncio.get_running_loop().time() + SEEN_WITHIN
        while True:
            screen = self.screen()
            for pattern in patterns:
                if re.search(pattern, screen):
                    return pattern
            if asyncio.get_running_loop().time() > deadline:
                pytest.fail(f"none of {patterns} on the screen:\n{screen}", pytrace=False)
            await asyncio.sleep(LOOK_EVERY)  # a terminal tells nobody that it has changed

    def close(self):
        with contextlib.suppress(subprocess.CalledProcessError):
            self.tmux("kill-server")


@pytest.fixture
def terminal(tmp_path):
    for tool in ("profanity", "tmux"):
        assert shutil.which(tool), f"{tool} is missing: scripts/setup.sh test installs it"
    window = Terminal(tmp_path)
    yield window
    window.close()


def connect_command(server, user, tls):
    """`legacy` is profanity's word for direct TLS."""
    port = server.tls_port if tls == "legacy" else server.port
    return f"/connect {user}@{server.domain} server {server.host} port {port} tls {tls}"


async def connect(terminal, server, user, password, tls="force"):
    await terminal.sees(r"Profanity\. Type|Profanity\s+\d|Welcome")
    terminal.type(connect_command(server, user, tls))
    await terminal.sees(r"[Ee]nter password")
    terminal.type(password)
    if await terminal.sees(r"/tls always", r"logged in successfully") == r"/tls always":
        terminal.type("/tls always")
    await terminal.sees(r"logged in successfully|Login failed")


@pytest.mark.parametrize("tls", ["force", "legacy"])
async def test_profanity_connects_and_trusts_the_certificate(server, terminal, tls):
    user, password = server.new_user("romeo")
    await connect(terminal, server, user, password, tls)
    assert "logged in successfully" in terminal.screen()
    terminal.type("/disconnect")
    await terminal.sees(r"logged out successfully")
    terminal.type(connect_command(server, user, tls))
    await terminal.sees(r"[Ee]nter password")
    terminal.type(password)
    await terminal.sees(r"logged in successfully[\s\S]*logged out[\s\S]*logged in successfully")


async def test_profanity_is_told_that_the_password_is_wrong(server, terminal):
    user, _ = server.new_user("romeo")
    await connect(terminal, server, user, "not the password")
    assert "Login failed" in terminal.screen()


async def test_profanity_adds_a_contact_and_chats(server, terminal):
    romeo, juliet = server.new_user("romeo"), server.new_user("juliet")
    romeo_jid, juliet_jid = (f"{user}@{server.domain}" for user, _ in (romeo, juliet))
    async with session(server, *juliet) as j:
        await connect(terminal, server, *romeo)
        terminal.type(f"/roster add {juliet_jid} Julie")
        await terminal.sees(r"Roster item added")
        terminal.type(f"/sub request {juliet_jid}")
        request = await j.happens("presence_subscribe")
        assert request["from"].bare == romeo_jid
        j.send_presence_subscription(pto=romeo_jid, ptype="subscribed")
        j.send_presence_subscription(pto=romeo_jid, ptype="subscribe")
        await terminal.sees(r"Received authorization request|[Aa]uthorization request from")
        terminal.type(f"/sub allow {juliet_jid}")
        await j.happens("presence_subscribed")
        terminal.type("/roster")
        await terminal.sees(r"Subscription\s*:\s*both|Julie")

        terminal.type(f"/msg {juliet_jid} Wherefore art thou?")
        message = await j.happens("message")
        while not message["body"]:
            message = await j.happens("message")
        assert message["body"] == "Wherefore art thou?"
        assert message["from"].bare == romeo_jid
        j.send_message(mto=message["from"], mbody="Here I am: ½ 🎉 <here>", mtype="chat")
        await terminal.sees(r"Here I am: ½ 🎉 <here>")

        j.send_presence(pshow="away", pstatus="fetching a ladder")
        terminal.type("/win 1")
        terminal.type(f"/info {juliet_jid}")
        await terminal.sees(r"fetching a ladder")


async def test_profanity_shows_what_waited_and_who_it_is_from(server, terminal):
    romeo, juliet = server.new_user("romeo"), server.new_user("juliet")
    async with session(server, *juliet) as j:
        for number in range(3):
            j.send_message(mto=f"{romeo[0]}@{server.domain}", mbody=f"while you slept {number}", mtype="chat")
        await j.settle()
        sender = j.boundjid.bare
    await connect(terminal, server, *romeo)
    await terminal.sees(rf"Chat message from:? {re.escape(sender)}|{re.escape(sender)}")
    terminal.type("/win 2")
    await terminal.sees(r"while you slept 0[\s\S]*while you slept 1[\s\S]*while you slept 2")


async def test_profanity_registers_an_account(server, terminal):
    user = server.new_name("newcomer")
    await terminal.sees(r"Profanity\. Type|Profanity\s+\d|Welcome")
    terminal.type(f"/register {user} {server.domain} port {server.port} tls trust")
    await terminal.sees(r"[Pp]assword")
    terminal.type("a good password")
    await terminal.sees(r"[Cc]onfirm")
    terminal.type("a good password")
    await terminal.sees(r"Registration successful|[Rr]egistered|success")
    async with session(server, user, "a good password") as registered:
        assert registered.boundjid.user == user


async def test_profanity_enters_a_room_talks_kicks_and_has_the_history(server, terminal):
    romeo, room = server.new_user("romeo"), new_room(server)
    async with people(server, "juliet") as (j,):
        await connect(terminal, server, *romeo)
        terminal.type(f"/join {room} nick Romeo")
        await terminal.sees(r"/room accept")
        terminal.type("/room accept")
        await terminal.sees(r"Room unlocked")
        juliet = await enter(j, room, "Juliet")
        await terminal.sees(r"Participants *\n[^\n]*Juliet")
        terminal.type("Is the day so young? ½ 🎉 <here>")
        assert await juliet.hears() == [("Romeo", "Is the day so young? ½ 🎉 <here>")]
        juliet.says("But new struck nine")
        await terminal.sees(r"Juliet[\s\S]*But new struck nine")
        terminal.type("/subject set Of love")
        assert (await juliet.happens("groupchat_subject"))["subject"] == "Of love"
        await terminal.sees(r"Of love")
        terminal.type("/kick Juliet good night")
        gone = await juliet.sees("Juliet", "unavailable")
        assert KICKED in gone["muc"]["status_codes"]
        assert gone["muc"]["item"]["reason"] == "good night"
        await terminal.sees(r"Juliet has been kicked")
        juliet = await enter(j, room, "Juliet")
        terminal.type("/close")
        await juliet.sees("Romeo", "unavailable")
        juliet.says("said while he was away")
        await juliet.hears()
        terminal.type(f"/join {room} nick Romeo")
        await terminal.sees(r"new struck nine[\s\S]*said while he was away")


async def test_profanity_sends_a_file_and_saves_one(server, terminal, tmp_path):
    if "HTTP upload" in server.lacks:
        pytest.skip(f"{server.name} has no HTTP upload here")
    romeo, juliet = server.new_user("romeo"), server.new_user("juliet")
    sent = tmp_path / "the balcony.png"
    sent.write_bytes(picture())
    async with session(server, *juliet, plugins=PLUGINS) as j:
        await connect(terminal, server, *romeo)
        # It asks by itself when it has signed in, and knows of no service before that is answered.
        terminal.type("/disco items")
        await terminal.sees(rf"upload\.{server.domain}")
        terminal.type(f"/disco info upload.{server.domain}")
        await terminal.sees(r"urn:xmpp:http:upload:0")
        terminal.type(f"/msg {j.boundjid.bare}")
        terminal.type(f'/sendfile "{sent}"')
        [address] = await j.bodies(1)
        got = request(address)
        assert (got.headers["Content-Type"], got.body) == ("image/png", sent.read_bytes())
        await terminal.sees(r"Uploading [\s\S]*100%")
    # And another profanity gets it: the address waited for its user, who saves what is there.
    with contextlib.closing(Terminal(tmp_path / "juliet")) as other:
        await connect(other, server, *juliet)
        other.type(f"/msg {romeo[0]}@{server.domain}")
        saved = tmp_path / "saved.png"
        other.type(f"/url save {address} {saved}")
        await other.sees(r"Saved to|done|saved")
        assert saved.read_bytes() == sent.read_bytes()
