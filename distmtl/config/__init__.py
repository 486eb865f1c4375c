"""The run file: models, inheritance, overrides, errors that name file, line and key."""
