"""The judge of rooms is judged: each kind of wrong is seen, and nothing else is."""

from types import SimpleNamespace

from crash.roomverdict import RoomVerdict
from crash.rooms import Change, Found, Spoken

ROOM = "coven@conference.localhost"


def said(count, transmissions=1):
    messages = [Spoken("t0", number, ROOM, False) for number in range(count)]
    for message in messages:
        message.acknowledged, message.transmissions = True, transmissions
    return messages


def judge(messages, archive, heard=(), changes=(), name="", affiliations=None, cast_out=(), found_gone=0, last=False):
    talker = SimpleNamespace(
        user="t0", messages=messages, heard=list(heard), cast_out=list(cast_out), found_gone=found_gone
    )
    keeper = SimpleNamespace(changes=list(changes))
    return RoomVerdict([talker], keeper, Found(archive, name, affiliations or {}), last).failures


def change(key, value, outcome):
    made = Change(key, value)
    made.outcome = outcome
    return made


def test_everything_once_and_in_order_is_right():
    archive = [("t0-0", "a"), ("t0-1", "b")]
    assert judge(said(2), archive, heard=archive) == []


def test_a_lost_message_is_seen():
    assert judge(said(2), [("t0-1", "b")]) == ["1 acknowledged and not in the archive: t0-0"]


def test_what_was_not_acknowledged_or_was_refused_may_be_missing():
    messages = said(2)
    messages[0].acknowledged = False
    messages[1].refused = True
    assert judge(messages, []) == []


def test_what_was_heard_and_not_acknowledged_may_be_missing():
    messages = said(1)
    messages[0].acknowledged = False
    assert judge(messages, [], heard=[("t0-0", "a")]) == []


def test_a_message_twice_in_the_archive_is_seen():
    assert len(judge(said(1), [("t0-0", "a"), ("t0-0", "b")])) == 1


def test_a_repeat_that_the_talker_caused_is_no_fault():
    assert judge(said(1, transmissions=2), [("t0-0", "a"), ("t0-0", "b")]) == []


def test_a_number_given_twice_is_seen():
    assert len(judge(said(2), [("t0-0", "a"), ("t0-1", "a")])) == 1


def test_a_number_that_was_another_message_when_it_was_heard_is_seen():
    messages = said(2)
    messages[1].acknowledged = False
    assert len(judge(messages, [("t0-0", "a")], heard=[("t0-1", "a")])) == 1


def test_disorder_is_seen_in_the_archive_and_as_it_was_heard():
    wrong, right = [("t0-1", "b"), ("t0-0", "a")], [("t0-0", "a"), ("t0-1", "b")]
    assert len(judge(said(2), wrong)) == 1
    assert len(judge(said(2), right, heard=wrong)) == 1


def test_what_was_heard_without_a_number_is_seen():
    assert len(judge(said(1), [("t0-0", "a")], heard=[("t0-0", None)])) == 1


def test_a_stranger_is_seen():
    assert len(judge(said(1), [("t0-0", "a"), ("t9-0", "b")])) == 1


def test_who_was_cast_out_and_a_room_that_was_gone_are_seen():
    assert len(judge(said(0), [], cast_out=["t0-7"])) == 1
    assert len(judge(said(0), [], found_gone=1)) == 1


def test_a_confirmed_change_that_is_not_made_is_seen():
    made = [change("guest@elsewhere.example", "member", "confirmed"), change("name", "Cave", "confirmed")]
    assert judge([], [], changes=made, name="Cave", affiliations={"guest@elsewhere.example": "member"}) == []
    assert len(judge([], [], changes=made, name="Heath", affiliations={"guest@elsewhere.example": "member"})) == 1
    assert len(judge([], [], changes=made, name="Cave")) == 1


def test_a_change_without_an_answer_may_be_made_or_not():
    made = [change("guest@elsewhere.example", "member", "confirmed"), change("guest@elsewhere.example", "none", "unknown")]
    assert judge([], [], changes=made) == []
    assert judge([], [], changes=made, affiliations={"guest@elsewhere.example": "member"}) == []
    assert len(judge([], [], changes=made, affiliations={"guest@elsewhere.example": "outcast"})) == 1


def test_where_sessions_last_nobody_misses_anything_or_hears_it_twice():
    archive = [("t0-0", "a"), ("t0-1", "b"), ("t0-2", "c")]
    assert judge(said(3), archive, heard=archive, last=True) == []
    assert judge(said(3), archive, heard=archive[1:], last=True) == [], "it came later"
    assert len(judge(said(3), archive, heard=[archive[0], archive[2]], last=True)) == 1
    assert len(judge(said(3), archive, heard=[*archive, archive[2]], last=True)) == 1
    assert judge(said(3), archive, heard=[archive[0], archive[2]]) == [], "the connection may have been lost"
