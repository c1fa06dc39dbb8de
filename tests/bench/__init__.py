"""Measurements of the whole product, as a user has it: ``make bench``."""
