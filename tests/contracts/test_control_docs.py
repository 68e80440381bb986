"""Every control message that the documentation shows is one."""

import json
import re
from pathlib import Path

import pytest
import yaml

from connector.control.commands import COMMAND
from connector.control.parsing import Rejected, parse
from connector.control.plan import parse_watchlists
from connector.control.records import SubscriptionRecord
from connector.control.reply import Reply

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "control.md").read_text()


def shown():
    """Every JSON object in a block of JSON, or between quotes in a shell command."""
    for block in re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL):
        decoder, at = json.JSONDecoder(), 0
        while block[at:].strip():
            at += len(block[at:]) - len(block[at:].lstrip())
            value, at = decoder.raw_decode(block, at)
            yield value
    for quoted in re.findall(r"'(\{.*?\})'", TEXT):
        yield json.loads(quoted)


@pytest.mark.parametrize("value", list(shown()), ids=lambda value: str(value.get("id", "state")))
def test_it_is_what_it_says(value):
    if "status" in value:
        assert Reply.model_validate(value)
    elif "type" in value:
        assert not isinstance(parse(json.dumps(value).encode(), 10_000), Rejected)
    else:
        assert SubscriptionRecord.model_validate(value)


@pytest.mark.parametrize("block", re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL))
def test_a_file_of_watchlists_is_one(block):
    assert parse_watchlists(yaml.safe_load(block)).watchlists


def test_every_type_and_field_is_described():
    schema = COMMAND.json_schema()
    for kind in schema["discriminator"]["mapping"]:
        assert f"| `{kind}` |" in TEXT
    fields = {field for model in schema["$defs"].values() for field in model.get("properties", ())}
    for field in fields - {"type"}:
        assert f"`{field}`" in TEXT
