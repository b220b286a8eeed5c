"""A process that judges a backend by one scenario of kills and power cuts, where a machine refuses something."""

from __future__ import annotations

import datetime
import json
import sys

from perdure import load_backend
from perdure_tck.engine import Request, conduct
from perdure_tck.packs import installed_programs

name = sys.argv[1]
found = conduct(
    load_backend(name),
    Request(
        programs=[program for program in installed_programs() if program.name == "batch_after_batch"],
        rules=("D-01", "D-02", "D-12"),
        today=datetime.date(2026, 1, 1),
        chosen_by=name,
    ),
)
struck = found.footer.struck
told = {
    "words": {result.id: result.word for result in found.rules},
    "reasons": {result.id: result.reason for result in found.rules},
    "faults": [fault.message for fault in found.faults],
    "struck": dict(struck.counts) if struck else {},
}
print(json.dumps(told))
