"""What people see of a run: console, metrics file."""
