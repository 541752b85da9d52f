"""What people and programs watch of the node: counts for Prometheus, readiness, charts, the support bundle."""
