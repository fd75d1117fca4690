"""Kernels: the arithmetic of a training step, compiled by Numba on first use. No PyTorch here.

A network in training is a list of operations; each operation is one compiled function, a *kernel*, with the same seven
arguments, so that a list of their addresses is a program. Rooms: ``kernels`` (functions to machine code, the cache),
``elementary`` (exp, log, tanh …), ``products`` (matrix products), ``linear``, ``activations``, ``layers``, ``losses``, ``optimizers``
(one kernel for each torch class), ``crew`` (threads that share a step), ``driver`` (runs a program for many epochs).
"""
