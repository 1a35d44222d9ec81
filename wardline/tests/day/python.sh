# A tool in Python: an environment of its own, an installation, tests, a small server. needs: /usr/bin/python3 curl
set -e
if ! /usr/bin/python3 -c 'import venv, ensurepip' 2> /dev/null; then echo "absent: venv"; exit 77; fi
/usr/bin/python3 -m venv env
. env/bin/activate
mkdir -p tool/tool && cd tool
printf '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n[project]\nname = "tool"\nversion = "1.0"\n' > pyproject.toml
printf 'def double(n):\n    return 2 * n\n' > tool/__init__.py
printf 'import unittest, subprocess, socket, tool\nclass T(unittest.TestCase):\n    def test(self):\n        self.assertEqual(tool.double(2), 4)\n        subprocess.run(["/bin/true"], check=True)\n' > test_tool.py
pip install --quiet --no-index --no-build-isolation . 2> /dev/null || pip --version
python -m unittest -q && python -m compileall -q tool && python -c 'import json, base64; print(base64.b64encode(json.dumps({"a": 1}).encode()))'
pip list > /dev/null 2>&1
cd .. && python -m http.server --bind 127.0.0.1 8099 > /dev/null 2>&1 & server=$!
for _ in 1 2 3 4 5 6 7 8 9 10; do curl -fs http://127.0.0.1:8099/ > page.html && break; sleep 0.3; done
curl -s -o /tmp/page.html -d 'a=1' http://127.0.0.1:8099/ ; wget -q -O page2.html http://127.0.0.1:8099/ || true
kill $server
