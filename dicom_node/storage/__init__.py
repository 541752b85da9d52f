"""Files and folders of the node: durable, private, and within the free disk space."""
