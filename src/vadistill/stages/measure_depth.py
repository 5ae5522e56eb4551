"""Rule measure_depth: training images of more than 8 bits in, the one range in which all splits become 8 bits out."""

import logging

from vadistill.io.media.depth import measure_range, write_range
from vadistill.io.names import IMAGE_SUFFIXES, visible
from vadistill.stages._run import add_paths, parser, run

log = logging.getLogger(__name__)


def main(arguments) -> None:
    """Measure the range of the images in the given folders; videos have 8 bits."""
    folders = [source for source in arguments.sources if source.is_dir()]
    images = [path for folder in folders for path in visible(folder) if path.suffix.lower() in IMAGE_SUFFIXES]
    scale = measure_range(images)
    write_range(arguments.output, scale)
    text = f"{scale[0]:g} to {scale[1]:g} become 0 to 255" if scale else "no images of more than 8 bits"
    log.info("%d training images: %s", len(images), text)


if __name__ == "__main__":
    arguments = parser(__doc__)
    add_paths(arguments, "output", many=("sources",))
    run(main, arguments)
