"""Do the migrations make the tables that the code works with?"""

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from storage.tables import metadata


def test_migrated_schema_is_that_of_the_tables(index):
    with index.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
