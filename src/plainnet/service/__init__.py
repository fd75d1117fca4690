"""service: model files  ->  predictions over HTTP.

Takes runs or model files; gives an ASGI app, and a server that runs it. Rooms, in the order a request walks through them:
``listen`` (the port), ``metrics``, ``guard`` (who may ask), ``rows``, ``cells`` and ``arrow`` (what was sent), ``requests``,
``answers``; beside them ``models`` (read and replaced), ``protocol`` (the Open Inference Protocol), ``openapi``, ``drift``.
"""
