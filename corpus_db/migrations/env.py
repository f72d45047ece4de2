"""Alembic's entry: run the migrations on the connection that corpus_db.db hands over, inside its transaction."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
