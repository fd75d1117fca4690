"""The places of a program's state: what stands where in the words and reals that kernels and driver share."""

from __future__ import annotations

__all__ = ["CONSTANTS", "OPERATION", "SETTINGS"]

#: Words of an operation: the kernel's address, then its own 15 words ``a``.
OPERATION = 16
#: Reals of an operation, ``c``.
CONSTANTS = 4
#: Reals of a parameter group's settings in one step, the ``c`` of an optimizer's kernel.
SETTINGS = 8

# The words ``s`` of a batch, or of a part of one.
(
    ROWS, COLUMNS, LEAD, FEW, GOES_ON, STEP, FIRST, ORDER, X, Y, WEIGHT, OUT, FIXED, OWN_FIRST, OWN_COUNT, BATCH_MEMORY, SCRATCH,
) = range(17)  # fmt: skip
# ROWS: rows in it. COLUMNS: rows rounded up to whole vectors. LEAD: from one feature to the next, in numbers.
# FEW: 1 where the features of a row are neighbours (few rows), 0 where the rows of a feature are.
# GOES_ON: an earlier part of the batch, or of the rows evaluated, went before: gradients are added to its own.
# STEP: steps so far, this one not counted.
# FIRST: place of its first row in the order. ORDER: address of row numbers, or 0. X, Y, WEIGHT: addresses of the data.
# OUT: address where predictions go. FIXED: address of the program's constant numbers. OWN_FIRST, OWN_COUNT: the outputs of a
# layer whose weights' gradient is wanted. BATCH_MEMORY: address of the memory of a batch, for an optimizer's kernel. SCRATCH:
# from here on, a word for each row of a block that is turned.
N_STATE_WORDS = SCRATCH + 16

# The reals ``d``: the sum of the rows' losses so far, and what it is multiplied by.
LOSS, SCALE = range(2)
N_STATE_REALS = 2
