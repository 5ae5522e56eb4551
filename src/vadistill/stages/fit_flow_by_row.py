"""Rule fit_flow_by_row: motion of the training clips in, what is usual in each row of cells out."""

from vadistill.datasets.splits import scene_of
from vadistill.evaluation import flow_by_row
from vadistill.io.files import write_json
from vadistill.io.motion import read_speeds
from vadistill.stages._run import add_paths, parser, run


def main(args) -> None:
    """Fit the score once for all clips."""
    scene = args.settings["scene"]
    made = flow_by_row.fit([(scene_of(clip, scene), speed) for clip, speed in read_speeds(args.motion)])
    write_json(args.output, made.content())


if __name__ == "__main__":
    arguments = parser(__doc__)
    add_paths(arguments, "output", many=("motion",))
    run(main, arguments)
