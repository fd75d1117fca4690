"""Reading and encoding a piece of a table: what a task of Ray Data does. Imports no more than that, as each process begins with it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from plainnet.tables.encode import encode
from plainnet.tables.scan import Scan, row_shares
from plainnet.tables.schema import Schema
from plainnet.tables.tables import rows_with_target, target_array
from plainnet.tables.target import Target

__all__ = ["encode_piece"]


def encode_piece(
    scan: Scan, target: str, schema: Schema, encoder: Target, seed: int, share: float, row: Mapping[str, Any]
) -> dict[str, Any]:
    """Read and encode a piece.

    Args:
        scan: the table.
        target: the target's column; rows without are left out.
        schema: encodes the other columns.
        encoder: encodes the target.
        seed: of the rows that are held out.
        share: of them.
        row: one row of a Ray dataset, as arrays by name; 'place' is the piece's.

    Returns:
        Arrays by name: x (n, features), y (n, …), and held (n,), whether a row is held out.
    """
    numbers, piece = scan.piece(int(row["place"][0]))
    known = rows_with_target(piece, target)
    piece = piece.filter(known)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x, _ = encode(schema, piece)
    held = row_shares(numbers[known], seed + 1) < share
    return {"x": x, "y": encoder.encode(target_array(piece[target])), "held": held}
