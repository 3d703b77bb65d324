"""Discovery and the small services with slixmpp."""

import asyncio
import re

import pytest
from interop.slix import Client, make_contacts, session
from slixmpp.exceptions import IqError, XMPPError
from slixmpp.plugins.xep_0048.stanza import Bookmarks


@pytest.fixture
def romeo(server):
    return server.new_user("romeo")


@pytest.fixture
def juliet(server):
    return server.new_user("juliet")


async def test_the_server_tells_what_it_can(server, romeo):
    async with session(server, *romeo) as r:
        found = await r.plugin["xep_0030"].get_info(server.domain)
        features = set(found["disco_info"]["features"])
        identities = {(i[0], i[1]) for i in found["disco_info"]["identities"]}
        assert ("server", "im") in identities
        assert {
            "http://jabber.org/protocol/disco#info", "http://jabber.org/protocol/disco#items",
            "urn:xmpp:ping", "jabber:iq:version", "urn:xmpp:time", "jabber:iq:last",
            "urn:xmpp:carbons:2", "urn:xmpp:blocking", "msgoffline",
        } - server.lacks <= features
        await r.plugin["xep_0030"].get_items(server.domain)


async def test_an_account_tells_that_it_is_one(server, romeo):
    async with session(server, *romeo) as r:
        found = await r.plugin["xep_0030"].get_info(r.boundjid.bare)
        assert ("account", "registered") in {(i[0], i[1]) for i in found["disco_info"]["identities"]}


async def test_the_server_tells_whom_to_write_to(server, romeo):
    async with session(server, *romeo) as r:
        found = await r.plugin["xep_0030"].get_info(server.domain)
        form = next(f for f in found["disco_info"].xml.iter("{jabber:x:data}x"))
        text = " ".join(v.text or "" for v in form.iter("{jabber:x:data}value"))
        assert "http://jabber.org/network/serverinfo" in text
        assert "mailto:admin@localhost" in text


async def test_capabilities_of_a_contact_are_known(server, romeo, juliet):
    async with session(server, *romeo) as r, session(server, *juliet) as j:
        await make_contacts(r, j)
        await j.plugin["xep_0115"].update_caps()
        async with asyncio.timeout(15):
            # Each turn is a round trip; the presence and the question that follows it take a few.
            while not await r.plugin["xep_0115"].get_caps(j.boundjid):
                await r.settle()
        caps = await r.plugin["xep_0115"].get_caps(j.boundjid)
        assert "urn:xmpp:ping" in caps["features"]


async def test_version_ping_time_and_uptime(server, romeo):
    async with session(server, *romeo) as r:
        version = await r.plugin["xep_0092"].get_version(server.domain)
        assert version["software_version"]["name"] == server.version_name
        await r.plugin["xep_0199"].ping(server.domain)
        time = await r.plugin["xep_0202"].get_entity_time(server.domain)
        utc = time.xml.findtext(".//{urn:xmpp:time}utc")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", utc)
        if "jabber:iq:last" not in server.lacks:
            uptime = await r.plugin["xep_0012"].get_last_activity(server.domain)
            assert uptime["last_activity"]["seconds"] >= 0


async def test_a_contact_sees_when_somebody_was_last_here(server, romeo, juliet):
    async with session(server, *romeo) as r:
        async with session(server, *juliet) as j:
            await make_contacts(r, j)
        while (await r.happens("presence_unavailable"))["from"].bare != j.boundjid.bare:
            pass
        last = await r.plugin["xep_0012"].get_last_activity(j.boundjid.bare)
        assert 0 <= last["last_activity"]["seconds"] < 60


async def test_a_stranger_does_not_see_when_somebody_was_last_here(server, romeo, juliet):
    async with session(server, *romeo) as r:
        with pytest.raises(XMPPError):
            await r.plugin["xep_0012"].get_last_activity(f"{juliet[0]}@{server.domain}")


async def test_a_vcard_is_kept_and_shown_to_contacts(server, romeo, juliet):
    async with session(server, *romeo) as r, session(server, *juliet) as j:
        await make_contacts(r, j)
        card = j.plugin["xep_0054"].make_vcard()
        card["FN"] = "Juliet Capulet"
        card["NICKNAME"] = "Jule"
        await j.plugin["xep_0054"].publish_vcard(card)
        seen = await r.plugin["xep_0054"].get_vcard(j.boundjid.bare)
        assert seen["vcard_temp"]["FN"] == "Juliet Capulet"
        own = await j.plugin["xep_0054"].get_vcard()
        assert own["vcard_temp"]["FN"] == "Juliet Capulet"


async def test_private_xml_is_kept(server, romeo):
    async with session(server, *romeo, plugins=["xep_0048"]) as r:
        marks = Bookmarks()
        marks.add_conference(f"garden@rooms.{server.domain}", "romeo")
        r.plugin["xep_0049"].register(Bookmarks)
        await r.plugin["xep_0049"].store(marks)
    async with session(server, *romeo, plugins=["xep_0048"]) as r:
        r.plugin["xep_0049"].register(Bookmarks)
        answer = await r.plugin["xep_0049"].retrieve("bookmarks")
        conference = answer.xml.find(".//{storage:bookmarks}conference")
        assert conference.get("jid") == f"garden@rooms.{server.domain}"


class Newcomer(Client):
    """Registers its account in the stream before it logs in (XEP-0077)."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.plugin["xep_0077"].force_registration = False
        self.add_event_handler("register", self.sign_up)

    async def sign_up(self, form):
        request = self.Iq()
        request["type"] = "set"
        request["register"]["username"] = self.boundjid.user
        request["register"]["password"] = self.password
        self.outcome = asyncio.get_running_loop().create_future()
        try:
            self.outcome.set_result(await request.send())
        except IqError as error:
            self.outcome.set_result(error.iq)
            self.disconnect()


async def test_a_newcomer_registers_and_changes_the_password(server):
    user = server.new_name()
    newcomer = Newcomer(server, user, "first password")
    await newcomer.log_in()
    assert newcomer.outcome.result()["type"] == "result"
    await newcomer.plugin["xep_0077"].change_password("second password", jid=server.domain)
    await newcomer.leave()
    async with session(server, user, "second password") as again:
        assert again.boundjid.user == user
    stale = Client(server, user, "first password")
    with pytest.raises(PermissionError):
        await stale.log_in()
    await stale.leave()


async def test_a_taken_name_is_not_given_twice(server, romeo):
    thief = Newcomer(server, romeo[0], "mine now")
    thief.connect(server.host, server.port)
    await thief.happens("disconnected")
    assert thief.outcome.result()["error"]["condition"] == "conflict"


async def test_an_account_is_removed_by_its_owner(server):
    user, password = server.new_user()
    leaver = Client(server, user, password)
    await leaver.log_in()
    request = leaver.make_iq_set()
    request["register"]["remove"] = True
    request.send(callback=lambda answer: None)
    await leaver.happens("disconnected")
    again = Client(server, user, password)
    with pytest.raises(PermissionError):
        await again.log_in()
    await again.leave()
