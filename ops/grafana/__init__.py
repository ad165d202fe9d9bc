"""Dashboards of Grafana, made from Python, like all that follows from the table of metrics."""
