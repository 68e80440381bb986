"""JSON Schemas of the control messages, a subscription and a file of watchlists, from the models.

They lie in `schemas/` for programs in other languages. `python -m connector.control.contract`
writes them anew; a test checks that they are current.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from connector.control.commands import COMMAND
from connector.control.plan import WantedWatchlists
from connector.control.records import SubscriptionRecord
from connector.control.reply import Reply

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schemas() -> dict[str, str]:
    """Return the text of each schema by the name of its file."""
    models: dict[str, dict[str, Any]] = {
        "command": COMMAND.json_schema(),
        "reply": Reply.model_json_schema(mode="serialization"),
        "subscription": SubscriptionRecord.model_json_schema(),
        "watchlists": WantedWatchlists.model_json_schema(),
    }
    return {
        f"{name}.json": json.dumps({"$schema": DIALECT, **schema}, indent=2) + "\n"
        for name, schema in models.items()
    }


def write(directory: Path) -> list[Path]:
    """Write every schema into a directory; returns the files."""
    files = []
    for name, text in json_schemas().items():
        path = directory / name
        path.write_text(text, encoding="utf-8")
        files.append(path)
    return files


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "schemas"))
