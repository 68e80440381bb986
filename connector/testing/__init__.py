"""What programs that use the library need in their tests: a feed, a clock and a producer.

`SimulatedFeed` is a Kite on the wire whose market a test chooses and moves. `FakeFeed` has no
network: its sockets are worked by hand, on the time of a `FakeClock`. docs/library.md shows both.
Nothing here needs pytest, and nothing of the connector imports it.
"""

from connector.testing.clock import FakeClock, settle
from connector.testing.fake_feed import FakeFeed, FakeSocket, RecordingHandler
from connector.testing.producer import ProducedRecord, RecordingProducer
from connector.testing.simulated_feed import SimulatedFeed
from connector.testing.waiting import until, wait_until

__all__ = [
    "FakeClock",
    "FakeFeed",
    "FakeSocket",
    "ProducedRecord",
    "RecordingHandler",
    "RecordingProducer",
    "SimulatedFeed",
    "settle",
    "until",
    "wait_until",
]
