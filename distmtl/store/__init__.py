"""One small interface over folders and object stores: the only place that imports obstore and fsspec."""
