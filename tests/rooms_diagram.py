"""Draws the rooms of the core and which imports which, from the sources: docs/rooms.svg.

`python tests/test_document_facts.py` draws the picture again. It brings its own background and asks for no font.
"""

from collections import Counter
from pathlib import Path
from xml.sax.saxutils import escape

from house import NOUNS, imports, modules

PICTURE = Path(__file__).parents[1] / "docs/rooms.svg"

WIDTH, HEIGHT = 860, 680
BOX = 214, 62
INK, LINE, FAINT, PAPER = "#1b2733", "#3d5166", "#8fa1b3", "#fbfcfd"
PLACES = {  # the middle of each box; a room stands above those that it may import
    "factory": (430, 52),
    "explain": (160, 150),
    "execution": (430, 190),
    "routing": (660, 290),
    "health": (250, 330),
    "discovery": (580, 390),
    "engine": (130, 450),
    "extras": (744, 500),
    "files": (522, 520),
    "concurrency": (300, 530),
    NOUNS: (430, 615),
}
COLOURS = {"factory": "#d8efdf", "engine": "#faedcd", NOUNS: "#e8edf2", "explain": "#f1e6f6", "extras": "#f1e6f6"}
MEANING = {
    "factory": "what a program makes",
    "explain": "what would happen, in words",
    "execution": "one call, from request to answer",
    "routing": "which targets, in which order",
    "health": "what calls know of targets",
    "discovery": "which plugins there are",
    "engine": "the decisions, without a clock",
    "extras": "prices and schemas, optional",
    "files": "what lies beside the program",
    "concurrency": "threads, loops, forks",
    NOUNS: "messages, errors, policy ...",
}


def draw_rooms() -> str:
    """Return the picture."""
    edges = edges_of_rooms()
    told = "; ".join(f"{one} imports {other}" for one, other in sorted(edges) if NOUNS not in (one, other))
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
            ' role="img" font-family="sans-serif" text-anchor="middle">',
            f"<title>The rooms of the core: {escape(told)}; every room imports nouns</title>",
            *(head(name, colour) for name, colour in (("strong", LINE), ("faint", FAINT))),
            f'<rect x="1" y="1" width="{WIDTH - 2}" height="{HEIGHT - 2}" rx="12" fill="{PAPER}" stroke="{LINE}"/>',
            *(draw_arrow(*pair, lazy=lazy) for pair, lazy in sorted(edges.items()) if NOUNS not in pair),
            *(draw_room(room) for room in PLACES),
            f'<text x="20" y="{HEIGHT - 16}" font-size="12" fill="{INK}" text-anchor="start">an arrow: imports; '
            "dashed: only inside functions; every room may import the nouns</text>",
            "</svg>\n",
        ]
    )


def edges_of_rooms() -> dict[tuple[str, str], bool]:
    """Return which room imports which, and whether it does so inside functions alone."""
    counted: dict[tuple[str, str], Counter[str]] = {}
    for found in imports():
        pair = room_of(found.source), room_of(found.target)
        if pair[0] != pair[1] and found.when != "for typing" and "testing" not in pair:
            counted.setdefault(pair, Counter())[found.when] += 1
    return {pair: not when["at once"] for pair, when in counted.items()}


def room_of(module: str) -> str:
    """Return in which room a module stands; the factory is one by itself."""
    return "factory" if module in ("factory", "__init__") else modules()[module].room


def head(name: str, colour: str) -> str:
    """Draw the head of an arrow."""
    return (
        f'<defs><marker id="{name}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7"'
        f' orient="auto"><path d="M0,0 L10,5 L0,10 z" fill="{colour}"/></marker></defs>'
    )


def draw_room(room: str) -> str:
    """Draw a box with a room's name, what it is for and how large it is."""
    x, y = PLACES[room]
    inside = [module for name, module in modules().items() if room_of(name) == room]
    size = f"{len(inside)} files, {sum(module.lines for module in inside):,} lines of code"
    return (
        f'<rect x="{x - BOX[0] // 2}" y="{y - BOX[1] // 2}" width="{BOX[0]}" height="{BOX[1]}" rx="10"'
        f' fill="{COLOURS.get(room, "#dbe6f7")}" stroke="{LINE}" stroke-width="1.5"/>\n'
        f'<text x="{x}" y="{y - 11}" font-size="16" font-weight="bold" fill="{INK}">{escape(room)}</text>\n'
        f'<text x="{x}" y="{y + 7}" font-size="12" fill="{INK}">{escape(MEANING[room])}</text>\n'
        f'<text x="{x}" y="{y + 23}" font-size="11" fill="{LINE}">{size}</text>'
    )


def draw_arrow(room: str, imported: str, *, lazy: bool) -> str:
    """Draw an arrow from a room to one that it imports."""
    start, end = edge(room, *PLACES[imported]), edge(imported, *PLACES[room])
    style = f'stroke="{FAINT}" stroke-dasharray="5 4" marker-end="url(#faint)"' if lazy else ""
    style = style or f'stroke="{LINE}" marker-end="url(#strong)"'
    line = f'x1="{start[0]:.0f}" y1="{start[1]:.0f}" x2="{end[0]:.0f}" y2="{end[1]:.0f}"'
    return f'<line {line} stroke-width="1.4" {style}/>'


def edge(room: str, to_x: float, to_y: float) -> tuple[float, float]:
    """Return where the way from the middle of a room's box leaves it."""
    x, y = PLACES[room]
    across, down = to_x - x, to_y - y
    scale = min((BOX[0] / 2 + 3) / abs(across) if across else 9, (BOX[1] / 2 + 3) / abs(down) if down else 9)
    return x + across * scale, y + down * scale
