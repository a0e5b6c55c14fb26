"""How does the web edge run beside the others in one process, and how does it stop?"""

import asyncio
import logging
import socket
import threading

import uvicorn
from anyio import to_thread

from gateway.assemble import Parts
from gateway.web.app import create_app
from gateway.web.devices import Edge
from worklist.errors import Code, Refusal

log = logging.getLogger("teleread.web")

# The index's pool has more connections than this: no request waits for one.
THREADS = 32
BACKLOG = 512
START_WITHIN = 30.0


class WebEdge:
    """The web server on a thread of its own. It leaves signals to the process."""

    def __init__(self, parts: Parts, edge: Edge | None = None) -> None:
        self._settings = parts.settings
        self.app = create_app(parts, edge)
        self._server = uvicorn.Server(self._config())
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)
        self._socket: socket.socket | None = None
        self._started = threading.Event()

    @property
    def port(self) -> int:
        """The port it listens on, also where port 0 was asked for."""
        return int(self._socket.getsockname()[1]) if self._socket else self._settings.web_port

    def start(self) -> None:
        """Listen, and return once requests are answered."""
        self._socket = self._listen()
        self._thread.start()
        if not self._started.wait(START_WITHIN) or not self._server.started:
            raise Refusal(Code.OUT_OF_RESOURCES, "The web server did not start.")

    def stop(self, timeout: float) -> None:
        """Take nothing new, end live streams, let answers in flight finish within these seconds."""
        self._server.config.timeout_graceful_shutdown = max(int(timeout) - 2, 1)
        self._server.should_exit = True
        self.app.state.live.close_from_outside()
        self._thread.join(timeout - 0.5)
        if self._thread.is_alive():
            self._server.force_exit = True
            self._thread.join(0.5)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception:
            log.exception("the web server has ended")
        finally:
            self._started.set()

    async def _serve(self) -> None:
        to_thread.current_default_thread_limiter().total_tokens = THREADS
        watch = asyncio.create_task(self._tell_started())
        await self._server.serve(sockets=[self._socket] if self._socket else None)
        watch.cancel()

    async def _tell_started(self) -> None:
        while not self._server.started:
            await asyncio.sleep(0.01)
        self._started.set()

    def _listen(self) -> socket.socket:
        host, port = self._settings.web_host, self._settings.web_port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # The protocol is named: asyncio sets TCP_NODELAY only on sockets that say they are TCP.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            raise Refusal(
                Code.OUT_OF_RESOURCES,
                f"TELEREAD_WEB_PORT: cannot listen on {host}:{port}: {error.strerror}.",
            ) from error
        return listener

    def _config(self) -> uvicorn.Config:
        settings = self._settings
        proxies = settings.trusted_proxies.strip()
        return uvicorn.Config(
            self.app,
            log_config=None,
            access_log=False,
            server_header=False,
            ws="none",
            lifespan="on",
            timeout_keep_alive=30,
            timeout_graceful_shutdown=5,
            proxy_headers=bool(proxies),
            forwarded_allow_ips=proxies or None,
            ssl_certfile=settings.web_tls_cert,
            ssl_keyfile=settings.web_tls_key,
        )
