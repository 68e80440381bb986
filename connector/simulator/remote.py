"""REST calls under /simulator: whoever runs the simulator in another process steers it by them.

None of them asks for credentials: whoever reaches the port may do everything.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

from aiohttp import web
from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, ValidationError

from connector.simulator.access import RefusedError
from connector.simulator.faults import FaultKind, FaultSpec
from connector.simulator.rest import answer

if TYPE_CHECKING:
    from connector.simulator.simulator import SimulatorServer


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Token(_Body):
    access_token: str = Field(min_length=1)
    api_key: str | None = None


class _Market(_Body):
    open: bool | None = None
    updates_per_second: float | None = Field(None, ge=0, le=1e6)


class _Step(_Body):
    updates: int = Field(1, ge=1, le=10_000_000)


class _Flood(_Body):
    packets: int | None = Field(None, ge=1)
    seconds: float | None = Field(None, gt=0, le=3600)
    packets_per_frame: int = Field(1, ge=1, le=5_000)
    sockets: tuple[int, ...] | None = None


class _Frame(_Body):
    payload: Base64Bytes
    sockets: tuple[int, ...] | None = None


class _Message(_Body):
    message: str | dict[str, Any]
    sockets: tuple[int, ...] | None = None


class _Fill(_Body):
    order_id: str
    price: float | None = Field(None, gt=0)
    quantity: int | None = Field(None, ge=1)


B = TypeVar("B", bound=BaseModel)


class RemoteControl:
    """The routes under /simulator."""

    def __init__(self, server: SimulatorServer) -> None:
        self._server = server

    def routes(self) -> list[web.RouteDef]:
        """Return the routes for an aiohttp application."""
        return [
            web.get("/simulator/health", self._health),
            web.get("/simulator/state", self._state),
            web.get("/simulator/subscriptions", self._subscriptions),
            web.post("/simulator/faults", self._inject),
            web.delete("/simulator/faults", self._clear),
            web.delete("/simulator/faults/{kind}", self._clear),
            web.put("/simulator/token", self._set_token),
            web.delete("/simulator/token", self._expire_token),
            web.post("/simulator/market", self._market),
            web.post("/simulator/step", self._step),
            web.post("/simulator/heartbeat", self._heartbeat),
            web.post("/simulator/flood", self._flood),
            web.post("/simulator/frames", self._send_frame),
            web.post("/simulator/messages", self._send_message),
            web.post("/simulator/fills", self._fill),
        ]

    async def _health(self, _: web.Request) -> web.Response:
        return answer({"ws_url": self._server.ws_url})

    async def _state(self, _: web.Request) -> web.Response:
        return answer(self._server.state())

    async def _subscriptions(self, _: web.Request) -> web.Response:
        return answer(
            {
                str(socket.number): {str(t): mode for t, mode in socket.subscriptions.items()}
                for socket in self._server.sockets
            }
        )

    async def _inject(self, request: web.Request) -> web.Response:
        return answer({"sockets": await self._server.inject(await _read(request, FaultSpec))})

    async def _clear(self, request: web.Request) -> web.Response:
        kind = request.match_info.get("kind")
        if kind is not None and kind not in set(FaultKind):
            raise RefusedError(404, "InputException", "There is no such fault.")
        self._server.clear_faults(None if kind is None else FaultKind(kind))
        return answer({})

    async def _set_token(self, request: web.Request) -> web.Response:
        body = await _read(request, _Token)
        self._server.set_token(body.access_token, api_key=self._known(body.api_key))
        return answer({})

    async def _expire_token(self, request: web.Request) -> web.Response:
        self._server.expire_token(api_key=self._known(request.query.get("api_key")))
        return answer({})

    def _known(self, api_key: str | None) -> str | None:
        if api_key is not None and api_key not in self._server.access.api_keys:
            raise RefusedError(404, "InputException", "There is no such api_key.")
        return api_key

    async def _market(self, request: web.Request) -> web.Response:
        body = await _read(request, _Market)
        if body.open is not None:
            self._server.set_market(is_open=body.open)
        if body.updates_per_second is not None:
            self._server.updates_per_second = body.updates_per_second
        return answer({})

    async def _step(self, request: web.Request) -> web.Response:
        return answer({"moved": await self._server.step((await _read(request, _Step)).updates)})

    async def _heartbeat(self, _: web.Request) -> web.Response:
        await self._server.heartbeat()
        return answer({})

    async def _flood(self, request: web.Request) -> web.Response:
        body = await _read(request, _Flood)
        if body.packets is None and body.seconds is None:
            raise RefusedError(400, "InputException", "A flood needs packets or seconds.")
        results = await self._server.flood(**body.model_dump())
        return answer({str(number): asdict(result) for number, result in results.items()})

    async def _send_frame(self, request: web.Request) -> web.Response:
        body = await _read(request, _Frame)
        reached = await self._server.send_frame(body.payload, sockets=body.sockets)
        return answer({"sockets": reached})

    async def _send_message(self, request: web.Request) -> web.Response:
        body = await _read(request, _Message)
        reached = await self._server.send_text(body.message, sockets=body.sockets)
        return answer({"sockets": reached})

    async def _fill(self, request: web.Request) -> web.Response:
        body = await _read(request, _Fill)
        updates = self._server.fill_order(body.order_id, price=body.price, quantity=body.quantity)
        return answer(updates[-1])


async def _read(request: web.Request, kind: type[B]) -> B:
    try:
        return kind.model_validate_json(await request.read() or b"{}")
    except ValidationError as error:
        # without the input: a token may be in it
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "body"
        raise RefusedError(400, "InputException", f"{where}: {first['msg']}") from error
