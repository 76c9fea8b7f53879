"""Answer a study as fast as possible and name each answer that is kept: `answering.py STORE`."""

from __future__ import annotations

import sys
from pathlib import Path

from visreward.demo.annotate.store import Store

with Store(Path(sys.argv[1])) as store:
    while (opened := store.open_question("ana")) is not None:
        if store.answer("ana", ticket=opened.ticket, rows=((2,), (1,))):
            sys.stdout.write(opened.ticket + "\n")
            sys.stdout.flush()
