"""Estimators: a table  ->  NetClassifier, NetRegressor: the scikit-learn face."""
