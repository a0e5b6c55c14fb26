"""Which houses are there for tests of a gateway that is stopped, killed or starved?"""

import shutil
import uuid
from pathlib import Path

import pytest

from tests.recovery.house import House, furnished


@pytest.fixture(scope="session")
def furniture(tmp_path_factory):
    """A data folder with sites, devices and people; to be copied."""
    return furnished(tmp_path_factory.mktemp("furnished"))


@pytest.fixture
def new_house(tmp_path, furniture):
    """A function that makes a house with given settings, not yet running."""
    houses = []

    def make(data: Path | None = None, **settings):
        folder = tmp_path / f"house{len(houses)}"
        folder.mkdir()
        houses.append(House(folder, data, **settings))
        shutil.copytree(furniture, houses[-1].data)
        return houses[-1]

    yield make
    for house in houses:
        house.close()


@pytest.fixture(scope="session")
def far_furniture(tmp_path_factory, new_database, s3_server):
    """The same with the index in PostgreSQL: (data folder, name of the database to copy)."""
    url = new_database()
    folder = tmp_path_factory.mktemp("furnished-far")
    settings = {"database_url": url, **of_s3(s3_server, "furniture")}
    done = House(folder, **settings).teleread("upgrade")
    assert done.returncode == 0, done.stderr
    return furnished(folder, **settings), url.rpartition("/")[2]


@pytest.fixture
def new_far_house(tmp_path, far_furniture, new_database, s3_server):
    """A function that makes a house; all of one test stand over one PostgreSQL and one S3 store."""
    data, template = far_furniture
    common = {"database_url": new_database(template), **of_s3(s3_server, uuid.uuid4().hex)}
    houses = []

    def make(**settings):
        folder = tmp_path / f"far{len(houses)}"
        folder.mkdir()
        houses.append(House(folder, **{**common, **settings}))
        shutil.copytree(data, houses[-1].data)
        return houses[-1]

    yield make
    for house in houses:
        house.close()


def of_s3(server, prefix):
    """Settings of a store below a prefix."""
    names = ("endpoint", "bucket", "access_key", "secret_key")
    return {"objects": "s3", "s3_prefix": prefix, **{f"s3_{name}": server[name] for name in names}}
