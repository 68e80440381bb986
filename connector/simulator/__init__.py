"""A Kite on the wire: WebSocket and REST, for tests, demos and benchmarks; needs no account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from connector.simulator.config import SimulatedAccount, SimulatorConfig
from connector.simulator.faults import FaultKind, FaultSpec

if TYPE_CHECKING:
    from connector.simulator.simulator import SimulatorServer, run_simulator

__all__ = [
    "FaultKind",
    "FaultSpec",
    "SimulatedAccount",
    "SimulatorConfig",
    "SimulatorServer",
    "run_simulator",
]


def __getattr__(name: str) -> Any:
    """The server only where it is used: it brings a whole HTTP server with it."""
    if name not in __all__:
        raise AttributeError(name)
    from connector.simulator import simulator

    return getattr(simulator, name)
