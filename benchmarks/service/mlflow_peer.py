"""How MLflow loads our model: it predicts a pandas frame, as MLflow's scoring server hands it over."""

import plainnet


class Model:
    """A plainnet model with MLflow's method."""

    def __init__(self, path):
        self.model = plainnet.load(path)

    def predict(self, frame, params=None):  # noqa: ARG002 - MLflow passes it
        """Return the probabilities of each row."""
        return self.model.predict_proba(frame)


def _load_pyfunc(path):
    return Model(path)
