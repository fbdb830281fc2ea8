"""`recsys nightly` as an Airflow DAG: one task a night, which may be tried again at any moment.

A refused model (exit code 3) and a last resort (4) are no failures: everybody was scored. nights/NIGHT.json
says which. Bad input (2) fails at once, since another try would find the same.
"""

import subprocess
from datetime import datetime, timedelta
from pathlib import Path

from airflow.exceptions import AirflowFailException
from airflow.sdk import dag, task

FOLDER = Path("/srv/recsys")  # my.toml, events.parquet, mlflow.db, and what the nights write
SERVED = {0: "tonight's model serves", 3: "refused, the champion still serves", 4: "a baseline serves as last resort"}


@dag(schedule="0 3 * * *", start_date=datetime(2026, 11, 1), catchup=False, max_active_runs=1)
def recsys_nightly():
    """Train, judge and score, every night at three."""

    @task(retries=3, retry_delay=timedelta(minutes=10))
    def night(ds: str | None = None) -> str:
        command = ["recsys", "nightly", "--config", "my.toml", "--events", "events.parquet", "--night", str(ds)]
        code = subprocess.run(command, cwd=FOLDER, check=False).returncode
        if code == 2:
            raise AirflowFailException("bad input; the log of this task says what: recs/latest is the last good night")
        if code not in SERVED:
            raise RuntimeError(f"recsys ended with exit code {code}; another try continues where it stopped")
        return SERVED[code]

    night()


recsys_nightly()
