"""Every error that the connector raises on purpose.

    ConnectorError
    ├── SettingsError                  a setting is wrong: names it, says why (exit code 2)
    ├── CodecUnavailableError          the compiled codec was asked for and is not there
    ├── MissingExtraError              an optional package is not installed
    ├── ParseTickError                 a packet or frame that is not a tick
    ├── CapacityError                  more instruments than the connections may carry
    ├── InstrumentNotFoundError        a symbol that the instrument master does not have
    ├── InstrumentFormatError          a file that is not Kite's list of instruments
    ├── InstrumentListHeldBackError    a list that lacks too much of the last good one
    ├── ArchiveError                   a file that `export` has not made, or that cannot be read
    ├── CaptureError                   a file that is not a recorded feed
    ├── FeedError                      the Kite side
    │   ├── HandshakeError             the WebSocket was refused
    │   │   ├── TokenRejectedError     Kite's 403: wait for a new access_token
    │   │   └── TooManyConnectionsError  429: a slot is not free yet
    │   ├── TokenMissingError          no access_token, or none that can be used
    │   ├── FeedUnreachableError       DNS, TCP, TLS or time-out
    │   ├── SilentConnectionError      no frame of any kind within the liveness threshold
    │   └── ConnectionClosedError      used after it was closed
    ├── RestError                      Kite's HTTP API answered with an error
    │   └── RestTokenError             its TokenException: log in again
    ├── LoginError                     a login came to nothing; says what to do
    ├── KafkaError                     the Kafka side
    │   ├── BrokerUnreachableError     no broker answers
    │   ├── TopicError                 a topic is missing or differs from what was asked for
    │   ├── FencedError                another process took this one's place
    │   ├── TransactionAbortedError    a transaction came to nothing; nobody saw any of it
    │   │   └── RecordRefusedError     … since a record of it can never be written
    │   ├── ProducerExpiredError       the broker has forgotten this producer: open another
    │   └── NoReplyError               no leader answered a command in time
    ├── RegistryError                  the schema registry
    │   ├── RegistryUnreachableError
    │   └── SchemaIncompatibleError    the registry refused the schema
    ├── SpoolError                     the directory where records wait cannot be used
    └── PortInUseError                 who wanted which port, and what to do

Whether trying again can help is a fact of the class: its `retryable`. Data live in attributes and
the text is made from them in `__str__`, so that no message has to be parsed. No attribute ever
holds a secret.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import ClassVar, NamedTuple, Self


class ConnectorError(Exception):
    """The root: `except ConnectorError` catches whatever this package raises on purpose."""

    retryable: ClassVar[bool] = False
    retry_after_seconds: float = 0.0
    """The other side asks not to be asked again for so long."""


def reason_of(error: Exception) -> str:
    """Return what went wrong, for a log or a page; of what nobody expected, the class as well."""
    return str(error) if isinstance(error, ConnectorError | OSError) else repr(error)


class SettingProblem(NamedTuple):
    """What is wrong with one setting; `origin` is the file and line, or the variable."""

    name: str
    reason: str
    origin: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}" + (f" ({self.origin})" if self.origin else "")


class SettingsError(ConnectorError):
    """One or more settings are wrong; `problems` has every one that was found."""

    def __init__(self, problems: Sequence[SettingProblem]) -> None:
        super().__init__(problems)
        self.problems = list(problems)

    @classmethod
    def of(cls, name: str, reason: str) -> Self:
        """Return the error of one setting or option alone."""
        return cls([SettingProblem(name, reason)])

    def __str__(self) -> str:
        return "\n".join(["wrong settings:", *(f"  {problem}" for problem in self.problems)])


class CodecUnavailableError(ConnectorError):
    """KITE_CONNECTOR_CODEC=native, yet the compiled codec cannot be imported."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"KITE_CONNECTOR_CODEC=native, but the compiled codec cannot be loaded: {self.reason}. "
            "Build it with `pip install .` where a C compiler is, or set the variable to auto"
        )


class MissingExtraError(ConnectorError):
    """An optional package that a call needs is not installed.

    Attributes:
        package: its name, or the extra that brings it.
        purpose: what needs it, in words.
    """

    def __init__(self, package: str, purpose: str) -> None:
        super().__init__(package, purpose)
        self.package = package
        self.purpose = purpose

    def __str__(self) -> str:
        return f"{self.purpose} needs {self.package}: pip install {self.package}"


class ParseTickError(ConnectorError):
    """Bytes that are not a tick: `reason` is a short fixed word, `packet` the bytes themselves."""

    def __init__(self, reason: str, packet: bytes) -> None:
        super().__init__(reason, packet)
        self.reason = reason
        self.packet = packet

    def __str__(self) -> str:
        return f"{self.reason}: {len(self.packet)} bytes, {self.packet[:16].hex(' ')}"


class CapacityError(ConnectorError):
    """Instruments that found no room; everything else of the same request was placed.

    Attributes:
        refused: their tokens.
        capacity: how many instruments the connections carry.
    """

    def __init__(self, refused: Sequence[int], capacity: int) -> None:
        super().__init__(refused, capacity)
        self.refused = list(refused)
        self.capacity = capacity

    def __str__(self) -> str:
        shown = ", ".join(map(str, self.refused[:10]))
        more = f" and {len(self.refused) - 10} more" if len(self.refused) > 10 else ""
        return (
            f"no room for {len(self.refused)} instruments: {shown}{more}; the connections carry "
            f"{self.capacity} at most. Unsubscribe some, or add an api_key"
        )


class InstrumentNotFoundError(ConnectorError):
    """A name is not in today's instrument master, or is not the name of one instrument alone.

    Attributes:
        symbol: the name.
        nearest: names that may be meant, the likeliest first.
        others: more names of the same call that are not there.
        tokens: the instruments that have the name, where there are several.
        reason: why nothing can be found, in words; "" where the name is at fault.
    """

    def __init__(
        self,
        symbol: str,
        nearest: Sequence[str] = (),
        others: Sequence[str] = (),
        tokens: Sequence[int] = (),
        *,
        reason: str = "",
    ) -> None:
        super().__init__(symbol, nearest, others, tokens)
        self.symbol = symbol
        self.nearest = tuple(nearest)
        self.others = tuple(others)
        self.tokens = tuple(tokens)
        self.reason = reason

    def __str__(self) -> str:
        if self.reason:
            text = f"{self.symbol} cannot be looked up: {self.reason}"
        elif self.tokens:
            text = f"{self.symbol} is the name of several instruments: give one of {self.tokens}"
        elif self.nearest:
            text = f"{self.symbol} is not in the instrument master: did you mean "
            text += f"{', '.join(self.nearest)}?"
        else:
            text = f"{self.symbol} is not in the instrument master; "
            text += "write it as EXCHANGE:TRADINGSYMBOL"
        if self.others:
            more = f" and {len(self.others) - 5} more" if len(self.others) > 5 else ""
            text += f" Nor are {', '.join(self.others[:5])}{more}"
        return text


class InstrumentFormatError(ConnectorError):
    """What should be Kite's list of instruments is something else.

    Attributes:
        reason: in words.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"not a list of instruments: {self.reason}"


class InstrumentListHeldBackError(ConnectorError):
    """A list of instruments is well formed and cannot be whole; `reasons` has what it lacks."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__(reasons)
        self.reasons = list(reasons)

    def __str__(self) -> str:
        return (
            f"today's instrument list is held back: {'; '.join(self.reasons)}. The last good one "
            "stays in use, and Kite is asked again. If the list is right, accept it with "
            "`kite-connector ctl refresh-instruments --accept-list`"
        )


class CaptureError(ConnectorError):
    """A file that is not a recorded feed, or is damaged before its end."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path} is not a good capture: {self.reason}"


class ArchiveError(ConnectorError):
    """A file that is none of `kite-connector export`, or cannot be read."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path} is no file of ticks that can be read: {self.reason}"


class FeedError(ConnectorError):
    """The base of what goes wrong on the side of Kite."""


class HandshakeError(FeedError):
    """The WebSocket handshake was answered with an HTTP error.

    Attributes:
        status: of HTTP.
        reason: what the answer said; "" where it said nothing.
        foreign: whether the answer is not Kite's: a gateway, proxy or filter on the way gave it.
    """

    retryable = True

    def __init__(self, status: int, reason: str = "", *, foreign: bool = False) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason
        self.foreign = foreign

    def __str__(self) -> str:
        if self.foreign:
            return (
                f"something on the way to the feed answered HTTP {self.status}: {self.reason}. "
                "Check proxies, gateways and firewalls; the access_token may be good"
            )
        return f"the feed refused the connection: HTTP {self.status} {self.reason}".rstrip()


class TokenRejectedError(HandshakeError):
    """The access_token is wrong or expired, or the plan has no WebSocket.

    Trying again with the same token hardly helps, and hammering is rude: wait for a new one, and
    try the old one slowly, since a fault of Kite's or of a gateway may look the same.

    Attributes:
        status: of HTTP.
        reason: what the answer said; "" where it said nothing.
        foreign: whether the answer is not Kite's: a gateway, proxy or filter on the way gave it.
    """

    retryable = False

    def __str__(self) -> str:
        said = f"; it said: {self.reason}" if self.reason else ""
        return (
            f"the feed refused the access_token (HTTP {self.status}): tokens end each morning; "
            f"log in again with `kite-connector login`{said}"
        )


class TooManyConnectionsError(HandshakeError):
    """HTTP 429: three sockets of this api_key are open, or one has closed only just now.

    Attributes:
        status: of HTTP.
        reason: what the answer said; "" where it said nothing.
        foreign: whether the answer is not Kite's: a gateway, proxy or filter on the way gave it.
    """

    def __str__(self) -> str:
        text = "the feed has no free connection for this api_key yet (HTTP 429)"
        # a gateway that has had enough says 429 too
        return f"{text}; it said: {self.reason}" if self.foreign else text


class TokenMissingError(FeedError):
    """There is no access_token to try with; `reason` says why, where that is known."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        why = self.reason or "the access_token is missing"
        return f"{why}; log in with `kite-connector login`"


class FeedUnreachableError(FeedError):
    """No connection to the feed: DNS, TCP, TLS or a time-out. The URL's query is never shown.

    Attributes:
        address: of the feed.
        reason: in words.
    """

    retryable = True

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(address, reason)
        self.address = address
        self.reason = reason

    def __str__(self) -> str:
        return f"cannot reach the feed at {self.address}: {self.reason}"


class SilentConnectionError(FeedError):
    """Nothing came, not even a heartbeat, for longer than the liveness threshold.

    Attributes:
        silent_seconds: for so long.
    """

    retryable = True

    def __init__(self, silent_seconds: float) -> None:
        super().__init__(silent_seconds)
        self.silent_seconds = silent_seconds

    def __str__(self) -> str:
        return f"no frame for {self.silent_seconds:.1f} s: the connection is dead"


class ConnectionClosedError(FeedError):
    """A ticker or manager that was closed, or not yet opened, was asked to do something."""


class RestError(ConnectorError):
    """Kite's HTTP API answered with an error.

    Attributes:
        status: of HTTP.
        error_type: Kite's own word for the kind of error.
        message: Kite's own words.
        foreign: whether the answer is not Kite's: a gateway, proxy or filter on the way gave it.
    """

    def __init__(
        self, status: int, error_type: str, message: str, *, foreign: bool = False
    ) -> None:
        super().__init__(status, error_type, message)
        self.status = status
        self.error_type = error_type
        self.message = message
        self.foreign = foreign

    @property
    def temporary(self) -> bool:
        """True where the request is not at fault: 429, 5xx, and whatever is not Kite's answer."""
        return self.foreign or self.status == 429 or self.status >= 500

    def __str__(self) -> str:
        if self.foreign:
            return (
                f"something on the way to Kite answered HTTP {self.status}: {self.message}. "
                "Check proxies, gateways and firewalls"
            )
        return f"Kite answered HTTP {self.status} {self.error_type}: {self.message}"


class RestTokenError(RestError):
    """TokenException: the session is over; a human has to log in again."""


class LoginError(ConnectorError):
    """A login came to nothing, and no token was written; `reason` says what to do."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"not logged in: {self.reason}"


class KafkaError(ConnectorError):
    """The base of what goes wrong on the side of Kafka."""


class BrokerUnreachableError(KafkaError):
    """No broker of `bootstrap_servers` answers."""

    retryable = True

    def __init__(self, bootstrap_servers: str, reason: str) -> None:
        super().__init__(bootstrap_servers, reason)
        self.bootstrap_servers = bootstrap_servers
        self.reason = reason

    def __str__(self) -> str:
        return f"no Kafka broker answers at {self.bootstrap_servers}: {self.reason}"


class TopicError(KafkaError):
    """A topic is missing, may not be created, or is not as the settings ask."""

    def __init__(self, topic: str, reason: str) -> None:
        super().__init__(topic, reason)
        self.topic = topic
        self.reason = reason

    def __str__(self) -> str:
        return f"topic {self.topic}: {self.reason}"


class FencedError(KafkaError):
    """A newer process holds this transactional.id: this one must stop writing at once."""


class TransactionAbortedError(KafkaError):
    """A transaction was given up; none of its records counts, and it may be tried again."""

    retryable = True


class RecordRefusedError(TransactionAbortedError):
    """A transaction came to nothing, and will again as long as it holds the refused record."""

    retryable = False

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ProducerExpiredError(KafkaError):
    """The broker forgot this transactional.id, which it had not heard for too long.

    By `transactional.id.expiration.ms`, a week unless it is told otherwise. Nothing was written,
    and a new producer may write at once.
    """

    retryable = True


class NoReplyError(KafkaError):
    """A command was written, but no reply came in time; it may still be applied later."""

    retryable = True

    def __init__(
        self,
        command_id: str,
        timeout_seconds: float,
        running: Sequence[str] | None = None,
        *,
        held: bool = False,
    ) -> None:
        super().__init__(command_id, timeout_seconds)
        self.command_id = command_id
        self.timeout_seconds = timeout_seconds
        self.running = running
        """The names of the clusters whose members are joined; None where that is not known."""
        self.held = held
        """Whether a transaction of another program stands before the command."""

    def __str__(self) -> str:
        if self.held:
            return (
                f"no reply to command {self.command_id} within {self.timeout_seconds:g} s: it is "
                "written, and read when a transaction ends that another program has left open in "
                "the topic; brokers end it after its transaction.timeout.ms"
            )
        who = "is a connector running?"
        if self.running is not None:
            who = f"running under this prefix: {', '.join(self.running) or 'no connector'}"
        return (
            f"no reply to command {self.command_id} within {self.timeout_seconds:g} s: it is "
            f"written and will be applied by the next leader; {who}"
        )


class RegistryError(ConnectorError):
    """The schema registry refused a request."""

    def __init__(self, subject: str, reason: str) -> None:
        super().__init__(subject, reason)
        self.subject = subject
        self.reason = reason

    def __str__(self) -> str:
        return f"schema registry, subject {self.subject}: {self.reason}"


class RegistryUnreachableError(RegistryError):
    """The registry does not answer, or says: not now."""

    retryable = True

    def __init__(self, subject: str, reason: str, *, retry_after_seconds: float = 0.0) -> None:
        super().__init__(subject, reason)
        self.retry_after_seconds = retry_after_seconds


class SchemaIncompatibleError(RegistryError):
    """The registry holds a schema that this one may not follow."""


class SpoolError(ConnectorError):
    """The spool's directory cannot be used, or belongs to another process."""

    def __init__(self, directory: str, reason: str) -> None:
        super().__init__(directory, reason)
        self.directory = directory
        self.reason = reason

    def __str__(self) -> str:
        return f"spool.directory {self.directory}: {self.reason}"


class PortInUseError(ConnectorError):
    """A listening port is already in use."""

    def __init__(self, setting: str, host: str, port: int) -> None:
        super().__init__(setting, host, port)
        self.setting = setting
        self.host = host
        self.port = port

    def __str__(self) -> str:
        return (
            f"{self.setting}: port {self.port} on {self.host} is in use by another program; "
            "stop it or choose another port (0 takes any free one)"
        )


def not_listening(
    error: OSError, port_setting: str, port: int, host_setting: str, host: str
) -> ConnectorError:
    """Return the error of a listener that could not be opened, which names the setting at fault.

    Args:
        error: of the system.
        port_setting: the setting of the port.
        port: where it should listen.
        host_setting: the setting of the host.
        host: the same.
    """
    if error.errno == errno.EADDRINUSE:
        return PortInUseError(port_setting, host, port)
    where = port_setting if error.errno == errno.EACCES else host_setting
    said = error.strerror or type(error).__name__
    return SettingsError.of(where, f"cannot listen on {host}: {said}")
