import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.redaction import printable
from connector.service.status_reading import MAX_PARTS, status_of
from tests.support.status import CLUSTER, service_status


def test_what_status_answers_is_read_back():
    status = service_status(cluster=CLUSTER)
    read = status_of(json.loads(json.dumps(status.as_json(), default=str)))
    assert (read.name, read.accounting, read.ready) == (status.name, status.accounting, True)
    assert [one.slot for one in read.connections] == [0, 1]
    assert read.connections[0].confirmed == 2999
    assert read.exchanges == list(status.exchanges)
    assert read.producer.queued == 5
    assert read.cluster["leader"] is True
    for name in ("exchange_to_receive", "receive_to_produce"):
        assert getattr(read.latencies, name).quantile(0.99) == getattr(
            status.latencies, name
        ).quantile(0.99)


def test_another_versions_fields_are_passed_over_or_have_their_defaults():
    read = status_of(
        {"name": "a", "phase": "running", "newer": 1, "accounting": {"received": 1, "newer": 2},
         "connections": [{"slot": 0, "account": "m", "state": "connected", "newer": []}]}
    )  # fmt: skip
    assert read.accounting.received == 1
    assert read.connections[0].desired == 0


def test_text_is_printable_and_lists_have_a_bound():
    read = status_of(
        {"name": "a\x1b[2Jb", "phase": "running", "accounting": {},
         "not_ready": ["\u202ex"] * (MAX_PARTS + 1)}
    )  # fmt: skip
    assert "\x1b" not in read.name
    assert len(read.not_ready) == MAX_PARTS
    assert "\u202e" not in read.not_ready[0]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["name", "phase", "accounting", "connections", "cluster",
                         "latency_seconds", "slot", "producer"]), inner, max_size=5),
    max_leaves=15,
)  # fmt: skip


@given(JSON)
def test_whatever_answers_it_is_a_status_or_an_error(document):
    with contextlib.suppress(ValueError):
        assert status_of(document).name == printable(document["name"])


@pytest.mark.parametrize("document", [[], {}, "status", {"name": "a", "phase": "b"}])
def test_what_is_no_status(document):
    with pytest.raises(ValueError, match="not the status"):
        status_of(document)
