#!/bin/sh
# Print the first Python that is new enough (3.11), or say what to do and fail.
# PYTHON=/path/to/python before `make` wins over the search.
set -u
enough='import sys; raise SystemExit(sys.version_info < (3, 11))'
for candidate in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11 python; do
    [ -n "$candidate" ] || continue
    command -v "$candidate" >/dev/null 2>&1 || continue
    if "$candidate" -c "$enough" >/dev/null 2>&1; then
        command -v "$candidate"
        exit 0
    fi
done
echo "setup: Python 3.11 or later is needed and was not found." >&2
echo "setup: on Debian or Ubuntu run 'apt-get install -y python3.11 python3.11-venv', then 'make PYTHON=python3.11'." >&2
exit 1
