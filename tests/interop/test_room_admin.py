"""Who rules a chat room, with slixmpp: kicks, bans, voice, settings, invitations, the end of a room (XEP-0045)."""

import pytest
from interop.rooms import (
    BANNED, CONFIG_CHANGED, KICKED, NO_LONGER_MEMBER, NON_ANONYMOUS, NOW_NON_ANONYMOUS, ONLY_FOR_MEMBERS_NOW, SELF, enter,
    found, new_room, people, refused,
)
from interop.slix import TIMEOUT
from slixmpp.exceptions import IqError
from slixmpp.xmlstream.handler import Waiter
from slixmpp.xmlstream.matcher import StanzaPath


async def test_who_is_kicked_goes_and_may_come_back(server):
    async with people(server, "romeo", "juliet", "nurse") as (r, j, n):
        room = new_room(server)
        romeo = await found(r, room, "Romeo")
        juliet, nurse = await enter(j, room, "Juliet"), await enter(n, room, "Nurse")
        with pytest.raises(IqError) as forbidden:
            await juliet.muc.set_role(room, "Nurse", "none", timeout=TIMEOUT)
        assert forbidden.value.condition in ("forbidden", "not-allowed")
        await romeo.muc.set_role(room, "Juliet", "none", reason="Go to bed!", timeout=TIMEOUT)
        own, others = await juliet.sees("Juliet", "unavailable"), await nurse.sees("Juliet", "unavailable")
        assert {KICKED, SELF} <= own["muc"]["status_codes"]
        assert KICKED in others["muc"]["status_codes"] and SELF not in others["muc"]["status_codes"]
        for told in (own, others):
            assert (told["muc"]["role"], told["muc"]["item"]["reason"]) == ("none", "Go to bed!")
            assert told["muc"]["item"]["actor"]["nick"] == "Romeo"
        await enter(j, room, "Juliet")


async def test_who_is_banned_stays_away_until_forgiven(server):
    async with people(server, "romeo", "tybalt") as (r, t):
        room, villain = new_room(server), t.boundjid.bare
        romeo = await found(r, room, "Romeo")
        tybalt = await enter(t, room, "Tybalt")
        await romeo.muc.set_affiliation(room, "outcast", jid=villain, reason="You killed Mercutio", timeout=TIMEOUT)
        for each in (tybalt, romeo):
            told = await each.sees("Tybalt", "unavailable")
            assert BANNED in told["muc"]["status_codes"]
            assert (told["muc"]["affiliation"], told["muc"]["item"]["reason"]) == ("outcast", "You killed Mercutio")
        assert await refused(t, room, "Tybalt") == "forbidden"
        assert await romeo.muc.get_affiliation_list(room, "outcast", timeout=TIMEOUT) == [villain]
        await romeo.muc.set_affiliation(room, "none", jid=villain, timeout=TIMEOUT)
        assert await romeo.muc.get_affiliation_list(room, "outcast", timeout=TIMEOUT) == []
        await enter(t, room, "Tybalt")


async def test_voice_is_taken_and_given(server):
    async with people(server, "romeo", "juliet") as (r, j):
        room = new_room(server)
        romeo = await found(r, room, "Romeo", moderatedroom=True)
        juliet = await enter(j, room, "Juliet")
        if juliet.own["muc"]["role"] == "participant":
            await romeo.muc.set_role(room, "Juliet", "visitor", timeout=TIMEOUT)
            await juliet.sees("Juliet", role="visitor")
        juliet.says("hear me")
        assert (await juliet.happens("message_error"))["error"]["condition"] == "forbidden"
        juliet.muc.request_voice(room, "participant")
        request = await r.happens("message_xform")
        form = request["form"]
        assert form.get_fields()["muc#roomnick"]["value"] == "Juliet"
        form.get_fields()["muc#request_allow"]["value"] = True
        form["type"] = "submit"
        answer = r.make_message(request["from"])
        answer.append(form)
        answer.send()
        await juliet.sees("Juliet", role="participant")
        juliet.says("hear me now")
        assert await romeo.hears() == [("Juliet", "hear me now")]


async def test_affiliations_are_given_listed_and_seen(server):
    async with people(server, "romeo", "juliet", "nurse") as (r, j, n):
        room = new_room(server)
        romeo = await found(r, room, "Romeo")
        juliet = await enter(j, room, "Juliet")
        wanted = [(j.boundjid.bare, "admin"), (n.boundjid.bare, "member")]
        if "affiliations by the dozen" in server.lacks:
            for jid, affiliation in wanted:
                await romeo.muc.set_affiliation(room, affiliation, jid=jid, timeout=TIMEOUT)
        else:
            await romeo.muc.send_affiliation_list(room, wanted, timeout=TIMEOUT)
        risen = await juliet.sees("Juliet")
        assert (risen["muc"]["affiliation"], risen["muc"]["role"]) == ("admin", "moderator")
        assert (await juliet.muc.get_affiliation_list(room, "member", timeout=TIMEOUT)) == [n.boundjid.bare]
        assert (await romeo.muc.get_affiliation_list(room, "admin", timeout=TIMEOUT)) == [j.boundjid.bare]
        with pytest.raises(IqError) as forbidden:
            await juliet.muc.set_affiliation(room, "owner", jid=n.boundjid.bare, timeout=TIMEOUT)
        assert forbidden.value.condition in ("forbidden", "not-allowed")
        assert await romeo.muc.get_roles_list(room, "moderator", timeout=TIMEOUT) in (
            ["Romeo", "Juliet"], ["Juliet", "Romeo"],
        )


async def test_settings_change_who_may_enter(server):
    async with people(server, "romeo", "juliet", "nurse") as (r, j, n):
        room = new_room(server)
        romeo = await found(r, room, "Romeo", persistentroom=True)
        juliet = await enter(j, room, "Juliet")
        await romeo.muc.set_affiliation(room, "member", jid=n.boundjid.bare, timeout=TIMEOUT)
        await romeo.configure(membersonly=True)
        # Who is no member has to go.
        assert ONLY_FOR_MEMBERS_NOW in (await juliet.sees("Juliet", "unavailable"))["muc"]["status_codes"]
        assert await refused(j, room, "Juliet") == "registration-required"
        nurse = await enter(n, room, "Nurse")
        await romeo.muc.set_affiliation(room, "none", jid=n.boundjid.bare, timeout=TIMEOUT)
        assert NO_LONGER_MEMBER in (await nurse.sees("Nurse", "unavailable"))["muc"]["status_codes"]
        await romeo.configure(membersonly=False, passwordprotectedroom=True, roomsecret="cauldronburn")
        assert await refused(j, room, "Juliet") == "not-authorized"
        assert await refused(j, room, "Juliet", password="wrong") == "not-authorized"
        juliet = await enter(j, room, "Juliet", password="cauldronburn")
        features = (await j.plugin["xep_0030"].get_info(room, timeout=TIMEOUT))["disco_info"]["features"]
        assert {"muc_passwordprotected", "muc_open", "muc_persistent"} <= set(features)
        await romeo.configure(roomname="Another name")
        assert CONFIG_CHANGED in (await juliet.happens("config_status"))["muc"]["status_codes"]
        with pytest.raises(IqError) as forbidden:
            await juliet.muc.get_room_config(room, timeout=TIMEOUT)
        assert forbidden.value.condition == "forbidden"


async def test_settings_change_who_is_seen(server):
    async with people(server, "romeo", "juliet", "nurse") as (r, j, n):
        room = new_room(server)
        romeo = await found(r, room, "Romeo", whois="moderators")
        juliet = await enter(j, room, "Juliet")
        seen = await romeo.sees("Juliet")
        assert seen["muc"]["jid"] == j.boundjid
        nurse = await enter(n, room, "Nurse")
        seen = await juliet.sees("Nurse")
        assert not seen["muc"]["jid"].full
        await romeo.configure(whois="anyone")
        assert NOW_NON_ANONYMOUS in (await juliet.happens("config_status"))["muc"]["status_codes"]
        await nurse.leave()
        again = await enter(n, room, "Nurse")
        assert NON_ANONYMOUS in again.status
        assert again.muc.get_jid_property(room, "Juliet", "jid") == j.boundjid


async def test_an_invitation_through_the_room_lets_one_in(server):
    async with people(server, "romeo", "juliet", "nurse") as (r, j, n):
        room = new_room(server)
        romeo = await found(r, room, "Romeo", membersonly=True)
        assert await refused(j, room, "Juliet") == "registration-required"
        for guest in (j, n):
            romeo.muc.invite(room, guest.boundjid.bare, reason="Come & see")
        invitation = await j.happens("groupchat_invite")
        assert invitation["from"] == room
        assert invitation["muc"]["invite"]["from"].bare in (r.boundjid.bare, room)
        assert invitation["muc"]["invite"]["reason"] == "Come & see"
        juliet = await enter(j, room, "Juliet")
        assert juliet.own["muc"]["affiliation"] == "member"
        await n.happens("groupchat_invite")
        no = Waiter("declined", StanzaPath("message/muc/decline"))
        r.register_handler(no)
        n.plugin["xep_0045"].decline(room, r.boundjid.bare, reason="I am tired")
        declined = await no.wait(TIMEOUT)
        assert declined, "no word of the refusal"
        assert declined["muc"]["decline"]["from"].bare == n.boundjid.bare
        assert declined["muc"]["decline"]["reason"] == "I am tired"


async def test_an_invitation_from_hand_to_hand_has_the_password(server):
    async with people(server, "romeo", "juliet") as (r, j):
        room = new_room(server)
        await found(r, room, "Romeo", passwordprotectedroom=True, roomsecret="cauldronburn")
        r.plugin["xep_0249"].send_invitation(j.boundjid.bare, room, password="cauldronburn", reason="Come")
        message = await j.happens("groupchat_direct_invite")
        invitation = message["groupchat_invite"]
        assert (invitation["jid"], invitation["reason"]) == (room, "Come")
        await enter(j, invitation["jid"], "Juliet", password=invitation["password"])


async def test_a_room_that_ends_says_where_to_go(server):
    async with people(server, "romeo", "juliet") as (r, j):
        room, other = new_room(server), new_room(server)
        romeo = await found(r, room, "Romeo", persistentroom=True)
        juliet = await enter(j, room, "Juliet")
        with pytest.raises(IqError) as forbidden:
            await juliet.muc.destroy(room, timeout=TIMEOUT)
        assert forbidden.value.condition == "forbidden"
        await romeo.muc.destroy(room, reason="Too small", altroom=other, timeout=TIMEOUT)
        end = await juliet.sees("Juliet", "unavailable")
        assert (end["muc"]["destroy"]["jid"], end["muc"]["destroy"]["reason"]) == (other, "Too small")
        with pytest.raises(IqError) as gone:
            await r.plugin["xep_0030"].get_info(room, timeout=TIMEOUT)
        assert gone.value.condition in ("item-not-found", "gone")
