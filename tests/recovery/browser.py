"""How does a person of a test work at a browser, without one?

Cookie, CSRF token and addresses as the application's own pages use them.
"""

import json
import socket
import uuid
from collections.abc import Iterator
from typing import Any

import httpx

from tests.recovery.house import PASSWORD, PATIENCE, House

Json = dict[str, Any]


class Person:
    """One person with a session."""

    def __init__(self, house: House, name: str, *, password: str = PASSWORD) -> None:
        self.name = name
        self.house = house
        self.http = httpx.Client(base_url=house.address, timeout=PATIENCE, trust_env=False)
        self.session = expect(
            200, self.http.post("/api/session", json={"name": name, "password": password})
        )
        self.http.headers["X-CSRF-Token"] = self.session["csrf"]

    def __enter__(self) -> "Person":
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    @property
    def cookie(self) -> str:
        return f"teleread_session={self.http.cookies['teleread_session']}"

    def get(self, path: str, **given: Any) -> httpx.Response:
        return self.http.get(path, **given)

    def post(self, path: str, body: object = None) -> httpx.Response:
        return self.http.post(path, json=body)

    def tasks(self, tab: str = "all") -> list[Json]:
        """The first page of the worklist."""
        found: list[Json] = expect(200, self.get("/api/tasks", params={"tab": tab}))["tasks"]
        return found

    def claim(self, task_id: str) -> httpx.Response:
        return self.post(f"/api/tasks/{task_id}/claim")

    def write(
        self,
        case: Json,
        impression: str = "窦性心律。",
        findings: str = "未见异常。",
        result: str = "normal",
    ) -> httpx.Response:
        """Save a draft over the one of the case."""
        body = {
            "draft_version": case["draft"]["draft_version"],
            "findings": findings,
            "impression": impression,
            "result": result,
            "key_image": None,
        }
        return self.http.put(f"/api/tasks/{case['task']['id']}/draft", json=body)

    def sign(self, task_id: str, request: Json) -> httpx.Response:
        return self.post(f"/api/tasks/{task_id}/sign", request)

    def read_and_sign(self, task_id: str, **text: str) -> Json:
        """Everything from the claim to the signature; what signing answered."""
        case = expect(200, self.claim(task_id))
        draft = expect(200, self.write(case, **text))
        return expect(200, self.sign(task_id, to_sign(case, draft["draft_version"])))

    def live(self, last: str = "") -> "Live":
        """An open live page; `last` is the id of the last event it has heard."""
        return Live(self.house, self.cookie, last)


class Live:
    """The event stream of one page."""

    def __init__(self, house: House, cookie: str, last: str = "") -> None:
        self._socket = socket.create_connection(("127.0.0.1", house.web_port), PATIENCE)
        more = f"Last-Event-ID: {last}\r\n" if last else ""
        request = f"GET /api/live HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookie}\r\n{more}\r\n"
        self._socket.sendall(request.encode())
        self._file = self._socket.makefile("rb")
        self.status = int(self._file.readline().split()[1])
        self.last_id = last
        self._events = self._read()
        while self._file.readline().strip():
            pass

    def __enter__(self) -> "Live":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def next(self, name: str) -> Json:
        """The data of the next event of this name."""
        while True:
            event, data = self.next_raw()
            if event == name:
                found: Json = json.loads(data)
                return found

    def next_raw(self) -> tuple[str, str]:
        """Name and data of the next event, whatever it is."""
        return next(self._events)

    def until(self, name: str, **values: object) -> Json:
        """The next event of this name with these values in its data."""
        while True:
            data = self.next(name)
            if values.items() <= data.items():
                return data

    def ended(self) -> bool:
        """Read on until the server ends the stream."""
        try:
            for _ in self._events:
                pass
        except ConnectionError:
            pass
        return True

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def _read(self) -> Iterator[tuple[str, str]]:
        name = data = ""
        for line in self._lines():
            field, _, value = line.partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                data = value
            elif field == "id":
                self.last_id = value
            elif not line and name:
                yield name, data
                name = data = ""

    def _lines(self) -> Iterator[str]:
        """The body's lines; the sizes of its chunks (RFC 9112 7.1) are taken out."""
        text = b""
        while size := int(self._file.readline().strip() or b"0", 16):
            text += self._file.read(size)
            self._file.readline()
            *lines, text = text.split(b"\n")
            yield from (line.decode() for line in lines)


def to_sign(case: Json, draft_version: int) -> Json:
    """What the page sends when the reader signs with everything painted."""
    return {
        "request_id": str(uuid.uuid4()),
        "study_id": int(case["study"]["id"]),
        "draft_version": draft_version,
        "painted": [
            {"sop_uid": one["uid"], "v": one["v"]}
            for each in case["study"]["series"]
            for one in each["instances"]
        ],
    }


def expect(status: int, answer: httpx.Response) -> Any:
    """The JSON of an answer that must have this status."""
    where = f"{answer.request.method} {answer.request.url.path}"
    assert answer.status_code == status, f"{where}: {answer.status_code} {answer.text[:500]}"
    return answer.json() if answer.content else None
