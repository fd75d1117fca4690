"""Export: an estimator  ->  files that predict without plainnet: ONNX, a PyTorch module, a NumPy script; or the model file."""
