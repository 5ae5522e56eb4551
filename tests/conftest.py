import sys
from pathlib import Path

# Helpers of the tests themselves.
sys.path.insert(0, str(Path(__file__).parent))
