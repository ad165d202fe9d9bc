"""Planted bugs: do the tests see them?"""
