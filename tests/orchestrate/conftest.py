import sys
from pathlib import Path

# Worker processes import the functions in works.py by name: they inherit this process's module search path.
sys.path.insert(0, str(Path(__file__).parent))
