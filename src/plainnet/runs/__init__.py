"""Runs: one training  ->  a run folder: model.safetensors, run.json, history.csv, loss.png; and the list of runs.

Rooms: ``runs`` (the folder, read and written), ``train_run`` (from a table to a run), ``task`` (classes or numbers?).
"""
