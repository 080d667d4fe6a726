"""Small mistakes that could be made in one line: what they are, and where a module has room for them."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
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
    """

    module: str
    line: int
    column: int
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.module}:{self.line}: {self.old} -> {self.new}"

    def dump(self) -> str:
        """Return it as a string, for another process."""
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> Mutation:
        """Return the mutation of such a text."""
        return cls(**json.loads(text))

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
    found = set()
    for node in _code(ast.parse(source)):
        for part, new in _mistakes(node):
            old = ast.get_source_segment(source, part)
            if old is not None and "\n" not in old and part.lineno == part.end_lineno and old != new:
                found.add(Mutation(module, part.lineno, part.col_offset, old, new))
    return sorted(found)


def _code(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield what is carried out: no annotations, no checks for types alone, nothing that is only said."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.Assert | ast.Raise | ast.Import | ast.ImportFrom):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.Expr) and ast.unparse(child).startswith(_SAID):
            continue
        if isinstance(child, ast.arg) or (isinstance(tree, ast.AnnAssign) and child is tree.annotation):
            continue
        if isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef) and child is tree.returns:
            continue
        if isinstance(child, ast.JoinedStr):
            continue
        yield child
        yield from _code(child)


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
    elif isinstance(node, ast.If | ast.IfExp):
        for constant in ("True", "False"):
            yield node.test, constant
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield node, repr(node.value + 1)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield node, "pass"
    elif isinstance(node, ast.Return) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, bool):
        yield node, f"return {not node.value.value}"
