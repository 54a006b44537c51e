"""The command `ostraca` where none is installed: `python -m ostraca`, or `python path/to/ostraca`."""

import os
import sys

if not __package__:  # started by the path of this folder, whose rooms must not be top-level modules
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))

from ostraca.cli import main

if __name__ == "__main__":
    sys.exit(main())
