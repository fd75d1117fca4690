"""Tables: a file or a data frame  ->  tensors, and a Schema that can do it again.

Rooms: ``tables`` (front room: a table and its target), ``read`` (any source -> a polars data frame), ``schema`` (what
each column is, and why), ``kinds`` (how that is decided), ``encode`` (columns -> float32 features), ``target`` (classes
or numbers -> what a loss wants, and back), ``split`` (which rows test, which validate).
"""
