"""Draws what the run has in MLflow and keeps it with the run: `curves/NAME.svg`, over those of an earlier attempt.

Called when all was sent. The pictures are worth no failure: what could not be drawn is told in the log.
"""

from __future__ import annotations

from headrace_common.s3 import Place
from headrace_trainer.launcher.failures.judge import Failed
from headrace_trainer.launcher.store.s3 import GivenUp, NotFound, Patience, Store
from headrace_trainer.launcher.tracking.curves.pictures import pictures
from headrace_trainer.launcher.tracking.curves.svg import MOST_POINTS, Series, draw
from headrace_trainer.launcher.tracking.metric_keys import key_of
from headrace_trainer.launcher.tracking.mlflow import MLflow, Refused, Rejected, Run, Unavailable

MOST_PICTURES = 50


def keep(client: MLflow, run: Run, store: Store, patience: Patience) -> str:
    """What was not drawn and why, or ""."""
    place = Place.parse(run.artifact_uri).below("curves")
    try:
        wanted = pictures(client.get_run(run.id).logged)
        for picture in wanted[:MOST_PICTURES]:
            if not patience.is_wanted():
                raise GivenUp
            series = [Series(label, client.curve(run.id, key, MOST_POINTS)) for label, key in picture.curves]
            if any(_is_curve(one) for one in series):
                text = draw(picture.name, picture.x_label, series)
                store.write(place.below(f"{key_of(picture.name)}.svg"), text.encode(), patience)
    except (Failed, NotFound, Unavailable, Refused, Rejected) as error:
        return f"not all of them could be drawn: {error}"
    except GivenUp:
        return "not all of them could be drawn in time"
    left_out = len(wanted) - MOST_PICTURES
    return f"{left_out} metrics are left out, more than {MOST_PICTURES}" if left_out > 0 else ""


def _is_curve(series: Series) -> bool:
    """One point says no more than its number."""
    return len({x for x, _ in series.points}) > 1
