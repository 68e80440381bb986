"""What Kafka must have for the settings, as others want it: `kite-connector kafka-resources`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from connector.cli.options import with_settings
from connector.errors import SettingsError

if TYPE_CHECKING:
    from connector.settings.models import Settings


@with_settings("name", "prefix")
def kafka_resources(
    strimzi: Annotated[
        bool, typer.Option("--strimzi", help="Print KafkaTopic and KafkaUser of Strimzi (v1).")
    ] = False,
    cluster: Annotated[
        str, typer.Option(help="Name of the Kafka resource that Strimzi's operators belong to.")
    ] = "my-cluster",
    namespace: Annotated[
        str | None, typer.Option(help="The namespace that Strimzi's operators watch.")
    ] = None,
    user: Annotated[
        str | None,
        typer.Option(
            help="The connector's name to the brokers; by default kafka.sasl_username, or name."
        ),
    ] = None,
    authentication: Annotated[
        Literal["scram-sha-512", "tls", "tls-external", "none"] | None,
        typer.Option(help="What users prove who they are with; by default as the settings say."),
    ] = None,
    *,
    settings: Settings,
) -> None:
    """Print the topics and users that Kafka must have for these settings.

    Topics with their partitions and configuration, users with the ACLs that each kind of program
    needs and no others: the connector, an operator (`ctl`), a consumer. With topics.create off the
    connector's user may not create topics. Nothing is asked of any broker.
    """
    import yaml

    from connector.cluster.layout import partitions
    from connector.kafka.strimzi import strimzi_resources

    if not strimzi:
        raise SettingsError.of("--strimzi", "is required: no other form is known")
    documents = strimzi_resources(
        settings,
        slots=partitions(settings.accounts),
        cluster=cluster,
        namespace=namespace,
        user=user,
        authentication=authentication,
    )
    typer.echo(yaml.safe_dump_all(documents, sort_keys=False, width=100), nl=False)
