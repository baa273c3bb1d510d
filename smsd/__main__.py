"""`python -m smsd`: the same as the command `smsd`."""

import sys

from smsd.cli import main

sys.exit(main())
