"""Studies that the node fetches from others."""
