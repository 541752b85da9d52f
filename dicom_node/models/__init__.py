"""The roles of models: production and shadow."""
