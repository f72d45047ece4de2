# make rgc: set everything up, crawl, build. `make rgc SITE=sample LIMIT=50 DB=data/small.db` passes these on.
SITE ?= auto
# the benchmarks that need no data but their own; each of the others says in its first lines what it reads
BENCH ?= crawl query versions
export SITE LIMIT DB
PY := .venv/bin/python
CHECK := import sys, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3.14 python3 python,$(shell $(p) -c '$(CHECK)' 2>/dev/null && echo $(p))))

.PHONY: install rgc browse test lint bench lock clean
.DELETE_ON_ERROR:

install: .venv/.installed

rgc: install
	@$(PY) cli.py crawl --site "$$SITE" $${LIMIT:+--limit "$$LIMIT"} $${DB:+--db "$$DB"}
	@$(PY) cli.py build $${DB:+--db "$$DB"}

browse: install
	@$(PY) cli.py browse $${DB:+--db "$$DB"}

test: install
	$(PY) -m pytest -n auto --dist loadfile $(ARGS)

lint: install
	$(PY) -m ruff check . && $(PY) -m ruff format --check . && $(PY) -m mypy

bench: install
	@for name in $(BENCH); do echo "== bench/$$name.py"; $(PY) "bench/$$name.py" $(ARGS) || exit 1; done

$(PY):
	@[ -n "$(PYTHON)" ] || { echo "make: no Python >= 3.11 with venv found; install one (Debian: apt-get install python3-venv) or name it: make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -m venv .venv

.venv/.installed: requirements.lock pyproject.toml | $(PY)
	@echo 'Installing the packages of requirements.lock into .venv (a few minutes) ...'
	@$(PY) -m pip install --disable-pip-version-check -q -r requirements.lock
	@$(PY) -m pip install --disable-pip-version-check -qq --no-deps --no-build-isolation -e . && touch $@

# Resolve pyproject.toml anew (on the oldest Python, whose pins the newer ones can install as well).
lock: | $(PY)
	$(PY) -m pip install -q packaging && $(PY) -m pip install -q --dry-run --ignore-installed --report .venv/report.json '.[postgres,dicom,parquet,readers,browse,dev]'
	$(PY) tools/lock.py .venv/report.json > requirements.new && mv requirements.new requirements.lock

clean:  # never data/ or runs/
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
