"""`python -m headrace_trainer.adapters.keras ENTRYPOINT [--name=value ...]`."""

import sys

from headrace_trainer.adapters.keras.adapter import KERAS
from headrace_trainer.adapters.main import main

if __name__ == "__main__":
    sys.exit(main(KERAS, sys.argv[1:]))
