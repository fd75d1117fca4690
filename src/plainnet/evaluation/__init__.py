"""Evaluation: an estimator and a table  ->  scores, with their rows and a baseline beside them; explanations; plots.

Rooms: ``evaluation`` (scores), ``explain`` (which columns matter, and how), ``shapley`` (one row), ``encoded`` (what these two share),
``plots`` (displays).
"""
