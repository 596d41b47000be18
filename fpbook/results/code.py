"""What code does, as digests: of the parts that can matter to a result, and of nothing else.

Sources are read, never run. A `Part` is a name that a module binds: a function, a class, a
constant. `Code.uses` says which others it may call, through the imports of its module and the
re-exports of packages. Comments, formatting, docstrings, annotations within functions and the way
by which a name is imported change no digest. What cannot be followed (a package passed around as an
object, a star import, a module that does more when imported than bind names) counts as a whole.

Not seen: code that reads its own text (`inspect.getsource`) or another module's docstrings, and
what other calls left in a module's variables. Libraries count by the names that are used of them.
"""

import hashlib
import inspect
import json
import re
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fpbook.results.files import ROOT
from fpbook.results.syntax import PACKAGES, WHOLE, Module, parsed

# How results are kept is no part of what they are.
KEEPING = tuple(f"{__name__.rpartition('.')[0]}.{name}" for name in ("cache", "code", "syntax"))
IMPORTED = ""  # the part that is what importing a module does beside binding its names
INSTALLED = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")]
# Code that calls these may use any module.
IMPORTERS = re.compile(r"(.*\.)?(import_module|__import__)$|sys\.modules\b")

Thing = str | Callable[..., Any]  # a dotted name, a function or a class


class Part(NamedTuple):
    """A name that a module binds, or WHOLE or IMPORTED."""

    module: str
    name: str


def meaning(source: str) -> str:
    """A digest of a module's syntax tree, without what cannot matter, and of what it imports."""
    module = parsed("", source, False)
    imported = sorted((name, sorted(targets)) for name, targets in module.imports.items())
    return _digest([module.says(WHOLE), imported, sorted(module.stars)])


class _Modules(Mapping[str, Module]):
    """Modules by name: their sources are read at once, each is parsed when it is asked for."""

    def __init__(self) -> None:
        self._sources: dict[str, tuple[str, bool]] = {}  # the text, and whether it is a package's

    def add(self, name: str, source: str, package: bool) -> None:
        """Take one in."""
        self._sources[name] = source, package

    @property
    def packages(self) -> set[str]:
        """The names of those that are packages."""
        return {name for name, (_, package) in self._sources.items() if package}

    def __getitem__(self, name: str) -> Module:
        source, package = self._sources[name]
        return parsed(name, source, package)

    def __contains__(self, name: object) -> bool:
        return name in self._sources

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)


class Code:
    """The modules of the packages that lie in the folder `root`, as their sources are now."""

    def __init__(self, root: Path = ROOT):
        self._modules = _Modules()
        self._data: dict[str, dict[str, str]] = {}  # the other files in a folder: name -> digest
        found = [path for package in PACKAGES for path in (root / package).rglob("*")]
        for path in sorted(filter(Path.is_file, found)):
            *above, name = path.relative_to(root).with_suffix("").parts
            if path.suffix == ".py":
                dotted = ".".join(above if name == "__init__" else [*above, name])
                self._modules.add(dotted, path.read_text(), name == "__init__")
            elif "__pycache__" not in above:
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                self._data.setdefault(".".join(above), {})[path.name] = digest

    @property
    def modules(self) -> set[str]:
        """The dotted names of all modules and packages."""
        return {*self._modules}

    def module(self, name: str) -> Module:
        """What the source of one of them says."""
        return self._modules[name]

    def add(self, name: str, source: str) -> None:
        """Take in a module that lies elsewhere, such as the cells of a notebook."""
        parsed(name, source, False)  # a syntax error is told here
        self._modules.add(name, source, False)

    # --- Module by module, as chapters are keyed ---

    def imports(self, module: str) -> set[str]:
        """The modules that a module really uses: where its names are defined, not re-exported."""
        found = self._resolved(Part(module, WHOLE)) | self._imported(module)
        return {part.module for part in found} | self._active(module)

    def closure(self, modules: Iterable[str]) -> set[str]:
        """The modules, all that they use, all that these use, and so on."""
        return _reached(modules, self.imports)

    def digest(self, modules: Iterable[str]) -> str:
        """A digest of what these modules, and all that they use, do."""
        return _digest([[m, self._says(Part(m, WHOLE))] for m in sorted(self.closure(modules))])

    def chapter(self, cells: Iterable[str]) -> str:
        """A digest of what a notebook's code cells do, with all modules that they really use."""
        try:
            self.add("the notebook", "\n".join(cells))
        except SyntaxError:  # magics: whatever they do
            return self.digest(self.modules)
        return self.digest(["the notebook"])

    # --- Name by name, as results are kept ---

    def parts(self, thing: Thing) -> set[Part]:
        """What a function, a class or a dotted name stands for; nothing, if it is a library's."""
        if isinstance(thing, str):
            module, _, name = (thing, "", "") if thing in self._modules else thing.rpartition(".")
        elif inspect.isroutine(thing := inspect.unwrap(thing)) or inspect.isclass(thing):
            module, name = thing.__module__, thing.__qualname__.split(".")[0]  # a method's class
            if str(module).split(".")[0] not in PACKAGES and not self._read(module, thing):
                return set()
        else:
            raise ValueError(f"code = {thing!r}: give functions, classes or dotted names")
        unknown = module not in self._modules or name not in ("", *self._modules[module].parts)
        if unknown and (isinstance(thing, str) or module not in self._modules):
            raise ValueError(f"code = {thing!r}: no module of {' or '.join(PACKAGES)} has it")
        return self._attribute(module, [name] if name else [])

    def uses(self, part: Part) -> set[Part]:
        """The parts that a part may call, mention or be given."""
        if part.name == IMPORTED:
            loaded = {Part(found.module, IMPORTED) for found in self._imported(part.module)}
            return loaded | {Part(module, WHOLE) for module in self._active(part.module)}
        return self._resolved(part) | {Part(part.module, IMPORTED)}

    def reach(self, *things: Thing) -> set[Part]:
        """All parts that decide what these functions, classes and modules do."""
        starts = {part for thing in things for part in self.parts(thing)}

        def used(part: Part) -> set[Part]:
            return {one for one in self.uses(part) if one.module not in KEEPING}

        return {part for part in _reached(starts, used) if part.name != IMPORTED}

    def digest_of(self, *things: Thing) -> str:
        """A digest of what these functions, classes and modules do."""
        return _digest([[*part, self._says(part)] for part in sorted(self.reach(*things))])

    # --- How names are followed ---

    def _says(self, part: Part) -> list[Any]:
        """A part's statements, what their names refer to, and the data files that they name."""
        module = self._modules[part.module]
        mentioned = sorted(module.mentions(part.name))
        refers = [[chain, found] for chain in mentioned if (found := self._refers(module, chain))]
        folder = part.module if module.package else part.module.rpartition(".")[0]
        files = sorted(self._data.get(folder, {}).items())
        texts = module.strings(part.name) if files else []
        named = [[name, digest] for name, digest in files if any(name in text for text in texts)]
        return [module.says(part.name), refers, named]

    def _refers(self, module: Module, chain: str) -> list[Any]:
        """What an imported name is: where it is defined or, of a library, its name there."""
        targets = sorted(module.imports.get(chain.split(".")[0], ()))
        own = [target for target in targets if target.split(".")[0] in PACKAGES]
        defined = sorted(self._chain(module, chain)) if own else []
        return [*(target for target in targets if target not in own), *defined]

    def _resolved(self, part: Part) -> set[Part]:
        """The parts that a part's names refer to."""
        module = self._modules[part.module]
        chains = module.mentions(part.name) | module.annotated(part.name)
        anything = PACKAGES if any(map(IMPORTERS.match, chains)) else sorted(module.stars)
        found = {one for chain in chains for one in self._chain(module, chain)}
        return found | {one for package in anything for one in self._whole(package)}

    def _chain(self, module: Module, chain: str) -> set[Part]:
        """What a name with attributes refers to in a module."""
        root, *attributes = chain.split(".")
        targets = module.imports.get(root, ())
        found = {part for target in targets for part in self._target(target, attributes)}
        if root != WHOLE and root in module.parts:
            found.add(Part(module.name, WHOLE if module.lump else root))
        return found

    def _target(self, dotted: str, attributes: list[str]) -> set[Part]:
        """What an imported path refers to: a module, or a name in one."""
        module, *rest = dotted.split(".")
        if module not in PACKAGES:
            return set()
        while len(rest) > 1 and f"{module}.{rest[0]}" in self._modules:
            module = f"{module}.{rest.pop(0)}"
        return self._attribute(module, [*rest, *attributes])

    def _attribute(self, module: str, attributes: list[str]) -> set[Part]:
        """What attributes of a module are: a definition, an import, a submodule; else all of it."""
        if not attributes or module not in self._modules:
            return self._whole(module)
        known, (name, *rest) = self._modules[module], attributes
        inner = f"{module}.{name}"
        if name in known.parts:
            return {Part(module, WHOLE if known.lump else name)}
        if targets := known.imports.get(name, set()) - {inner}:
            return {part for target in targets for part in self._target(target, rest)}
        return self._attribute(inner, rest) if inner in self._modules else self._whole(module)

    def _whole(self, module: str) -> set[Part]:
        """All of a module; of a package, with all modules in it."""
        inside = f"{module}."
        return {Part(one, WHOLE) for one in self._modules if f"{one}.".startswith(inside)}

    def _imported(self, module: str) -> set[Part]:
        """What a module imports, without whole packages: of these only what is used counts."""
        paths = self._modules[module].loaded - self._modules.packages
        return {part for path in paths for part in self._target(path, [])}

    def _active(self, module: str) -> set[str]:
        """Which of a module and the packages around it do more when imported than bind names."""
        names = module.split(".")
        above = (".".join(names[:i]) for i in range(1, len(names) + 1))
        return {one for one in above if one in self._modules and self._modules[one].lump}

    def _read(self, module: str | None, thing: Callable[..., Any]) -> bool:
        """Read the file of a function or class outside the packages; False for a library's."""
        try:
            path = Path(inspect.getsourcefile(thing) or "")
        except TypeError:  # built in, or typed at a prompt
            path = Path()
        if module == "__main__" and not path.is_file():
            raise ValueError(f"code = {thing!r}: it lies in no file; define it in a module")
        if not path.is_file() or any(path.is_relative_to(library) for library in INSTALLED):
            return False
        self.add(str(module), path.read_text())
        return True


def _reached(starts: Iterable[Any], step: Callable[[Any], set[Any]]) -> set[Any]:
    """All that can be reached from some starts."""
    found, todo = set(starts), [*starts]
    while todo:
        new = step(todo.pop()) - found
        found |= new
        todo += new
    return found


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def chapter_digest(notebook_cells: Iterable[str], root: Path = ROOT) -> str:
    """A digest of what a notebook's code cells do, with all modules that they really use."""
    return Code(root).chapter(notebook_cells)
