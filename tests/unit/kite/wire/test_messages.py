import json

import pytest

from connector import ErrorMessage, OrderMessage, TextMessage
from connector.kite.wire.messages import parse_message


def test_an_order():
    message = parse_message('{"type": "order", "data": {"order_id": "1", "status": "UPDATE"}}')
    assert isinstance(message, OrderMessage)
    assert message.order.order_id == "1"


def test_an_error():
    text = "Can't subscribe to more than 3000 instruments."
    assert parse_message(json.dumps({"type": "error", "data": text})) == ErrorMessage(text)
    assert parse_message('{"type": "error", "data": {"code": 1}}') == ErrorMessage('{"code": 1}')


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"type": "message", "data": "hello"}', TextMessage("message", "hello")),
        (
            '{"type": "instruments_meta", "data": {"count": 9, "etag": "W/1"}}',
            TextMessage("instruments_meta", {"count": 9, "etag": "W/1"}),
        ),
        ('{"type": "app_code", "timestamp": "x"}', TextMessage("app_code", None)),
        ('{"type": "order", "data": "no object"}', TextMessage("order", "no object")),
        ('{"type": 7, "data": 1}', TextMessage("", 1)),
        ("{}", TextMessage("", None)),
        ("[1, 2]", TextMessage("", "[1, 2]")),
        ("not json", TextMessage("", "not json")),
        ("", TextMessage("", "")),
        ("[" * 100_000, TextMessage("", "[" * 100_000)),
    ],
)
def test_whatever_else_comes(text, expected):
    assert parse_message(text) == expected
