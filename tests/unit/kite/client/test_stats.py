from connector import Channel, ChannelId, ConnectionState, ConnectionStats, ErrorMessage
from connector.kite.client.stats import ManagerStats


def connection(slot, **changes):
    values = dict.fromkeys(ConnectionStats.__dataclass_fields__, 0)
    values.update(
        slot=slot, account="main", state=ConnectionState.CONNECTED, stalled=False, paused=False,
        last_error="",
    )  # fmt: skip
    return ConnectionStats(**{**values, **changes})


def test_totals():
    channel = Channel(1)
    channel.put(ErrorMessage("a"))
    channel.put(ErrorMessage("b"))
    stats = ManagerStats(
        connections={
            ChannelId(0): connection(0, desired=5, confirmed=4, frames=10, reconnects=1),
            ChannelId(1): connection(1, desired=2, confirmed=2, frames=7),
            ChannelId(2): connection(2, state=ConnectionState.BACKING_OFF, reconnects=3),
        },
        channels={ChannelId(0): channel.stats},
        capacity=9000,
        ticks=99,
        rejected_packets=0,
        order_duplicates=0,
    )
    assert (stats.connected, stats.desired, stats.confirmed) == (2, 7, 6)
    assert (stats.frames, stats.reconnects) == (17, 4)
    assert (stats.dropped, stats.dropped_ticks) == (1, 0)
