"""The rules of the house (CONTRIBUTING.md) that a machine can check."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("recsys", "features", "training", "serving")
MODULES = [
    path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")) if path.name != "__init__.py"
]
FOLDERS = sorted({path.parent for path in MODULES})
STUBBED = {".".join(path.relative_to(ROOT).parts[:-1]) for path in ROOT.glob("*/*/__init__.pyi")}
UNTESTED = {  # the first four are tested by tests/recsys/config/test_load.py, the others hold no logic
    "recsys/config/keys.py", "recsys/config/gate_keys.py", "recsys/config/index_keys.py", "recsys/config/section.py",
    "recsys/config/feature_keys.py",
    "recsys/errors.py", "recsys/actions/flags.py",
    "recsys/cli/program.py", "recsys/cli/pipeline.py", "recsys/cli/versions.py", "recsys/cli/answers.py",
    "recsys/cli/about.py", "recsys/cli/__main__.py",
    "recsys/search/index_spec.py", "recsys/search/index_kinds.py", "recsys/rankers/ranker.py",
    "training/evaluation/evaluation_set.py",
}  # fmt: skip


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(tree: ast.AST) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


@pytest.mark.parametrize("folder", FOLDERS, ids=name)
def test_a_folder_holds_at_most_18_modules(folder):
    assert sum(path.parent == folder for path in MODULES) <= 18


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_fits_its_limits(path):
    text = path.read_text()
    assert text.count("\n") <= 300
    too_long = {f.name: f.end_lineno - f.lineno + 1 for f in functions(ast.parse(text)) if f.end_lineno - f.lineno > 49}
    assert not too_long


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_has_a_test_at_the_same_path(path):
    if name(path) not in UNTESTED:
        assert (ROOT / "tests" / path.relative_to(ROOT).with_name(f"test_{path.name}")).is_file()


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_other_folders_import_public_names_only(path):
    package = ".".join(path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
            source = ".".join(part for part in (base, node.module) if part)
            folder = source.rpartition(".")[0]
            assert folder not in STUBBED or folder == package, f"line {node.lineno}: import from {folder} instead"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_no_untyped_dict_crosses_a_module(path):
    for function in functions(ast.parse(path.read_text())):
        if not function.name.startswith("_"):
            annotations = [argument.annotation for argument in function.args.args + function.args.kwonlyargs]
            shown = [ast.unparse(annotation) for annotation in [*annotations, function.returns] if annotation]
            assert not any("dict[str, Any]" in annotation for annotation in shown), function.name


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_only_what_a_command_asks_for_imports_ray(path):
    """ray_cluster and modules whose names end in on_ray do; others import these in a function, for --engine ray."""
    if not path.stem.endswith(("on_ray", "ray_cluster")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [str(node.module), *(alias.name for alias in node.names)]
            modules = {part for module in names for part in module.split(".")}
            assert "ray" not in modules
            if any(module.endswith(("on_ray", "ray_cluster")) for module in modules):
                assert node.col_offset
