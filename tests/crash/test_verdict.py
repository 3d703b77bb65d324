"""The judge is judged: each kind of wrong is seen, and nothing else is."""

from types import SimpleNamespace

from crash.devices import Message
from crash.verdict import Verdict

ROMEO = "romeo@localhost"


def messages(count, transmissions=1):
    sent = [Message("s0", number, ROMEO, False) for number in range(count)]
    for message in sent:
        message.acknowledged, message.transmissions = True, transmissions
    return sent


def judge(sent, received):
    sender = SimpleNamespace(messages=sent)
    return Verdict([sender], [SimpleNamespace(bare_jid=ROMEO, received=received)]).failures


def test_everything_once_and_in_order_is_right():
    assert judge(messages(2), [("s0-0", "a"), ("s0-1", "b")]) == []


def test_a_lost_message_is_seen():
    assert judge(messages(2), [("s0-1", "b")]) == ["1 acknowledged and lost: s0-0"]


def test_what_was_not_acknowledged_or_was_refused_may_be_missing():
    sent = messages(2)
    sent[0].acknowledged = False
    sent[1].refused = True
    assert judge(sent, []) == []


def test_the_same_delivery_again_can_be_told():
    assert judge(messages(2), [("s0-0", "a"), ("s0-1", "b"), ("s0-0", "a")]) == []


def test_a_repeat_under_a_new_id_is_seen():
    assert len(judge(messages(1), [("s0-0", "a"), ("s0-0", "b")])) == 1


def test_a_repeat_that_the_sender_caused_is_no_fault():
    assert judge(messages(1, transmissions=2), [("s0-0", "a"), ("s0-0", "b")]) == []


def test_a_delivery_without_an_id_is_seen():
    assert len(judge(messages(1), [("s0-0", None)])) == 1


def test_disorder_is_seen():
    assert len(judge(messages(2), [("s0-1", "b"), ("s0-0", "a")])) == 1


def test_a_stranger_is_seen():
    assert len(judge(messages(1), [("s0-0", "a"), ("s9-0", "b")])) == 1
