import inspect
import re

import pytest

from connector import errors
from connector.errors import ConnectorError

CLASSES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, ConnectorError) and kind.__module__ == errors.__name__
]
# an argument for every parameter there is
ARGUMENTS = {
    "problems": [errors.SettingProblem("http.port", "is wrong", "kite.yaml:3")],
    "refused": list(range(20)),
    "capacity": 9000,
    "status": 403,
    "port": 8090,
    "silent_seconds": 7.5,
    "timeout_seconds": 2.0,
    "packet": b"\x01\x02",
}


def example(kind):
    if kind.__init__ is Exception.__init__:
        return kind("what happened")
    parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]
    names = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    return kind(*[ARGUMENTS.get(name, f"<{name}>") for name in names])


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_says_something(kind):
    error = example(kind)
    if kind.__str__ is not Exception.__str__:
        assert str(error).strip()
        assert "Error(" not in str(error)
    # errors cross threads and processes
    assert type(error)(*error.args).args == error.args


def test_the_tree_at_the_top_is_the_tree():
    drawn = {}
    above = []
    for line in errors.__doc__.splitlines():
        match = re.match(r"    ([│├└─ ]*)(\w+)", line)
        if match is None:
            continue
        depth = len(match[1]) // 4
        above[depth:] = [match[2]]
        drawn[match[2]] = above[depth - 1] if depth else "Exception"
    assert drawn == {kind.__name__: kind.__bases__[0].__name__ for kind in CLASSES}


def test_retryable_is_a_fact_of_the_class():
    assert {kind.__name__ for kind in CLASSES if kind.retryable} == {
        "HandshakeError", "TooManyConnectionsError", "FeedUnreachableError",
        "SilentConnectionError", "BrokerUnreachableError", "RegistryUnreachableError",
        "TransactionAbortedError", "ProducerExpiredError", "NoReplyError",
    }  # fmt: skip
    assert not errors.TokenRejectedError(403).retryable


def test_settings_errors_name_everything():
    error = example(errors.SettingsError)
    assert str(error) == "wrong settings:\n  http.port: is wrong (kite.yaml:3)"


def test_long_lists_are_cut():
    assert "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 10 more" in str(example(errors.CapacityError))


def test_a_gateway_that_has_had_enough_is_quoted_and_kite_is_not():
    error = errors.TooManyConnectionsError(429, "Rate limit of the gateway", foreign=True)
    assert str(error).endswith("it said: Rate limit of the gateway")
    assert "said" not in str(errors.TooManyConnectionsError(429, "Too many", foreign=False))
