"""How did the tables become what they are? Alembic revisions, oldest first."""
