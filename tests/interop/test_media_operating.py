"""What whoever runs the server sees and does about uploaded files: `posthaste media`, and the metrics."""

import asyncio
import json
import subprocess
import urllib.request

import pytest
from interop import media
from interop.servers import chosen
from interop.slix import session


@pytest.fixture(autouse=True)
def only_ours(server):
    if server.name != "posthaste":
        pytest.skip("the command line is ours")


@pytest.fixture
def romeo(server):
    return server.new_user("romeo")


def ran(server, *arguments, typed=""):
    """The command, carried out: exit code, what it said, what it complained of."""
    command = [str(server.binary), "--config", str(server.config), "media", *arguments]
    done = subprocess.run(command, input=typed, text=True, capture_output=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def done(server, *arguments):
    code, said, complaint = ran(server, *arguments)
    assert code == 0, complaint
    return said


def used(server, address):
    return json.loads(done(server, "usage", address, "--json"))


def metrics(server):
    """Every metric by its name and labels."""
    with urllib.request.urlopen(f"http://{server.host}:{server.extra_port}/metrics", timeout=30) as page:
        lines = page.read().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


async def uploaded(client, name, content, content_type="image/png"):
    """The address of a file that is there."""
    slot = await media.slot(client, name, len(content), content_type)
    answer = await asyncio.to_thread(media.put, slot, content, content_type)
    assert answer.status == 201, answer.body
    return slot.get


async def gone(address):
    return (await asyncio.to_thread(media.request, address)).status == 404


async def test_an_operator_sees_what_was_uploaded_and_removes_it(server, romeo):
    address = f"{romeo[0]}@{server.domain}"
    content = media.recognisable(100_000)
    async with session(server, *romeo, plugins=media.PLUGINS) as r:
        first = await uploaded(r, "first.png", content)
        again = await uploaded(r, "again.png", content)
        other = await uploaded(r, "other.png", media.recognisable(2_000))
        assert used(server, address) == {
            "account": address, "files": 3, "uploading": 0, "bytes": 102_000, "today_bytes": 202_000,
        }
        shown = done(server, "usage", address)
        assert "3 of 100000" in shown and "99.6 KiB of 10.0 GiB" in shown
        everybody = json.loads(done(server, "usage", "--all", "--json"))
        assert address in [each["account"] for each in everybody["accounts"]]
        assert everybody["total"]["files"] >= 3
        table = done(server, "usage", "--all").splitlines()
        assert table[0].split() == ["account", "files", "stored", "today"]
        assert [line.split()[1:] for line in table if line.startswith(address)] == [["3", "99.6", "KiB", "197.2", "KiB"]]

        # One of them, by its address: what it is, is said before.
        counted = done(server, "purge", "--file", other, "--dry-run")
        assert counted.startswith(f"1 file (1.9 KiB, image/png) that {address} uploaded at ")
        assert not await gone(other)
        code, _, complaint = ran(server, "purge", "--file", other)
        assert code == 1 and "--yes" in complaint
        assert not await gone(other)
        assert done(server, "purge", "--file", other, "--yes").startswith("removed: 1 file (1.9 KiB")
        assert await gone(other) and not await gone(first)

        # All that are old enough: none yet.
        assert done(server, "purge", address, "--older-than", "1d", "--yes") == "there is nothing to remove\n"
        assert done(server, "purge", address, "--dry-run") == "2 files (195.3 KiB) would be removed\n"
        assert done(server, "purge", address, "--yes").startswith("removed: 2 files (195.3 KiB). ")
        assert await gone(first) and await gone(again)
        assert used(server, address)["files"] == used(server, address)["bytes"] == 0
        # There is room again.
        await uploaded(r, "new.png", content)
    # The bytes of what was removed go with the next round.
    assert len(media.on_disk(server, content)) in (1, 2)


async def test_what_a_host_has_left_that_is_served_no_more_is_removed():
    class WithoutAdministrators(chosen()):
        administrators = []

    server = WithoutAdministrators()
    try:
        server.start()
        romeo = server.new_user("romeo")
        address = f"{romeo[0]}@{server.domain}"
        async with session(server, *romeo, plugins=media.PLUGINS) as r:
            await uploaded(r, "first.png", media.recognisable(100_000))
        server.stop()
        served = server.config.read_text()
        server.config.write_text(served.replace(f'[host."{server.domain}"]', '[host."elsewhere.localhost"]'))
        server.start()
        assert used(server, address)["files"] == 1
        assert done(server, "purge", address, "--yes").startswith("removed: 1 file (97.6 KiB). ")
        code, _, complaint = ran(server, "purge", address, "--yes")
        assert code == 1 and f"{server.domain} is not a host of this server" in complaint
    finally:
        server.close()


async def test_metrics_move_with_what_is_done(server, romeo):
    before = metrics(server)
    content = media.recognisable(50_000)

    def moved(name):
        return metrics(server)[name] - before.get(name, 0)

    async with session(server, *romeo, plugins=media.PLUGINS) as r:
        address = await uploaded(r, "a.png", content)
        assert moved("posthaste_media_slots_total") == 1
        assert moved("posthaste_media_uploads_begun_total") == 1
        assert moved('posthaste_media_uploads_finished_total{bytes="new"}') == 1
        assert moved('posthaste_media_transferred_bytes_total{direction="in"}') == 50_000
        await uploaded(r, "b.png", content)
        assert moved('posthaste_media_uploads_finished_total{bytes="known"}') == 1
        assert moved('posthaste_media_objects_total{deed="kept"}') == 1
        assert (await asyncio.to_thread(media.request, address)).body == content
        assert moved('posthaste_media_transferred_bytes_total{direction="out"}') == 50_000
        assert moved('posthaste_media_requests_total{status="201"}') == 2
        assert moved('posthaste_media_requests_total{status="200"}') == 1
        shown = await uploaded(r, "shown.png", media.picture())
        for _ in range(2):
            preview = f"{shown.rsplit('/', 1)[0]}/preview"
            assert (await asyncio.to_thread(media.request, preview)).status == 200
        assert moved('posthaste_media_previews_total{outcome="made"}') == 1
        assert moved("posthaste_media_preview_seconds_total") > 0
        nothing = f"{address.rsplit('/', 1)[0]}/preview"
        assert (await asyncio.to_thread(media.request, nothing)).status == 404
        assert moved('posthaste_media_previews_total{outcome="nothing"}') == 1
        used_up = await media.slot(r, "c.png", 3)
        for status in (201, 409):
            answer = await asyncio.to_thread(media.put, used_up, b"one")
            assert answer.status == status
        assert moved('posthaste_media_requests_total{status="409"}') == 1
        with pytest.raises(Exception, match="file-too-large|not-acceptable"):
            await media.slot(r, "huge.png", 1 << 40)
        assert moved('posthaste_media_uploads_refused_total{reason="size"}') == 1
        done(server, "purge", f"{romeo[0]}@{server.domain}", "--yes")
        assert moved("posthaste_media_files_removed_total") == 4
    assert {'posthaste_media_transfers{direction="in"}', 'posthaste_media_transfers{direction="out"}'} <= set(before)
    assert before["posthaste_media_sweeps_total"] >= 0
