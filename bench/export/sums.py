"""Reads an export with pyarrow and DuckDB and compares its sums with the manifest."""

import json
import sys
from decimal import Decimal

import duckdb
import pyarrow.parquet as pq

folder = sys.argv[1]
manifest = json.load(open(folder + "/manifest.json"))
measures = ["gross", "net", "duplicate", "invalid", "orphan"]
failed = False
for file in manifest["files"]:
    path = folder + "/" + file["name"]
    want = {
        (int(t["advertiser"]), t["currency"]): (t["rows"], *(t[m] for m in measures), Decimal(t["spend"]))
        for t in file["totals"]
    }
    sums = ", ".join(f"sum({m})" for m in measures)
    rows = duckdb.sql(f"select advertiser, currency::varchar, count(*), {sums}, sum(spend) from '{path}' group by all").fetchall()
    by_duckdb = {(r[0], r[1]): tuple(r[2:]) for r in rows}
    columns = ["advertiser", "currency", *measures, "spend"]
    by_pyarrow = {}
    for batch in pq.ParquetFile(path).iter_batches(1 << 20, columns=columns):
        table = duckdb.arrow(__import__("pyarrow").Table.from_batches([batch]))
        for r in table.aggregate(f"advertiser, currency::varchar, count(*), {sums}, sum(spend)").fetchall():
            old = by_pyarrow.get((r[0], r[1]), (0,) * 7)
            by_pyarrow[(r[0], r[1])] = tuple(a + b for a, b in zip(old, r[2:]))
    for name, got in (("DuckDB", by_duckdb), ("pyarrow", by_pyarrow)):
        same = got == want
        failed |= not same
        print(f"{file['name']} read by {name}: {sum(v[0] for v in got.values())} rows, "
              f"{len(got)} sums by advertiser and currency {'are' if same else 'ARE NOT'} the manifest's")
sys.exit(failed)
