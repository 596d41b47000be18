"""A book of one chapter, and the notebooks it is made of."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from fpbook.build import chapters

PARAMETERS = 'profile: str = "quick"\ndevice: str = "auto"\nseed: int = 0'


@pytest.fixture
def quick():
    """The parameters of a run."""
    return {"profile": "quick", "device": "cpu", "seed": 0}


@pytest.fixture
def write_notebook():
    """A function that writes a chapter: parameters, the given cells, and a checked one."""

    def write(path, *cells, checked="print(f'{2 / 3 + seed:.2f}')"):
        kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        notebook = new_notebook(
            cells=[
                new_markdown_cell("# A chapter"),
                new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}),
                *map(new_code_cell, cells),
                new_code_cell(checked, metadata={"tags": ["nbval-check-output"]}),
            ],
            metadata={"kernelspec": kernelspec},
        )
        nbformat.write(notebook, path)

    return write


@pytest.fixture
def root(tmp_path, write_notebook):
    """A book of one chapter."""
    (tmp_path / "chapters").mkdir()
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: chapters/one\n")
    write_notebook(tmp_path / "chapters" / "one.ipynb")
    return tmp_path


@pytest.fixture
def executed_one(root, write_notebook):
    """Where the executed chapter of the book belongs, and the notebook that is to lie there."""
    output = chapters.executed(root / "chapters" / "one.ipynb", "quick", root)
    output.parent.mkdir(parents=True)
    write_notebook(output)
    notebook = nbformat.read(output, 4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.execution_count = 1
            cell.outputs = [nbformat.v4.new_output("stream", text="1")]
    return output, notebook
