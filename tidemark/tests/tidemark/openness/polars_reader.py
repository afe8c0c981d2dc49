"""Reads the table `events` with Polars as its users would, once for each line of standard input, and prints the numbers as JSON.

polars_reader.py LOCATION STORAGE_OPTIONS
    delta           through the log, which delta-rs reads
    files SEQUENCE  every Parquet file in the folders of the days: up to this sequence, each place once
    plain           every Parquet file as it lies there
"""

import json
import sys

import polars as pl

PLACE = ["_shard", "_sequence", "_index"]
GROUPS = {"channel": pl.col("channel"), "day": pl.col("event_date").cast(pl.String)}


def main(location, options):
    for line in sys.stdin:
        way, *up_to = line.split()
        if way == "delta":
            rows = pl.scan_delta(location, storage_options=options)
        else:
            rows = pl.scan_parquet(f"{location}/event_date=*/*.parquet", hive_partitioning=True, storage_options=options)
        if way == "files":
            rows = rows.filter(pl.col("_sequence") <= int(up_to[0])).unique(PLACE)
        print(json.dumps(numbers(rows)), flush=True)


def numbers(rows):
    """[what, rows, users, places, highest sequence] of all rows, and for each channel and day."""
    needed = rows.select(*PLACE, "user_id", **GROUPS).collect()
    counts = [pl.len(), pl.col("user_id").n_unique(), pl.struct(PLACE).n_unique().alias("places"), pl.col("_sequence").max()]
    by = lambda name: needed.group_by(pl.lit(f"{name} ") + pl.col(name)).agg(counts).rows()
    return [("all", *needed.select(counts).row(0)), *by("channel"), *by("day")]


main(sys.argv[1], json.loads(sys.argv[2]))
