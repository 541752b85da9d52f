"""The acceptor of associations: all that touches pynetdicom's private names."""
