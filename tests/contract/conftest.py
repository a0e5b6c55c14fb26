"""The same tests on every engine and every object store."""

import shutil
from datetime import UTC, datetime

import pytest

from storage.index import Index, open_engine
from storage.migrate import upgrade
from storage.objects import LocalObjects
from storage.s3 import S3Objects
from worklist.person import Person, Role
from worklist.site import Site, SiteKind

NOW = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def empty_index(tmp_path_factory):
    """An index file with the schema and nothing in it."""
    path = tmp_path_factory.mktemp("template") / "index.sqlite"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite and files", "postgres and s3"])
def engine(request):
    """Which kind of index and which kind of object store."""
    return request.param


@pytest.fixture
def index_url(engine, request):
    """An index with the schema and nothing in it."""
    if engine == "postgres and s3":
        return request.getfixturevalue("postgres_url")
    path = request.getfixturevalue("tmp_path") / "index.sqlite"
    shutil.copy(request.getfixturevalue("empty_index"), path)
    return f"sqlite:///{path}"


@pytest.fixture
def index(index_url):
    opened = Index(open_engine(index_url))
    yield opened
    opened.close()


@pytest.fixture
def objects(engine, request, tmp_path):
    if engine == "postgres and s3":
        return S3Objects(request.getfixturevalue("s3_place"), tmp_path / "spool", 0)
    return LocalObjects(tmp_path / "objects", 0)


@pytest.fixture
def house(index):
    """A hospital that reads for two centers, each with people."""
    with index.unit() as unit:
        for key, kind, read_by in (
            ("hospital", SiteKind.HOSPITAL, frozenset()),
            ("east", SiteKind.CENTER, frozenset({"hospital"})),
            ("west", SiteKind.CENTER, frozenset({"hospital"})),
        ):
            site = Site(key, key, key, kind, "Asia/Shanghai", "0954", read_by)
            unit.people.save_site(site, NOW)
        for name, role, site in (
            ("zhou", Role.READER, "hospital"),
            ("ma", Role.READER, "hospital"),
            ("li", Role.COORDINATOR, "hospital"),
            ("su", Role.DOCTOR, "east"),
            ("hai", Role.DOCTOR, "west"),
        ):
            person = Person(name, name, name, frozenset({role}), site)
            unit.people.add_account(person, "not a hash", NOW)
    return index
