"""Which connection and which tables does Alembic work with?"""

from alembic import context

from storage.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    user_module_prefix="tables.",
)
with context.begin_transaction():
    context.run_migrations()
