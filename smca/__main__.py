"""`python -m smca`: the same as the `smca` command."""

from __future__ import annotations

import sys

from smca.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
