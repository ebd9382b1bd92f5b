"""`python -m headrace_trainer.tuning`."""

import sys

from headrace_trainer.tuning.main import main

if __name__ == "__main__":
    sys.exit(main())
