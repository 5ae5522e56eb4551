"""Rule fit_alarms: scores of held-out normal clips in, thresholds for so many false alarms a day out."""

import logging

from vadistill.datasets.splits import first_held_out
from vadistill.errors import InputError
from vadistill.evaluation.alarm_thresholds import fit_alarms, no_alarms
from vadistill.io.files import write_json
from vadistill.io.hdf5 import json_attribute
from vadistill.io.maps import MapStore
from vadistill.settings import section
from vadistill.stages._run import add_paths, parser, run
from vadistill.windows.training_conditions import Conditions

log = logging.getLogger(__name__)
UNKNOWN = "the training clips do not say how many frames they have a second: set alarms.fps for thresholds"


def main(args) -> None:
    """Find the thresholds of one detector."""
    settings, held_out = section("alarms", args.settings["alarms"]), args.settings["held_out_clips"]
    conditions, maps = Conditions.read(json_attribute(args.scores, "model_settings")), MapStore([args.scores])
    scores = {clip: maps.score(clip)[first_held_out(start, maps.frames[clip]) :] for clip, start in held_out.items()}
    if not scores:
        raise InputError("held_out.share is 0: no clips that nothing was fitted on; thresholds need some")
    rates = conditions.frames_per_second if conditions else ()
    rate = rates[len(rates) // 2] if rates else settings.fps
    if len(rates) > 1:
        log.warning("clips have %g to %g frames a second; alarms are counted at %g", rates[0], rates[-1], rate)
    if rate:
        made = fit_alarms(args.detector, scores, rate, settings)
    else:
        made = no_alarms(args.detector, scores, settings, UNKNOWN)
    for wanted, found in made.thresholds.items():
        said = "no threshold" if found.threshold is None else f"threshold {found.threshold:.4g} ({found.method})"
        log.info("at most %s false alarms a day: %s%s", wanted, said, f"; {found.note}" if found.note else "")
    write_json(args.output, made.content())


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--detector", required=True)
    add_paths(arguments, "scores", "output")
    run(main, arguments)
