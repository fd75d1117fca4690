"""studio: a table  ->  a local web page: choose, watch it learn, judge, try, keep.

Takes tables and run folders; gives an ASGI app. Rooms: studio (the addresses), state, tables, examples, session, pictures, judge,
tryout, keep, and page (what the browser gets).
"""
