"""How are the front end's own checks run with the same Node that builds it?

`python tools/pages.py check` runs `npm run check` (types and warnings), `test` its unit tests.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from hatch_build import ROOT, find_node, install_packages


def main(scripts: list[str]) -> int:
    """Run the named npm scripts in `viewers/web`; 2 when none was named."""
    if not scripts:
        print(__doc__)
        return 2
    node, web = find_node(), ROOT / "viewers" / "web"
    install_packages(node, web)
    for script in scripts:
        node.run("run", script, folder=web)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
