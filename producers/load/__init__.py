"""Loads in real time: generated or recorded jobs are offered, and the results are measured."""
