from connector.control.answer import Answer
from connector.control.reply import Refusal
from connector.kite.feed.events import ConnectionEvent, EventType


def test_a_failed_answer_is_an_error_or_nothing_but_refusals():
    refused = (Refusal("NSE:X", "why"),)
    event = ConnectionEvent(EventType.INSTRUMENT_EXPIRED, 0, 1)
    assert Answer(errors=("why",), accepted=3).failed
    assert Answer(refused=refused).failed
    assert not Answer(1, refused).failed
    assert not Answer(refused=refused, events=(event,)).failed
    assert not Answer().failed
