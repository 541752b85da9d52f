"""The service: the door, the hall and the bookkeeper of the node."""
