"""Personal eventing, and what lives on it, with slixmpp."""

import hashlib

import pytest
from interop.slix import make_contacts, session
from slixmpp.exceptions import IqError
from slixmpp.plugins.xep_0004.stanza.form import Form
from slixmpp.plugins.xep_0048.stanza import Bookmarks
from slixmpp.plugins.xep_0402.stanza import Conference

PLUGINS = ["xep_0004", "xep_0059", "xep_0060", "xep_0163", "xep_0084", "xep_0107", "xep_0118", "xep_0153",
           "xep_0172", "xep_0222", "xep_0223", "xep_0402"]
PICTURE = b"\x89PNG\r\n\x1a\n" + b"pixels" * 100
ROOMS = "urn:xmpp:bookmarks:1"


@pytest.fixture
def romeo(server):
    return server.new_user("romeo")


@pytest.fixture
def juliet(server):
    return server.new_user("juliet")


def hear(client, event):
    """Put an event that slixmpp maps from a node into the line of its name."""
    client.add_event_handler(event, client.lines[event].put_nowait)


async def listen(client, *interests):
    """Say what the client wants to be told of, as its capabilities."""
    for node in interests:
        client.plugin["xep_0030"].add_feature(f"{node}+notify")
    await client.plugin["xep_0115"].update_caps(broadcast=False)
    client.send_presence()
    await client.settle()
    await client.settle()


def options(**fields):
    form = Form()
    form["type"] = "submit"
    form.add_field(var="FORM_TYPE", ftype="hidden", value="http://jabber.org/protocol/pubsub#publish-options")
    for name, value in fields.items():
        form.add_field(var=f"pubsub#{name}", value=value)
    return form


async def test_an_account_is_a_pubsub_service(server, romeo):
    async with session(server, *romeo, plugins=PLUGINS) as r:
        found = await r.plugin["xep_0030"].get_info(r.boundjid.bare)
        assert ("pubsub", "pep") in {(i[0], i[1]) for i in found["disco_info"]["identities"]}
        assert {
            "http://jabber.org/protocol/pubsub#publish", "http://jabber.org/protocol/pubsub#publish-options",
            "http://jabber.org/protocol/pubsub#persistent-items",
        } <= set(found["disco_info"]["features"])


async def test_a_contact_hears_of_a_mood_and_gets_it_again_when_it_comes_back(server, romeo, juliet):
    mood = "http://jabber.org/protocol/mood"
    async with session(server, *juliet, plugins=PLUGINS) as j:
        async with session(server, *romeo, plugins=PLUGINS) as r:
            await make_contacts(r, j)
            hear(r, "user_mood_publish")
            await listen(r, mood)
            await j.plugin["xep_0107"].publish_mood(value="happy", text="Romeo!")
            event = await r.happens("user_mood_publish")
            assert event["from"] == j.boundjid.bare
            assert event["pubsub_event"]["items"]["item"]["mood"]["value"] == "happy"
        async with session(server, *romeo, plugins=PLUGINS, online=False) as r:
            hear(r, "user_mood_publish")
            await r.come_online()
            await listen(r, mood)
            event = await r.happens("user_mood_publish")
            assert event["pubsub_event"]["items"]["item"]["mood"]["text"] == "Romeo!"


async def test_an_avatar_is_seen_in_the_node_and_in_the_vcard(server, romeo, juliet):
    async with session(server, *juliet, plugins=PLUGINS) as j, session(server, *romeo, plugins=PLUGINS) as r:
        await make_contacts(r, j)
        hear(r, "avatar_metadata_publish")
        await listen(r, "urn:xmpp:avatar:metadata")
        avatars = j.plugin["xep_0084"]
        name = avatars.generate_id(PICTURE)
        await avatars.publish_avatar(PICTURE)
        await avatars.publish_avatar_metadata({"id": name, "type": "image/png", "bytes": len(PICTURE)})
        event = await r.happens("avatar_metadata_publish")
        info = event["pubsub_event"]["items"]["item"]["avatar_metadata"]["items"][0]
        assert info["id"] == name
        found = await r.plugin["xep_0084"].retrieve_avatar(j.boundjid.bare, name)
        assert found["pubsub"]["items"]["item"]["avatar_data"]["value"] == PICTURE
        if "urn:xmpp:pep-vcard-conversion:0" in server.lacks:
            return
        card = await r.plugin["xep_0054"].get_vcard(j.boundjid.bare)
        assert card["vcard_temp"]["PHOTO"]["BINVAL"] == PICTURE


async def test_a_vcard_photo_becomes_an_avatar(server, romeo, juliet):
    if "urn:xmpp:pep-vcard-conversion:0" in server.lacks:
        pytest.skip("it keeps the two apart")
    async with session(server, *juliet, plugins=PLUGINS) as j, session(server, *romeo, plugins=PLUGINS) as r:
        await make_contacts(r, j)
        card = j.plugin["xep_0054"].make_vcard()
        card["PHOTO"]["TYPE"] = "image/png"
        card["PHOTO"]["BINVAL"] = PICTURE
        await j.plugin["xep_0054"].publish_vcard(card)
        name = hashlib.sha1(PICTURE).hexdigest()
        found = await r.plugin["xep_0084"].retrieve_avatar(j.boundjid.bare, name)
        assert found["pubsub"]["items"]["item"]["avatar_data"]["value"] == PICTURE


async def test_bookmarks_are_private_and_the_same_for_old_clients(server, romeo, juliet):
    async with session(server, *romeo, plugins=PLUGINS) as r, session(server, *juliet, plugins=PLUGINS) as j:
        await make_contacts(r, j)
        room = Conference()
        room["name"] = "The Play's the Thing"
        room["autojoin"] = True
        room["nick"] = "JC"
        wanted = options(persist_items="true", max_items="max", send_last_published_item="never",
                         access_model="whitelist")
        for name in ("theplay@conference.shakespeare.lit", "orchard@conference.shakespeare.lit"):
            await r.plugin["xep_0060"].publish(r.boundjid.bare, ROOMS, id=name, payload=room.xml, options=wanted)
        found = await r.plugin["xep_0060"].get_items(r.boundjid.bare, ROOMS)
        items = found["pubsub"]["items"]["substanzas"]
        assert [item["id"] for item in items] == [
            "theplay@conference.shakespeare.lit", "orchard@conference.shakespeare.lit"]
        assert items[0]["conference"]["nick"] == "JC"
        with pytest.raises(IqError) as refused:
            await j.plugin["xep_0060"].get_items(r.boundjid.bare, ROOMS)
        assert refused.value.condition in ("not-allowed", "forbidden", "not-authorized")
        if "urn:xmpp:bookmarks:1#compat" in server.lacks:
            return
        r.plugin["xep_0049"].register(Bookmarks)
        old = await r.plugin["xep_0049"].retrieve("bookmarks")
        rooms = old["private"]["bookmarks"]["conferences"]
        assert {str(room["jid"]) for room in rooms} == {item["id"] for item in items}
        await r.plugin["xep_0060"].retract(r.boundjid.bare, ROOMS, "orchard@conference.shakespeare.lit", notify=True)
        old = await r.plugin["xep_0049"].retrieve("bookmarks")
        assert len(old["private"]["bookmarks"]["conferences"]) == 1


async def test_a_node_is_configured_paged_purged_and_deleted(server, romeo):
    async with session(server, *romeo, plugins=PLUGINS) as r:
        pubsub, me = r.plugin["xep_0060"], r.boundjid.bare
        await pubsub.create_node(me, "princely_musings")
        form = (await pubsub.get_node_config(me, "princely_musings"))["pubsub_owner"]["configure"]["form"]
        assert form.get_values()["pubsub#access_model"] == "presence"
        answer = Form()
        answer["type"] = "submit"
        answer.add_field(var="FORM_TYPE", ftype="hidden", value="http://jabber.org/protocol/pubsub#node_config")
        answer.add_field(var="pubsub#access_model", value="open")
        answer.add_field(var="pubsub#max_items", value="10")
        await pubsub.set_node_config(me, "princely_musings", answer)
        payload = Conference()
        for n in range(12):
            await pubsub.publish(me, "princely_musings", id=str(n), payload=payload.xml)
        found = await pubsub.get_items(me, "princely_musings", max_items=3)
        assert {item["id"] for item in found["pubsub"]["items"]["substanzas"]} == {"9", "10", "11"}
        found = await pubsub.get_items(me, "princely_musings")
        assert len(found["pubsub"]["items"]["substanzas"]) == 10
        with pytest.raises(IqError) as refused:
            await pubsub.publish(me, "princely_musings", payload=payload.xml, options=options(access_model="whitelist"))
        assert refused.value.condition == "conflict"
        await pubsub.purge(me, "princely_musings")
        found = await pubsub.get_items(me, "princely_musings")
        assert not found["pubsub"]["items"]["substanzas"]
        await pubsub.delete_node(me, "princely_musings")
        with pytest.raises(IqError) as refused:
            await pubsub.get_items(me, "princely_musings")
        assert refused.value.condition == "item-not-found"


async def test_keys_for_encryption_are_open_to_strangers(server, romeo, juliet):
    async with session(server, *romeo, plugins=PLUGINS) as r, session(server, *juliet, plugins=PLUGINS) as j:
        for device in ("1", "2"):
            bundle = Conference()
            bundle.namespace = "urn:xmpp:omemo:2"
            await r.plugin["xep_0060"].publish(
                r.boundjid.bare, "urn:xmpp:omemo:2:bundles", id=device, payload=bundle.xml,
                options=options(access_model="open", max_items="max"))
        found = await j.plugin["xep_0060"].get_item(r.boundjid.bare, "urn:xmpp:omemo:2:bundles", "2")
        assert found["pubsub"]["items"]["item"]["id"] == "2"
        found = await j.plugin["xep_0060"].get_items(r.boundjid.bare, "urn:xmpp:omemo:2:bundles")
        assert len(found["pubsub"]["items"]["substanzas"]) == 2


async def test_a_service_has_nodes_of_its_own(server, romeo, juliet):
    if "pubsub service" in server.lacks:
        pytest.skip("it runs without one here")
    async with session(server, *romeo, plugins=PLUGINS) as r, session(server, *juliet, plugins=PLUGINS) as j:
        service, node = f"pubsub.{server.domain}", f"news-{r.boundjid.user}"
        found = await r.plugin["xep_0030"].get_items(server.domain)
        assert service in {str(item[0]) for item in found["disco_items"]["items"]}
        await r.plugin["xep_0060"].create_node(service, node)
        found = await j.plugin["xep_0060"].get_nodes(service)
        assert (service, node) in {(str(item[0]), item[1]) for item in found["disco_items"]["items"]}
        hear(j, "pubsub_publish")
        await j.plugin["xep_0060"].subscribe(service, node)
        await r.plugin["xep_0060"].publish(service, node, id="1", payload=Conference().xml)
        event = await j.happens("pubsub_publish")
        assert event["pubsub_event"]["items"]["item"]["id"] == "1"
        found = await j.plugin["xep_0060"].get_subscriptions(service)
        assert [s["node"] for s in found["pubsub"]["subscriptions"]["substanzas"]] == [node]
        await j.plugin["xep_0060"].unsubscribe(service, node)
        await r.plugin["xep_0060"].delete_node(service, node)
