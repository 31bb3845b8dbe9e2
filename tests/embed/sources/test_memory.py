"""What a source takes of memory does not grow with its rows."""

import subprocess
import sys
from pathlib import Path

CODE = """
import resource, sys
from pathlib import Path
from embed.sources import SourceSettings, read_source
catalogue = read_source(sys.argv[1], SourceSettings(), Path(sys.argv[1] + ".spool"))
for start in range(0, len(catalogue), 8192):
    span = (start, start + 8192)
    catalogue.ids(*span), catalogue.titles(*span), catalogue.locations(*span)
    [catalogue.column(name, *span) for name in catalogue.columns]
print(len(catalogue), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def peak_mib(path: Path, num_rows: int) -> int:
    with path.open("w") as file:
        file.write("id,image,title,label,price\n")
        for row in range(num_rows):
            title = f"{'tea ' * 20}{row}"
            file.write(f"sku-{row:012d},images/{row}.jpg,{title},{row % 7},{row}.5\n")
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(path)], capture_output=True, text=True, check=True
    )
    found, peak = done.stdout.split()
    assert int(found) == num_rows
    return int(peak)


def test_ten_times_the_rows_take_little_more_memory(tmp_path: Path) -> None:
    # Held as Python objects, the rows took 220 MiB more.
    small, large = (peak_mib(tmp_path / f"{rows}.csv", rows) for rows in (30_000, 300_000))
    assert large - small < 120, (small, large)
