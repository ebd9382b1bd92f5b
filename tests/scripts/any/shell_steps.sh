#!/usr/bin/env bash
# Makes a table of river levels, estimates how sure its trend is, and writes a report.
set -euo pipefail

TABLE=levels.csv
REPORT=report.txt
DRAWS=${1:-8000}
STARTED=$SECONDS

echo "Step 1: making $TABLE"
python -c "import numpy as np; d = np.arange(3650); np.savetxt('$TABLE', np.c_[d, 2 + 1e-4 * d + np.sin(d / 58) + np.random.normal(0, .3, d.size)], delimiter=',', header='day,level', comments='')"
echo "$(wc -l < "$TABLE") lines"

echo "Step 2: bootstrapping the trend"
SLOPES=$(python -c "import numpy as np; t = np.loadtxt('$TABLE', delimiter=',', skiprows=1); s = [np.polyfit(*t[np.random.randint(0, len(t), len(t))].T, 1)[0] for _ in range($DRAWS)]; print(*(f'{1e3 * q:.4f}' for q in np.percentile(s, [5, 50, 95])))")

echo "Step 3: writing $REPORT"
read -r low middle high <<< "$SLOPES"
{
  echo "Trend of the river level, in mm a day"
  echo "median: $middle"
  echo "90% interval: $low to $high"
  echo "from $DRAWS draws, in $((SECONDS - STARTED)) s"
} > "$REPORT"
cat "$REPORT"
