"""What the command lines share: errors in one line, `--config`, `--json`, tables, options."""

import json
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import click

from embed.errors import WorkbenchError
from embed.overwriting import refuse_overwriting

CONTEXT = {"show_default": True, "help_option_names": ["-h", "--help"], "max_content_width": 100}


Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
HEADING = "heading"
"""The attribute of an option that says under which heading help has it."""
CONFIG = "embed.options.config"
"""Under which a context keeps the file that was given as --config."""
LONGEST_SENTENCE = 200
INTERRUPTED = 130
"""What a shell takes for the end by Ctrl-C."""


class ConfiguredCommand(click.Command):
    """A command that takes `--config FILE.yaml`, whose keys are the names of its options.

    Help has the options that are `under` a heading beneath it, after all others.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(
            click.Option(
                ["--config"],
                type=click.Path(exists=True, dir_okay=False, path_type=Path),
                is_eager=True,
                expose_value=False,
                callback=_take_config,
                help="YAML file whose keys are names of these options; the command line wins.",
            )
        )

    def invoke(self, ctx: click.Context) -> Any:
        """Run it, unless it would replace a file that it reads."""
        refuse_overwriting({**ctx.params, **ctx.meta.get(CONFIG, {})})
        return super().invoke(ctx)

    def get_short_help_str(self, limit: int = 45) -> str:
        """The first sentence, however long: a group's help folds it, where click would cut it."""
        return super().get_short_help_str(max(limit, LONGEST_SENTENCE))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options by their headings, those without one first."""
        sections: dict[str, list[tuple[str, str]]] = {"Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                sections.setdefault(getattr(parameter, HEADING, "Options"), []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)


def all_of(*options: Decorator) -> Decorator:
    """One decorator of several, in the order in which help shows them."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def under(heading: str, *options: Decorator) -> Decorator:
    """The same, under a heading of the command's help."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        before = len(_parameters(command))
        command = all_of(*options)(command)
        for parameter in _parameters(command)[before:]:
            setattr(parameter, HEADING, heading)
        return command

    return decorate


def _parameters(command: Callable[..., Any]) -> list[click.Parameter]:
    """Those that decorators have given a function so far: click keeps them there."""
    return list(getattr(command, "__click_params__", []))


class CommandGroup(click.Group):
    """The commands of one package. A user's mistake is one line on standard error."""

    command_class = ConfiguredCommand

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; print what it raises on purpose."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # the reader, such as `head`, has had enough
            raise
        except (WorkbenchError, OSError) as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(getattr(error, "exit_code", 1))
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(INTERRUPTED)


def _take_config(ctx: click.Context, _: click.Parameter, path: Path | None) -> None:
    if path is None:
        return
    ctx.meta[CONFIG] = {"config": path}
    options = {
        option.opts[-1].removeprefix("--"): option
        for option in ctx.command.params
        if isinstance(option, click.Option)
    }
    defaults = dict(ctx.default_map or {})
    for given, value in _read_config(path).items():
        key = str(given).replace("_", "-")
        if key not in options or key == "config":
            known = sorted(set(options) - {"config"})
            raise click.UsageError(
                f"{path}: no option is named '{given}': {_suggestion(key, known)}", ctx
            )
        option = options[key]
        repeated = option.multiple and not isinstance(value, list)
        defaults[option.name or key] = [value] if repeated else value
    ctx.default_map = defaults


def _suggestion(key: str, known: Sequence[str]) -> str:
    close = get_close_matches(key, known, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"they are {', '.join(known)}"


def _read_config(path: Path) -> dict[str, Any]:
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise click.UsageError(f"{path} should hold a mapping of option names to values")
    return values


class MemorySize(click.ParamType[int]):
    """A number of bytes, such as 500MB, 2GiB or 1.5G; a bare unit counts in powers of 1,024."""

    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The bytes; usage is wrong where it is no size above 0."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"\s*([\d.]+)\s*([KMGT]?)(i?B?)\s*", str(value), re.IGNORECASE)
        try:
            number = float(found[1]) if found else 0.0
        except ValueError:
            number = 0.0
        if not found or number <= 0:
            self.fail(f"expected a size such as 2GiB or 500MB, found '{value}'", param, ctx)
        base = 1000 if found[3].upper() == "B" and found[2] else 1024
        return int(number * base ** " KMGT".index(found[2].upper() or " "))


def command_line() -> str:
    """The command as it was typed, to be kept with what it made."""
    return shlex.join(["python", "-m", Path(sys.argv[0]).parent.name, *sys.argv[1:]])


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
force_option = click.option("--force", is_flag=True, help="Replace the output if it exists.")
where_option = click.option(
    "--where", multiple=True, metavar="COLUMN=VALUE", help="Only rows with this value; repeatable."
)
split_column_option = click.option(
    "--split-column", metavar="COLUMN", help="The catalogue's own split: train, val, test."
)


def store_argument(function: Callable[..., Any]) -> Callable[..., Any]:
    """The store as the command's first noun."""
    path = click.Path(dir_okay=False, path_type=Path)
    return click.argument("store", type=path, metavar="STORE")(function)


def output_option(help_text: str, *, required: bool = True) -> Callable[..., Any]:
    """`-o`, the file that the command writes."""
    path = click.Path(dir_okay=False, path_type=Path)
    return click.option("-o", "--output", type=path, required=required, help=help_text)


def print_json(result: Any) -> None:
    """One JSON object on standard output."""
    click.echo(json.dumps(result, indent=2, ensure_ascii=False))


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A short table on standard output: numbers right-aligned, the first column and prose left.

    Where it is wider than the terminal it is printed as several, one below the other, each with the
    first column.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from embed.table_layout import pieces

    # Off a terminal rich falls back to 80 columns, which would cut wide tables for no reason.
    console = Console(markup=False, width=None if sys.stdout.isatty() else 120)
    for piece in pieces(header, rows, console.width):
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
        for column, width in zip(piece.columns, piece.widths, strict=True):
            is_folded = any(len(row[column]) > width for row in rows)
            justify: Literal["left", "right"] = "left" if column == 0 or is_folded else "right"
            table.add_column(header[column], justify=justify, overflow="fold", width=width)
        for row in rows:
            table.add_row(*(row[column] for column in piece.columns))
        console.print(table)
        title = ""


def warn(message: str) -> None:
    """A warning on standard error."""
    click.echo(f"warning: {message}", err=True)
