from embed.cli import main

main(prog_name="python -m embed")
