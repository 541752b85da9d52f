"""Results on their way to their destinations, until each has proved that it has them."""
