"""The demo: every stage on a made-up library, and the result even if the gate refuses it."""

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from ..progress import stage
from .outcome import Outcome, next_command
from .pipeline import RunFinished, run
from .versions import Promoted, promote

EXPLORER = "http://127.0.0.1:8000"  # where `recsys serve` shows its page, unless told otherwise


class DemoFinished(Outcome, frozen=True):
    """The demo's run, and what the gate decided about it."""

    run: RunFinished
    promotion: Promoted

    def lines(self) -> list[str]:
        """Which version serves, or why it does not, where the report is, and where the page of the service will be."""
        judged = self.promotion
        gate = [] if judged.promoted else ["", *(str(check) for check in judged.checks if not check.passed)]
        serves = f"champion: {judged.name} version {judged.version}" if judged.promoted else judged.verdict
        page = f"page: {EXPLORER}, once the next command runs"
        return [*gate, "", serves, f"report: {self.run.report}", page]


def demo(out: Path, registry: str | None) -> Outcome:
    """Run every stage on a synthetic world, and show the result even if the gate refuses it."""
    from .. import demo as demonstration

    finished = run(demonstration.write_world(out), out / "run", None, registry)
    promotion = promote(demonstration.NAME, None, False, None, registry)
    screen = Console(width=110)
    with stage("look at the answers"), screen.capture() as captured:  # nothing else is printed while a stage is drawn
        means = {name: figure.mean for name, figure in finished.figures.items()}
        demonstration.show(out / "run", demo_scores(means), screen)
    print(f"\n{captured.get()}", end="")
    bundle = f"models:/{demonstration.NAME}@champion" if promotion.promoted else out / "run" / "bundle"
    following = next_command("serve", bundle, events=out / "events.parquet", registry=registry)
    return DemoFinished(run=finished, promotion=promotion, next=following)


def demo_scores(means: Mapping[str, float]) -> dict[str, float]:
    """The scores to show, of the baselines that the gate compares with, then the model's; none that was left out."""
    from training.evaluation import BASELINES, MODEL

    from ..config import GateConfig

    must_beat = GateConfig().must_beat
    shown = {baseline.label: baseline.name for baseline in BASELINES if baseline.name in must_beat}
    return {label: means[name] for label, name in (shown | {"our model": MODEL}).items() if name in means}
