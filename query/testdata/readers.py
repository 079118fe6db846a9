"""Reads one answer with pyarrow, polars and DuckDB, and prints what each saw."""
import json
import sys

import duckdb
import polars
import pyarrow
import pyarrow.ipc
import pyarrow.parquet

arrow_file, parquet_file = sys.argv[1:3]
with open(arrow_file, "rb") as f:
    streamed = pyarrow.ipc.open_stream(f).read_all()
stored = pyarrow.parquet.read_table(parquet_file)


def plain(table):
    """The rows as texts, whatever the types."""
    return [[None if v is None else str(v) for v in row.values()] for row in table.to_pylist()]


def types(table):
    return [str(field.type) for field in table.schema]


out = {
    "arrow_types": types(streamed),
    "parquet_types": types(stored),
    "arrow_rows": plain(streamed),
    "parquet_rows": plain(stored),
    "arrow_meta": {k.decode(): v.decode() for k, v in (streamed.schema.metadata or {}).items()},
    "parquet_meta": {
        k.decode(): v.decode() for k, v in pyarrow.parquet.read_metadata(parquet_file).metadata.items() if k.startswith(b"adtally.")
    },
    "duckdb_parquet": [[str(v) for v in row] for row in duckdb.sql(f"select * from '{parquet_file}'").fetchall()],
    "duckdb_parquet_types": [str(t) for t in duckdb.sql(f"select * from '{parquet_file}'").types],
    "duckdb_arrow_types": [str(t) for t in duckdb.sql("select * from streamed").types],
    "duckdb_sum": str(duckdb.sql(f"select sum(spend) from '{parquet_file}'").fetchall()[0][0]),
    "polars_types": [str(t) for t in polars.read_ipc_stream(arrow_file).dtypes],
    "polars_rows": polars.read_parquet(parquet_file).height,
}
json.dump(out, sys.stdout)
