"""The notebooks run from the first cell to the last and show what they promise."""

import json
from ast import literal_eval
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # raised inside Jupyter's own client
@pytest.mark.slow
def test_quickstart_runs_and_draws(tmp_path):
    notebook = nbformat.read(NOTEBOOKS / "quickstart.ipynb", as_version=4)

    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()

    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 4
    bar = "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stderr")
    assert "block" in bar
    assert "images/s" in bar


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.slow
def test_paper_runs_at_a_small_size_and_draws(tmp_path):
    notebook = nbformat.read(NOTEBOOKS / "paper.ipynb", as_version=4)
    (parameters,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    small = parameters.source.replace("PEOPLE, SIZE = 200, 64", "PEOPLE, SIZE = 40, 32")
    assert small != parameters.source
    parameters.source = small

    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()

    outputs = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    pictures = [found for found in outputs if any("image/png" in output.get("data", {}) for output in found)]
    tables = [found for found in outputs if any("text/html" in output.get("data", {}) for output in found)]
    assert (len(pictures), len(tables)) == (18, 4)
    assert not any(output.get("name") == "stderr" for found in outputs for output in found)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.slow
def test_own_arrays_runs_and_is_better_than_interpolation(tmp_path):
    notebook = nbformat.read(NOTEBOOKS / "own-arrays.ipynb", as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell("table.to_json()"))

    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()

    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 4
    assert not any(output.output_type == "stream" for output in outputs)
    table = json.loads(literal_eval(outputs[-1].data["text/plain"]))
    for column in ("error (K)", "at the coast (K)"):
        errors = table[column]
        assert errors["masked regression"] < errors["a regression a pixel"] < errors["bicubic"] < errors["bilinear"]
    assert table["error (K)"]["masked regression"] < 0.2  # of which 0.05 is noise
