"""Traces of runs, deliveries and requests for an OpenTelemetry collector; nothing of it is loaded while it is off."""
