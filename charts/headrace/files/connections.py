"""Asks each NAME=URL and says which gives no answer. A NAME that ends in -reachable may refuse, but must answer."""

import sys
import time
import urllib.error
import urllib.request

DEADLINE_SECONDS = 60
CALL_SECONDS = 5


def problem(name: str, url: str) -> str:
    """What is wrong with the answer; empty: nothing."""
    try:
        with urllib.request.urlopen(url, timeout=CALL_SECONDS):
            return ""
    except urllib.error.HTTPError as error:
        refused = name.endswith("-reachable") and error.code < 500
        return "" if refused else f"HTTP {error.code}"
    except OSError as error:
        return str(error)


def main(targets: list[str]) -> int:
    deadline = time.monotonic() + DEADLINE_SECONDS
    failed = 0
    for target in targets:
        name, _, url = target.partition("=")
        while (wrong := problem(name, url)) and time.monotonic() < deadline:
            time.sleep(1)
        failed += bool(wrong)
        print(f"{name}: {url}: {wrong or 'ok'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
