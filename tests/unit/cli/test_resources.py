import yaml
from typer.testing import CliRunner

from connector.cli import app
from connector.errors import SettingsError


def run(*arguments):
    return CliRunner().invoke(app, ["kafka-resources", *arguments])


def test_it_prints_documents_for_the_settings_and_options():
    done = run("--strimzi", "--cluster", "main", "--prefix", "market", "--user", "streamer")
    assert done.exit_code == 0, done.output
    documents = list(yaml.safe_load_all(done.stdout))
    names = {(one["kind"], one["metadata"]["name"]) for one in documents}
    assert {("KafkaTopic", "market.ticks.nse"), ("KafkaUser", "streamer")} <= names
    assert all(one["metadata"]["labels"]["strimzi.io/cluster"] == "main" for one in documents)


def test_the_form_is_asked_for():
    done = run()
    assert isinstance(done.exception, SettingsError)
    assert "--strimzi" in str(done.exception)
