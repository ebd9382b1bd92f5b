"""`python -m headrace_trainer.evaluation`."""

import sys

from headrace_trainer.evaluation.main import main

if __name__ == "__main__":
    sys.exit(main())
