"""A Kafka broker inside this process: librdkafka's mock cluster, for the demo and the tests.

librdkafka carries it in the shared library that comes in the confluent-kafka wheel; it is reached
with ctypes. Clients connect to it over loopback TCP, from other processes too (not from Java). It
has groups of both protocols and transactions; it has no CreateTopics, no compaction, keeps
5 MiB or 100 000 messages of each partition, in memory, and knows no authentication. A group whose
last member has left is formed anew a second before a session timeout is over (librdkafka 2.16),
where a real one is as soon as somebody joins.

Source: librdkafka's `src/rdkafka_mock.h`.
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
import threading
from collections.abc import Mapping
from ctypes import c_char_p, c_int, c_int16, c_int32, c_size_t, c_void_p
from typing import Any, ClassVar, Self

from connector.embedded.librdkafka import candidates
from connector.errors import KafkaError, TopicError

_PRODUCER = 0  # rd_kafka_type_t; the mock cluster wants some client to live in
_TEXT_BYTES = 512  # as librdkafka's examples give it for an error's words
_KNOCK_SECONDS = 0.01  # a call that lost its wake-up waits so long in place of a second

# without them ctypes takes every result for an int, and cuts pointers off at 32 bits
_SIGNATURES: dict[str, tuple[type | None, list[type]]] = {
    "rd_kafka_conf_new": (c_void_p, []),
    "rd_kafka_conf_set": (c_int, [c_void_p, c_char_p, c_char_p, c_char_p, c_size_t]),
    "rd_kafka_new": (c_void_p, [c_int, c_void_p, c_char_p, c_size_t]),
    "rd_kafka_destroy": (None, [c_void_p]),
    "rd_kafka_err2str": (c_char_p, [c_int]),
    "rd_kafka_mock_cluster_new": (c_void_p, [c_void_p, c_int]),
    "rd_kafka_mock_cluster_destroy": (None, [c_void_p]),
    "rd_kafka_mock_cluster_bootstraps": (c_char_p, [c_void_p]),
    "rd_kafka_mock_topic_create": (c_int, [c_void_p, c_char_p, c_int, c_int]),
    "rd_kafka_mock_topic_set_error": (None, [c_void_p, c_char_p, c_int]),
    "rd_kafka_mock_broker_set_down": (c_int, [c_void_p, c_int32]),
    "rd_kafka_mock_broker_set_up": (c_int, [c_void_p, c_int32]),
    "rd_kafka_mock_broker_set_rtt": (c_int, [c_void_p, c_int32, c_int]),
    "rd_kafka_mock_push_request_errors_array": (
        None,
        [c_void_p, c_int16, c_size_t, ctypes.POINTER(c_int)],
    ),
    "rd_kafka_mock_clear_request_errors": (None, [c_void_p, c_int16]),
    "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, [c_void_p, c_int32]),
}


class EmbeddedBroker:
    """One mock cluster; a context manager. Its topics are made here: nobody else can.

    Args:
        topics: name → number of partitions.
        brokers: how many nodes; ids count from 1.
        rebalance_delay_ms: how long a new group waits for more members.
    """

    client: ClassVar[dict[str, int]] = {"fetch.wait.max.ms": 20}
    """The properties for `kafka.client` of what reads here. The mock cluster of librdkafka 2.16
    answers a fetch at the end of its wait, not when there is something to read as a broker does."""

    def __init__(
        self,
        topics: Mapping[str, int] | None = None,
        *,
        brokers: int = 1,
        rebalance_delay_ms: int = 100,
    ) -> None:
        self._topics = dict(topics or {})  # made at the start, and by `create_topic` since
        self._brokers = brokers
        self._rebalance_delay_ms = rebalance_delay_ms
        self._library: ctypes.CDLL | None = None
        # pointers: the client that the cluster lives in, and the cluster; None: not running
        self._client: int | None = None
        self._cluster: int | None = None
        self._addresses: list[str] = []  # of all nodes, for `_knock`

    def start(self) -> None:
        """Bring the cluster up.

        Raises:
            KafkaError: the shared library was not found, or has no mock cluster.
        """
        if self._cluster is not None:
            return
        library = _load()
        text = ctypes.create_string_buffer(_TEXT_BYTES)
        configuration = library.rd_kafka_conf_new()
        # it would log each request to the mock cluster
        library.rd_kafka_conf_set(configuration, b"log_level", b"0", text, _TEXT_BYTES)
        client = library.rd_kafka_new(_PRODUCER, configuration, text, _TEXT_BYTES)
        if not client:
            raise KafkaError(f"embedded broker: {text.value.decode(errors='replace')}")
        cluster = library.rd_kafka_mock_cluster_new(client, self._brokers)
        if not cluster:
            library.rd_kafka_destroy(client)
            raise KafkaError("embedded broker: librdkafka could not start its mock cluster")
        self._library, self._client, self._cluster = library, client, cluster
        self._addresses = self.bootstrap_servers.split(",")
        # Kafka's own is 3 s, for which each demo and test would wait
        self._ask("group_initial_rebalance_delay_ms", self._rebalance_delay_ms)
        for name, partitions in self._topics.items():
            self.create_topic(name, partitions)

    def close(self) -> None:
        """Stop the broker; clients see their connections close."""
        if self._library is None or self._cluster is None:
            return
        # in this order: the cluster's threads use the client
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._client)
        self._library = self._client = self._cluster = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def bootstrap_servers(self) -> str:
        """The addresses of all nodes, down or not, for `bootstrap.servers`."""
        library, cluster = self._running()
        address: bytes = library.rd_kafka_mock_cluster_bootstraps(cluster)
        return address.decode()

    @property
    def topics(self) -> dict[str, int]:
        """The topics made here: name to number of partitions."""
        return dict(self._topics)

    def create_topic(self, name: str, partitions: int, *, replication_factor: int = 1) -> None:
        """Make a topic.

        Raises:
            TopicError: it exists, or the numbers make no sense.
        """
        code = self._ask("topic_create", name.encode(), partitions, replication_factor)
        if code:
            raise TopicError(name, f"the embedded broker refused it: {self._text(code)}")
        self._topics[name] = partitions

    def set_topic_error(self, name: str, code: int) -> None:
        """Let metadata answer `code` for this topic; 0 ends that."""
        self._ask("topic_set_error", name.encode(), code)

    def set_down(self, broker_id: int | None = None) -> None:
        """Drop the connections of a node (of all when None) and accept no new ones."""
        for number in self._chosen(broker_id):
            self._check(self._ask("broker_set_down", number))

    def set_up(self, broker_id: int | None = None) -> None:
        """Undo `set_down`: a node (all when None) accepts connections again."""
        for number in self._chosen(broker_id):
            self._check(self._ask("broker_set_up", number))

    def set_rtt_ms(self, rtt_ms: int, broker_id: int | None = None) -> None:
        """Delay each answer of a node (of all when None)."""
        for number in self._chosen(broker_id):
            self._check(self._ask("broker_set_rtt", number, rtt_ms))

    def push_errors(self, api_key: int, *codes: int) -> None:
        """Answer the next requests of `api_key` (0 is Produce) with these errors; 0 lets one pass.

        The codes are `KafkaError`'s; `_TRANSPORT` closes the connection instead of answering.
        """
        array = (c_int * len(codes))(*codes)
        self._ask("push_request_errors_array", api_key, len(codes), array)

    def clear_errors(self, api_key: int) -> None:
        """Forget the errors of `push_errors` that were not used."""
        library, cluster = self._running()
        library.rd_kafka_mock_clear_request_errors(cluster, api_key)

    def _ask(self, name: str, *arguments: Any) -> Any:
        """Have the cluster's own thread do something.

        librdkafka loses one of some ten wake-ups of that thread, which then sleeps on for up to a
        second: so it is woken as its clients wake it, by a connection.
        """
        library, cluster = self._running()
        function = getattr(library, f"rd_kafka_mock_{name}")
        # ctypes lets go of the interpreter's lock during a call: another thread can knock meanwhile
        done = threading.Event()
        knocking = threading.Thread(target=self._knock, args=(done,), daemon=True)
        knocking.start()
        try:
            return function(cluster, *arguments)
        finally:
            done.set()
            knocking.join()

    def _knock(self, done: threading.Event) -> None:
        while not done.wait(_KNOCK_SECONDS):
            for address in self._addresses:
                host, _, port = address.rpartition(":")
                # a node that is down hears nothing: then the second has to pass
                with contextlib.suppress(OSError):
                    socket.create_connection((host, int(port)), _KNOCK_SECONDS).close()

    def _chosen(self, broker_id: int | None) -> range:
        return range(1, self._brokers + 1) if broker_id is None else range(broker_id, broker_id + 1)

    def _running(self) -> tuple[ctypes.CDLL, int]:
        if self._library is None or self._cluster is None:
            raise KafkaError("the embedded broker is not running")
        return self._library, self._cluster

    def _check(self, code: int) -> None:
        if code:
            raise KafkaError(f"embedded broker: {self._text(code)}")

    def _text(self, code: int) -> str:
        library, _ = self._running()
        text: bytes = library.rd_kafka_err2str(code)
        return text.decode()


def _load() -> ctypes.CDLL:
    tried = []
    for path in candidates():
        try:
            library = ctypes.CDLL(str(path))
            for name, (result, arguments) in _SIGNATURES.items():
                function = getattr(library, name)
                function.restype, function.argtypes = result, arguments
        except (OSError, AttributeError) as exc:
            tried.append(f"{path}: {exc}")
        else:
            return library
    where = "; ".join(tried) or "no file of confluent-kafka or of the system is named librdkafka"
    raise KafkaError(
        "the embedded broker needs librdkafka's shared library, which confluent-kafka's wheels "
        f"bring for Linux and macOS: {where}"
    )
