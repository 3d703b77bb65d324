"""A crowded room with slixmpp: beyond `rooms.shown` whoever enters sees everybody, is heard, and is not shown."""

import pytest
from interop.rooms import enter, found, new_room, people
from interop.servers import Posthaste, chosen


@pytest.fixture
def crowded():
    """A server whose rooms show two people."""
    if chosen() is not Posthaste:
        pytest.skip("the bound is ours")
    server = Posthaste()
    server.config.write_text(server.config.read_text() + "\n[rooms]\nshown = 2\n")
    try:
        yield server.start()
    finally:
        server.close()


async def test_whoever_enters_a_crowd_sees_it_and_is_heard_and_not_shown(crowded):
    async with people(crowded, "romeo", "juliet", "nurse", "tybalt") as (r, j, n, t):
        room = new_room(crowded)
        romeo = await found(r, room, "Romeo", publicroom=True)
        juliet = await enter(j, room, "Juliet")
        await romeo.sees("Juliet")
        nurse = await enter(n, room, "Nurse")
        assert nurse.who() == ["Juliet", "Nurse", "Romeo"]
        nurse.says("Anon!")
        for occupant in (romeo, juliet, nurse):
            assert await occupant.hears() == [("Nurse", "Anon!")]
        # The others know nothing of her but what she says, and can answer her alone.
        assert romeo.who() == juliet.who() == ["Juliet", "Romeo"]
        j.send_message(mto=f"{room}/Nurse", mbody="Anon, good nurse", mtype="chat")
        while (whispered := await n.happens("message"))["type"] != "chat":
            pass
        assert (whispered["from"], whispered["body"]) == (f"{room}/Juliet", "Anon, good nurse")
        # Whoever comes next does not see her either, and she is counted.
        tybalt = await enter(t, room, "Tybalt")
        assert tybalt.who() == ["Juliet", "Romeo", "Tybalt"]
        info = await j.plugin["xep_0030"].get_info(room)
        form = info["disco_info"].xml.find("{jabber:x:data}x")
        fields = {field.get("var"): field.findtext("{jabber:x:data}value") for field in form}
        assert fields["muc#roominfo_occupants"] == "4"
        # Who may do something to others is to be seen by them.
        await romeo.muc.set_role(room, "Nurse", "moderator")
        assert (await juliet.sees("Nurse", role="moderator"))["type"] == "available"
        await nurse.leave()
        await juliet.sees("Nurse", "unavailable")
        assert juliet.who() == ["Juliet", "Romeo"]
