"""`python -m embed export` and `python -m embed import`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embed.cli.group import main
from embed.cli.tables import print_spaces
from embed.errors import SettingsError
from embed.options import (
    command_line,
    force_option,
    json_option,
    print_json,
    store_argument,
    warn,
)
from embed.wording import counted

if TYPE_CHECKING:
    from embed.exchange.exporting import Exported
    from embed.exchange.importing import Imported

STORE_PATH = click.Path(dir_okay=False, path_type=Path)


@main.command("export")
@store_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="The folder to write.",
)
@click.option("--space", multiple=True, metavar="NAME", help="Only this space; repeatable.")
@click.option(
    "--format",
    "layout",
    type=click.Choice(["folder", "clip-retrieval"]),
    default="folder",
    help="How the folder is laid out.",
)
@force_option
@json_option
def export(
    store: Path, output: Path, space: tuple[str, ...], layout: Any, force: bool, as_json: bool
) -> None:
    """Write STORE as files that other programs read: .npy, .npz, Parquet and JSON.

    `embed import` gets everything back from them: items, columns, vectors bit by bit, and what each
    space says of itself.
    """
    from embed.exchange.exporting import export_store

    exported = export_store(store, output, spaces=space, layout=layout, force=force)
    _report(exported, "folder", exported.folder, as_json)


@main.command("import")
@click.argument("items", type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", type=STORE_PATH, help="The store to write.")
@click.option("--into", type=STORE_PATH, help="A store to add the vectors to, joined by id.")
@click.option(
    "--vectors",
    multiple=True,
    metavar="[NAME=]FILE",
    help="Vectors in .npy (floats: dense, uint8: packed bits) or .npz (sparse); repeatable.",
)
@click.option("--id-column", help="Column with the ids.  [default: id]")
@click.option("--image-column", help="Column with image paths.  [default: image]")
@click.option("--title-column", help="Column with titles.  [default: title]")
@click.option(
    "--image-root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder that image paths start from: the images are hashed as those that were encoded.",
)
@click.option(
    "--allow-outside-root", is_flag=True, help="Read images that lie outside the image root too."
)
@click.option(
    "--modality",
    multiple=True,
    metavar="NAME=image|text|fused",
    help="What a space was made of; repeatable.  [default: image]",
)
@force_option
@json_option
def import_(items: Path, output: Path | None, into: Path | None, **options: Any) -> None:
    """Take vectors that you have into a store.

    \b
    ITEMS is
      a CSV, TSV or Parquet file with the ids: its row i belongs to row i of each --vectors;
      a folder that `embed export` wrote;
      a folder that clip-retrieval wrote (img_emb/, text_emb/, metadata/).

    Vectors are scaled to length 1 where they are not. With --into, only the ids of ITEMS are used,
    and every item of the store must be among them; a space that was exported must have been encoded
    from the images and titles that the store holds. clip-retrieval's columns are named image_path
    and caption (--image-column, --title-column).
    """
    from embed.exchange.importing import ImportSettings, import_vectors

    if (output is None) == (into is None):
        raise click.UsageError("give either -o, a store to write, or --into, one to add to")
    as_json = options.pop("as_json")
    modalities = dict(_modality(given) for given in options.pop("modality"))
    settings = ImportSettings(
        items,
        output or into or Path(),
        into=into is not None,
        modalities=modalities,
        command=command_line(),
        **options,
    )
    imported = import_vectors(settings)
    for message in imported.warnings:
        warn(message)
    _report(imported, "store", imported.output, as_json)


def _modality(given: str) -> tuple[str, Any]:
    name, _, modality = given.rpartition("=")
    if not name or modality not in ("image", "text", "fused"):
        raise SettingsError(f"--modality takes NAME=image, text or fused: found '{given}'")
    return name, modality


def _report(result: "Exported | Imported", noun: str, path: Path, as_json: bool) -> None:
    from embed.summary import describe_spaces

    if as_json:
        spaces = describe_spaces(result.spaces)
        print_json({noun: str(path), "num_items": result.num_items, "spaces": spaces})
    else:
        print_spaces(f"{path}: {counted(result.num_items, 'item')}", result.spaces)
