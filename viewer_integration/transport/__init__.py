"""What speaks on the network with peers: associations, delivery, storage commitment."""
