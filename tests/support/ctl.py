"""`kite-connector ctl` in this process, before a leader of its own."""

import contextlib

import yaml
from structlog.testing import capture_logs
from typer.testing import CliRunner

from connector.cli.ctl import ctl
from connector.embedded.broker import EmbeddedBroker
from tests.support.leaders import leader


@contextlib.contextmanager
def commands(kafka, master, folder):
    """Yields what runs a command; its configuration is a file in the folder."""
    # the leader's log goes to the same standard output here, but not in life
    with capture_logs(), leader(kafka, master):
        runner = CliRunner()
        # with what makes the embedded broker answer soon
        client = {"bootstrap_servers": kafka.bootstrap_servers, "client": EmbeddedBroker.client}
        config = folder / "config.yaml"
        config.write_text(yaml.safe_dump({"kafka": client}))

        def run(*arguments, stdin=None):
            return runner.invoke(ctl, [*arguments, "--config", str(config)], input=stdin)

        yield run
