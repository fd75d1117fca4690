"""Runs: one training  ->  a run folder: model.safetensors, run.json, history.csv, loss.png; and the list of runs.

Rooms: ``runs`` (the folder, read and written), ``train_run`` (from a table to a run), ``parts`` (which rows train, which test), ``folds``
(cross-validation), ``evaluate_run`` and ``compare`` (a run on another table; runs side by side), ``task`` (classes or numbers?).
"""
