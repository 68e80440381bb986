from collections.abc import Sequence
from typing import Any, ClassVar

from connector.kafka.clients import Handlers
from connector.kafka.spool_format import Headers

OLDEST_VERSION: int
FIRST_UNKNOWN_VERSION: int

def load(path: str) -> str: ...

class Client:
    way: ClassVar[str]
    wakes: ClassVar[bool]
    def __init__(self, properties: dict[str, Any], handlers: Handlers, wake: int = -1) -> None: ...
    def __len__(self) -> int: ...
    def produce_all(
        self, records: Sequence[tuple[str, bytes, bytes]], timestamp_ms: int, sequence: int
    ) -> int: ...
    def produce(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        timestamp_ms: int,
        headers: Headers | None,
        sequence: int,
    ) -> None: ...
    def poll(self) -> None: ...
    def purge(self, *, in_flight: bool) -> None: ...
    def close(self) -> None: ...
