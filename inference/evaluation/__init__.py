"""Evaluation of a model against experts' annotations: figures, their confidence intervals, and a report."""
