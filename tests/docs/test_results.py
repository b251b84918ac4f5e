"""`bench/RESULTS.md` keeps what was not measured again, and README's table is made from it."""

from bench.figures import FIGURES, README, table, with_figures
from bench.layers import Timed, rows_of
from bench.results import RESULTS, Result, written
from bench.rows import row

from littoral.compiler.plan.problem import Problem
from littoral.quality.layer_times import LayerTime

MACHINE = {"cpu": "x", "cores": 2, "load": 0.0, "kernel": "6", "python": "3.11", "wasmtime": "50"}


def result(name: str, value: float) -> Result:
    rows = [row("key", value, "ms", peer="peer", peer_value=2.0, limit=3.0)]
    return Result(name=name, date="2026-01-02T03:04:05+00:00", machine=MACHINE, rows=rows)


def test_a_section_replaces_its_older_one_and_no_other() -> None:
    page = written(written(written("", result("b", 1)), result("a", 4)), result("b", 2))
    assert page.index("## a") < page.index("## b")
    assert page.count("## b") == 1
    assert "| key | 4 | ms | peer | 2 | 2 | 3 **missed** |" in page
    assert "| key | 2 | ms | peer | 2 | 1 | 3 |" in page
    assert written(page, result("b", 2)) == page


def test_the_figures_of_the_readme_are_those_of_the_results() -> None:
    readme, results = README.read_text(), RESULTS.read_text()
    assert with_figures(readme, results) == readme, "run `python -m bench --all --write`"
    assert table(results).count("\n") > len(FIGURES) / 2


def test_layers_are_told_by_kind_and_by_what_they_ask_of_their_kernel() -> None:
    problem = Problem("dense", 10, 20, 30, "short")
    heavy, light = (LayerTime("l", "gemm", "4×8, 2 packed", "", macs, 0, ms) for macs, ms in ((10**6, 1.0), (10, 1e-3)))
    nothing = LayerTime("m", "loops", "1×4", "", 0, 0, 0.5)
    pairs = ((heavy, problem), (heavy, problem), (light, Problem("dense", 1, 1, 1)), (nothing, None))
    rows = rows_of("net", [Timed(*pair) for pair in pairs], limit_gflops=50)
    assert [(r["key"], r["unit"]) for r in rows] == [
        ("net: all dense (3)", "GFLOP/s"),
        ("net: all loops (1)", "ms"),
        ("net: dense 10×20×30 short epilogue by 4×8 (2)", "GFLOP/s"),
    ]
    assert (rows[2]["value"], rows[2]["peer_value"], rows[2]["ratio"]) == (2, 50, 0.04)
