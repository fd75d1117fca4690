"""Evaluation: an estimator and a table  ->  scores, with their rows and a baseline beside them."""
