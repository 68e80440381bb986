"""A producer over a broker that is worked by hand."""

import contextlib


@contextlib.asynccontextmanager
async def producers():
    """Starts producers, and closes each at the end, whatever it still has."""
    started = []

    async def start(producer):
        await producer.start()
        started.append(producer)
        return producer

    yield start
    for producer in started:
        await producer.close(0)


def balanced(producer):
    """The counts of a producer, of which every record is somewhere; dead letters too, if any."""
    for counts in filter(None, (producer.counts, getattr(producer, "dead_letters", None))):
        parts = (counts.delivered, counts.in_flight, counts.spooled)
        assert min(parts) >= 0
        assert counts.produced == (
            sum(parts) + sum(counts.failed.values()) + sum(counts.dropped.values())
        )
    return producer.counts


def send(producer, numbers, key=b"k", frame=5):
    for first in range(0, len(numbers), frame):
        producer.produce_all(
            [("t", key, b"%d" % n) for n in numbers[first : first + frame]], 1_700_000_000_000
        )


def written(cluster):
    return [int(value) for _, _, value, _, _ in cluster.log]


async def settle(producer, cluster, clock, polls=200):
    """A broker in good health, until nothing is left to send."""
    for _ in range(polls):
        producer.poll()
        cluster.current.acknowledge(50)
        clock.now += 1.0
        if producer.counts.delivered == producer.counts.produced - sum(
            producer.counts.failed.values()
        ) - sum(producer.counts.dropped.values()):
            break
    balanced(producer)
