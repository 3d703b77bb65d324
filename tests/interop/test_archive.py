"""The archive with slixmpp: pages both ways, catching up without doubles, preferences and metadata."""

import asyncio

import pytest
from interop.slix import session
from slixmpp.exceptions import IqError

PLUGINS = ["xep_0059", "xep_0313", "xep_0441"]


@pytest.fixture
def romeo(server):
    return server.new_user("romeo")


@pytest.fixture
def juliet(server):
    return server.new_user("juliet")


def text(result):
    return result["mam_result"]["forwarded"]["stanza"]["body"]


def archive_id(result):
    return result["mam_result"]["id"]


async def say(client, to, count, prefix="m"):
    for number in range(count):
        client.send_message(mto=to, mbody=f"{prefix}{number}", mtype="chat")
    await client.settle()


async def page(client, **kwargs):
    """One page: the texts, and the end of the answer."""
    answer = await client.plugin["xep_0313"].retrieve(**kwargs)
    return list(answer["mam"]["results"]), answer["mam_fin"]


async def test_120_messages_are_paged_from_either_end(server, romeo, juliet):
    async with session(server, *romeo) as r, session(server, *juliet, plugins=PLUGINS) as j:
        await say(r, j.boundjid.bare, 120)
        await j.bodies(120)
        wanted = [f"m{n}" for n in range(120)]
        archive = j.plugin["xep_0313"]
        forwards = [text(m) async for m in archive.iterate(rsm={"max": 50})]
        assert forwards == wanted
        backwards = [text(m) async for m in archive.iterate(rsm={"max": 50}, reverse=True)]
        assert backwards == wanted[::-1]
        with_romeo = [text(m) async for m in archive.iterate(with_jid=r.boundjid.bare, rsm={"max": 25})]
        assert with_romeo == wanted
        nobody = [m async for m in archive.iterate(with_jid=f"nobody@{server.domain}", rsm={"max": 25})]
        assert nobody == []


async def test_both_sides_have_the_conversation_and_live_ids_are_those_of_the_archive(server, romeo, juliet):
    async with session(server, *romeo, plugins=PLUGINS) as r, session(server, *juliet, plugins=PLUGINS) as j:
        r.send_message(mto=j.boundjid.bare, mbody="But soft!", mtype="chat")
        live = await j.happens("message")
        j.send_message(mto=r.boundjid.bare, mbody="Ay me!", mtype="chat")
        await r.happens("message")
        for client in (r, j):
            results, _ = await page(client)
            assert [text(result) for result in results] == ["But soft!", "Ay me!"]
        results, _ = await page(j)
        assert archive_id(results[0]) == live["stanza_id"]["id"]


async def test_catching_up_before_presence_leaves_no_doubles(server, romeo, juliet):
    async with session(server, *romeo) as r:
        async with session(server, *juliet, plugins=PLUGINS) as j:
            await say(r, j.boundjid.bare, 3, "seen")
            last = [await j.happens("message") for _ in range(3)][-1]["stanza_id"]["id"]
        await say(r, j.boundjid.bare, 30, "missed")
        async with session(server, *juliet, plugins=PLUGINS, online=False) as j:
            missed = []
            while True:
                results, fin = await page(j, rsm={"max": 20, "after": last})
                missed += [text(result) for result in results]
                if fin["complete"]:
                    break
                last = fin["rsm"]["last"]
            assert missed == [f"missed{n}" for n in range(30)]
            await j.come_online()
            await say(r, j.boundjid.bare, 1, "live")
            assert (await j.happens("message"))["body"] == "live0"
            assert j.happened("message") == 0


async def test_offline_messages_first_and_the_archive_after_show_the_same_ids(server, romeo, juliet):
    async with session(server, *romeo) as r:
        await say(r, f"{juliet[0]}@{server.domain}", 10)
        async with session(server, *juliet, plugins=PLUGINS) as j:
            offline = [await j.happens("message") for _ in range(10)]
            results, _ = await page(j)
            assert [archive_id(m) for m in results] == [m["stanza_id"]["id"] for m in offline]


async def test_an_id_that_is_not_there_is_told(server, juliet):
    async with session(server, *juliet, plugins=PLUGINS) as j:
        with pytest.raises(IqError) as error:
            await j.plugin["xep_0313"].retrieve(rsm={"after": "nothing-of-this-archive"})
        assert error.value.condition == "item-not-found"


async def test_fields_metadata_and_preferences(server, romeo, juliet):
    async with session(server, *romeo) as r, session(server, *juliet, plugins=PLUGINS) as j:
        form = await j.plugin["xep_0313"].get_fields()
        assert {"with", "start", "end", "before-id", "after-id", "ids"} <= set(form.get_fields())
        await say(r, j.boundjid.bare, 2)
        results, _ = await page(j)
        metadata = (await j.plugin["xep_0313"].get_archive_metadata())["mam_metadata"]
        assert metadata["start"]["id"] == archive_id(results[0])
        assert metadata["end"]["id"] == archive_id(results[-1])
        prefs = j.plugin["xep_0441"]
        assert await prefs.get_preferences() == ("always", set(), set())
        await prefs.set_preferences(default="always", never=[r.boundjid.bare])
        assert await prefs.get_preferences() == ("always", set(), {r.boundjid.bare})
        await say(r, j.boundjid.bare, 2, "private")
        results, _ = await page(j)
        assert [text(m) for m in results] == ["m0", "m1"]


async def test_a_page_of_long_messages_comes_whole(server, romeo, juliet):
    async with session(server, *romeo) as r, session(server, *juliet, plugins=PLUGINS) as j:
        for number in range(20):
            r.send_message(mto=j.boundjid.bare, mbody=str(number) * 30_000, mtype="chat")
        async with asyncio.timeout(60):
            await j.bodies(20)
            results, fin = await page(j, rsm={"max": 100})
        assert [len(text(m)) for m in results] == [len(str(n)) * 30_000 for n in range(20)]
        assert fin["complete"]
