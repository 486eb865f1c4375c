"""Sources, the plan, and the loader that reads them."""
