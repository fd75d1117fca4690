"""Engines: a network, a loss, an optimizer and data  ->  Epoch, Epoch, Epoch … (a generator).

Rooms: ``engines`` (chooses the engine), ``job`` (what an engine is given, what it yields),
``eager`` (the plain PyTorch loop), ``losses`` (a loss with one weight for each row).
"""
