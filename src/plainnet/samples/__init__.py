"""Samples: the bundled table, UCI Adult, with its licence note."""
