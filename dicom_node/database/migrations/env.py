"""Run migrations on the connection that `dicom_node.database.engine` hands over."""

from alembic import context

import dicom_node.database.audit_tables
import dicom_node.database.connection_tables
import dicom_node.database.history_tables
import dicom_node.database.identity_tables
import dicom_node.database.notice_tables
import dicom_node.database.upload_tables  # noqa: F401 - for its tables
from dicom_node.database.tables import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()
