"""How does the gateway run, and how does it stop?"""

import gc
import json
import logging
import signal
import threading
import time
from collections.abc import Callable, Collection
from typing import Any

from gateway import commands
from gateway.assemble import Parts, assemble, raise_limits
from gateway.dicom.ae import DicomEdge
from gateway.dicom.tls import require_tls_settings
from gateway.local import LocalServer
from gateway.logs import configure_logging
from gateway.settings import Settings, require_safe_listening
from gateway.stores import prove
from gateway.web.server import WebEdge
from gateway.worker import Worker
from worklist.errors import Refusal
from worklist.person import Role

log = logging.getLogger("teleread.serve")

# everything has ended by then, pages open or not
STOP_WITHIN = 8.0
ROLES = ("dicom", "web", "worker")


class Gateway:
    """The running edges over one set of parts."""

    def __init__(self, parts: Parts, only: Collection[str] = ROLES) -> None:
        self.parts = parts
        self.dicom = DicomEdge(parts) if "dicom" in only else None
        self.web = WebEdge(parts, self.dicom) if "web" in only else None
        self.worker = Worker(parts) if "worker" in only else None
        self.local = LocalServer(parts.settings.data_dir, self._command) if parts.lock else None

    def start(self) -> None:
        """Begin to work, listeners last."""
        for part in (self.worker, self.local, self.web, self.dicom):
            if part is not None:
                part.start()

    def stop(self) -> None:
        """Take nothing new, finish what is in flight, and end. Within `STOP_WITHIN` seconds in
        all."""
        end = time.monotonic() + STOP_WITHIN
        threads = [
            threading.Thread(target=part.stop, args=(STOP_WITHIN - 1,))
            for part in (self.dicom, self.web, self.worker)
            if part is not None
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(end - time.monotonic(), 0.1))
        if self.local is not None:
            self.local.stop()

    def _command(self, request: dict[str, Any]) -> dict[str, Any]:
        return commands.run(self.parts, request["command"], request["given"])


def serve(
    settings: Settings,
    only: Collection[str] = ROLES,
    before: Callable[[Parts], None] = lambda _: None,
    ready: Callable[[Gateway], None] = lambda _: None,
) -> int:
    """Run in the foreground until SIGTERM or SIGINT. The exit code.

    `before` is called once the parts are open, `ready` once every listener listens.
    """
    configure_logging(settings.log_level)
    require_safe_listening(settings)
    require_tls_settings(settings)
    raise_limits()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    parts = assemble(settings)
    try:
        prove(parts.objects)
    except Refusal:
        parts.close()
        raise
    before(parts)
    gateway = Gateway(parts, only)
    gateway.start()
    # What there is now stays: a full collection would walk through it for 0.15 s, again and again,
    # while everybody waits.
    gc.freeze()
    _say_where(parts)
    ready(gateway)
    # The kernel may hand a signal to any thread; its handler runs when this one next wakes.
    while not stop.wait(1):
        pass
    log.info("stopping")
    gateway.stop()
    parts.close()
    log.info("stopped")
    return 0


def _say_where(parts: Parts) -> None:
    """What is still missing, then, last, that it is ready."""
    with parts.view() as unit:
        admin = any(Role.ADMIN in one.roles for one in unit.people.people().values())
        sites = unit.people.sites()
    if not sites:
        log.warning(
            "there is no site yet; begin with: "
            "teleread site add HOSPITAL --name NAME --kind hospital"
        )
    if not admin:
        log.warning(
            "there is no administrator yet; make the first with: "
            "teleread user add NAME --role admin --site HOSPITAL --password-stdin"
        )
    settings = parts.settings
    log.info(
        "ready: web %s, DICOM %s",
        settings.address,
        json.dumps([settings.ae_title, settings.dicom_host, settings.dicom_port]),
    )
