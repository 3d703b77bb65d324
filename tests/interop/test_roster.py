"""The roster and subscriptions with slixmpp (RFC 6121 §2 to §4)."""

import pytest
from interop.slix import make_contacts, session


@pytest.fixture
def romeo(server):
    return server.new_user("romeo")


@pytest.fixture
def juliet(server):
    return server.new_user("juliet")


async def fetch_roster(client):
    """The whole roster, whatever version of it slixmpp holds."""
    query = client.make_iq_get()
    query.enable("roster")
    return (await query.send())["roster"]["items"]


async def test_a_contact_is_added_changed_and_removed_on_every_device(server, romeo):
    contact = f"friar@{server.domain}"
    async with session(server, *romeo, resource="a") as a, session(server, *romeo, resource="b") as b:
        while b.happened("roster_update"):
            await b.happens("roster_update")
        await a.update_roster(contact, name="Friar", groups=["Verona"])
        push = await b.happens("roster_update")
        item = push["roster"]["items"][contact]
        assert (push["type"], item["name"], item["groups"]) == ("set", "Friar", ["Verona"])
        assert item["subscription"] == "none"
        await a.update_roster(contact, name="Laurence", groups=[])
        push = await b.happens("roster_update")
        assert push["roster"]["items"][contact]["name"] == "Laurence"
        await a.del_roster_item(contact)
        push = await b.happens("roster_update")
        assert push["roster"]["items"][contact]["subscription"] == "remove"
        assert not await fetch_roster(b)


async def test_a_subscription_is_asked_for_and_granted_both_ways(server, romeo, juliet):
    async with session(server, *romeo) as r, session(server, *juliet) as j:
        await make_contacts(r, j)
        assert (await r.happens("presence_available"))["from"].bare == r.boundjid.bare
        assert (await r.happens("presence_available"))["from"] == j.boundjid
        assert (await fetch_roster(r))[j.boundjid.bare]["subscription"] == "both"
        assert (await fetch_roster(j))[r.boundjid.bare]["subscription"] == "both"


async def test_a_request_waits_for_whoever_is_offline(server, romeo, juliet):
    async with session(server, *romeo) as r:
        r.send_presence_subscription(pto=f"{juliet[0]}@{server.domain}", ptype="subscribe")
        await r.settle()
        assert (await fetch_roster(r))[f"{juliet[0]}@{server.domain}"]["ask"] == "subscribe"
    async with session(server, *juliet) as j:
        request = await j.happens("presence_subscribe")
        assert request["from"].bare == f"{romeo[0]}@{server.domain}"


async def test_contacts_see_each_other_come_change_and_go(server, romeo, juliet):
    async with session(server, *romeo) as r:
        async with session(server, *juliet) as j:
            await make_contacts(r, j)
        while (await r.happens("presence_unavailable"))["from"].bare != j.boundjid.bare:
            pass
        while r.happened("presence_available"):
            await r.happens("presence_available")
        async with session(server, *juliet) as j:
            assert (await r.happens("presence_available"))["from"] == j.boundjid
            while (await j.happens("presence_available"))["from"] != r.boundjid:
                pass
            j.send_presence(pshow="away", pstatus="On the balcony", ppriority=5)
            change = await r.happens("presence_away")
            assert (change["show"], change["status"], change["priority"]) == ("away", "On the balcony", 5)
            juliets = j.boundjid
            await j.lose_connection()
            while (await r.happens("presence_unavailable"))["from"] != juliets:
                pass


async def test_a_subscription_is_cancelled_and_left(server, romeo, juliet):
    async with session(server, *romeo) as r, session(server, *juliet) as j:
        await make_contacts(r, j)
        j.send_presence_subscription(pto=r.boundjid.bare, ptype="unsubscribed")
        await r.happens("presence_unsubscribed")
        assert (await r.happens("presence_unavailable"))["from"].bare == j.boundjid.bare
        assert (await fetch_roster(r))[j.boundjid.bare]["subscription"] == "from"
        j.send_presence_subscription(pto=r.boundjid.bare, ptype="unsubscribe")
        await r.happens("presence_unsubscribe")
        assert (await fetch_roster(r))[j.boundjid.bare]["subscription"] == "none"


async def test_an_unchanged_roster_is_not_sent_again(server, romeo):
    contact = f"nurse@{server.domain}"
    async with session(server, *romeo) as r:
        await r.update_roster(contact, name="Nurse")
        await fetch_roster(r)
        version = r.client_roster.version
        assert version, "the server versions the roster"
        query = r.make_iq_get()
        query.enable("roster")
        query["roster"]["ver"] = version
        answer = await query.send()
        assert answer.xml.find("{jabber:iq:roster}query") is None
        await r.update_roster(contact, name="Angelica")
        query = r.make_iq_get()
        query.enable("roster")
        query["roster"]["ver"] = version
        answer = await query.send()
        assert answer["type"] == "result"
        names = {item["name"] for item in r.client_roster._jids.values()}
        assert "Angelica" in names
