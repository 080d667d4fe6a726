"""Small mistakes that could be made in one line: what they are, and where a module has room for them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

_OTHER: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
}
_LEFT_OUT = (ast.Assert, ast.Raise, ast.Import, ast.ImportFrom)
_EXTREMES = {"min": "max", "max": "min"}
_SAID = ("logger", "warnings")  # what is only said, its words have tests of their own where they are promised


@dataclass(frozen=True, order=True)
class Mutation:
    """One mistake.

    Args:
        module: where it is made, for example "understudy.engine.decision".
        line: the line, from 1.
        column: where what is replaced begins in it, in bytes of UTF-8.
        old: what stands there.
        new: what stands there with the mistake.
        within: the function or class, such as "Latencies.add".
        text: the whole line, without its indentation.
        first: the first line of the statement; 0 for what is carried out when the module is imported.
        last: the last line of the statement, or of what stands before its block.
        begin: the first line of the function.
        end: the last line of the function.
    """

    module: str
    line: int
    column: int
    old: str
    new: str
    within: str
    text: str
    first: int
    last: int
    begin: int
    end: int

    def __str__(self) -> str:
        return f"{self.module}:{self.line}: {self.old} -> {self.new}"

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What it is, wherever its line is now: module, function, line, and what is replaced by what."""
        return self.module, self.within, self.text, f"{self.old} -> {self.new}"

    def rank(self, seed: int) -> bytes:
        """Return its place in a sample: it stays the same while other code changes."""
        return sha256(repr((seed, *self.key)).encode()).digest()

    def applied_to(self, source: str) -> str:
        """Return a module's source with the mistake.

        Raises:
            ValueError: another version of the source was meant.
        """
        lines = source.splitlines(keepends=True)
        line, old = lines[self.line - 1].encode(), self.old.encode()
        if line[self.column : self.column + len(old)] != old:
            raise ValueError(f"expected {self.old!r} in line {self.line} of {self.module}, found {line!r}")
        lines[self.line - 1] = (line[: self.column] + self.new.encode() + line[self.column + len(old) :]).decode()
        return "".join(lines)


def mutations_of(module: str, path: Path) -> list[Mutation]:
    """Return all mistakes that can be made in a module, by line."""
    source = path.read_text("utf-8")
    lines = source.splitlines()
    found = set()
    for node, within, statement, function in _code(ast.parse(source)):
        for part, new in _mistakes(node):
            old = ast.get_source_segment(source, part)
            if old is not None and "\n" not in old and part.lineno == part.end_lineno and old != new:
                text = lines[part.lineno - 1].strip()
                place = *_span(statement), *_lines(function)
                found.add(Mutation(module, part.lineno, part.col_offset, old, new, within, text, *place))
    return sorted(found)


def whole_line(module: str, path: Path, within: str, text: str, new: str) -> Mutation:
    """Return the mistake that replaces a line of a function; the indentation stays.

    Raises:
        ValueError: the function has no such line, or several.
    """
    source = path.read_text("utf-8")
    lines = source.splitlines()
    found = set()
    for _, name, statement, function in _code(ast.parse(source)):
        if name == within and statement is not None:
            place = *_span(statement), *_lines(function)
            found |= {(line, *place) for line in range(place[0], place[1] + 1) if lines[line - 1].strip() == text}
    if len(found) != 1:
        raise ValueError(f"expected one line {text!r} in {within} of {module}, found {len(found)}")
    line, *rest = found.pop()
    column = len(lines[line - 1]) - len(lines[line - 1].lstrip())
    return Mutation(module, line, column, text, new, within, text, *rest)


def _span(statement: ast.stmt | None) -> tuple[int, int]:
    """Return the first and last line of a statement, without its block; zeros for what is carried out on import."""
    if statement is None:
        return 0, 0
    body = getattr(statement, "body", None)
    last = max(statement.lineno, body[0].lineno - 1) if body else statement.end_lineno or statement.lineno
    return statement.lineno, last


def _lines(node: ast.stmt | None) -> tuple[int, int]:
    return (0, 0) if node is None else (node.lineno, node.end_lineno or node.lineno)


def _code(
    tree: ast.AST, within: str = "", statement: ast.stmt | None = None, function: ast.stmt | None = None
) -> Iterator[tuple[ast.AST, str, ast.stmt | None, ast.stmt | None]]:
    """Yield what is carried out: no annotations, no checks for types alone, nothing that is only said.

    With each node comes the name of the function or class that it is in, the statement and the function; these are None
    for what is carried out on import.
    """
    for field, value in ast.iter_fields(tree):
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(
                child, ast.Assert | ast.Raise | ast.Import | ast.ImportFrom
            ):
                continue
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            if isinstance(child, ast.Expr) and ast.unparse(child).startswith(_SAID):
                continue
            if isinstance(child, ast.arg | ast.JoinedStr) or field in ("annotation", "returns"):
                continue
            place, inner, around = within, statement, function
            if field == "body" and isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                place, around = f"{within}.{tree.name}".lstrip("."), None if isinstance(tree, ast.ClassDef) else tree
            if around is not None and isinstance(child, ast.stmt):
                inner = child
            yield child, place, inner, around
            yield from _code(child, place, inner, around)


def _mistakes(node: ast.AST) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    """Yield what can be replaced, and by what."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        other = ast.Compare(node.left, [_OTHER[type(node.ops[0])]()], node.comparators)
        yield node, f"({ast.unparse(other)})"
    elif isinstance(node, ast.BoolOp):
        for one in node.values:
            rest = [value for value in node.values if value is not one]
            yield node, f"({ast.unparse(rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest))})"
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node, f"({ast.unparse(node.operand)})"
    elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        yield node, f"({ast.unparse(ast.BinOp(node.left, _OPERATORS[type(node.op)](), node.right))})"
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _EXTREMES:
        yield node.func, _EXTREMES[node.func.id]
    elif isinstance(node, ast.If | ast.IfExp):
        for constant in ("True", "False"):
            yield node.test, constant
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        yield node, repr(node.value + 1)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.Await):
        yield node, "pass"
    elif isinstance(node, ast.Return) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, bool):
        yield node, f"return {not node.value.value}"
