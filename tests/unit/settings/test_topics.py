import pytest
from pydantic import ValidationError

from connector.settings.topics import BackfillSettings, TopicSettings


def test_nothing_is_fetched_for_gaps_unless_it_is_asked_for():
    assert not TopicSettings().backfill


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_gaps": 0}, {"max_instruments": 0}, {"max_instruments": 9001}, {"max_minutes": 0},
        {"max_minutes": 10_001}, {"settle_seconds": -1}, {"other": 1},
    ],
)  # fmt: skip
def test_the_bounds_of_what_is_fetched_for_gaps_have_bounds(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        BackfillSettings(**wrong)


def test_more_replicas_in_sync_than_there_are_cannot_be():
    with pytest.raises(ValidationError, match="min_insync_replicas"):
        TopicSettings(replication_factor=1, min_insync_replicas=2)
