"""Runs: one training  ->  a run folder: model.safetensors, run.json, history.csv, loss.png, report.html; and the list of runs.

Rooms: ``runs`` (the folder, read and written), ``train_run`` (from a table to a run), ``work`` (a table, read and split), ``parts`` (which
rows train, which test), ``folds`` (cross-validation), ``compare`` (a run on another table; runs side by side), ``report`` (the page) with
its ``pictures`` and the command to ``reproduce`` it, ``again`` (a run's table, found and split again).
"""
