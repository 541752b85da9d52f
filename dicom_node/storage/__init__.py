"""Files and folders of the node: durable, private, within the room that is left."""
