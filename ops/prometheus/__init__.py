"""Prometheus for Parallax: what to scrape, what to record, what to be woken for, and a real one."""
