"""`recsys nightly` as a Dagster asset: one partition a night, which may be tried again at any moment.

A refused model (exit code 3) and a last resort (4) are no failures: everybody was scored. What happened is the metadata
of the asset. Bad input (2) fails without another try, since that would find the same.
"""

import json
import subprocess
from pathlib import Path

import dagster

FOLDER = Path("/srv/recsys")  # my.toml, events.parquet, mlflow.db, and what the nights write
SERVED = (0, 3, 4)
NIGHTS = dagster.DailyPartitionsDefinition(start_date="2026-11-01")


@dagster.asset(partitions_def=NIGHTS, retry_policy=dagster.RetryPolicy(max_retries=3, delay=600))
def recommendations(context: dagster.AssetExecutionContext) -> dagster.MaterializeResult:
    """The recommendations of a night, in recs/NIGHT and behind the link recs/latest."""
    night = context.partition_key
    command = ["recsys", "nightly", "--config", "my.toml", "--events", "events.parquet", "--night", night]
    code = subprocess.run(command, cwd=FOLDER, check=False).returncode
    if code not in SERVED:
        raise dagster.Failure(
            f"recsys ended with exit code {code}; recs/latest is the last good night", allow_retries=code != 2
        )
    summary = json.loads((FOLDER / "nights" / f"{night}.json").read_text())
    told = {key: summary[key] for key in ("serves", "name", "version", "exit_code")}
    return dagster.MaterializeResult(metadata=told | {"users": summary["scores"]["totals"]["users"]})


nightly = dagster.build_schedule_from_partitioned_job(
    dagster.define_asset_job("nightly", selection=[recommendations]), hour_of_day=3
)
definitions = dagster.Definitions(assets=[recommendations], schedules=[nightly])
