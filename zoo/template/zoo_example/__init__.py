"""The model `example`, for the model zoo `zoo`."""
