"""`kite-connector ctl set-rule`: a rule out of options, each described where its model is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from connector.cli.ctl_shown import connected
from connector.cli.options import JsonOption, with_options
from connector.errors import SettingsError

if TYPE_CHECKING:
    from connector.settings.models import Settings

_MODELS: Final = "connector.control.rules:"
_command = with_options(
    "connector.control.commands:SetRule",
    leave_out=("type", "claims"),
    optional=("id",),
    short={"watchlist": "-w", "mode": "-m"},
)
_chain = with_options(
    _MODELS + "ChainRule", leave_out=("type", "expiry", "exchange"), optional=("underlying",)
)
_pattern = with_options(
    _MODELS + "PatternRule", leave_out=("type", "expiry", "kinds"), optional=("pattern",)
)
_OF_RULES: Final = ("underlying", "strikes", "spot", "pattern")


@connected
@_command
@_chain
@_pattern
def set_rule(
    *,
    settings: Settings,
    expiry: Annotated[
        str | None,
        typer.Option(
            "--expiry",
            help="When the contracts expire: nearest, next, near-month, next-month, a day, or two "
            "as first/last.",
        ),
    ] = None,
    kinds: Annotated[
        list[str] | None,
        typer.Option("--kind", help="With --pattern, only EQ, FUT, CE or PE; several times."),
    ] = None,
    exchange: Annotated[
        str | None,
        typer.Option(
            "--exchange", help="The exchange of the contracts; alone, all of its futures."
        ),
    ] = None,
    names: Annotated[
        list[str] | None,
        typer.Option("--of", help="With --exchange, futures of this underlying; several times."),
    ] = None,
    claims: Annotated[
        str | None,
        typer.Option("--claims", help="The rule as JSON, in place of the options above."),
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.1, help="Wait so many seconds for a reply.")
    ] = 30.0,
    as_json: JsonOption = False,
    **given: Any,
) -> None:
    """Let a watchlist claim whatever a rule describes, from now on.

    An option chain with --underlying, all symbols of a pattern with --pattern, futures with
    --exchange alone. Try it first with --dry-run: the instruments are shown.
    """
    from connector.cli.ctl import send_fields

    described: dict[str, Any] = {n: given.pop(n) for n in _OF_RULES if n in given}
    described |= {"expiry": expiry, "kinds": kinds, "exchange": exchange, "names": names}
    described = {name: value for name, value in described.items() if value is not None}
    fields = {"type": "set-rule", **given, "claims": _rule(described, claims)}
    send_fields(settings, timeout, as_json, fields)


def _rule(described: dict[str, Any], text: str | None) -> object:
    """Return the rule that the options describe.

    Raises:
        SettingsError: they describe none, or it is described twice.
    """
    if text is not None:
        if described:
            raise SettingsError.of("--claims", "stands without other options of a rule")
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:  # the latter of brackets without end
            raise SettingsError.of("--claims", f"is not JSON: {error}") from None
    for field, kind in (("pattern", "pattern"), ("underlying", "option-chain")):
        if field in described:
            return {"type": kind, **described}
    if "exchange" in described:
        return {"type": "futures", **described}
    raise SettingsError.of("set-rule", "give --underlying, --pattern, --exchange or --claims")
