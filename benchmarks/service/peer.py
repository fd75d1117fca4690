"""The peer: a bare FastAPI app around scikit-learn's MLPClassifier, as tutorials write it. Run: uvicorn peer:app."""

import os

import joblib
import polars as pl
from fastapi import FastAPI

app = FastAPI()
model = joblib.load(os.environ["PEER_MODEL"])


@app.post("/predict")
def predict(rows: list[dict[str, float | str | None]]) -> dict[str, list]:
    """Answer rows with classes and probabilities."""
    probabilities = model.predict_proba(pl.DataFrame(rows).to_pandas())
    return {
        "predictions": model.classes_[probabilities.argmax(axis=1)].tolist(),
        "probabilities": probabilities.tolist(),
    }
