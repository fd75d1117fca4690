"""Engines: a network, a loss, an optimizer and data  ->  Epoch, Epoch, Epoch … (a generator).

Rooms: ``engines`` (chooses the engine), ``job`` (what an engine is given, what it yields), ``eager`` (the plain PyTorch loop),
``graphed`` (the same, its step a CUDA graph), ``losses`` (a loss with one weight for each row), ``prediction``.

The fused engine: ``trace`` (a network as a list of steps), ``planned_layers``, ``planned_losses`` and ``planned_optimizers`` (how each
torch class is spelt as operations), ``program`` and ``flat`` (memory and parameters laid out), ``plan`` (all of it, or the reason
why not), ``load`` (arrays for the driver), ``fused`` (runs it).
"""
