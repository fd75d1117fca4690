"""service: a model file  ->  predictions over HTTP. Takes model files; gives an ASGI app. Rooms: guard, listen."""
