# Every target works from a clean clone; see README.md.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH := torch==2.13.0
PYTHONS := 3.11 3.12 3.13
DEBIAN_PACKAGES := orthanc orthanc-dicomweb dcmtk dicom3tools chromium postgresql strace openssl
# A file's tests stay in one process; its share of the cores is one, or torch and SimpleITK would ask for all in each. The longest files
# begin first: pytest-xdist would begin with the files of most tests, and one process would wait for the longest at the end. Files are
# named one by one, since pytest takes those of a folder in the folder's order. Two processes for each core: nodes and their tests wait
# as much as they work.
ONE_CORE := OMP_NUM_THREADS=1 ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS=1
PYTEST := $(ONE_CORE) $(BIN)/pytest -n $(shell expr 2 \* $$(getconf _NPROCESSORS_ONLN)) --dist loadfile --no-loadscope-reorder
FUZZ := tests/unit/conversion/test_header_fuzz.py
UNIT_FILES := $(FUZZ) $(wildcard tests/test_*.py) $(filter-out $(FUZZ),$(sort $(shell find tests/unit -name 'test_*.py')))
# What counts on senders that are slow by themselves has all cores for itself; what draws in a browser goes before what it shares them with.
SLOW_SENDERS := tests/integration/test_pdu_fuzz.py
BROWSER := $(addprefix tests/integration/test_,$(addsuffix .py,first_day_browser accessibility ohif_overlay ohif_first_view ohif_correction \
  panel_browser rules_browser routing_browser workbench_browser work_browser docs_browser study_browser access_browser system_browser))
LONGEST := $(addprefix tests/,$(addsuffix .py,$(addprefix integration/test_,resume upgrade) acceptance/test_demo integration/test_chaos \
  acceptance/test_real_study $(addprefix integration/test_,train several_machines bad_input arrivals) acceptance/test_conversion \
  $(addprefix integration/test_,models_worker large_data_sets)))
PHANTOMS := tests/acceptance/test_phantoms.py
OTHERS := $(filter-out $(LONGEST) $(SLOW_SENDERS) $(BROWSER) $(PHANTOMS),$(sort $(wildcard tests/acceptance/test_*.py tests/integration/test_*.py)))
# What another Python can break is what it brings itself, not the sums of NumPy and SimpleITK: what reckons for long over drawn
# heads and real volumes runs on the first Python alone. The modules that these files try are loaded, and most of them run, by the others.
RECKONS := $(addprefix tests/unit/,inference/training inference/test_claimed_contrast.py inference/test_image_noise.py \
  $(addprefix conversion/recognition/,test_difference.py test_enhancement.py test_time_course.py test_tissue_contrast.py) \
  $(addprefix conversion/registration/,test_pyramid.py test_real_volumes.py test_register.py test_search.py) \
  conversion/test_dynamic_study.py dicom_node/test_convert.py dicom_node/test_phantom.py)
# On the newest Python what leans on what Python brings: processes, threads, sockets, SQLite, logs, time. On a Python between
# the first and the newest, only what leans most on it.
NEWEST := $(lastword $(PYTHONS))
BETWEEN := $(addprefix tests/unit/dicom_node/test_,$(addsuffix .py,database workflow workflow_failures run_queue step_process children \
  logs journal listener stopping outbox retention settings))
NEWER := $(BETWEEN) $(addprefix tests/unit/dicom_node/test_,$(addsuffix .py,acceptor_contract assembly fetch fetch_web inbox incoming \
  peers send spool)) $(addprefix tests/unit/dicom_node/web/test_,$(addsuffix .py,auth guard http_limits operations_pages)) \
  $(addprefix tests/unit/viewer_integration/test_,$(addsuffix .py,commitment delivery dicomweb requestor stow))
SHELL := /bin/bash
unexport PYTHONDONTWRITEBYTECODE # each process of a node would compile the house anew

.PHONY: setup viewer demo run test check tests pythons pythons-setup lint types unit integration browser chaos phantoms debian lock clean

setup: $(VENV)/.done

$(VENV)/.done: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "GlioNode runs on Python 3.11, 3.12 and 3.13: make PYTHON=python3.13")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -W ignore -m compileall -qq -j 0 $(VENV)/lib >/dev/null || true # on every core; some files are for other Pythons
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(BIN)/python -m compileall -qq -j 0 conversion inference viewer_integration dicom_node
	touch $@

viewer: setup
	$(BIN)/python -m dicom_node.web.viewer_assets

demo: setup viewer
	$(BIN)/glionode demo

run: setup viewer
	$(BIN)/glionode serve

# What waits for downloads is done beside what computes on one core. Of other Pythons only the newest: what it and the first one run,
# those between them run as well, which `make pythons` shows.
test: setup
	$(MAKE) --no-print-directory -j 5 --output-sync=target viewer debian lint types pythons-setup PYTHONS=$(NEWEST)
	$(MAKE) --no-print-directory tests
	$(MAKE) --no-print-directory -j 2 --output-sync=target browser pythons PYTHONS=$(NEWEST)

# Set up what the integration and browser tests talk to.
debian:
	@missing=""; for p in $(DEBIAN_PACKAGES); do dpkg -s $$p >/dev/null 2>&1 || missing="$$missing $$p"; done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ]; then \
	  echo "make test: these Debian packages are missing and only root may install them:$$missing"; \
	  echo "           sudo apt-get install$$missing   (their tests are skipped until then)"; exit 0; fi; \
	echo "installing$$missing"; \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null

check: lint types tests browser

tests:
	$(PYTEST) $(LONGEST) $(OTHERS) $(UNIT_FILES)
	$(BIN)/pytest $(SLOW_SENDERS)

# Unit tests of ROOMS that need no torch, without what RECKONS, on every other Python that README names and this machine has (its own
# or pyenv's); `make pythons ROOMS=tests/unit` runs those of all rooms on each.
pythons: setup debian
	@$(call for_each_python,tests-on)

pythons-setup: setup
	@$(call for_each_python,venv-of)

# Make the target $(1)-VERSION for every other Python that is found.
define for_each_python
for version in $(PYTHONS); do \
  if $(BIN)/python -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$$version')"; then continue; fi; \
  found=""; for python in python$$version "$$HOME"/.pyenv/versions/$$version.*/bin/python; do \
    if "$$python" -c 'import ensurepip' 2>/dev/null; then found="$$python"; break; fi; done; \
  if [ -z "$$found" ]; then echo "Python $$version is not on this machine: not tested"; continue; fi; \
  $(MAKE) --no-print-directory $(1)-$$version FOUND="$$found" || exit 1; done
endef

# Nothing is compiled ahead: the tests of another Python import a small part of what is installed.
.PRECIOUS: $(VENV)-%/.done
venv-of-%: $(VENV)-%/.done ;

$(VENV)-%/.done: requirements.lock pyproject.toml
	@echo "Python $*:"
	$(FOUND) -m venv $(VENV)-$*
	$(VENV)-$*/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --require-hashes -r requirements.lock
	$(VENV)-$*/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

tests-on-%: ROOMS = $(if $(filter $*,$(NEWEST)),$(NEWER),$(BETWEEN))
tests-on-%: $(VENV)-%/.done
	GLIONODE_WITHOUT_TORCH=1 GLIONODE_TEST_HEADERS=1600 $(ONE_CORE) nice -n 10 $(VENV)-$*/bin/pytest -n auto --dist loadfile \
	  $(ROOMS) tests/test_architecture.py::test_the_other_rooms_load_without_torch $(addprefix --ignore ,$(RECKONS))

lint:
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types:
	$(BIN)/mypy

unit:
	$(PYTEST) $(UNIT_FILES)

integration:
	$(PYTEST) $(LONGEST) $(OTHERS)
	$(BIN)/pytest $(SLOW_SENDERS)

browser:
	$(ONE_CORE) $(BIN)/pytest -n $(shell getconf _NPROCESSORS_ONLN) --dist loadfile --no-loadscope-reorder $(BROWSER)

# Two hundred arrivals, and the node under attack, in the long form (half an hour or so for each database; as root).
chaos: setup debian
	GLIONODE_ARRIVALS=200 $(BIN)/pytest tests/integration/test_arrivals.py
	$(BIN)/python -m benchmarks.chaos --database postgresql
	$(BIN)/python -m benchmarks.chaos --database sqlite

# Three more phantoms through the whole line (five minutes or so without a GPU); `make test` takes that of the demonstration.
phantoms: setup
	$(BIN)/pytest $(PHANTOMS)

# Writes requirements.lock anew: everything but torch, pinned and hashed.
lock: setup
	$(BIN)/python -m venv .lock && .lock/bin/pip install --quiet pip-tools $(TORCH)
	.lock/bin/pip-compile --quiet --generate-hashes --strip-extras --all-extras --unsafe-package torch --allow-unsafe \
	  --no-emit-find-links --no-emit-index-url --output-file requirements.lock pyproject.toml
	sed -i '/^# The following packages are considered/,$$d' requirements.lock
	rm -rf .lock

clean:
	rm -rf $(VENV) $(VENV)-3.* .lock .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
