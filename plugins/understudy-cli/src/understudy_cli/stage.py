"""Where the demo is shown: titles, log lines as they come, the attempts, the answers; and the recordings of it."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.text import Text

from understudy import Finish, LLMFactory, LLMResponse, Settings, TextDelta
from understudy_cli import attempts, output

if TYPE_CHECKING:
    from rich.console import RenderableType

    from understudy_cli.scenes import Scene

BLANK = Text("")
WIDTH = 100  # columns of the pictures, and the most that a terminal is given


class Stage:
    """Shows the demo, and records it if it is to be saved.

    Args:
        recording: whether it will be saved.
    """

    def __init__(self, recording: bool = False) -> None:
        shown = output.console()
        width = min(shown.width, WIDTH)
        self.consoles = [Console(width=width, highlight=False, markup=False, emoji=False)]
        if recording:
            # A separate console, so that a narrow terminal or a pipe does not change the picture.
            unseen = io.StringIO()
            self.consoles.append(
                Console(
                    file=unseen, record=True, width=WIDTH, force_terminal=True, color_system="truecolor", markup=False,
                    highlight=False, emoji=False, no_color=False, legacy_windows=False,
                )
            )  # fmt: skip

    def show(self, *renderables: RenderableType, indent: int = 0) -> None:
        """Show things one below the other; an empty text is an empty line."""
        for console in self.consoles:
            for renderable in renderables:
                padded = Padding(renderable, (0, 0, 0, indent), expand=False) if indent else renderable
                console.print("" if renderable == BLANK else padded)

    def announce(self, text: str) -> None:
        """Show an emphasised paragraph."""
        self.show(output.words(text, "bold"), BLANK)

    @contextlib.contextmanager
    def busy(self, text: str) -> Iterator[None]:
        """Show that something takes a moment, on a terminal only."""
        console = output.console(stderr=True)
        if not console.is_terminal:
            yield
            return
        with console.status(output.words(text)):
            yield

    def perform(self, scene: Scene, primary: str, fallback: str, settings: Settings) -> None:
        """Show one scene: title, story, the call, its log lines as they come, the attempts and the answer."""
        self.show(Rule(output.words(f"{scene.number}  {scene.title}", "bold"), align="left", style="dim"))
        self.show(output.words(scene.story), BLANK)
        for name, fault in scene.faults.items():
            self.show(output.words(f"stand-in for {name}: {fault}", "magenta"), indent=2)
        self.show(output.words(scene.call, "cyan"), BLANK, indent=2)
        with self.log(), LLMFactory(primary, [fallback], settings=settings, extensions=[]) as factory:
            if scene.streamed:
                response, pieces = _stream(factory, scene)
            else:
                response, pieces = factory.generate_content(scene.prompt, **scene.options), 0
        self._conclude(response, "stand-in's answer, by way of", pieces)

    def ask_live(self, name: str, prompt: str, settings: Settings) -> None:
        """Ask one real vendor and show the answer."""
        self.show(Rule(output.words(f"live: {name}", "bold"), align="left", style="dim"))
        with self.log(), LLMFactory(name, [], settings=settings, extensions=[]) as factory:
            with self.busy(f"Asking {name} ..."):
                response = factory.generate_content(prompt, temperature=None, max_retries=1, retry_delay=1)
        self._conclude(response, "the real answer, by way of", 0)

    def _conclude(self, response: LLMResponse, whose: str, pieces: int) -> None:
        self.show(BLANK, indent=2)
        self.show(attempts.table_of(response.attempts, paid=False), BLANK, indent=2)
        if response.success:
            streamed = f", in {pieces} pieces" if pieces else ""
            model = f" ({response.model})" if response.model else ""
            self.show(output.words(f"{whose} {response.provider_name}{model}{streamed}:", "dim"), indent=2)
            self.show(output.words(response.content, "green"), indent=2)
        else:
            self.show(output.words("response.success is False, response.error is:", "dim"), indent=2)
            self.show(output.words(response.error or "", "red"), indent=2)
        self.show(BLANK)

    @contextlib.contextmanager
    def log(self) -> Iterator[None]:
        """Show the library's log lines as they come."""
        logger, handler = logging.getLogger("understudy"), StageLog(self)
        level = logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)

    def save_svg(self, path: Path) -> None:
        """Write a picture of everything that was shown."""
        self.consoles[-1].save_svg(str(path), title="understudy demo", clear=False)

    def save_text(self, path: Path) -> None:
        """Write everything that was shown as plain text."""
        lines = self.consoles[-1].export_text(clear=False).splitlines()
        path.write_text("".join(f"{line.rstrip()}\n" for line in lines), "utf-8")


class StageLog(logging.Handler):
    """Shows log lines on a stage, with their level as a logging configuration would show it."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage = stage

    def emit(self, record: logging.LogRecord) -> None:
        """Show one line."""
        _, style = output.LEVELS.get(record.levelno, ("", ""))
        line = Text.assemble((f"{record.levelname:<9}", style), output.words(record.getMessage()))
        self.stage.show(line, indent=2)


def _stream(factory: LLMFactory, scene: Scene) -> tuple[LLMResponse, int]:
    response, pieces = LLMResponse(False, error="the stream ended without an answer"), 0
    for event in factory.stream_content(scene.prompt, **scene.options):
        if isinstance(event, TextDelta):
            pieces += 1
        elif isinstance(event, Finish):
            response = event.response
    return response, pieces
