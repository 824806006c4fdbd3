"""``python -m wavescope.cli``."""

from __future__ import annotations

import sys

from wavescope.cli import main

sys.exit(main())
