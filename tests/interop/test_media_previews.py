"""Pictures before they are fetched, as slixmpp understands them: XEP-0446, XEP-0264, XEP-0231; and avatars on the web."""

import base64
import hashlib
from xml.etree import ElementTree as ET

import pytest
from interop.media import picture, put, recognisable, request, service, slot
from interop.media import PLUGINS as MEDIA_PLUGINS
from interop.slix import TIMEOUT, session
from slixmpp.exceptions import IqError
from slixmpp.plugins.xep_0231.stanza import BitsOfBinary
from slixmpp.plugins.xep_0264.stanza import Thumbnail
from slixmpp.plugins.xep_0446.stanza import File

PLUGINS = [*MEDIA_PLUGINS, "xep_0054", "xep_0231", "xep_0264", "xep_0300", "xep_0446", "xep_0447"]
MEDIA = "urn:posthaste:media:0"
THUMBS = "{urn:xmpp:thumbs:1}thumbnail"


@pytest.fixture(autouse=True)
def only_ours(server):
    if server.name != "posthaste":
        pytest.skip("another server makes no previews")


async def uploads(client, name, content, content_type):
    """Where the file is."""
    place = await slot(client, name, len(content), content_type)
    assert put(place, content, content_type).status == 201
    return place.get


async def preview(client, address):
    """The answer to the question how a file looks."""
    iq = client.make_iq_get(ito=await service(client))
    iq.append(ET.Element(f"{{{MEDIA}}}preview", {"url": address}))
    answer = await iq.send(timeout=TIMEOUT)
    return answer.xml.find(f"{{{MEDIA}}}preview")


def inside(found):
    """What slixmpp reads: the file, its thumbnails by the scheme of their addresses, and the data beside it."""
    file = File(xml=found.find("{urn:xmpp:file:metadata:0}file"))
    thumbnails = {each.get("uri").split(":")[0]: Thumbnail(xml=each) for each in file.xml.iter(THUMBS)}
    data = found.find("{urn:xmpp:bob}data")
    return file, thumbnails, None if data is None else BitsOfBinary(xml=data)


async def test_the_service_says_that_it_looks_at_pictures(server):
    async with session(server, *server.new_user("romeo"), plugins=PLUGINS) as romeo:
        info = await romeo.plugin["xep_0030"].get_info(await service(romeo), timeout=TIMEOUT)
        assert f"{MEDIA}#preview" in info["disco_info"]["features"]


async def test_a_picture_is_sent_with_how_it_looks(server):
    content = picture(width=1200, height=800, marker=b"taken at Kronborg")
    async with (
        session(server, *server.new_user("romeo"), plugins=PLUGINS) as romeo,
        session(server, *server.new_user("juliet"), plugins=PLUGINS) as juliet,
    ):
        address = await uploads(romeo, "balcony.png", content, "image/png")
        found = await preview(romeo, address)
        assert found.get("url") == address
        file, thumbnails, data = inside(found)
        assert (file["media-type"], file["name"], file["size"]) == ("image/png", "balcony.png", len(content))
        assert (file["width"], file["height"]) == (1200, 800)
        assert file["hash"]["algo"] == "sha-256"
        assert file["hash"]["value"] == base64.b64encode(hashlib.sha256(content).digest()).decode()
        # Romeo puts it into his message as it is.
        message = romeo.make_message(mto=juliet.boundjid.bare, mbody=address, mtype="chat")
        sharing = ET.SubElement(message.xml, "{urn:xmpp:sfs:0}file-sharing", {"disposition": "inline"})
        sharing.append(file.xml)
        message.append(data.xml)
        message.send()
        got = await juliet.happens("message")
        shared = File(xml=got.xml.find(".//{urn:xmpp:file:metadata:0}file"))
        assert shared["width"] == 1200
        # Juliet sees it at once: slixmpp has kept the data under the name that the thumbnail has.
        await juliet.settle()
        tiny = thumbnails["cid"]
        name = tiny["uri"].removeprefix("cid:")
        kept = (await juliet.plugin["xep_0231"].get_bob(cid=name))["bob"]
        assert kept["type"] == tiny["media-type"] == "image/jpeg"
        assert kept["data"].startswith(b"\xff\xd8\xff") and len(kept["data"]) <= 1536
        assert name == f"sha1+{hashlib.sha1(kept['data']).hexdigest()}@bob.xmpp.org"
        # And better, when she has the time.
        small = request(thumbnails["http"]["uri"])
        assert small.status == 200 and small.headers["Content-Type"] == thumbnails["http"]["media-type"]
        assert (thumbnails["http"]["width"], thumbnails["http"]["height"]) == (320, 213)
        assert b"Kronborg" not in small.body + kept["data"]
        assert request(address).body == content
        assert thumbnails["data"]["media-type"] == "image/thumbhash"
        hash_of_it = thumbnails["data"]["uri"].removeprefix("data:image/thumbhash;base64,")
        assert 5 <= len(base64.b64decode(hash_of_it)) <= 25


async def test_what_nobody_can_see_is_not_looked_at(server):
    secret = recognisable(20_000)
    async with session(server, *server.new_user("romeo"), plugins=PLUGINS) as romeo:
        address = await uploads(romeo, "secret.jpg", secret, "application/octet-stream")
        file, thumbnails, data = inside(await preview(romeo, address))
        assert (file["size"], thumbnails, data) == (len(secret), {}, None)
        assert request(address.rsplit("/", 1)[0] + "/preview").status == 404
        assert request(address).body == secret
        for nowhere in [address.replace("http", "aesgcm", 1) + "#00", address.replace("/media/", "/media/aaaa"), ""]:
            with pytest.raises(IqError) as refused:
                await preview(romeo, nowhere)
            assert refused.value.condition == "item-not-found"


async def test_an_avatar_is_on_the_web(server):
    face = picture(width=64, height=64)
    async with session(server, *server.new_user("romeo"), plugins=PLUGINS) as romeo:
        anywhere = await uploads(romeo, "x", b"x", "text/plain")
        base = anywhere[: anywhere.index("/media/")]
        card = romeo.plugin["xep_0054"].make_vcard()
        card["PHOTO"]["TYPE"], card["PHOTO"]["BINVAL"] = "image/png", face
        await romeo.plugin["xep_0054"].publish_vcard(card, timeout=TIMEOUT)
        here = f"{base}/media/avatar/{romeo.boundjid.bare}"
        shown = request(here)
        assert (shown.status, shown.body, shown.headers["Content-Type"]) == (200, face, "image/png")
        by_hash = f"{here}/{hashlib.sha1(face).hexdigest()}"
        assert request(by_hash, headers={"If-None-Match": shown.headers["ETag"]}).status == 304
        assert request(f"{base}/media/avatar/nobody@{server.domain}").status == 404
