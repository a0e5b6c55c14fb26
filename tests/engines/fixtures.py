"""Which real engines may a test ask for?

One server of each kind for the whole session, shared by all workers; a database or a prefix of its
own for each test. Where a package is missing the test is skipped by name with the reason; under
`CI=true` that is a failure.
"""

import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from storage.s3 import S3Place
from tests.engines import postgres, rgw
from tests.engines.keeper import use

Server = Mapping[str, Any]


def require(why_not: str | None) -> None:
    """Skip, or fail where everything must be there."""
    if why_not and os.environ.get("CI") == "true":
        pytest.fail(f"this test needs it: {why_not}", pytrace=False)
    if why_not:
        pytest.skip(why_not)


@pytest.fixture(scope="session")
def engines_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same folder for every worker of the session."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "engines"


@pytest.fixture(scope="session")
def postgres_server(engines_folder: Path) -> Iterator[Server]:
    """A running PostgreSQL: {"url": …, "pid": …}."""
    require(postgres.why_not())
    server, let_go = use("postgres", engines_folder)
    yield server
    let_go()


@pytest.fixture(scope="session")
def s3_server(engines_folder: Path) -> Iterator[Server]:
    """A running RADOS Gateway: {"endpoint": …, "bucket": …, …}."""
    require(rgw.why_not())
    server, let_go = use("rgw", engines_folder)
    yield server
    let_go()


@pytest.fixture(scope="session")
def new_database(postgres_server: Server) -> Iterator[Callable[..., str]]:
    """A function that makes a database, after a template if one is named: its URL for the index."""
    import psycopg

    made: list[str] = []
    with psycopg.connect(postgres_server["url"], autocommit=True) as connection:

        def make(template: str = "template0") -> str:
            name = f"t{uuid.uuid4().hex[:16]}"
            connection.execute(
                f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy".encode()
            )
            made.append(name)
            return _url(postgres_server, name)

        yield make
        for name in made:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())


@pytest.fixture(scope="session")
def postgres_template(new_database: Callable[..., str]) -> str:
    """A database with the schema and nothing in it, for copies."""
    from storage.migrate import upgrade

    url = new_database()
    upgrade(url)
    return url.rpartition("/")[2]


@pytest.fixture
def postgres_url(
    new_database: Callable[..., str], postgres_template: str, postgres_server: Server
) -> Iterator[str]:
    """A database of this test's own, with the schema: a URL for the index."""
    import psycopg

    url = new_database(postgres_template)
    yield url
    with psycopg.connect(postgres_server["url"], autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)".encode())


@pytest.fixture
def s3_place(s3_server: Server) -> S3Place:
    """A prefix of this test's own in the bucket."""
    return S3Place(
        endpoint=s3_server["endpoint"],
        bucket=s3_server["bucket"],
        access_key=s3_server["access_key"],
        secret_key=s3_server["secret_key"],
        prefix=f"of-tests/{uuid.uuid4().hex}",
    )


def _url(server: Server, database: str) -> str:
    head = server["url"].rpartition("/")[0]
    return head.replace("postgresql://", "postgresql+psycopg://", 1) + f"/{database}"
