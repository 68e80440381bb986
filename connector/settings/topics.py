"""The settings of the topics, and of the candles that one of them has where it is asked for."""

from __future__ import annotations

from pydantic import Field, model_validator

from connector.settings.section import Hours, Section


class TopicSettings(Section):
    """The names and the shape of the topics."""

    prefix: str = Field(
        "kite",
        pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,100}$",
        description="First part of every topic's name.",
    )
    create: bool = Field(
        True, description="Create the topics that are missing; false only checks them."
    )
    replication_factor: int | None = Field(
        None,
        ge=1,
        le=32767,
        description="Topics are created with so many replicas; null: 3, less with fewer brokers.",
    )
    min_insync_replicas: int | None = Field(
        None,
        ge=1,
        description="Created with this min.insync.replicas; null: replicas less 1, at least 1.",
    )
    tick_partitions: int = Field(
        6,
        ge=1,
        le=10_000,
        description="Each kite.ticks.<exchange> is created with so many partitions.",
    )
    order_partitions: int = Field(
        3, ge=1, le=10_000, description="kite.orders is created with so many partitions."
    )
    tick_retention_hours: Hours = Field(
        72.0, description="Each kite.ticks.<exchange> keeps its records for so many hours."
    )
    order_retention_hours: Hours = Field(
        720.0, description="kite.orders keeps its records for so many hours."
    )
    event_retention_hours: Hours = Field(
        720.0, description="kite.events keeps its records for so many hours."
    )
    control_retention_hours: Hours = Field(
        168.0,
        description="kite.control and kite.control.replies keep their records for so many hours.",
    )
    deadletter_retention_hours: Hours = Field(
        336.0, description="kite.deadletter keeps its records for so many hours."
    )
    latest: bool = Field(
        False, description="Write each instrument's newest tick to kite.latest, compacted."
    )
    latest_interval_seconds: float = Field(
        5.0,
        ge=0.1,
        le=3600.0,
        description="An instrument has one record in so many seconds in kite.latest, at most.",
    )
    latest_retention_hours: Hours = Field(
        168.0, description="kite.latest forgets what has not ticked for so many hours."
    )

    backfill: bool = Field(
        False,
        description="After a gap fetch minute candles of the instruments concerned and write them "
        "to kite.backfill.1m; needs an app with the right to historical data. See backfill.",
    )
    backfill_retention_hours: Hours = Field(
        720.0, description="kite.backfill.1m keeps its records for so many hours."
    )

    @model_validator(mode="after")
    def _satisfiable(self) -> TopicSettings:
        if (self.min_insync_replicas or 1) > (self.replication_factor or 32767):
            raise ValueError("min_insync_replicas must not exceed replication_factor")
        return self


class BackfillSettings(Section):
    """The candles that are fetched for gaps, where topics.backfill is on."""

    max_gaps: int = Field(
        100,
        ge=1,
        le=10_000,
        description="So many gaps may wait; kite.events says which further ones are left out.",
    )
    max_instruments: int = Field(
        3000,
        ge=1,
        le=9000,
        description="Fetch candles of so many instruments of one gap at most; each is a request, "
        "of which an api_key may send three a second.",
    )
    max_minutes: int = Field(
        1000,
        ge=1,
        le=10_000,
        description="Fetch so many minutes of trading of one gap at most, the last ones.",
    )
    settle_seconds: float = Field(
        30.0,
        ge=0,
        le=3600,
        description="Fetch candles so long after the last minute of a gap has ended.",
    )
