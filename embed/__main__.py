from embed.cli import main

# Guarded, since worker processes import the main module again.
if __name__ == "__main__":
    main(prog_name="python -m embed")
