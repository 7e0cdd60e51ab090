"""What turns a notebook into a page of the site: nbdev's filter, with links that lead where the reader is.

nbdev keeps one place for each short name, but here the same word stands in all four spaces. So a page knows its module:
what it shows is what that module holds, [source] points into it, and a name in backticks is looked up on the page
before it is looked up elsewhere. settings.ini names the classes below (`renderer`, `procs`), so all of this holds for
`nbdev_filter`, too, which Quarto calls."""
import ast
import importlib
import inspect
import re
from functools import cache
from pathlib import Path

from nbdev.config import get_config
from nbdev.process import Processor

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = "metanb"
FUNCTIONS = ast.FunctionDef, ast.AsyncFunctionDef
CODE = re.compile(r"```python\n.*?\n```\n\n", flags=re.S)


def site():
    "Where the pages stand on the web."
    settings = get_config()
    return f"{settings.doc_host}{settings.doc_baseurl}/"


@cache
def modules():
    "Full names of the modules that notebooks export."
    files = [path for path in (ROOT / LIBRARY).glob("*/*.py") if path.name != "__init__.py"]
    return sorted(f"{LIBRARY}.{path.parent.name}.{path.stem}" for path in files)


@cache
def source(module):
    "Text of a module of the library; nothing for any other module."
    file = ROOT / f"{module.replace('.', '/')}.py"
    return file.read_text(encoding="utf-8") if module in modules() else ""


@cache
def definitions(module):
    "The functions and classes of a module, methods as Class.method."
    found = {}
    for node in ast.parse(source(module)).body:
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            found[node.name] = node
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{part.name}": part for part in node.body if isinstance(part, FUNCTIONS)}
    return found


@cache
def methods():
    "Names of all methods."
    return {name.split(".")[1] for module in modules() for name in definitions(module) if "." in name}


def head(node, lines):
    "Decorators and signature as they were written."
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return "\n".join(lines[first - 1:node.body[0].lineno - 1]) or lines[node.lineno - 1].strip()


def signature(module, name):
    "How a function is called; for a class its fields, and how its public methods are called."
    node, lines = definitions(module)[name], source(module).split("\n")
    if isinstance(node, FUNCTIONS):
        return head(node, lines)
    parts = [head(node, lines)]
    for part in node.body:
        if isinstance(part, ast.AnnAssign):
            parts.append(lines[part.lineno - 1])
        if isinstance(part, FUNCTIONS) and (part.name == "__init__" or not part.name.startswith("_")):
            parts.append("\n" + head(part, lines))
    return "\n".join(parts)


def default_exp(cells):
    "The module of a page by its full name; None for a page that exports nothing."
    found = [cell.directives_["default_exp"] for cell in cells if "default_exp" in cell.directives_]
    return f"{LIBRARY}.{found[0][0]}" if found else None


class Renderer:
    "The documentation of a symbol: name, source in the module that it comes from, signature, docstring."

    def __init__(self, sym, *, name=None, title_level=3):
        self.sym, self.name, self.level = sym, name or sym.__qualname__, title_level

    def _repr_markdown_(self):
        module, name, settings = self.sym.__module__, self.sym.__qualname__, get_config()
        parts = [f"{'#' * self.level} {self.name} {{#{self.name}}}"]
        if name in definitions(module):
            file, line = module.replace(".", "/"), definitions(module)[name].lineno
            link = f"{settings.git_url}/blob/{settings.branch}/{file}.py#L{line}"
            parts = [f'[source]({link}){{target="_blank" style="float:right; font-size:smaller"}}', *parts,
                     f"```python\n{signature(module, name)}\n```"]
        return "\n\n".join(["---", *parts, inspect.getdoc(self.sym) or ""])


class document(Processor):
    """Shows what the page's module holds, as it is imported: no cell of the page is executed.
    Where the whole source follows, its first lines are not shown twice."""

    def begin(self):
        module = default_exp(self.nb.cells)
        self.names = vars(importlib.import_module(module)) if module else {}
        self.whole = False

    def cell(self, cell):
        if cell.cell_type != "code" or not re.search(r"^show_doc\(", cell.source, flags=re.M):
            self.whole = "exports" in cell.directives_
            return
        text = eval(cell.source, self.names | {"show_doc": Renderer})._repr_markdown_()
        text = CODE.sub("", text) if self.whole else text
        cell.outputs = [{"output_type": "display_data", "data": {"text/markdown": text}, "metadata": {}}]


class document_first(Processor):
    "Moves the source of what is shown whole behind its documentation."

    def begin(self):
        cells = []
        for cell in self.nb.cells:
            last = cells[-1] if cells else None
            before = getattr(cell, "has_sd", False) and last is not None and "exports" in (last.directives_ or {})
            cells.insert(len(cells) - before, cell)
        self.nb.cells = cells


class link_names(Processor):
    "Names in backticks become links to the page that documents them; they stay as they are where two could be meant."

    def begin(self):
        self.home, self.imported = default_exp(self.nb.cells), {}
        for cell in self.nb.cells:
            for node in ast.walk(ast.Module(cell.parsed_() or [], [])):
                if isinstance(node, ast.ImportFrom) and node.module in modules():
                    self.imported |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}

    def meant(self, name):
        "Module and name of a word: on this page, imported here, or found once in this space and on the shared floor."
        first, dot, rest = name.partition(".")
        if self.home and name in definitions(self.home):
            return self.home, name
        if first in self.imported:
            module, first = self.imported[first]
            return (module, first + dot + rest) if first + dot + rest in definitions(module) else None
        if name.islower() and "_" not in name or name in methods():  # a word of the language, or of an object
            return None
        found = [module for module in modules() if name in definitions(module)]
        near = self.home is None or found and found[0].split(".")[1] in (self.home.split(".")[1], "core")
        return (found[0], name) if len(found) == 1 and near else None

    def link(self, match):
        "A link stays what it is; so does a name without a page."
        found = match["name"] and not match["name"].startswith("_") and self.meant(match["name"])
        if not found:
            return match[0]
        page = "/".join(found[0].split(".")[1:])
        return f"[{match[0]}]({site()}{page}.html#{found[1].split('.')[0]})"

    def linked(self, text):
        "Prose with links; headings and code stay as they are."
        fenced, lines = False, text.split("\n")
        for k, line in enumerate(lines):
            fenced ^= line.lstrip().startswith("```")
            if not fenced and not line.startswith(("    ", "#", "```")):
                lines[k] = re.sub(r"\[[^\]]*\]\([^)]*\)|``.*?``|`(?P<name>[A-Za-z_][\w.]*)(?:\(\))?`", self.link, line)
        return "\n".join(lines)

    def cell(self, cell):
        if cell.cell_type == "markdown":
            cell.source = self.linked(cell.source)
        for output in cell.get("outputs", []):
            if "text/markdown" in output.get("data", {}):
                output["data"]["text/markdown"] = self.linked("".join(output["data"]["text/markdown"]))


def filtered(notebook):
    "A notebook as the site's filter leaves it, as text."
    from nbdev.cli import nbdev_filter
    return getattr(nbdev_filter, "__wrapped__", nbdev_filter)(fname=str(notebook), printit=False)
