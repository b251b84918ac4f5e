"""A real Prometheus that scrapes a server, and promtool that judges rules."""

import contextlib
import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from ports import free_port

__all__ = ["Prometheus", "case", "check_rules", "scraping"]

ROOT = Path(__file__).parents[1]


class Prometheus:
    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/api/v1"

    def get(self, path: str, **query: str) -> Any:
        with urllib.request.urlopen(f"{self.url}{path}?{urllib.parse.urlencode(query)}", timeout=30) as answer:
            said = json.load(answer)
        assert said["status"] == "success"
        return said["data"]

    def value(self, expression: str) -> Any:
        return self.get("/query", query=expression)["result"]

    def has(self, expression: str) -> bool:
        try:
            return bool(self.value(expression))
        except (urllib.error.URLError, ConnectionError):
            return False


@contextlib.contextmanager
def scraping(folder: Path, address: str, alerts: Path, job: str = "littoral") -> Iterator[Prometheus]:
    """Every second. folder: for its files."""
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(alerts)]
    config["scrape_configs"] = [{"job_name": job, "static_configs": [{"targets": [address]}]}]
    (folder / "prometheus.yml").write_text(json.dumps(config))
    port = free_port()
    arguments = [
        "prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    with (folder / "log.txt").open("wb") as log, subprocess.Popen(arguments, stdout=log, stderr=log) as process:
        try:
            yield Prometheus(port)
        finally:
            process.terminate()
            process.wait(60)


def check_rules(folder: Path, alerts: Path, cases: list[dict[str, Any]]) -> None:
    """By promtool."""
    file = folder / "tests.yml"
    file.write_text(json.dumps({"rule_files": [str(alerts)], "tests": cases}))
    done = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr


def case(series: dict[str, str], expected: list[tuple[str, int | None]], at: str = "39m") -> dict[str, Any]:
    """What promtool is to see of these series at a time."""
    told = [{"series": name, "values": values} for name, values in series.items()]
    looks = [
        {"expr": expr, "eval_time": at, "exp_samples": [] if value is None else [{"labels": "{}", "value": value}]}
        for expr, value in expected
    ]
    return {"interval": "1m", "input_series": told, "promql_expr_test": looks}
