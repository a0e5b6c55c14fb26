"""Where do the pages of the front end come from?"""

import gzip
import mimetypes
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from starlette.exceptions import HTTPException

import viewers

DIST = Path(viewers.__file__).parent / "web" / "dist"
IMMUTABLE = "public, max-age=31536000, immutable"

_NOT_PAGES = ("api/", "dicom-web", "fhir", "metrics", "healthz", "readyz", "assets/")
_COMPRESSIBLE = ("text/", "application/json", "application/wasm", "image/svg")
_WORTH_IT = 1024
_NOT_BUILT = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Teleread</title>
<h1>The front end is not built</h1>
<p>The gateway runs, but its pages do not exist yet.
Run <code>make install</code> once, then load this page again.</p>
<p lang="zh-CN">网关正在运行，但页面尚未构建。
请运行一次 <code>make install</code>，然后重新载入。</p></html>
"""

# Some systems map these otherwise or not at all, and browsers refuse modules of another type.
_TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm"}


@dataclass(frozen=True)
class _File:
    content_type: str
    etag: str
    raw: bytes
    gzipped: bytes | None
    brotli: bytes | None


def routes(dist: Path = DIST) -> APIRouter:
    """Every address that is nothing else: files of the built front end, or its one page."""
    router = APIRouter(include_in_schema=False)

    @router.get("/{path:path}")
    def page(path: str, request: Request) -> Response:
        """A built file, or index.html for the application's own addresses."""
        if ".." in path.split("/"):
            raise HTTPException(404)
        if not (dist / "index.html").is_file():
            if path.startswith(_NOT_PAGES):
                raise HTTPException(404)
            return HTMLResponse(_NOT_BUILT, 503)
        found = _inside(dist, path)
        if found is not None:
            return _answer(found, request, hashed=path.startswith("assets/"))
        if path.startswith(_NOT_PAGES) or "." in path.rpartition("/")[2]:
            raise HTTPException(404)
        return _answer(dist / "index.html", request, hashed=False)

    return router


def _inside(dist: Path, path: str) -> Path | None:
    """The file at this address, never one outside the folder."""
    if not path or "\0" in path:
        return None
    found = (dist / path).resolve()
    return found if found.is_relative_to(dist.resolve()) and found.is_file() else None


def _answer(path: Path, request: Request, *, hashed: bool) -> Response:
    file = _read(path, path.stat().st_mtime_ns)
    headers = {
        "Cache-Control": IMMUTABLE if hashed else "no-cache",
        "ETag": file.etag,
        "Vary": "Accept-Encoding",
    }
    if request.headers.get("If-None-Match") == file.etag:
        return Response(status_code=304, headers=headers)
    accepted = request.headers.get("Accept-Encoding", "")
    body = file.raw
    if file.brotli is not None and "br" in accepted:
        body, headers["Content-Encoding"] = file.brotli, "br"
    elif file.gzipped is not None and "gzip" in accepted:
        body, headers["Content-Encoding"] = file.gzipped, "gzip"
    return Response(body, media_type=file.content_type, headers=headers)


@lru_cache(maxsize=256)
def _read(path: Path, _: int) -> _File:
    """A built file, compressed once; read anew when it was built anew."""
    raw = path.read_bytes()
    content_type = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0]
    content_type = content_type or "application/octet-stream"
    beside = path.with_name(path.name + ".br")
    gzipped = None
    if content_type.startswith(_COMPRESSIBLE) and len(raw) > _WORTH_IT:
        gzipped = gzip.compress(raw, 6)
    return _File(
        content_type,
        f'"{sha256(raw).hexdigest()[:24]}"',
        raw,
        gzipped,
        beside.read_bytes() if beside.is_file() else None,
    )
