"""tus-js-client (npm) goes on with uploads that broke off; the server may have been restarted meanwhile."""

import asyncio
import json
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from interop.media import PLUGINS, on_disk, put, recognisable, request, slot
from interop.slix import TIMEOUT, session

CLIENT = Path(__file__).parent / "tus" / "upload.mjs"
MIB = 1 << 20


@pytest.fixture(autouse=True)
def only_ours(server):
    if server.name != "posthaste":
        pytest.skip("another server's uploads are not resumed by tus")


async def tus(address, file, piece=MIB, stop=None):
    """What tus-js-client tells of its upload."""
    options = {"url": address, "file": str(file), "piece": piece, "stop": stop}
    process = await asyncio.create_subprocess_exec(
        "node", str(CLIENT), json.dumps(options), stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(TIMEOUT):
        told, _ = await process.communicate()
    return json.loads(told)


async def a_slot(server, size):
    async with session(server, *server.new_user("romeo"), plugins=PLUGINS) as romeo:
        return await slot(romeo, "balcony.mp4", size, "video/mp4")


@pytest.fixture
def film(tmp_path):
    file = tmp_path / "film"
    file.write_bytes(recognisable(5 * MIB))
    return file


async def restart(server):
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(server.start)


async def test_an_upload_in_pieces_goes_on_after_a_restart(server, film):
    given = await a_slot(server, film.stat().st_size)
    assert await tus(given.put, film, stop=2 * MIB) == {"stopped": 2 * MIB, "first": 0}
    assert request(given.get).status == 404
    await restart(server)
    assert await tus(given.put, film) == {"done": True, "first": 2 * MIB}
    assert request(given.get).body == film.read_bytes()
    assert len(on_disk(server, film.read_bytes())) == 1


async def test_a_put_that_broke_off_goes_on(server, film):
    content = film.read_bytes()
    given = await a_slot(server, len(content))
    where = urlsplit(given.put)
    head = f"PUT {where.path}?{where.query} HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Length: {len(content)}\r\n\r\n"
    with socket.create_connection((where.hostname, where.port)) as connection:
        connection.sendall(head.encode() + content[: 3 * MIB])
    told = await tus(given.put, film)
    assert told["done"]
    # All that the server had taken of it when the connection broke.
    assert 0 < told["first"] <= 3 * MIB
    assert request(given.get).body == content


async def test_what_is_whole_is_not_sent_again(server, film):
    given = await a_slot(server, film.stat().st_size)
    assert put(given, film.read_bytes(), "video/mp4").status == 201
    assert await tus(given.put, film) == {"done": True, "first": film.stat().st_size}
