"""go-sendxmpp, a client for scripts: one call sends one file, as a monitoring job does."""

import asyncio
import shutil

import pytest
from interop.media import PLUGINS, picture, request
from interop.slix import TIMEOUT, session


async def run(server, user, password, *words, text=b""):
    process = await asyncio.create_subprocess_exec(
        "go-sendxmpp", "--username", f"{user}@{server.domain}", "--jserver", f"{server.host}:{server.port}",
        "--password", password, "--no-tls-verify", *words,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(text), TIMEOUT)
    except asyncio.TimeoutError:
        process.kill()
        raise
    assert process.returncode == 0, output.decode()


async def test_a_script_sends_a_message_and_a_file(server, tmp_path):
    if "HTTP upload" in server.lacks:
        pytest.skip(f"{server.name} has no HTTP upload here")
    assert shutil.which("go-sendxmpp"), "go-sendxmpp is missing: scripts/setup.sh test installs it"
    script = server.new_user("script")
    chart = tmp_path / "load of today.png"
    chart.write_bytes(picture())
    async with session(server, *server.new_user("juliet"), plugins=PLUGINS) as juliet:
        await run(server, *script, juliet.boundjid.bare, text=b"disk full")
        assert await juliet.bodies(1) == ["disk full"]
        await run(server, *script, "--http-upload", str(chart), juliet.boundjid.bare)
        while not (message := await juliet.happens("message"))["oob"]["url"]:
            pass
        got = request(message["oob"]["url"])
        assert (got.status, got.headers["Content-Type"], got.body) == (200, "image/png", chart.read_bytes())
