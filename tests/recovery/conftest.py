"""Which houses are there for tests of a gateway that is stopped, killed or starved?"""

import shutil
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
