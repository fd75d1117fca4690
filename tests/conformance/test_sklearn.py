"""scikit-learn's own checks, every one of them, with no expected failures."""

from typing import Any

from sklearn.utils.estimator_checks import parametrize_with_checks

from plainnet import NetClassifier, NetRegressor


@parametrize_with_checks([NetClassifier(), NetRegressor()])
def test_scikit_learn_check_passes(estimator: Any, check: Any) -> None:
    check(estimator)
