"""People on other servers: messages, presence and questions across, by certificate and by dialback.

Against Prosody and ejabberd as Debian packages them, on loopback, with a name server of our own.
"""

import asyncio
import contextlib

import pytest

from .federated import Ejabberd, FederatedProsody, Network
from .rooms import KICKED, PLUGINS, enter, found, new_room, refused
from .slix import TIMEOUT, make_contacts, session

PEERS = {"prosody": FederatedProsody, "ejabberd": Ejabberd}


def _network(name, trusted):
    network = Network(PEERS[name], trusted)
    try:
        yield network.start()
    finally:
        network.close()


@pytest.fixture(scope="module", params=PEERS)
def network(request):
    """Both servers have certificates that the other trusts; dialback is off at ours."""
    yield from _network(request.param, trusted=True)


@pytest.fixture(scope="module", params=PEERS)
def untrusted(request):
    """Both servers have certificates that nobody knows, so that dialback has to do."""
    yield from _network(request.param, trusted=False)


@contextlib.asynccontextmanager
async def romeo_and_juliet(network, plugins=()):
    """Romeo is at home with us, Juliet with them."""
    romeo, juliet = network.ours.new_user("romeo"), network.theirs.new_user("juliet")
    async with (
        session(network.ours, *romeo, plugins=plugins) as romeo,
        session(network.theirs, *juliet, plugins=plugins) as juliet,
    ):
        yield romeo, juliet


@contextlib.asynccontextmanager
async def after_sending(server, count):
    """What is done within makes `server` send so many stanzas to others; waits until those have them.

    ejabberd bounces a message that comes while its recipient logs in, so that the recipient waits for this.
    """
    before = server.metric("posthaste_s2s_stanzas_out_total")
    yield
    async with asyncio.timeout(TIMEOUT):
        while server.metric("posthaste_s2s_stanzas_out_total") < before + count:
            await asyncio.sleep(0.1)


def say(sender, recipient, text):
    sender.send_message(mto=recipient.boundjid.bare, mbody=text, mtype="chat")


async def converse(network):
    async with romeo_and_juliet(network) as (romeo, juliet):
        say(romeo, juliet, "But soft")
        assert await juliet.bodies(1) == ["But soft"]
        for number in range(20):
            say(juliet, romeo, f"{number}")
        assert await romeo.bodies(20) == [f"{number}" for number in range(20)]


async def test_messages_go_both_ways_and_keep_their_order(network):
    await converse(network)


async def test_dialback_does_where_certificates_do_not(untrusted):
    await converse(untrusted)


async def test_friends_on_two_servers_see_each_other_come_and_go(network):
    async with romeo_and_juliet(network) as (romeo, juliet):
        await make_contacts(romeo, juliet)
        romeo.send_presence(pshow="away", pstatus="in Mantua")
        shown = await juliet.happens("presence_away")
        assert (shown["from"], shown["status"]) == (romeo.boundjid, "in Mantua")
        # Whoever comes back asks who is there.
        juliet.send_presence(ptype="unavailable")
        # An answer to a probe from before they were friends may come first, from the bare address.
        while (await romeo.happens("presence_unavailable"))["from"] != juliet.boundjid:
            pass
        juliet.send_presence()
        assert (await juliet.happens("presence_away"))["status"] == "in Mantua"


async def test_moods_are_heard_across(network):
    mood, plugins = "http://jabber.org/protocol/mood", ["xep_0060", "xep_0163", "xep_0107"]
    async with romeo_and_juliet(network, plugins) as (romeo, juliet):
        await make_contacts(romeo, juliet)
        for listener, other, feeling in ((juliet, romeo, "happy"), (romeo, juliet, "sad")):
            line = listener.lines["user_mood_publish"]
            listener.add_event_handler("user_mood_publish", line.put_nowait)
            listener.plugin["xep_0030"].add_feature(f"{mood}+notify")
            await listener.plugin["xep_0115"].update_caps(broadcast=False)
            listener.send_presence()
            await other.happens("presence_available")
            await other.plugin["xep_0107"].publish_mood(value=feeling)
            event = await listener.happens("user_mood_publish")
            assert event["from"].bare == other.boundjid.bare
            assert event["pubsub_event"]["items"]["item"]["mood"]["value"] == feeling


async def test_what_was_said_across_is_in_both_archives(network):
    async with romeo_and_juliet(network, ["xep_0059", "xep_0313"]) as (romeo, juliet):
        say(romeo, juliet, "But soft")
        assert await juliet.bodies(1) == ["But soft"]
        say(juliet, romeo, "Ay me")
        assert await romeo.bodies(1) == ["Ay me"]
        for reader, other in ((romeo, juliet), (juliet, romeo)):
            archive = reader.plugin["xep_0313"].iterate(with_jid=other.boundjid.bare, rsm={"max": 10})
            found = [message["mam_result"]["forwarded"]["stanza"]["body"] async for message in archive]
            assert found == ["But soft", "Ay me"]


async def test_questions_are_answered_across(network):
    async with romeo_and_juliet(network) as (romeo, juliet):
        # Only friends see one's card.
        await make_contacts(romeo, juliet)
        for asker, other in ((romeo, juliet), (juliet, romeo)):
            domain = other.boundjid.domain
            info = await asker.plugin["xep_0030"].get_info(domain, timeout=TIMEOUT)
            assert "http://jabber.org/protocol/disco#info" in info["disco_info"]["features"]
            await asker.plugin["xep_0199"].send_ping(other.boundjid.full, timeout=TIMEOUT)
            card = other.plugin["xep_0054"].make_vcard()
            card["NICKNAME"] = "the other one"
            await other.plugin["xep_0054"].publish_vcard(card, timeout=TIMEOUT)
            shown = await asker.plugin["xep_0054"].get_vcard(other.boundjid.bare, timeout=TIMEOUT)
            assert "the other one" in str(shown["vcard_temp"])


async def test_a_message_waits_for_whoever_is_not_there(network):
    romeo, juliet = network.ours.new_user("romeo"), network.theirs.new_user("juliet")
    async with session(network.theirs, *juliet) as sender:
        sender.send_message(mto=f"{romeo[0]}@{network.ours.domain}", mbody="to our offline store", mtype="chat")
        await sender.settle()
        async with session(network.ours, *romeo) as receiver:
            assert await receiver.bodies(1) == ["to our offline store"]
    async with session(network.ours, *romeo) as sender:
        async with after_sending(network.ours, 1):
            sender.send_message(mto=f"{juliet[0]}@{network.theirs.domain}", mbody="to their offline store", mtype="chat")
        # The answer shows that what came before it is stored: ejabberd loses what arrives while its recipient logs in.
        await sender.plugin["xep_0030"].get_info(network.theirs.domain, timeout=TIMEOUT)
        async with session(network.theirs, *juliet) as receiver:
            assert await receiver.bodies(1) == ["to their offline store"]


async def test_a_domain_that_does_not_exist_is_an_error_to_the_sender(network):
    async with session(network.ours, *network.ours.new_user()) as romeo:
        romeo.send_message(mto="nobody@nowhere.example", mbody="hello?", mtype="chat")
        error = await romeo.happens("message_error")
        assert error["error"]["condition"] == "remote-server-not-found"


async def test_messages_wait_while_the_other_server_is_down(network):
    async with romeo_and_juliet(network) as (romeo, juliet):
        name, password = juliet.boundjid.user, juliet.password
        say(romeo, juliet, "before")
        assert await juliet.bodies(1) == ["before"]
        await juliet.leave()
        network.theirs.stop()
        async with after_sending(network.ours, 10):
            for number in range(10):
                say(romeo, juliet, f"{number}")
            await romeo.settle()
            network.theirs.start()
        async with session(network.theirs, name, password) as juliet:
            assert await juliet.bodies(10) == [f"{number}" for number in range(10)]
            await asyncio.sleep(2)
            assert juliet.happened("message") == 0


async def test_what_we_acknowledged_is_delivered_although_we_are_killed(network):
    romeo, juliet = network.ours.new_user("romeo"), network.theirs.new_user("juliet")
    name, password = juliet
    network.theirs.stop()
    async with session(network.ours, *romeo, plugins=["xep_0198"]) as romeo:
        await romeo.happens("sm_enabled")
        for number in range(10):
            romeo.send_message(mto=f"{name}@{network.theirs.domain}", mbody=f"{number}", mtype="chat")
        await romeo.settle()
        romeo.plugin["xep_0198"].request_ack()
        while "<body>9</body>" not in str(await romeo.happens("stanza_acked")):
            pass
        network.ours.kill()
        network.ours.start()
        async with after_sending(network.ours, 10):
            network.theirs.start()
        async with session(network.theirs, name, password) as juliet:
            assert await juliet.bodies(10) == [f"{number}" for number in range(10)]


async def test_we_are_reached_again_after_a_restart(network):
    async with romeo_and_juliet(network) as (romeo, juliet):
        name, password = romeo.boundjid.user, romeo.password
        say(juliet, romeo, "before")
        assert await romeo.bodies(1) == ["before"]
        await romeo.leave()
        network.ours.stop()
        network.ours.start()
        async with session(network.ours, name, password) as romeo:
            # Another server may need a moment to see that its old stream is gone.
            for attempt in range(10):
                say(juliet, romeo, f"after {attempt}")
                with contextlib.suppress(TimeoutError):
                    message = await romeo.happens("message", timeout=3)
                    assert message["body"].startswith("after")
                    break
            else:
                pytest.fail("nothing comes through after the restart")


@pytest.mark.parametrize("host", ["ours", "theirs"])
async def test_a_room_is_entered_from_the_other_server(network, host):
    async with romeo_and_juliet(network, PLUGINS) as (romeo, juliet):
        owner, guest = (romeo, juliet) if host == "ours" else (juliet, romeo)
        room = new_room(getattr(network, host))
        inside = await found(owner, room, "Owner")
        outside = await enter(guest, room, "Guest")
        assert (await inside.sees("Guest"))["type"] == "available"
        for number in range(10):
            outside.says(f"{number}")
        assert await inside.hears(10) == [("Guest", f"{number}") for number in range(10)]
        await outside.hears(10)
        inside.says("I hear you")
        assert await outside.hears() == [("Owner", "I hear you")]
        guest.send_presence(pto=f"{room}/Guest", pshow="away", pstatus="fetching a ladder")
        assert (await inside.sees("Guest", "away"))["status"] == "fetching a ladder"
        await inside.muc.set_role(room, "Guest", "none", reason="good night", timeout=TIMEOUT)
        assert KICKED in (await outside.sees("Guest", "unavailable"))["muc"]["status_codes"]
        again = await enter(guest, room, "Guest")
        assert again.history == [f"{number}" for number in range(10)] + ["I hear you"]
        await inside.muc.set_affiliation(room, "outcast", jid=guest.boundjid.bare, timeout=TIMEOUT)
        await again.sees("Guest", "unavailable")
        assert await refused(guest, room, "Guest", says_muc=host == "ours") == "forbidden"


async def test_whoever_cannot_be_reached_any_more_is_in_no_room(network):
    async with romeo_and_juliet(network, PLUGINS) as (romeo, juliet):
        room = new_room(network.ours)
        inside = await found(romeo, room, "Romeo")
        await enter(juliet, room, "Juliet")
        await inside.sees("Juliet")
        # Their server ends without a word and its name is gone, so that nothing waits for it.
        with network.names.without(network.theirs.domain):
            network.theirs.kill()
            inside.says("Where be these enemies?")
            assert (await inside.sees("Juliet", "unavailable"))["muc"]["role"] == "none"
            assert inside.who() == ["Romeo"]
        network.theirs.start()
