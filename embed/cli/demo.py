"""`python -m embed demo-catalog`."""

from pathlib import Path

import click

from embed.cli.group import main
from embed.options import force_option, json_option, print_json
from embed.wording import counted


@main.command("demo-catalog")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--products", type=int, default=240, help="Products to draw.")
@click.option("--photos", type=int, default=6, help="Photos of each product.")
@click.option("--seed", type=int, default=0, help="Another seed draws another catalogue.")
@force_option
@json_option
def demo_catalog(
    folder: Path, products: int, photos: int, seed: int, force: bool, as_json: bool
) -> None:
    """Draw a catalogue of products with known truth into FOLDER, to try everything on."""
    from embed.demo.catalog import DemoSettings, write_demo_catalog

    summary = write_demo_catalog(folder, DemoSettings(products, photos, seed), force=force)
    if as_json:
        print_json({"manifest": str(summary.manifest_path), "num_items": summary.num_items})
    else:
        click.echo(
            f"{counted(summary.num_items, 'photo')} of "
            f"{counted(summary.num_products, 'product')}: "
            f"{summary.manifest_path}"
        )
