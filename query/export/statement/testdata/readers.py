"""Reads a statement with pyarrow and DuckDB and prints what each saw, as JSON."""

import decimal
import json
import sys

import duckdb
import pyarrow
import pyarrow.ipc
import pyarrow.parquet

decimal.getcontext().prec = 76
parquet_file, arrow_file, csv_file = sys.argv[1:]
stored = pyarrow.parquet.read_table(parquet_file)
with open(arrow_file, "rb") as f:
    streamed = pyarrow.ipc.open_stream(f).read_all()


def sums(table):
    rows = table.num_rows
    net = sum(table["net"].to_pylist())
    spend = sum(table["spend"].to_pylist())
    ids = sum(hash(i) % 1000003 for i in table["creative"].to_pylist())
    texts = sorted(set(table["country"].to_pylist()))
    return {"rows": rows, "net": str(net), "spend": str(spend), "ids": ids, "countries": texts}


duck = duckdb.sql(
    f"select count(*), sum(net), sum(spend), count(distinct creative), sum(creative::hugeint) from '{parquet_file}'"
).fetchall()[0]
text = duckdb.sql(f"select count(*), sum(net), sum(spend) from read_csv('{csv_file}', types={{'spend': 'DECIMAL(38,9)'}})").fetchall()[0]
print(
    json.dumps(
        {
            "types": {f.name: str(f.type) for f in stored.schema},
            "parquet": sums(stored),
            "arrow": sums(streamed),
            "same": stored.to_pydict() == streamed.to_pydict(),
            "duckdb": [str(x) for x in duck],
            "csv": [str(x) for x in text],
        }
    )
)
