"""A Kite on the wire: WebSocket and REST, for tests, demos and benchmarks; needs no account."""

from connector.simulator.config import SimulatedAccount, SimulatorConfig
from connector.simulator.faults import FaultKind, FaultSpec
from connector.simulator.simulator import SimulatorServer, run_simulator

__all__ = [
    "FaultKind",
    "FaultSpec",
    "SimulatedAccount",
    "SimulatorConfig",
    "SimulatorServer",
    "run_simulator",
]
