"""Network communication with peers: associations, delivery, storage commitment."""
