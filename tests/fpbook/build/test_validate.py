"""Validating: what nbval compares, and what it could not compare."""

import nbformat
import pytest

from fpbook.build import execute as book
from fpbook.build import validate
from fpbook.build.chapters import BookError

pytestmark = pytest.mark.filterwarnings("ignore")  # of papermill and the Jupyter clients, not ours


def test_validate_passes_on_the_very_notebook_and_fails_on_one_changed_number(root, quick):
    (output,) = book.execute(quick, root=root)
    validate.validate([output])
    notebook = nbformat.read(output, 4)
    assert notebook.cells[-1].outputs[0].text == "0.67\n"
    notebook.cells[-1].outputs[0].text = "0.68\n"
    nbformat.write(notebook, output)
    with pytest.raises(BookError, match="differs"):
        validate.validate([output])


def test_validate_fails_when_the_notebook_computes_something_else(root, quick):
    (output,) = book.execute(quick, root=root)
    notebook = nbformat.read(output, 4)
    notebook.cells[-1].source = "print(f'{3 / 4:.2f}')"
    nbformat.write(notebook, output)
    with pytest.raises(BookError, match="differs"):
        validate.validate([output])


def test_stripped_unexecuted_or_unchecked_notebooks_are_errors(root, quick):
    (output,) = book.execute(quick, root=root)
    good = nbformat.read(output, 4)

    stripped = nbformat.from_dict(good)
    for cell in stripped.cells:
        if cell.cell_type == "code":
            cell.execution_count, cell.outputs = None, []
    nbformat.write(stripped, output)
    with pytest.raises(BookError, match="not executed"):
        validate.validate([output])

    book.execute(quick | {"seed": 2}, root=root)
    unchecked = nbformat.read(output, 4)
    unchecked.cells[-1].metadata["tags"] = []
    nbformat.write(unchecked, output)
    with pytest.raises(BookError, match="nothing would be compared"):
        validate.validate([output])

    output.unlink()
    with pytest.raises(BookError, match="make book"):
        validate.validate([output])
