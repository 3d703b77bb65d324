"""nbxmpp, the library of Gajim, sends a file as Gajim does; slixmpp gets it."""

import asyncio
import json
from pathlib import Path

import pytest
from interop.media import PLUGINS, picture, request
from interop.slix import session

DEVICE = Path(__file__).parent / "nbxmpp_device.py"
# Debian's package is for this Python, not for that of the tests.
PYTHON = "/usr/bin/python3"


async def told(**what):
    process = await asyncio.create_subprocess_exec(
        PYTHON, str(DEVICE), json.dumps(what),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode == 0 and output, errors.decode()[-2000:]
    return json.loads(output)


async def test_gajims_library_sends_a_file_and_gets_it_back(server, tmp_path):
    if "HTTP upload" in server.lacks:
        pytest.skip(f"{server.name} has no HTTP upload here")
    user, password = server.new_user("romeo")
    photo, saved = tmp_path / "photo of me.png", tmp_path / "saved.png"
    photo.write_bytes(picture())
    async with session(server, *server.new_user("juliet"), plugins=PLUGINS) as juliet:
        done = await told(
            domain=server.domain, host=f"{server.host}:{server.port}", user=user, password=password,
            file=str(photo), type="image/png", to=juliet.boundjid.bare, save=str(saved),
        )
        assert "error" not in done, done
        assert done["service"] == f"upload.{server.domain}"
        assert done["max_file_size"] >= 100 << 20
        assert (done["kind"], done["length"], done["is_complete"]) == ("image/png", photo.stat().st_size, True)
        assert saved.read_bytes() == photo.read_bytes()
        while not (message := await juliet.happens("message"))["oob"]["url"]:
            pass
        assert request(message["oob"]["url"]).body == photo.read_bytes()
