"""Stands in for `frcore` in a sweep's processes: a "run" that waits, and starts at once.

    python -m stand_in train RECIPE ... --out DIR

It says what it sees in DIR/seen.json, and then does what the file $STAND_IN says of its name:
"finish", "fail", or "wait" (until SIGTERM, then it exits with 143).
"""

import json
import os
import signal
import sys
import time
from pathlib import Path


def main(arguments: list[str]) -> int:
    out = Path(arguments[arguments.index("--out") + 1])
    out.mkdir(parents=True, exist_ok=True)
    names = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "TQDM_DISABLE", "FRCORE_DATA")
    seen = {name: os.environ.get(name) for name in names}
    print("began", out.name, flush=True)
    plan = json.loads(Path(os.environ["STAND_IN"]).read_text())
    what = next((value for key, value in plan.items() if out.name.startswith(key)), "finish")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    replace(out / "config.json", "{}")
    replace(out / "seen.json", json.dumps(seen))
    while what == "wait":
        time.sleep(0.02)
    if what == "fail":
        return 3
    replace(out / "state.json", '{"state": "finished"}')
    return 0


def replace(path: Path, text: str) -> None:
    """Writes a file that others read meanwhile, as runs do: it is there whole or not at all."""
    draft = path.with_name(f".{path.name}")
    draft.write_text(text)
    draft.replace(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
