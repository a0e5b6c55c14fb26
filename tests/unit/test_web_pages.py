"""The pages of the front end: built, not built, compressed, cached, and nothing else."""

import gzip

import httpx
import pytest
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse

from gateway.web import pages


@pytest.fixture
def dist(tmp_path):
    folder = tmp_path / "dist"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>Teleread</title>")
    (folder / "assets" / "index-abc.js").write_text("console.log(1);" * 200)
    (folder / "assets" / "core-abc.wasm").write_bytes(b"\0asm" + bytes(4000))
    (folder / "assets" / "icon-abc.svg").write_text("<svg/>")
    (tmp_path / "secret").write_text("not for the web")
    return folder


@pytest.fixture
def get(dist):
    app = FastAPI()
    app.include_router(pages.routes(dist))
    app.add_exception_handler(HTTPException, lambda _, e: PlainTextResponse("", e.status_code))

    def ask(path, **headers):
        import asyncio

        async def one():
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
                return await client.get(path, headers={"Accept-Encoding": "identity", **headers})

        return asyncio.run(one())

    return ask


def test_the_application_s_own_addresses_are_one_page(get):
    for path in ("/", "/worklist", "/read/0f", "/verify/abc", "/center"):
        answer = get(path)
        assert answer.status_code == 200
        assert "<title>Teleread" in answer.text
        assert answer.headers["cache-control"] == "no-cache"


def test_hashed_files_are_kept_by_browsers_and_sent_compressed(get):
    answer = get("/assets/index-abc.js", **{"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["content-type"].startswith("text/javascript")
    assert "immutable" in answer.headers["cache-control"]
    assert get("/assets/index-abc.js").text.startswith("console.log")
    assert get("/assets/core-abc.wasm").headers["content-type"] == "application/wasm"
    again = get("/assets/index-abc.js", **{"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


def test_a_file_built_with_brotli_is_sent_as_built(get, dist):
    (dist / "assets" / "index-abc.js.br").write_bytes(b"brotli")
    import zlib

    answer = get("/assets/index-abc.js", **{"Accept-Encoding": "identity"})
    assert answer.content.startswith(b"console.log")
    assert zlib.decompress(gzip.compress(b"x"), 31) == b"x"


@pytest.mark.parametrize(
    "path",
    [
        "/assets/nothing.js",
        "/favicon.ico",
        "/api/nothing",
        "/dicom-web/nothing",
        "/..%2fsecret",
        "/%2e%2e/secret",
        "/assets/..%2f..%2fsecret",
        "/index.html%00.js",
    ],
)
def test_nothing_else_is_served(get, path):
    answer = get(path)
    assert "not for the web" not in answer.text
    assert answer.status_code == 404


def test_without_a_built_front_end_the_page_says_what_to_do(get, dist):
    (dist / "index.html").unlink()
    answer = get("/")
    assert answer.status_code == 503
    assert "make install" in answer.text
    assert get("/api/nothing").status_code == 404
