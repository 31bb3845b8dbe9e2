# `make demo` and `make test` prepare all they need; Python 3.11 and make are enough to start with.
PYTHON ?= python3
DEMO ?= demo
BIN := .venv/bin

.PHONY: demo test check screenshots setup clean
.DELETE_ON_ERROR:

setup: .venv/ready

# uv fills the environment in seconds, from its cache in one; it is itself installed into it by pip.
.venv/ready: requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[dev]'
	touch $@

# The three stages on a drawn catalogue. HEAD is trained on pictures and titles together; its
# table is over products that it never saw.
demo: setup
	$(BIN)/python -m embed demo-catalog $(DEMO)/catalogue --force
	$(BIN)/python -m embed run $(DEMO)/catalogue/manifest.csv -o $(DEMO)/store.h5 \
		--image-encoder hog=classic:color-hog --image-encoder classic:phash --text-encoder tfidf
	$(BIN)/python -m heads train $(DEMO)/store.h5 -o $(DEMO)/head.safetensors \
		--space hog --space tfidf --target label --split 60/20/20 --force
	$(BIN)/python -m heads apply $(DEMO)/store.h5 $(DEMO)/head.safetensors --force
	$(BIN)/python -m retrieval tune-threshold $(DEMO)/store.h5 --space head --label label \
		-o $(DEMO)/threshold.json --force
	$(BIN)/python -m retrieval match $(DEMO)/store.h5 --threshold $(DEMO)/threshold.json \
		--unseen-by head -o $(DEMO)/matches.csv --force
	$(BIN)/python -m retrieval compare $(DEMO)/store.h5 --label label \
		--space hog --space phash --space tfidf --space head
	@echo "In $(DEMO)/:"
	@echo "  catalogue/            manifest.csv, images/ and contact-sheet.png: what was drawn"
	@echo "  store.h5              items and their four spaces"
	@echo "  head.safetensors      the head; its training in head.png and head.jsonl"
	@echo "  threshold.json        the tuned threshold; its curve in threshold.png"
	@echo "  matches.csv           the matches of each item that the head has not seen, best first"

# Two processes, each of which keeps to one thread, for two cores.
test: setup
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

# Needs Chromium. An attribute head, so that the page has attributes to show.
screenshots: setup $(DEMO)/threshold.json $(DEMO)/attributes.safetensors
	$(BIN)/python docs/screenshots.py $(DEMO)

$(DEMO)/threshold.json:
	$(MAKE) demo

$(DEMO)/attributes.safetensors: $(DEMO)/threshold.json
	$(BIN)/python -m heads train $(DEMO)/store.h5 -o $@ --kind attributes --group label --force \
		--space hog --space tfidf --category category \
		--target attr_1 --target attr_2 --target attr_3

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:
	rm -rf .venv demo
