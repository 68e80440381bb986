"""Ports for programs that have to be told their port before they start."""

import contextlib
import socket


def free_ports(count: int) -> list[int]:
    """Ports of the loopback, each another one, that nobody has at this moment."""
    with contextlib.ExitStack() as stack:
        # held until all are chosen: else two might be the same
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
