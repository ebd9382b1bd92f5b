"""`python -m headrace_trainer`: the entry point of a training pod."""

from headrace_trainer.launcher.main import main

if __name__ == "__main__":
    main()
