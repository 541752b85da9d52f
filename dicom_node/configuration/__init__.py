"""The configuration that is stored in the database, as one document: exported, compared and imported."""
