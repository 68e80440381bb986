"""What the leader accepts at most, and what it writes at most because of a message.

A message comes from outside: whatever it is, what is kept of it, answered to it, put aside and
logged has a size that is known here, so that a record can always be written and a transaction ends.
"""

from __future__ import annotations

from typing import Final

from connector.control.records import StateRecord

MAX_INSTRUMENTS: Final = 50_000
"""One command may name at most so many instruments."""
MAX_STEPS: Final = 1000
"""A `sequence` may have so many steps; their instruments together are bounded as one command's."""
MAX_FIELDS: Final = 32
"""A message of more fields is refused without a look at each of them."""
MAX_STEP_FIELDS: Final = 8
"""A step of a sequence of more fields is refused likewise."""
MAX_ERRORS: Final = 20
"""A reply lists at most so many errors; the rest are counted."""
ERROR_CHARACTERS: Final = 300
"""An error in a reply, a dead letter or a log line is cut to so many characters."""
INTERNAL_ERROR: Final = "internal error; the leader's log has it"
"""All that is answered of a defect of ours: a traceback is for the log alone."""
EXCERPT_CHARACTERS: Final = 64
"""Foreign text inside an error is cut to so many characters."""
DEAD_LETTER_BYTES: Final = 1024
"""A dead letter keeps so many bytes of the message; its length and SHA-256 are in the headers."""

MAX_WATCHLISTS: Final = 10_000
MAX_CLAIMS_OF_INSTRUMENT: Final = 1000
"""At most so many watchlists may claim one instrument: its record names them all."""
MAX_CLAIMS: Final = 300_000
"""All watchlists may have at most so many claims: at most 25 MB of records."""
MAX_CHANGES: Final = MAX_CLAIMS
"""The steps of a sequence may change so many claims, one as often as they change it."""
MAX_REFRESHES: Final = 100
"""At most so many `refresh-instruments` wait for the list; the next one is rejected."""
MAX_RULES: Final = 500
"""All watchlists may have at most so many rules."""
MAX_RULE_INSTRUMENTS: Final = 5000
"""A rule may come to at most so many instruments; one that comes to more is refused."""
MAX_STRIKES: Final = 500
"""An option chain has at most so many strikes below the middle, and as many above."""
MAX_UNDERLYINGS: Final = 500
"""A rule may name so many underlyings."""
MAX_PRIORITY: Final = 1000
"""A watchlist's priority is at most so far from 0, on either side."""
MAX_RULE_FIELDS: Final = 8
"""A rule of more fields is refused without a look at each of them."""
STATUS_WATCHLISTS: Final = 1000
"""One answer to `status` has so many watchlists; the next page begins behind the last one."""

BATCH_MESSAGES: Final = 500
"""At most so many messages are read before the first of them is applied."""
BATCH_BYTES: Final = 1 << 20
TRANSACTION_RECORDS: Final = 5000
"""A transaction ends with the command that reaches this, or the next bound."""
TRANSACTION_BYTES: Final = 1 << 20
MAX_RECORD_BYTES: Final = 950_000
"""Key and value of any record that the leader writes: a Kafka message holds 1 MB by default."""


def excerpt(text: str, characters: int = EXCERPT_CHARACTERS) -> str:
    """The beginning of a foreign text, fit for a terminal, a log and UTF-8.

    What is not printable (control characters, halves of surrogate pairs, marks that turn the
    direction of writing) becomes U+FFFD. A text that is cut says how long it is.
    """
    kept = "".join(one if one.isprintable() else "\ufffd" for one in text[:characters])
    return kept if len(text) <= characters else f"{kept}… ({len(text)} characters)"


def bounded(errors: tuple[str, ...]) -> tuple[str, ...]:
    """Return so many errors as a reply may list, each cleaned and cut; the rest are counted."""
    lines = tuple(excerpt(line, ERROR_CHARACTERS) for line in errors[:MAX_ERRORS])
    more = len(errors) - len(lines)
    return (*lines, f"and {more} more") if more else lines


def oversize(records: tuple[StateRecord, ...], reply: bytes | None) -> str | None:
    """Name what of a command's outcome no message can hold; None where all of it fits."""
    for record in records:
        size = len(record.key.encode()) + len(record.value or b"")
        if size > MAX_RECORD_BYTES:
            return f"the record {excerpt(record.key)} would have {size} bytes"
    if reply is not None and len(reply) > MAX_RECORD_BYTES:
        return f"the reply would have {len(reply)} bytes"
    return None
