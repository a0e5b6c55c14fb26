"""How does a person of the bench work at the gateway: signed in, reading, signing, listening?"""

import json
import threading
import time
import uuid
from collections.abc import Callable
from types import TracebackType
from typing import Any

import httpx

from tools.bench.figures import NotMeasured
from tools.bench.house import PASSWORD, PATIENCE, House, until

Json = dict[str, Any]


class Person:
    """Somebody with a session. Every request that is refused ends the measurement."""

    def __init__(self, house: House, name: str) -> None:
        self.http = httpx.Client(base_url=house.address, timeout=PATIENCE, trust_env=False)
        session = self.post("/api/session", {"name": name, "password": PASSWORD})
        self.http.headers["X-CSRF-Token"] = session["csrf"]

    def __enter__(self) -> "Person":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.http.close()

    def get(self, path: str, **parameters: Any) -> httpx.Response:
        """An answer that is not a refusal."""
        return _allowed(self.http.get(path, params=parameters))

    def post(self, path: str, body: object = None) -> Json:
        """What was answered."""
        answer = _allowed(self.http.post(path, json=body))
        found: Json = answer.json() if answer.content else {}
        return found

    def tasks(self, tab: str = "all") -> list[Json]:
        """The first page of the worklist."""
        found: list[Json] = self.get("/api/tasks", tab=tab, limit=200).json()["tasks"]
        return found

    def ready_to_sign(self, task_id: str) -> Json:
        """Claim, write, and return what the page would send when the key is pressed."""
        case = self.post(f"/api/tasks/{task_id}/claim")
        draft = {
            "draft_version": case["draft"]["draft_version"],
            "findings": "窦性心律，各导联未见异常。Sinus rhythm, no abnormality in any lead.",
            "impression": "未见异常 Normal",
            "result": "normal",
            "key_image": None,
        }
        saved = _allowed(self.http.put(f"/api/tasks/{task_id}/draft", json=draft)).json()
        instances = [one for series in case["study"]["series"] for one in series["instances"]]
        return {
            "request_id": str(uuid.uuid4()),
            "study_id": int(case["study"]["id"]),
            "draft_version": saved["draft_version"],
            "painted": [{"sop_uid": one["uid"], "v": one["v"]} for one in instances],
        }

    def live(self) -> "Live":
        """An open live page."""
        return Live(self)


class Live:
    """The event stream of one page: which task stood in it when (wall clock, seconds)."""

    def __init__(self, person: Person) -> None:
        self.tasks: dict[str, float] = {}  # Study Instance UID → when its task first came
        self._opened = threading.Event()
        self._ended = threading.Event()
        self._http = httpx.Client(
            base_url=person.http.base_url,
            cookies=person.http.cookies,
            timeout=httpx.Timeout(PATIENCE),
            trust_env=False,
        )
        self._thread = threading.Thread(target=self._read, name="live", daemon=True)
        self._thread.start()
        if not self._opened.wait(PATIENCE):
            raise NotMeasured("the live stream did not open")

    def __enter__(self) -> "Live":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def arrival(self, study_uid: str) -> float:
        """When the task of this study came; waits for it."""
        until(lambda: study_uid in self.tasks, "the task event of a study")
        return self.tasks[study_uid]

    def wait_for_end(self) -> None:
        """Until the server has ended the stream."""
        self._ended.wait(PATIENCE)

    def close(self) -> None:
        """Leave."""
        self._http.close()

    def _read(self) -> None:
        name = ""
        try:
            with self._http.stream("GET", "/api/live") as answer:
                for line in answer.iter_lines():
                    at = time.time()
                    field, _, value = line.partition(": ")
                    if field == "event":
                        name = value
                    elif field == "data":
                        self._opened.set()
                        self._take(name, value, at)
        except (httpx.HTTPError, httpx.StreamError, OSError):
            pass  # the server or we have ended it
        finally:
            self._ended.set()

    def _take(self, name: str, value: str, at: float) -> None:
        if name != "task":
            return
        task = json.loads(value)
        if "study" in task:
            self.tasks.setdefault(task["study"]["uid"], at)


def timed(action: Callable[[], object]) -> float:
    """Milliseconds that something takes."""
    began = time.perf_counter()
    action()
    return (time.perf_counter() - began) * 1000


def _allowed(answer: httpx.Response) -> httpx.Response:
    if answer.is_error:
        raise NotMeasured(f"{answer.request.url.path} answered {answer.status_code}")
    return answer
