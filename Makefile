# Every target does its own set-up: an environment in .venv, made once and kept while the requirements stay
# the same. Settings: PYTHON=/path/to/python  TORCH_INDEX=ADDRESS  VENV=FOLDER, or VENV= to use the
# environment you have activated.
VENV ?= .venv
export VENV PYTHON TORCH_INDEX

python = "$(if $(VENV),$(VENV)/bin/python,$(or $(PYTHON),python3))"
ready = sh tools/environment.sh

.NOTPARALLEL:
.PHONY: help book test chapters run tune bench lint counts clean clean-cache

help:  ## Show this list
	@echo "make TARGET, where TARGET is one of:"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1@\2/p' Makefile | awk -F@ '{printf "%-14s%s\n", $$1, $$2}'

book:  ## Execute the chapters and build the pages; FRESH=1 repeats chapters that are done
	@$(ready) book
	@$(python) -m lib.book publish $(if $(filter-out 0,$(FRESH)),--fresh)

test:  ## Run the tests; ARGS="-m long" for the ones that take minutes
	@$(ready) test
	@$(python) -m pytest $(ARGS)

chapters:  ## Refresh the committed outputs of chapters whose code has changed; FRESH=1 for all
	@$(ready) book
	@$(python) -m lib.book refresh $(if $(filter-out 0,$(FRESH)),--fresh)

run:  ## Run one chapter with other parameters, into a notebook and a page: make run CHAPTER=02 ARGS="-p target faces"
	@test -n "$(CHAPTER)" || { echo 'Which chapter? make run CHAPTER=02 ARGS="-p target faces"'; exit 1; }
	@$(ready) book
	@$(python) -m lib.book run "$(CHAPTER)" $(ARGS)

tune:  ## Fine-tune a source to a folder and save it: make tune TARGET=FOLDER SOURCE="l2 0.5" OUT=mine.pt2
	@test -n "$(TARGET)" -a -n "$(SOURCE)" -a -n "$(OUT)" || { echo 'Which? make tune TARGET=FOLDER SOURCE="l2 0.5" OUT=mine.pt2'; exit 1; }
	@$(ready) book
	@$(python) -m lib.advisor fit "$(TARGET)" --source "$(SOURCE)" --out "$(OUT)" $(ARGS)

bench:  ## Measure speed beside its floors and peers; ARGS="pgd" for one claim, "--whole" for whole commands
	@$(ready) bench
	@$(python) -m benchmarks $(ARGS)

lint:  ## Check style, formatting and types
	@$(ready) test
	@$(python) -m ruff check .
	@$(python) -m ruff format --check .
	@$(python) -m mypy lib

counts:  ## Count lines and words of the chapters, and lines of lib; ARGS=FOLDER for other notebooks
	@$(ready) test
	@$(python) tests/counts.py $(ARGS)

clean:  ## Remove built pages, single runs and caches of tools; trained sources and .venv stay
	rm -rf _build .hypothesis .mypy_cache .pytest_cache .ruff_cache *.egg-info runs/*
	find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +

clean-cache:  ## Remove trained sources, decoded images and kept rows in data/cache; downloads stay
	rm -rf data/cache/sources data/cache/images data/cache/evidence
