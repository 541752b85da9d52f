"""Which model has which role."""
