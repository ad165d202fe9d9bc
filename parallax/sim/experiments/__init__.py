"""Experiments: what theory says of a policy, held against what the scheduler does."""
