import json

import pytest

from connector import ErrorMessage, OrderMessage, TextMessage
from connector.kite.wire.messages import MAX_NESTING, parse_message


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
        ('{"type": 7, "data": 1}', TextMessage("", '{"type": 7, "data": 1}')),
        ("{}", TextMessage("", "{}")),
        ("[1, 2]", TextMessage("", "[1, 2]")),
        ("not json", TextMessage("", "not json")),
        ("", TextMessage("", "")),
        ("[" * 100_000, TextMessage("", "[" * 100_000)),
    ],
)
def test_whatever_else_comes(text, expected):
    assert parse_message(text) == expected


def nested(levels, kind="list"):
    inner = "1"
    for _ in range(levels):
        inner = f"[{inner}]" if kind == "list" else f'{{"a":{inner}}}'
    return inner


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "text_not_json"),
        ("{", "text_not_json"),
        ("[" * 100_000, "text_too_deep"),
        (f'{{"type": "order", "data": {nested(MAX_NESTING, "object")}}}', "text_too_deep"),
        (f'{{"type": "order", "data": {{"meta": {nested(MAX_NESTING)}}}}}', "text_too_deep"),
        ("null", "text_not_an_object"),
        ('"order"', "text_not_an_object"),
        ("1e999", "text_not_an_object"),
        ('{"type": "order"}', "order_without_data"),
        ('{"type": "order", "data": [1]}', "order_without_data"),
        ('{"type": "surprise", "data": {"a": [1, {"b": null}]}}', ""),
        ("{}", "text_without_type"),
        ('{"type": ["order"]}', "text_without_type"),
        ('{"type": ""}', "text_without_type"),
        ('{"TYPE": "order", "DATA": {"order_id": "1"}}', "text_without_type"),
    ],
)
def test_what_cannot_be_read_has_a_fault(text, fault):
    assert parse_message(text).fault == fault


def test_as_deep_as_is_allowed():
    order = f'{{"type": "order", "data": {{"meta": {nested(MAX_NESTING - 2)}}}}}'
    assert isinstance(parse_message(order), OrderMessage)
