from heads.cli import main

main(prog_name="python -m heads")
