"""How good a model is on cases whose truth experts have drawn: figures, their intervals, and a report to read."""
