"""One module of Python: what its source says, without what cannot matter to a result.

Comments, formatting, docstrings, annotations within functions and the way by which a name is
imported do not matter. Sources are read, never run.
"""

import ast
import contextlib
from collections.abc import Iterator
from functools import lru_cache

PACKAGES = ("fpcore", "fpbook")
WHOLE = "*"  # the part that is all of a module
# A module that calls these may use any of its names by a string.
SELF_READING = {"globals", "eval", "exec"}
# Our decorators that do nothing but wrap: a part that has one depends on it as on what it calls.
WRAPPING = {"fpcore.precision.unrounded"}
# What runs only for type checkers, or only where the module is the program.
NEVER_IMPORTED = ("TYPE_CHECKING", "typing.TYPE_CHECKING", "__name__ == '__main__'")


class Module:
    """The parts of one module, from its source alone.

    imports: what each imported name may be, as dotted paths.
    loaded: the dotted paths of all import statements.
    stars: the modules of star imports.
    parts: the statements that bind each top-level name; of WHOLE, all but the imports.
    lump: whether it does more at import than bind names, or reads them by strings: no part of it
        stands alone.
    """

    def __init__(self, name: str, source: str, package: bool):
        self.name, self.package = name, package
        self.imports: dict[str, set[str]] = {}
        self.loaded: set[str] = set()
        self.stars: set[str] = set()
        self.parts: dict[str, list[ast.stmt]] = {WHOLE: []}
        self.lump = False
        tree = ast.parse(source)
        self._documented = "__doc__" in source and any(
            chain.endswith("__doc__") for chain in _chains(tree)
        )
        self._mentioned: dict[ast.stmt, set[str]] = {}  # by top-level statement
        self._annotated: dict[ast.stmt, set[str]] = {}
        self._dumps: dict[str, list[str]] = {}
        for position, statement in enumerate(tree.body):
            notes: list[ast.expr] = []
            plain = self._plain(statement, position == 0, False, notes)
            if plain is not None and not self._skipped(plain):
                self._mentioned[plain] = {*_chains(plain)}
                self._annotated[plain] = {
                    chain for note in map(_unquoted, notes) for chain in _chains(note)
                }
                self._add(plain)

    @property
    def reexports(self) -> bool:
        """Whether it binds only what it imports and names with an underscore, such as __all__."""
        return not self.lump and all(name == WHOLE or name.startswith("_") for name in self.parts)

    def says(self, name: str) -> list[str]:
        """The statements of a part, as text."""
        if name not in self._dumps:
            self._dumps[name] = [ast.dump(statement) for statement in self.parts[name]]
        return self._dumps[name]

    def mentions(self, name: str) -> set[str]:
        """The names in a part's statements, with their attributes."""
        return set().union(*(self._mentioned[statement] for statement in self.parts[name]))

    def annotated(self, name: str) -> set[str]:
        """The names in its annotations, left out or not: the classes of what it may be given."""
        return set().union(*(self._annotated[statement] for statement in self.parts[name]))

    def strings(self, name: str) -> list[str]:
        """The texts in its statements."""
        nodes = (node for statement in self.parts[name] for node in ast.walk(statement))
        return [n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)]

    def _skipped(self, statement: ast.stmt) -> bool:
        """Whether a top-level statement is no part of what the module does; its imports count."""
        if isinstance(statement, ast.If) and not statement.orelse:
            return ast.unparse(statement.test) in NEVER_IMPORTED
        if isinstance(statement, ast.FunctionDef) and self.package:
            return statement.name in ("__getattr__", "__dir__")  # which import modules when asked
        return isinstance(statement, ast.Import | ast.ImportFrom)

    def _add(self, statement: ast.stmt) -> None:
        """Sort in a top-level statement by the names that it binds."""
        names = _bound(statement)
        for name in (WHOLE, *names):
            self.parts.setdefault(name, []).append(statement)
        by_string = not SELF_READING.isdisjoint(self._mentioned[statement])
        self.lump |= not names or by_string or self._registers(statement)

    def _registers(self, statement: ast.stmt) -> bool:
        """Whether a decorator may do more than wrap a definition; a library's is taken not to."""
        decorators = getattr(statement, "decorator_list", ())
        called = [one.func if isinstance(one, ast.Call) else one for one in decorators]
        roots = {chain.split(".")[0] for one in called for chain in _chains(one)}
        targets = {target for root in roots for target in self.imports.get(root, ())} - WRAPPING
        imported = {target.split(".")[0] for target in targets}
        ours = {self.name.split(".")[0], *PACKAGES}
        return not roots.isdisjoint(self.parts) or not imported.isdisjoint(ours)

    def _plain(
        self, node: ast.stmt, first: bool, local: bool, notes: list[ast.expr]
    ) -> ast.stmt | None:
        """A statement without what cannot matter, changed in place; None for one that does nothing.

        `first`: it stands where docstrings do.
        `local`: it stands in a function, where annotations of variables are not evaluated.
        `notes`: a list to which its annotations are added.
        """
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return node if first and self._documented else None
        if isinstance(node, ast.Pass):
            return None
        if isinstance(node, ast.Import | ast.ImportFrom):
            self._note_import(node)
            node.names.sort(key=lambda alias: alias.name)
        self.lump |= isinstance(node, ast.Global)
        if isinstance(node, ast.AnnAssign):
            notes.append(node.annotation)
            if local and node.value is not None:
                return ast.Assign([node.target], node.value)
            if local:
                node.annotation = ast.Constant(None)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            _strip_signature(node, notes)
            local = True
        self._strip_blocks(node, local and not isinstance(node, ast.ClassDef), notes)
        return node

    def _strip_blocks(self, node: ast.AST, local: bool, notes: list[ast.expr]) -> None:
        """Reduce the blocks of a compound statement to their plain statements."""
        for field in ("body", "orelse", "finalbody"):
            if isinstance(block := getattr(node, field, None), list):
                plain = [self._plain(child, i == 0, local, notes) for i, child in enumerate(block)]
                setattr(node, field, [child for child in plain if child is not None])
        for branch in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
            self._strip_blocks(branch, local, notes)

    def _note_import(self, node: ast.Import | ast.ImportFrom) -> None:
        """Note what an import statement binds, wherever in the module it stands."""
        if isinstance(node, ast.Import):
            for alias in node.names:
                self.loaded.add(alias.name)
                target = alias.name if alias.asname else alias.name.split(".")[0]
                self.imports.setdefault(alias.asname or target, set()).add(target)
            return
        above = self.name.split(".")
        above = above[: len(above) - node.level + self.package] if node.level else []
        base = ".".join([*above, *filter(None, [node.module])])
        for alias in node.names:
            if alias.name == "*":
                self.stars.add(base)
            else:
                path = f"{base}.{alias.name}"
                self.loaded.add(path)
                self.imports.setdefault(alias.asname or alias.name, set()).add(path)


# By name and content: a long-lived process parses again only what was edited.
parsed = lru_cache(maxsize=None)(Module)


def _bound(statement: ast.stmt) -> list[str]:
    """The names that a top-level statement binds, if that is all it does; else none."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return ["__doc__"]
    if not isinstance(statement, ast.Assign | ast.AnnAssign):
        return []
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    flat = [
        one for each in targets for one in (each.elts if isinstance(each, ast.Tuple) else [each])
    ]
    names = [one.id for one in flat if isinstance(one, ast.Name)]
    return names if len(names) == len(flat) else []


def _strip_signature(node: ast.FunctionDef | ast.AsyncFunctionDef, notes: list[ast.expr]) -> None:
    """Note a function's annotations, and drop them unless a decorator might read them."""
    arguments = (one for one in ast.walk(node.args) if isinstance(one, ast.arg))
    for owner, field in [(node, "returns"), *((one, "annotation") for one in arguments)]:
        if (note := getattr(owner, field)) is not None:
            notes.append(note)
            if not node.decorator_list:
                setattr(owner, field, None)


def _unquoted(note: ast.expr) -> ast.AST:
    """An annotation with the names in its strings, if it has any: `list["Ball"]`."""
    constants = [node.value for node in ast.walk(note) if isinstance(node, ast.Constant)]
    quoted: list[ast.expr] = []
    for text in (value for value in constants if isinstance(value, str)):
        with contextlib.suppress(SyntaxError):  # of Literal["two words"]
            quoted += (s.value for s in ast.parse(text).body if isinstance(s, ast.Expr))
    return ast.Tuple([note, *quoted]) if quoted else note


def _chains(node: ast.AST) -> Iterator[str]:
    """Each name that a tree mentions, with the attributes that follow it: "torch.nn.Linear"."""
    todo = [node]
    while todo:
        node, attributes = todo.pop(), []
        while isinstance(node, ast.Attribute):
            attributes.append(node.attr)
            node = node.value
        if isinstance(node, ast.Name):
            yield ".".join([node.id, *reversed(attributes)])
        else:
            todo += ast.iter_child_nodes(node)
