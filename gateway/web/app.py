"""Which addresses does the web edge have, and what stands around them?"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.assemble import Parts
from gateway.guessing import Guessing
from gateway.web import (
    auth,
    board,
    center,
    critical,
    devices,
    dicomweb,
    errors,
    health,
    keeping,
    live,
    notices,
    orders,
    pages,
    repairs,
    reports,
    tasks,
    transmissions,
    verify,
    viewing,
)
from gateway.web.auth import Door
from gateway.web.devices import Edge
from gateway.web.guard import BodyLimit, Guard
from gateway.web.health import Metrics
from gateway.web.live import Live

SMALLEST_GZIP = 1024


def create_app(parts: Parts, edge: Edge | None = None) -> FastAPI:
    """The application over one set of parts; `app.state.live` holds its open streams. `edge` is the
    DICOM edge of the same process, if there is one."""
    streams = Live(parts)
    metrics = Metrics(parts, lambda: streams.count, edge)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        await streams.open()
        yield
        await streams.close()

    app = FastAPI(
        title="Teleread",
        version=_version(),
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=life,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.door = Door(parts, Guessing())
    app.state.live = streams
    errors.install(app, parts)
    for router in (
        health.routes(parts, metrics),
        auth.routes(parts),
        tasks.routes(parts),
        reports.routes(parts),
        center.routes(parts),
        critical.routes(parts),
        orders.routes(parts),
        board.routes(parts),
        devices.routes(parts, edge),
        transmissions.routes(parts),
        notices.routes(parts),
        keeping.routes(parts),
        live.routes(parts, streams),
        verify.routes(parts),
        viewing.routes(parts),
        repairs.routes(parts),
        dicomweb.routes(parts),
    ):
        app.include_router(router)
    app.include_router(pages.routes())
    app.add_middleware(_Compressed)
    app.add_middleware(BodyLimit)
    app.add_middleware(Guard, settings=parts.settings, metrics=metrics)
    return app


class _Compressed:
    """Lists and cases go out compressed; pictures, frames, documents and streams as they are."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._gzip = GZipMiddleware(
            app,
            minimum_size=SMALLEST_GZIP,
            compresslevel=4,
            exclude_content_types=(*DEFAULT_EXCLUDED_CONTENT_TYPES, "application/pdf"),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        compressible = scope["type"] == "http" and scope["path"].startswith("/api/")
        await (self._gzip if compressible else self._app)(scope, receive, send)


def _version() -> str:
    try:
        return version("teleread")
    except PackageNotFoundError:
        return "0"
