"""Why some mistakes stay unnoticed: what they change makes no difference that a test could see."""

REASONS: dict[tuple[str, str, str], str] = {}
