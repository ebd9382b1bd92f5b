"""`python -m headrace_trainer.child ENTRYPOINT [--name=value ...]`."""

import sys

from headrace_trainer.child.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
