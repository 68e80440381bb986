import json

from connector.control.contract import json_schemas, write


def test_there_is_a_schema_of_each_kind_of_message(tmp_path):
    files = write(tmp_path)
    assert [file.name for file in files] == [
        "command.json", "reply.json", "subscription.json", "watchlists.json",
    ]  # fmt: skip
    for file in files:
        assert file.read_text() == json_schemas()[file.name]
        assert json.loads(file.read_text())["$schema"].startswith("https://json-schema.org/")
