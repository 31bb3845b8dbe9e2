"""`python -m heads export`: a head for programs without this one."""

from dataclasses import asdict
from pathlib import Path

import click

from embed.options import force_option, json_option, output_option, print_json
from heads.cli.group import main


@main.command()
@click.argument("head", type=click.Path(dir_okay=False, path_type=Path), metavar="HEAD")
@click.option("--to", type=click.Choice(["onnx"]), required=True, help="The format.")
@output_option("The file to write.  [default: HEAD.onnx, beside HEAD]", required=False)
@force_option
@json_option
def export(head: Path, to: str, output: Path | None, force: bool, as_json: bool) -> None:
    """Write HEAD as ONNX, compared with the head itself on random inputs.

    Each space is an input, named after it: float32 vectors (n, d) of any length, a binary space as
    -1 and 1, a sparse one filled up with zeros. A projection's output is 'vectors'; attributes have
    an output ATTRIBUTE_probabilities each, and where they go by category an input 'categories':
    int64, the category's place in the metadata's list, -1 for any other. The metadata
    'embedding-head' is JSON, with 'categories' and 'classes' by category and attribute.
    """
    from heads.export import export_onnx

    exported = export_onnx(
        head,
        output or head.with_suffix(f".{to}"),
        force=force,
        on_step=lambda what: click.echo(f"{head}: {what}", err=True),
    )
    if as_json:
        print_json({**asdict(exported), "output": str(exported.output)})
        return
    click.echo(
        f"{exported.output}: {exported.num_bytes:,} bytes; inputs {', '.join(exported.inputs)}; "
        f"outputs {', '.join(exported.outputs)}; at most {exported.largest_difference:.1e} "
        f"from the head itself"
    )
