"""The records of the topic `kite.subscriptions`, which is the whole memory of a cluster.

The topic is compacted and partition k belongs to slot k. A key that is a decimal number is an
instrument token, and its value says who wants it and how; a tombstone takes it away. Keys that
begin with `@` are the leader's own:

- `@leader` (partition 0): the offset of `kite.control` from which a new leader goes on, and the
  counters. Written with every command, so it is small.
- `@reply:<id>` (partition 0): the reply that a repeated id gets again, and a digest of the command,
  by which another one under the same id is known. One record a command and a tombstone for the one
  that falls out of the window: a list inside `@leader` would be rewritten whole with each command,
  and would outgrow a message.
- `@waiting:<id>` (partition 0): a command that is answered later, when the list of instruments has
  been loaded. A new leader finds it here, since the offset in `@leader` is behind it.
- `@rule:<watchlist>#<name>` (partition 0): a rule of a watchlist, and how far it was followed. What
  it claims stands in the instruments' records, under `<watchlist>#<name>`.
- `@limits:<watchlist>` (partition 0): the quota and the priority of a watchlist.
- `@reconnect` (partition k): tells slot k's owner to reconnect, once.
- `@halt` (partition k): slot k is paused or stopped, until a tombstone resumes it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Final, NamedTuple

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import from_json

from connector.kite.wire.models import SEGMENTS, Mode

LEADER_KEY: Final = "@leader"
REPLY_PREFIX: Final = "@reply:"
WAITING_PREFIX: Final = "@waiting:"
RULE_PREFIX: Final = "@rule:"
LIMITS_PREFIX: Final = "@limits:"
RECONNECT_KEY: Final = "@reconnect"
HALT_KEY: Final = "@halt"
# there is one however few accounts there are
LEADER_PARTITION: Final = 0
# two commands of one id with the same digest are not to be expected in 128 bits
DIGEST_BYTES: Final = 16
# one for all: json.dumps makes an encoder each time, which costs more than the encoding
_COMPACT: Final = json.JSONEncoder(separators=(",", ":")).encode
_quoted: Final = json.encoder.encode_basestring_ascii
_MODES: Final = {mode.value: mode for mode in Mode}
OWN: Final = "@"
"""The first character of the leader's own keys, ids and watchlists; no message may name one."""
NO_ACCOUNTS: Final[Mapping[str, str]] = {}
"""The accounts of what no claim places on one."""
_TOKEN: Final = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)
MOVED_TO: Final = "moved-to"
"""The header of a tombstone whose instrument went to another slot; its value names the slot."""


def token_of(key: str) -> int:
    """The instrument token of a key; only the one way in which the leader writes it counts.

    Raises:
        ValueError: the key is none. Were another spelling read as the same token, the tombstone
            that ends it would have another key.
    """
    if _TOKEN.fullmatch(key):
        token = int(key)
        if token < 2**32 and token & 0xFF in SEGMENTS:
            return token
    raise ValueError("the key is no instrument token")


def count_of(value: object) -> int:
    """Read a counter of a record.

    Raises:
        ValueError: it is none: a fraction, infinite, negative, or more than Kafka counts to.
    """
    # True is an int to isinstance, and a JSON 1e999 is infinite
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError("not a counter")
    return value


def symbol_of(value: object) -> str | None:
    """Read a name of a record; None where it is not known.

    Raises:
        ValueError: it is no text.
    """
    if value is not None and not isinstance(value, str):
        raise ValueError("not a name")
    return value


class StateRecord(NamedTuple):
    """A record that is to be written to `kite.subscriptions`; `value` None is a tombstone."""

    partition: int
    key: str
    value: bytes | None
    moved_to: int | None = None


def highest(claims: Mapping[str, Mode]) -> Mode:
    """Return the highest mode of some claims, of which there is one at least."""
    modes = claims.values()
    return next(iter(modes)) if len(modes) == 1 else max(modes, key=lambda mode: mode.rank)


class Subscription(NamedTuple):
    """What is wanted of one instrument, and where it is carried."""

    slot: int
    claims: dict[str, Mode]
    """The mode that each watchlist claims; never empty, never changed in place."""
    symbol: str | None
    """EXCHANGE:TRADINGSYMBOL, the name that outlives the token."""
    revision: int
    """The revision of the state in which this was last changed."""
    expiry: date | None = None
    """Last trading day; None where it does not expire, or no list has said so yet. Kept here, so
    that a leader without a list, or with a list that lacks the instrument, knows it too."""
    accounts: Mapping[str, str] = NO_ACCOUNTS
    """The account that a watchlist names for its claim, of those that name one; the first counts.
    Never changed in place."""

    @property
    def account(self) -> str | None:
        """The account on whose slots it belongs; None where no claim names one."""
        return next(iter(self.accounts.values()), None)

    @property
    def mode(self) -> Mode:
        """The highest mode that anyone claims."""
        return highest(self.claims)

    def encoded(self, token: int) -> bytes:
        """Return the value of the record, as JSON."""
        # as _COMPACT would, in a third of the time: there may be thousands in a transaction
        # a mode is a str: `.value` and formatting cost as much as all the rest
        claims = ",".join([_quoted(name) + ':"' + mode + '"' for name, mode in self.claims.items()])
        symbol = "null" if self.symbol is None else _quoted(self.symbol)
        expiry = "null" if self.expiry is None else f'"{self.expiry.isoformat()}"'
        accounts = "" if self.account is None else _accounts_text(self.account, self.accounts)
        return (
            f'{{"token":{token},"mode":"'
            + highest(self.claims)
            + '","claims":{'
            + claims
            + f'}},"symbol":{symbol},"revision":{self.revision},"expiry":{expiry}{accounts}}}'
        ).encode()

    @classmethod
    def decode(cls, slot: int, value: bytes) -> Subscription:
        """Read a record of the partition `slot`.

        Raises:
            ValueError: the bytes are not such a record.
        """
        try:
            # json.loads takes as long as all the rest, and a slot's owner reads thousands at once
            raw = from_json(value)
            # a watchlist's name stands in thousands of records, and is kept once
            claims = {sys.intern(name): _MODES[mode] for name, mode in raw["claims"].items()}
            if not claims:
                raise ValueError("nobody claims it")
            expiry, accounts = raw.get("expiry"), raw.get("accounts")
            return cls(
                slot,
                claims,
                symbol_of(raw["symbol"]),
                count_of(raw["revision"]),
                None if expiry is None else date.fromisoformat(expiry),
                NO_ACCOUNTS if not accounts else _accounts_of(accounts, claims),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a subscription: {error!r}") from error


def _accounts_text(account: str, accounts: Mapping[str, str]) -> str:
    return f',"account":{_quoted(account)},"accounts":{_COMPACT(accounts)}'


def _accounts_of(raw: Mapping[str, object], claims: Mapping[str, Mode]) -> Mapping[str, str]:
    """Read the accounts of a record: each of a watchlist that claims the instrument."""
    accounts: dict[str, str] = {}
    for name, account in raw.items():
        if name not in claims or not isinstance(account, str):
            raise ValueError("an account that no claim names")
        accounts[sys.intern(name)] = sys.intern(account)
    return accounts


class ClosedModel(BaseModel):
    """A model of what is written as JSON: frozen, closed against keys that it does not have."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SubscriptionRecord(ClosedModel, title="Subscription"):
    """The contract of a value under an instrument's key: what other programs may rely on."""

    token: Annotated[int, Field(ge=1, le=0xFFFF_FFFF)] = Field(
        description="The instrument token, as in the key."
    )
    mode: Mode = Field(description="The highest mode that a watchlist claims.")
    claims: dict[str, Mode] = Field(
        min_length=1, description="The mode that each watchlist claims."
    )
    symbol: str | None = Field(description="The name, EXCHANGE:TRADINGSYMBOL, where it is known.")
    revision: int = Field(
        ge=1, description="The revision of the subscriptions when this was last changed."
    )
    expiry: date | None = Field(
        None, description="The last trading day, where the instrument has one and it is known."
    )
    account: str | None = Field(
        None, description="The account whose connections are to carry it; left out for any."
    )
    accounts: dict[str, str] = Field(
        default_factory=dict,
        description="The account that each watchlist names, of those that name one.",
    )

    @classmethod
    def of(cls, token: int, subscription: Subscription) -> SubscriptionRecord:
        """Return the record of a subscription, as other programs see it."""
        return cls(
            token=token,
            mode=subscription.mode,
            claims=subscription.claims,
            symbol=subscription.symbol,
            revision=subscription.revision,
            expiry=subscription.expiry,
            account=subscription.account,
            accounts=dict(subscription.accounts),
        )


class LeaderProgress(NamedTuple):
    """The record `@leader`, from which a new leader goes on."""

    offset: int = 0
    """The offset of the first message of `kite.control` that is not applied yet."""
    revision: int = 0
    sequence: int = 0
    """How many commands have been remembered; they are forgotten in this order."""
    topic_id: str | None = None
    """The id of the `kite.control` that the offset counts in; it says nothing of another topic.
    None is unknown: the broker has no ids of topics."""

    def encoded(self) -> bytes:
        """Return the value of the record, as JSON."""
        return _COMPACT(self._asdict()).encode()

    @classmethod
    def decode(cls, value: bytes) -> LeaderProgress:
        """Read the record.

        Raises:
            ValueError: the bytes are not such a record.
        """
        try:
            raw: dict[str, Any] = json.loads(value)
            topic_id = raw.get("topic_id")
            return cls(
                count_of(raw["offset"]),
                count_of(raw["revision"]),
                count_of(raw["sequence"]),
                None if topic_id is None else str(topic_id),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a leader's record: {error!r}") from error


class Remembered(NamedTuple):
    """The record `@reply:<id>`: the answer to a command."""

    sequence: int
    digest: str
    """The digest of the command: another one under the same id is another command."""
    reply: bytes

    def encoded(self) -> bytes:
        """Return the value of the record: the reply, behind the rest, is not parsed."""
        return b"%d %s %s" % (self.sequence, self.digest.encode(), self.reply)

    @classmethod
    def decode(cls, value: bytes) -> Remembered:
        """Read the record.

        Raises:
            ValueError: the bytes are not such a record.
        """
        # fewer parts are a ValueError too
        sequence, digest, reply = value.split(b" ", 2)
        if len(digest) != 2 * DIGEST_BYTES:
            raise ValueError("not a remembered reply: it has no digest")
        return cls(int(sequence), digest.decode("ascii"), reply)


class Halt(StrEnum):
    """The ways in which a slot does not stream because somebody wants it so."""

    PAUSED = "paused"
    """Nothing is subscribed; the socket stays open and keeps the api_key's connection."""
    STOPPED = "stopped"
    """There is no socket: another program may use the connection."""


class Halted(NamedTuple):
    """The record `@halt`: since when a slot is paused or stopped, and who wanted it."""

    halt: Halt
    by: str | None
    time_ms: int

    def encoded(self) -> bytes:
        """Return the value of the record, as JSON."""
        return _COMPACT({"halt": self.halt.value, "by": self.by, "time_ms": self.time_ms}).encode()

    @classmethod
    def decode(cls, value: bytes) -> Halted:
        """Read the record.

        Raises:
            ValueError: the bytes are not such a record.
        """
        try:
            raw = from_json(value)
            return cls(Halt(raw["halt"]), symbol_of(raw["by"]), count_of(raw["time_ms"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a halt: {error!r}") from error


def reconnect_value(command_id: str, time_ms: int) -> bytes:
    """Return the value of the record `@reconnect`."""
    return json.dumps({"id": command_id, "time_ms": time_ms}, separators=(",", ":")).encode()
