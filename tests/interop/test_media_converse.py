"""Pictures, voice and video between two browsers with Converse.js: what one drops into a chat, the other one shows."""

import base64
import shutil

import pytest
from interop.browser import CONVERSE, SEEN_WITHIN_MILLIS, converse
from interop.media import PLUGINS, picture, put, request, slot
from interop.slix import make_contacts, session

# A second of video, or of sound, as a browser records it; its bytes in base64.
RECORD_VIDEO = """async () => {
    const canvas = Object.assign(document.createElement("canvas"), { width: 160, height: 120 });
    const brush = canvas.getContext("2d");
    const draw = async () => {
        for (let step = 0; step < 25; step++) {
            brush.fillStyle = `hsl(${step * 14} 80% 50%)`;
            brush.fillRect(0, 0, 160, 120);
            await new Promise((done) => setTimeout(done, 40));
        }
    };
    return await record(canvas.captureStream(25), "video/webm", draw);
}"""
RECORD_VOICE = """async () => {
    const context = new AudioContext();
    const tone = context.createOscillator();
    const out = context.createMediaStreamDestination();
    tone.connect(out);
    tone.start();
    return await record(out.stream, "audio/mp4", () => new Promise((done) => setTimeout(done, 1000)));
}"""
RECORD = """() => { window.record = async (stream, mimeType, perform) => {
    const recorder = new MediaRecorder(stream, { mimeType });
    const parts = [];
    recorder.ondataavailable = (event) => parts.push(event.data);
    const stopped = new Promise((done) => { recorder.onstop = done; });
    recorder.start();
    await perform();
    recorder.stop();
    await stopped;
    const reader = new FileReader();
    await new Promise((done) => { reader.onload = done; reader.readAsDataURL(new Blob(parts)); });
    return reader.result.split(",")[1];
}; }"""
DROPPED = """([name, type, content]) => {
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], name, { type }));
    return transfer;
}"""


@pytest.fixture(autouse=True)
def browser(server):
    assert CONVERSE.is_dir(), "Converse.js is missing: scripts/setup.sh test installs it"
    if not shutil.which("chromium"):
        pytest.skip("there is no Chromium here; scripts/setup.sh test installs it where Debian's package is to be had")
    if "HTTP upload" in server.lacks:
        pytest.skip(f"{server.name} has no HTTP upload here")


async def drops(c, name, kind, content):
    """A file is dragged from the desktop into the box in which one writes."""
    files = await c.page.evaluate_handle(DROPPED, [name, kind, base64.b64encode(content).decode()])
    box = await c.sees("converse-chat textarea.chat-textarea")
    await box.dispatch_event("drop", {"dataTransfer": files})


async def shows_picture(c, width):
    """Waits until the picture is on the page and its bytes have become an image of this width."""
    await c.sees("converse-chat .chat-msg img.chat-image")
    await c.page.wait_for_function(
        "width => [...document.querySelectorAll('converse-chat .chat-msg img.chat-image')]"
        ".some(image => image.complete && image.naturalWidth === width)",
        arg=width, timeout=SEEN_WITHIN_MILLIS,
    )


async def plays_video(c):
    """Waits until the browser has read what is to be shown, and its first picture has a size."""
    await c.sees("converse-chat .chat-msg video")
    await c.page.wait_for_function(
        "() => [...document.querySelectorAll('video')].some(video => video.readyState >= 1 && video.videoWidth === 160)",
        timeout=SEEN_WITHIN_MILLIS,
    )


async def plays_voice(c):
    """Presses the button, and waits until time passes."""
    player = await c.sees("converse-chat .chat-msg converse-audio-player")
    await player.locator("button").first.click()
    await c.page.wait_for_function(
        "() => document.querySelector('converse-audio-player').audio.currentTime > 0.2", timeout=SEEN_WITHIN_MILLIS,
    )


async def acquainted(server):
    """Romeo and Juliet, who see each other; (Romeo's, Juliet's) log-ins."""
    romeo, juliet = server.new_user("romeo"), server.new_user("juliet")
    async with session(server, *romeo) as r, session(server, *juliet) as j:
        await make_contacts(r, j)
    return romeo, juliet


async def test_a_picture_dropped_into_a_chat_is_seen_by_the_other_side(server, tmp_path):
    romeo, juliet = await acquainted(server)
    async with (
        converse(server, *juliet, screenshot=tmp_path / "juliet.png") as j,
        converse(server, *romeo, screenshot=tmp_path / "romeo.png") as r,
    ):
        await j.opens_chat_with(romeo[0])
        await r.opens_chat_with(juliet[0])
        await drops(r, "très cool & <new>.png", "image/png", picture(321, 200))
        await shows_picture(r, 321)
        await shows_picture(j, 321)
        # By the button with the paper clip, and the other way.
        await j.page.set_input_files(
            "converse-chat input.fileupload",
            {"name": "back.png", "mimeType": "image/png", "buffer": picture(123, 100)},
        )
        await shows_picture(r, 123)
        # Later, in a browser that knows nothing: from the archive.
        async with converse(server, *juliet, screenshot=tmp_path / "again.png") as again:
            await again.opens_chat_with(romeo[0])
            await shows_picture(again, 321)
            await shows_picture(again, 123)
    assert (tmp_path / "juliet.png").stat().st_size > 10_000


async def test_voice_and_video_play_at_the_other_side(server, tmp_path):
    romeo, juliet = await acquainted(server)
    async with (
        converse(server, *juliet, screenshot=tmp_path / "juliet.png") as j,
        converse(server, *romeo) as r,
    ):
        await j.opens_chat_with(romeo[0])
        await r.opens_chat_with(juliet[0])
        await r.page.evaluate(RECORD)
        video = base64.b64decode(await r.page.evaluate(RECORD_VIDEO))
        await drops(r, "film.webm", "video/webm", video)
        await plays_video(j)
        voice = base64.b64decode(await r.page.evaluate(RECORD_VOICE))
        await drops(r, "voice.m4a", "audio/mp4", voice)
        await plays_voice(j)


async def test_a_browser_runs_nothing_of_what_was_uploaded(server):
    script = b"<html><head><title>harmless</title></head><body><script>document.title = 'evil'</script></body></html>"
    drawing = b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'><script>document.title = 'evil'</script></svg>"
    user = server.new_user("romeo")
    async with session(server, *user, plugins=PLUGINS) as romeo, converse(server, *user) as c:
        for name, kind, content in (
            ("page.html", "text/html", script),
            ("page.png", "image/png", script),
            ("page", "application/octet-stream", script),
            ("page.xhtml", "application/xhtml+xml", script.replace(b"<html>", b"<html xmlns='http://www.w3.org/1999/xhtml'>")),
            ("drawing.svg", "image/svg+xml", drawing),
        ):
            given = await slot(romeo, name, len(content), kind)
            assert put(given, content, kind).status == 201
            assert request(given.get).body == content
            page = await c.page.context.browser.new_page()
            try:
                await page.goto(given.get)
            except Exception as refused:
                # Saved, not shown.
                assert "Download is starting" in str(refused) or "ERR_ABORTED" in str(refused), refused
            assert await page.title() != "evil", name
            # In a frame of somebody's page it is not shown at all.
            await page.close()
