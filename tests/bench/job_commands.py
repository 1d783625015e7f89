"""How the nightly DAG of a checkout runs a job.

It is read from the text of the DAG, so that several checkouts can be measured with one environment, whether a job is a
Spark job or a program there.
"""

import ast
import sys
from pathlib import Path

# As spark-submit is called with `default_args` of the DAG and no connection.
SUBMIT = (
    *("spark-submit", "--master", "local[*]", "--conf", "spark.log.level=WARN"),
    *("--conf", "spark.python.worker.faulthandler.enabled=true"),
    *("--conf", "spark.python.worker.tracebackDumpIntervalSeconds=600"),
)


def command(project: Path, job: str, flags: dict[str, object], driver_memory: str) -> tuple[list[str], dict[str, str]]:
    """Return the command of a job and the environment that the DAG gives it.

    Args:
        project: checkout.
        job: task of its DAG `nightly_purchase_analytics`.
        flags: values of the flags, such as `{"--landing": path}`; a flag that the task does not pass is left out.
        driver_memory: for spark-submit.

    Raises:
        ValueError: the DAG has no such task, or an environment that is not a literal.
    """
    dags = [
        (project / "dags" / f"{name}.py").read_text("utf-8") for name in ("nightly_purchase_analytics", "bread_salt")
    ]
    task = next((call for call in _calls(dags[0]) if _keyword(call, "task_id") == repr(job)), None)
    if task is None:
        raise ValueError(f"the nightly DAG of {project} has no task {job}")
    text = ast.unparse(task)
    given = [word for flag, value in flags.items() if flag in text for word in (flag, str(value))]
    if ast.unparse(task.func) == "SparkJobOperator":
        application = str(project / "jobs" / f"{job}.py")
        return [*SUBMIT, "--driver-memory", driver_memory, "--name", job, application, *given], {}
    return [sys.executable, "-m", f"jobs.{job}", *given], _environment(_keyword(task, "env"), dags)


def _calls(source: str) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]


def _keyword(call: ast.Call, name: str) -> str | None:
    return next((ast.unparse(keyword.value) for keyword in call.keywords if keyword.arg == name), None)


def _environment(text: str | None, dags: list[str]) -> dict[str, str]:
    """Evaluate a dictionary, or the name of one."""
    assigned = {
        ast.unparse(node.targets[0]): ast.unparse(node.value)
        for dag in dags
        for node in ast.walk(ast.parse(dag))
        if isinstance(node, ast.Assign)
    }
    return ast.literal_eval(assigned.get(text, text)) if text else {}
