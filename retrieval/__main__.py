from retrieval.cli import main

main(prog_name="python -m retrieval")
