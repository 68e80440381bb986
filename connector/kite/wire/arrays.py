"""A frame as a numpy array: views of its packets, without an object for a tick.

numpy is not a requirement of this package: it is imported by who asks for an array.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final, cast

from connector.errors import MissingExtraError
from connector.kite.wire.layout import split_frame
from connector.kite.wire.packets import uniform

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_QUOTE: Final = (
    "instrument_token", "last_price", "last_traded_quantity", "average_traded_price",
    "volume_traded", "total_buy_quantity", "total_sell_quantity", "open", "high", "low", "close",
)  # fmt: skip
_INDEX: Final = ("instrument_token", "last_price", "high", "low", "open", "close")
_FULL: Final = (
    *_QUOTE, "last_trade_time", "oi", "oi_day_high", "oi_day_low", "exchange_timestamp",
)  # fmt: skip
_LEVEL: Final = (("quantity", ">u4"), ("price", ">u4"), ("orders", ">u2"), ("padding", "V2"))
_NUMBERS: Final[dict[int, tuple[str, ...]]] = {
    8: ("instrument_token", "last_price"),
    28: (*_INDEX, "change"),
    32: (*_INDEX, "change", "exchange_timestamp"),
    44: _QUOTE,
    184: _FULL,
}


@functools.cache
def packet_dtype(length: int = 184) -> np.dtype[Any]:
    """The layout of one packet behind its length on the wire, as a numpy dtype.

    All fields are big-endian and raw, as Kite sends them: prices are integers to be divided by
    `Exchange.divisor`, times are seconds since 1970 with 0 for none. `length` is the packet's own
    length. In a full packet `buy` and `sell` have five levels of `quantity`, `price`, `orders`.

    Args:
        length: of the packet in bytes: 184 full, 44 quote, 8 ltp, 32 and 28 an index's.

    Raises:
        KeyError: no packet has this length.
        MissingExtraError: numpy is not installed.
    """
    numpy = _numpy()
    fields: list[Any] = [
        # part of the item, so that a frame of one length is an array as it stands on the wire
        ("length", ">u2"),
        *((name, ">i4" if name == "change" else ">u4") for name in _NUMBERS[length]),
    ]
    if length == 184:
        fields += [("buy", list(_LEVEL), 5), ("sell", list(_LEVEL), 5)]
    dtype: np.dtype[Any] = numpy.dtype(fields)
    return dtype


def frame_array(frame: bytes, length: int = 184) -> npt.NDArray[np.void]:
    """The packets of one length in a frame, in wire order, as a read-only structured array.

    Where all packets have this length, as in a feed of one mode, the array is a view of the frame
    and nothing is copied. Packets of other lengths are left out.

    Args:
        frame: a binary message of the WebSocket; a heartbeat has no packets.
        length: which packets: 184 full, 44 quote, 8 ltp, 32 and 28 an index's.

    Returns:
        An array with `packet_dtype(length)`; `frame_array(f)["last_price"] / 100` are prices.

    Raises:
        KeyError: no packet has this length.
        MissingExtraError: numpy is not installed.
    """
    numpy = _numpy()
    dtype = packet_dtype(length)
    if count := uniform(frame, length):
        # read-only, since bytes are: a view shares the frame with whoever else has it
        return cast("npt.NDArray[np.void]", numpy.frombuffer(frame, dtype, count, 2))
    packets = [packet for packet in split_frame(frame)[0] if len(packet) == length]
    prefix = length.to_bytes(2)
    joined = b"".join(prefix + packet for packet in packets)
    return cast("npt.NDArray[np.void]", numpy.frombuffer(joined, dtype))


def _numpy() -> Any:
    try:
        import numpy
    except ImportError as exc:
        raise MissingExtraError("numpy", "an array of a frame") from exc
    return numpy
