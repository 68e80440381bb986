import errno
import os

import pytest

from connector.errors import BrokerUnreachableError, RegistryUnreachableError, TopicError
from connector.kafka.retry import retry_forever

AWAY = BrokerUnreachableError("kafka:9092", "refused")


class Step:
    """Fails as told, then gives its result; remembers pauses and reasons."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.reasons = []
        self.pauses = []

    async def __call__(self):
        if self.errors:
            raise self.errors.pop(0)
        return "done"

    async def sleep(self, seconds):
        self.pauses.append(seconds)

    async def until_done(self, **options):
        return await retry_forever(
            self, self.reasons.append, sleep=self.sleep, random=lambda: 1.0, **options
        )


async def test_it_is_tried_until_it_works_with_pauses_that_double_up_to_a_cap():
    step = Step(*[AWAY] * 4)
    assert await step.until_done(min_seconds=1.0, max_seconds=3.0) == "done"
    assert step.pauses == [1.0, 2.0, 3.0, 3.0]
    assert step.reasons == [str(AWAY)] * 4


async def test_half_of_a_pause_is_chance():
    step = Step(AWAY)
    await retry_forever(
        step, step.reasons.append, min_seconds=2.0, sleep=step.sleep, random=lambda: 0.0
    )
    assert step.pauses == [1.0]


async def test_a_lack_of_descriptors_or_memory_is_waited_out():
    scarce = [OSError(code, os.strerror(code), "x.avsc") for code in (errno.EMFILE, errno.ENOMEM)]
    step = Step(*scarce)
    assert await step.until_done() == "done"
    assert step.reasons == [str(error) for error in scarce]


@pytest.mark.parametrize(
    "error",
    [
        TopicError("kite.orders", "is missing"),
        KeyError("a bug"),
        FileNotFoundError(errno.ENOENT, "No such file", "x.avsc"),
    ],
)
async def test_what_waiting_cannot_mend_is_raised_at_once(error):
    step = Step(error)
    with pytest.raises(type(error)):
        await step.until_done()
    assert not step.pauses


async def test_whatever_it_was_is_tried_again_where_that_is_asked_for():
    step = Step(TopicError("kite.orders", "is missing"), KeyError("a bug"))
    assert await step.until_done(whatever=True) == "done"
    assert step.reasons == ["topic kite.orders: is missing", "KeyError('a bug')"]


async def test_who_is_told_of_a_failure_is_awaited_before_the_pause():
    step = Step(AWAY)

    async def told(reason):
        step.pauses.append(reason)

    await retry_forever(step, told, min_seconds=1.0, sleep=step.sleep, random=lambda: 1.0)
    assert step.pauses == [str(AWAY), 1.0]


async def test_who_asks_to_be_left_alone_for_longer_is():
    busy = [
        RegistryUnreachableError("s", "HTTP 429", retry_after_seconds=seconds)
        for seconds in (30.0, 0.1, 0.0)
    ]
    step = Step(*busy)
    assert await step.until_done(min_seconds=1.0, max_seconds=4.0) == "done"
    # and a little longer, since others were told the same; never less than without the wish
    assert step.pauses == [30.5, 2.0, 4.0]
