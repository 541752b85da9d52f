"""A run of a study: the list of its steps, and the two ways in which it is executed."""
