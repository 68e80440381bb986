import pytest

from connector.cli.verify import as_document, lines
from connector.kafka.completeness import Missing, SessionReport, SessionVerdict
from connector.kafka.verify import Verification

SESSION = 1_767_585_600_000  # 09:30 in India
PLACE = ("kite.ticks.nse", 3)


def session(verdict=SessionVerdict.COMPLETE, **more):
    given = {
        "slot": 1, "session_id": SESSION, "verdict": verdict, "ended": True, "ticks": 1200,
        "repeats": 2, "counted_to": 1200, "partitions": {PLACE: 1202}, "missing": [],
        "explained_by": [],
    }  # fmt: skip
    return SessionReport(**{**given, **more})


def missing(**more):
    given = {
        "topic": PLACE[0], "partition": PLACE[1], "ticks": 3, "expected": 900, "first_sequence": 1,
        "last_sequence": 1203, "from_ms": SESSION, "to_ms": SESSION + 60_000, "explained_by": [],
    }  # fmt: skip
    return Missing(**{**given, **more})


def test_a_complete_session_is_one_line():
    found = Verification([session()], ticks=1202)
    assert lines(found) == [
        (
            f"slot 1, session {SESSION} from 2026-01-05 09:30:00.000+05:30: complete; 1,200 ticks "
            "in 1 partitions, 2 came again"
        ),
        "1,202 records of ticks read; 1 of 1 sessions complete",
    ]
    assert found.complete


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {},
            ("  kite.ticks.nse [3]: 3 of 900 missing, within 1 to 1,203, 2026-01-05 "
            "09:30:00.000+05:30 to 2026-01-05 09:31:00.000+05:30: nothing in kite.events or "
            "kite.deadletter says why"),
        ),
        (
            {"topic": None, "partition": None, "expected": None, "to_ms": None,
             "explained_by": ["dropped: spool_full", "2 dead letters: MSG_SIZE_TOO_LARGE"]},
            ("  somewhere: 3 missing, within 1 to 1,203, 2026-01-05 09:30:00.000+05:30 to ?: "
            "dropped: spool_full; 2 dead letters: MSG_SIZE_TOO_LARGE"),
        ),
    ],
)  # fmt: skip
def test_what_is_missing_is_said_with_place_time_and_reason(changes, said):
    found = Verification([session(SessionVerdict.MISSING, missing=[missing(**changes)])])
    assert lines(found)[1] == said
    assert not found.complete


def test_many_missing_parts_are_cut():
    text = lines(Verification([session(SessionVerdict.MISSING, missing=[missing()] * 25)]))
    assert len(text) == 1 + 20 + 1 + 1
    assert text[-2] == "  and 5 more such parts (--json has them)"


def test_an_end_that_nobody_counted_is_said_with_the_gap_after_it():
    found = Verification(
        [session(SessionVerdict.UNPROVEN, ended=False, explained_by=["gap: nothing"])], unreadable=1
    )
    text = lines(found)
    assert "unproven: every tick up to 1,200 is there, but its end was not counted;" in text[0]
    assert text[1] == "  gap: nothing"
    assert text[-1] == "1 records could not be read, or are none of a connector's"
    assert not found.complete


def test_a_session_that_no_event_counts_is_said_to_be_one():
    uncounted = session(SessionVerdict.UNPROVEN, ended=False, counted_to=0)
    text = lines(Verification([uncounted]))
    assert "unproven: kite.events has no count of its ticks; 1,200 ticks" in text[0]


def test_a_session_that_goes_on_is_complete_so_far():
    assert "complete, its end not counted yet;" in lines(Verification([session(ended=False)]))[0]


def test_json_has_all_of_it():
    document = as_document(Verification([session(missing=[missing()])], ticks=5))
    (one,) = document["sessions"]
    assert (document["complete"], document["ticks"], one["verdict"]) == (True, 5, "complete")
    assert one["partitions"] == [{"topic": "kite.ticks.nse", "partition": 3, "ticks": 1202}]
    assert one["missing"][0]["expected"] == 900


def test_a_session_of_a_damaged_value_is_shown_too():
    (line, _) = lines(Verification([session(session_id=2**60)]))
    assert line.startswith(f"slot 1, session {2**60} from no time: complete")
