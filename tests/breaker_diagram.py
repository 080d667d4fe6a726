"""Draws the circuit breaker's states and transitions, as the code has them: docs/breaker.svg.

`python tests/test_document_facts.py` writes the picture anew. It brings its own background and asks for no font.
"""

from math import hypot
from pathlib import Path
from xml.sax.saxutils import escape

from understudy.health.breaker import TRANSITIONS, Signal
from understudy.target import BreakerState

PICTURE = Path(__file__).parents[1] / "docs/breaker.svg"

WIDTH, HEIGHT = 920, 440
BOX = 176, 60
BEND = 26  # how far an arrow bows out that has another one beside it
INK, LINE, PAPER = "#1b2733", "#3d5166", "#fbfcfd"
PLACES = {
    BreakerState.CLOSED: (118, 200),
    BreakerState.OPEN: (460, 62),
    BreakerState.COOLING: (460, 378),
    BreakerState.HALF_OPEN: (802, 200),
}
MEANING = {
    BreakerState.CLOSED: ("every call may ask", "#d8efdf"),
    BreakerState.OPEN: ("no call asks", "#f6d9d5"),
    BreakerState.COOLING: ("no call asks", "#dbe6f7"),
    BreakerState.HALF_OPEN: ("one call at a time asks", "#faedcd"),
}


def draw_breaker() -> str:
    """Return the picture."""
    arrows: dict[tuple[BreakerState, BreakerState], list[Signal]] = {}
    for (state, signal), following in TRANSITIONS.items():
        arrows.setdefault((state, following), []).append(signal)
    told = "; ".join(f"{one} to {other}: {' or '.join(signals)}" for (one, other), signals in arrows.items())
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
            ' role="img" font-family="sans-serif" text-anchor="middle">',
            f"<title>The circuit breaker of a target: {escape(told)}</title>",
            '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8"'
            f' orient="auto"><path d="M0,0 L10,5 L0,10 z" fill="{LINE}"/></marker></defs>',
            f'<rect x="1" y="1" width="{WIDTH - 2}" height="{HEIGHT - 2}" rx="12" fill="{PAPER}" stroke="{LINE}"/>',
            *(draw_arrow(*ends, signals, (ends[1], ends[0]) in arrows) for ends, signals in arrows.items()),
            *(draw_state(state) for state in BreakerState),
            "</svg>\n",
        ]
    )


def draw_state(state: BreakerState) -> str:
    """Draw a box with a state's name and what it means."""
    x, y = PLACES[state]
    meaning, colour = MEANING[state]
    return (
        f'<rect x="{x - BOX[0] // 2}" y="{y - BOX[1] // 2}" width="{BOX[0]}" height="{BOX[1]}" rx="10"'
        f' fill="{colour}" stroke="{LINE}" stroke-width="1.5"/>\n'
        f'<text x="{x}" y="{y - 4}" font-size="18" font-weight="bold" fill="{INK}">{escape(state)}</text>\n'
        f'<text x="{x}" y="{y + 17}" font-size="13" fill="{INK}">{escape(meaning)}</text>'
    )


def draw_arrow(state: BreakerState, following: BreakerState, signals: list[Signal], beside_another: bool) -> str:
    """Draw the way from one state to another, bowed to the left where the way back is drawn too."""
    (x, y), (to_x, to_y) = PLACES[state], PLACES[following]
    length = hypot(to_x - x, to_y - y)
    left_x, left_y = (to_y - y) / length, (x - to_x) / length  # across the way
    bend = BEND if beside_another else 0
    shift_x, shift_y = left_x * bend, left_y * bend
    start, end = edge(state, to_x + 2 * shift_x, to_y + 2 * shift_y), edge(following, x + 2 * shift_x, y + 2 * shift_y)
    middle_x, middle_y = (start[0] + end[0]) / 2 + shift_x, (start[1] + end[1]) / 2 + shift_y
    at_x, at_y = (
        (start[0] + end[0] + 2 * middle_x) / 4 + left_x * 9,
        (start[1] + end[1] + 2 * middle_y) / 4 + left_y * 9,
    )
    level = abs(left_x) < 0.2
    anchor = "middle" if level else "start" if left_x > 0 else "end"
    curve = f"M{start[0]:.0f},{start[1]:.0f} Q{middle_x:.0f},{middle_y:.0f} {end[0]:.0f},{end[1]:.0f}"
    first_y = at_y + (9 if level else 4) - (17 * (len(signals) - 1) if left_y < 0 else 0)  # away from the arrow
    lines = [
        f'<text x="{at_x:.0f}" y="{first_y + 17 * number:.0f}" font-size="14" fill="{INK}" text-anchor="{anchor}">'
        f"{escape(signal)}</text>"
        for number, signal in enumerate(signals)
    ]
    return f'<path d="{curve}" fill="none" stroke="{LINE}" stroke-width="1.8" marker-end="url(#head)"/>\n' + "\n".join(
        lines
    )


def edge(state: BreakerState, to_x: float, to_y: float) -> tuple[float, float]:
    """Return where the way from the middle of a state's box leaves it."""
    x, y = PLACES[state]
    across, down = to_x - x, to_y - y
    scale = min((BOX[0] / 2 + 3) / abs(across) if across else 9, (BOX[1] / 2 + 3) / abs(down) if down else 9)
    return x + across * scale, y + down * scale
