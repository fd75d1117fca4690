"""The front room of the prediction service."""
